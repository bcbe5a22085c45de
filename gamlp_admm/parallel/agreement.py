"""Whether the processes of a run were asked for the same run: compared before they do anything together.

Each makes a card that says what it was asked for, or why it cannot. All see all cards: over a process group
(:func:`agreed`), or before there is one (:mod:`gamlp_admm.parallel.joining`). So one that differs, or whose input is
wrong, is named at once by all, where otherwise some would wait for others in vain, or train a network of two minds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from gamlp_admm.errors import InputError, NeighbourError, ProcessInputError, Told, line
from gamlp_admm.parallel.channel import cause
from gamlp_admm.parallel.exchange import gathered

T = TypeVar("T")
Card = dict[str, Any]

SHOWN = 6
"""Differences that a message lists."""


def agreed(
    make: Callable[[], T], describe: Callable[[T], Mapping[str, Any]], group: Any, timeout: float | None = None
) -> T:
    """Make something in every process of a group; all raise if one cannot, or if what was made differs.

    Args:
        make: Makes it, from what this process was asked for; it exchanges nothing.
        describe: Says by name what must be the same in all processes that name it.
        group: The processes; with anything that is no group, this process is alone.
        timeout: Seconds after which a wait for another process gives up; ``None``: the group's own.

    Returns:
        What this process made.

    Raises:
        InputError: Descriptions differ, or ``make`` raised it in some process; then all do.
        NeighbourError: ``make`` raised something else in another process, or one did not come in time.
    """
    if not isinstance(group, dist.ProcessGroup):
        return make()
    failure: Exception | None = None
    try:
        made = make()
        card = described(describe(made))
    except Exception as error:
        failure, card = error, failed(error)
    try:
        cards = gathered(card, group, timeout)
    except RuntimeError as error:
        rank = dist.get_rank(group)
        raise NeighbourError(f"rank {rank} lost another process while comparing options: {cause(error)}") from failure
    if failure is not None:
        raise own(failure, cards, dist.get_rank(group))
    settle(cards)
    return made


def described(states: Mapping[str, Any]) -> Card:
    """Return the card of a process that can do what it was asked for."""
    versions = {"version of torch": torch.__version__.split("+")[0], "version of gamlp-admm": version("gamlp-admm")}
    return {"states": {name: str(value) for name, value in {**states, **versions}.items()}}


def failed(error: BaseException) -> Card:
    """Return the card of a process that cannot."""
    return {"failed": line(error), "input": isinstance(error, InputError)}


def own(failure: BaseException, cards: Sequence[Card], rank: int) -> BaseException:
    """Return the error of a process whose own ``make`` failed: nothing more to say where the first one says it."""
    same = isinstance(failure, InputError) and any(card.get("failed") == line(failure) for card in cards[:rank])
    return Told(str(failure)) if same else failure


def settle(cards: Sequence[Card]) -> None:
    """Raise if a process failed, or if any differ.

    Raises:
        ProcessInputError: Descriptions differ, or the input of a process is wrong.
        NeighbourError: Something else is wrong in a process.
    """
    for rank, card in enumerate(cards):
        if "failed" in card:
            raise (ProcessInputError if card["input"] else NeighbourError)(f"rank {rank}: {card['failed']}")
    if found := differences([card["states"] for card in cards]):
        more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise ProcessInputError(
            f"the processes of the run differ in {', '.join(found[:SHOWN])}{more}; start them all with the same"
        )


def differences(states: Sequence[Mapping[str, str]]) -> list[str]:
    """Return what differs between processes, as ``"rho (0.01 in rank 0; 1 in ranks 1, 2)"``; what not all name may."""
    found = []
    for name in dict.fromkeys(name for each in states for name in each):
        ranks: dict[str, list[int]] = {}
        for rank, each in enumerate(states):
            if name in each:
                ranks.setdefault(each[name], []).append(rank)
        if len(ranks) > 1:
            where = (f"{value} in rank{'s' * (len(r) > 1)} {', '.join(map(str, r))}" for value, r in ranks.items())
            found.append(f"{name} ({'; '.join(where)})")
    return found

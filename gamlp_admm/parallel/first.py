"""The first process of a run, which alone loads data and speaks, and what it does for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from gamlp_admm.errors import NeighbourError, Told
from gamlp_admm.parallel.agreement import failed
from gamlp_admm.parallel.channel import cause
from gamlp_admm.parallel.exchange import broadcast

T = TypeVar("T")


def is_first(group: Any) -> bool:
    """Whether this process is the first of a run's process group, whoever made it; ``None`` is a run in one process."""
    return group is None or dist.get_rank(group) == 0


def size(group: Any) -> int:
    """Return the number of processes of a run's group, 1 for ``None``."""
    return 1 if group is None else dist.get_world_size(group)


def on_first(action: Callable[[], T], group: Any) -> T:
    """Run ``action`` in the first process of ``group``; return its result in all of them.

    Args:
        action: Returns a value that :mod:`gamlp_admm.parallel.exchange` can send.
        group: The processes; ``None`` is a run in one.

    Raises:
        InputError: The action raised it; then all processes do.
        NeighbourError: The action raised something else in the first process, which raises that.
    """
    if group is None:
        return action()
    failure: Exception | None = None
    answer: tuple[Any, Any] = (None, None)
    if is_first(group):
        try:
            answer = (action(), None)
        except Exception as error:
            failure, answer = error, (None, failed(error))
    try:
        value, card = broadcast(answer, group)
    except RuntimeError as error:
        what = f"rank {dist.get_rank(group)} lost another process while the first one prepares"
        raise NeighbourError(f"{what}: {cause(error)}") from error
    if failure is not None:
        raise failure
    if card is not None:
        raise Told(card["failed"]) if card["input"] else NeighbourError(f"rank 0: {card['failed']}")
    result: T = value
    return result

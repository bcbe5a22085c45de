"""One iteration of any layer-parallel algorithm: its phases, and the exchange between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gamlp_admm.channel import Channel
from gamlp_admm.problem import Problem
from gamlp_admm.state import Block

Update = Callable[[Block, Problem], Block]


@dataclass(frozen=True)
class Phase:
    """An update of every block, what it needs from a neighbour first, and what it sends afterwards.

    Attributes:
        update: The pure update of one block.
        needs: A field of the neighbour that must have arrived: ``p_next``, ``q_prev``, or ``None``.
        sends: A field that the neighbour needs later, or ``None``.
        to: The neighbour that gets it: the ``previous`` or the ``next`` block.
    """

    update: Update
    needs: str | None = None
    sends: str | None = None
    to: Literal["previous", "next"] = "next"


def iterate(state: Sequence[Block], phases: Sequence[Phase], problem: Problem, channel: Channel) -> list[Block]:
    """Return the blocks after one iteration.

    Within a phase the blocks do not depend on each other; a field that a phase sends travels while later phases
    compute, until one of them needs it.

    Args:
        state: Consecutive blocks that this process owns.
        phases: The algorithm.
        problem: What is minimised.
        channel: Carries fields to and from the blocks' neighbours.
    """
    state = list(state)
    for phase in phases:
        for i, block in enumerate(state):
            block = phase.update(_receive(block, phase.needs, channel), problem)
            _send(block, phase, channel)
            state[i] = block
    return state


def _receive(block: Block, needs: str | None, channel: Channel) -> Block:
    if needs is None:
        return block
    field, side = needs.split("_")
    if side == "prev" and not block.is_first:
        return replace(block, **{needs: channel.receive(field, block.first - 1)})
    if side == "next" and not block.is_last:
        return replace(block, **{needs: channel.receive(field, block.first + block.num_layers - 1)})
    return block


def _send(block: Block, phase: Phase, channel: Channel) -> None:
    if phase.sends is None:
        return
    if phase.to == "previous" and not block.is_first:
        channel.send(phase.sends, block.first - 1, getattr(block, phase.sends), 0)
    if phase.to == "next" and not block.is_last:
        channel.send(phase.sends, block.first + block.num_layers - 1, getattr(block, phase.sends), -1)

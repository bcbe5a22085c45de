"""One iteration of any layer-parallel algorithm: its phases, and the exchange between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gamlp_admm.channel import LocalChannel, Side
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
    to: Side = "next"


def iterate(state: Sequence[Block], phases: Sequence[Phase], problem: Problem, channel: LocalChannel) -> list[Block]:
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
        for block in state:
            _expect(block, phase.needs, channel)
    for phase in phases:
        for i, block in enumerate(state):
            block = _receive(block, phase.needs, channel)
            with channel.trace.span(phase.update.__name__.replace("_", " "), "compute"):
                block = phase.update(block, problem)
            _send(block, phase, channel)
            state[i] = block
    channel.finish()
    return state


def _source(block: Block, needs: str | None) -> tuple[str, int] | None:
    # The field and the boundary over which it comes, or None at the network's ends.
    if needs is None or getattr(block, needs) is None:
        return None
    field, side = needs.split("_")
    return field, block.first - 1 if side == "prev" else block.first + block.num_layers - 1


def _expect(block: Block, needs: str | None, channel: LocalChannel) -> None:
    if needs is not None and (source := _source(block, needs)):
        channel.expect(*source, like=getattr(block, needs))


def _receive(block: Block, needs: str | None, channel: LocalChannel) -> Block:
    if needs is not None and (source := _source(block, needs)):
        return block.with_fields({needs: channel.receive(*source)})
    return block


def _send(block: Block, phase: Phase, channel: LocalChannel) -> None:
    if phase.sends is None or (block.is_first if phase.to == "previous" else block.is_last):
        return
    boundary = block.first - 1 if phase.to == "previous" else block.first + block.num_layers - 1
    channel.send(phase.sends, boundary, getattr(block, phase.sends), phase.to)

"""One iteration of any layer-parallel algorithm: its phases, and the exchange between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch

from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block
from gamlp_admm.parallel.channel import LocalChannel
from gamlp_admm.system.records import replace

Update = Callable[[Block, Problem], Block]


@dataclass(frozen=True)
class Phase:
    """An update of every block, what it needs from a neighbour first, and what it sends afterwards.

    Attributes:
        update: The pure update of one block.
        needs: A field of the neighbour that must have arrived: ``p_next``, ``q_prev``, or ``None``.
        sends: Fields that neighbours need later: ``p``, which goes to the previous block, and ``q``, to the next.
        shares: A field of which both ends of a boundary compute the same bits, ``u``, as ``u`` below and ``u_prev``
            above it, or ``None``: where one process has both blocks, the upper one takes it from the lower.
        order: ``together`` where the blocks do not depend on each other, or ``ends first`` where what leaves the
            process is to leave early; in a sweep, ``backward`` or ``forward``, each block needs what its neighbour
            sends in the same phase.
    """

    update: Update
    needs: str | None = None
    sends: tuple[str, ...] = ()
    shares: str | None = None
    order: Literal["together", "ends first", "backward", "forward"] = "together"

    def sequence(self, count: int) -> list[int]:
        """Return the numbers of consecutive blocks in the order in which they are updated."""
        numbers = list(range(count))
        if self.order == "ends first" and count > 1:
            return [0, count - 1, *numbers[1:-1]]
        return numbers[::-1] if self.order == "backward" else numbers


def iterate(state: Sequence[Block], phases: Sequence[Phase], problem: Problem, channel: LocalChannel) -> list[Block]:
    """Return the blocks after one iteration.

    Arguments as :func:`advance`, which does it.
    """
    state = list(state)
    advance(state, phases, problem, channel)
    return state


def advance(state: list[Block], phases: Sequence[Phase], problem: Problem, channel: LocalChannel) -> None:
    """Run one iteration, in place of the blocks in the list, so that none is held for longer than it is needed.

    Within a phase the blocks do not depend on each other, unless it is a sweep; a field that a phase sends travels
    while later phases compute, until one of them needs it. What is sent goes through the problem's codecs: both ends of
    a boundary hold what the codec makes of it, whether or not they are in one process.

    Args:
        state: Consecutive blocks that this process owns.
        phases: The algorithm.
        problem: What is minimised.
        channel: Carries fields to and from the blocks' neighbours.
    """
    for phase in phases:
        for block in state:
            _expect(block, phase.needs, problem, channel)
    for phase in phases:
        for i in phase.sequence(len(state)):
            _update(state, i, phase, problem, channel)
    channel.finish()


def _update(state: list[Block], i: int, phase: Phase, problem: Problem, channel: LocalChannel) -> None:
    block = _receive(state[i], phase.needs, problem, channel)
    shared: dict[str, Any] = {}
    if phase.shares is not None and i > 0:
        shared = {f"{phase.shares}_prev": getattr(state[i - 1], phase.shares)[-1:]}
        block = replace(block, **dict.fromkeys(shared, cast(Any, None)))
    with channel.trace.span(phase.update.__name__.replace("_", " "), "compute"):
        updated = phase.update(block, problem)
    if shared:
        updated = updated.with_fields(shared)
    for field in phase.sends:
        updated = _send(block, updated, field, problem, channel)
    state[i] = updated


def _source(block: Block, needs: str | None) -> tuple[str, int] | None:
    # The field and the boundary over which it comes, or None at the network's ends.
    if needs is None or getattr(block, needs) is None:
        return None
    field, side = needs.split("_")
    return field, block.first - 1 if side == "prev" else block.first + block.num_layers - 1


def _expect(block: Block, needs: str | None, problem: Problem, channel: LocalChannel) -> None:
    if needs is None or (source := _source(block, needs)) is None:
        return
    field, boundary = source
    if channel.leads_away(boundary):
        held = getattr(block, needs)
        most = problem.codecs.size(field, range(boundary, boundary + 1), held)
        fixed = problem.codecs.at(field, boundary).fixed
        channel.expect(field, boundary, like=held.new_empty(most, dtype=torch.uint8), fixed=fixed)


def _receive(block: Block, needs: str | None, problem: Problem, channel: LocalChannel) -> Block:
    if needs is None or (source := _source(block, needs)) is None:
        return block
    field, boundary = source
    tensor = channel.receive(field, boundary)
    if channel.leads_away(boundary):
        held = getattr(block, needs)
        with channel.trace.span(f"decode {field}", "compute"):
            tensor = problem.codecs.at(field, boundary).decode(tensor, held, held)
    return block.with_fields({needs: tensor})


def _send(before: Block, block: Block, field: str, problem: Problem, channel: LocalChannel) -> Block:
    # Returns the block with what its neighbours make of the field: for all layers of the stack, because what does not
    # leave the stack crosses the boundaries inside it.
    down = field == "p"
    if block.is_first if down else block.is_last:
        return block
    codecs, S = problem.codecs, block.num_layers
    lowest = block.first - 1 if down else block.first
    boundaries, outermost = range(lowest, lowest + S), 0 if down else S - 1
    boundary = boundaries[outermost]
    values = getattr(block, field)
    with channel.trace.span(f"encode {field}", "compute"):
        leaving = boundary if channel.leads_away(boundary) else None
        if leaving is None and codecs.on_grid(field):  # where the update has put it
            sent, payload, size = values, None, codecs.size(field, boundaries, values)
        else:
            sent, payload, size = codecs.send(field, boundaries, values, before.sent(field), leaving)
    if payload is None:
        channel.send(field, boundary, sent[outermost : outermost + 1], size)
    else:
        fixed, most = codecs.at(field, boundary).fixed, codecs.size(field, range(boundary, boundary + 1), values)
        channel.send(field, boundary, payload, size, None if fixed else most)
    return block.with_sent(field, sent)

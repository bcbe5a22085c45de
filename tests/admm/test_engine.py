"""What is sent when: an iteration of each algorithm as a literal list."""

from __future__ import annotations

import weakref
from dataclasses import replace
from itertools import pairwise
from types import ModuleType

import pytest
import torch
from problems import random_problem, start
from torch import Tensor

from gamlp_admm.admm.engine import Phase, advance, iterate
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import dladmm, mdlam, pdadmm
from gamlp_admm.parallel.channel import LocalChannel


class Recording(LocalChannel):
    """Notes what each block does: ``"layer: what it waits for, update, what it sends"``."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.waited: list[str] = []

    def receive(self, field: str, boundary: int) -> Tensor:
        self.waited.append(f"{field} from {boundary + (field == 'p')}")
        return super().receive(field, boundary)

    def send(self, field: str, boundary: int, tensor: Tensor, size: int = 0, most: int | None = None) -> None:
        self.steps[-1] += f", {field} to {boundary + (field != 'p')}"
        super().send(field, boundary, tensor, size, most)

    def recorded(self, phase: Phase) -> Phase:
        def update(block: Block, problem: Problem) -> Block:
            self.steps.append(f"{block.first}: " + ", ".join([*self.waited, phase.update.__name__]))
            self.waited.clear()
            return phase.update(block, problem)

        return replace(phase, update=update)


def steps(algorithm: ModuleType, groups: list[range] | None = None, phases: str = "PHASES") -> list[str]:
    """Return the steps of an iteration of a network of three layers, or of the ``groups`` of one of five."""
    kind = getattr(algorithm, "MDLAMProblem", Problem)
    widths = [4, 5, 5, 3] if groups is None else [4, 5, 5, 5, 5, 3]
    x, weights, problem = random_problem(widths, 6, kind=kind)
    channel = Recording()
    recorded = [channel.recorded(phase) for phase in getattr(algorithm, phases)]
    iterate(start(algorithm, x, weights, problem, groups), recorded, problem, channel)
    return channel.steps


EXPECTED = {  # a line a phase
    pdadmm: [
        "0: update_p", "1: update_p, p to 0", "2: update_p, p to 1",
        "0: update_W_b_z", "1: update_W_b_z", "2: update_W_b_z",
        "0: p from 1, update_q, q to 1", "1: p from 2, update_q, q to 2", "2: update_q",
        "0: update_u", "1: q from 0, update_u", "2: q from 1, update_u",
    ],
    dladmm: [
        "2: backward, p to 1", "1: p from 2, backward, p to 0", "0: p from 1, backward",
        "0: forward, q to 1", "1: q from 0, forward, q to 2", "2: q from 1, forward",
        "0: update_u", "1: update_u", "2: update_u",
    ],
    mdlam: [
        "0: forward, q to 1", "1: q from 0, forward, q to 2", "2: q from 1, forward",
        "0: keep", "1: keep, p to 0", "2: keep, p to 1",
        "0: p from 1, keep", "1: p from 2, keep", "2: keep",
    ],
}  # fmt: skip


@pytest.mark.parametrize("algorithm", EXPECTED, ids=lambda m: m.__name__.split(".")[-1])
def test_an_iteration(algorithm: ModuleType) -> None:
    assert steps(algorithm) == EXPECTED[algorithm]


def test_an_iteration_in_which_what_is_sent_travels_while_weights_are_updated() -> None:
    assert steps(pdadmm, phases="STALE") == [
        "0: update_p_q, q to 1", "2: update_p_q, p to 1", "1: update_p_q, p to 0, q to 2",
        "0: update_W_b_z", "1: update_W_b_z", "2: update_W_b_z",
        "0: p from 1, keep", "1: p from 2, keep", "2: keep",
        "0: update_u", "1: q from 0, update_u", "2: q from 1, update_u",
    ]  # fmt: skip


SETTLING = {
    dladmm: [
        "0: output, q to 1", "1: output, q to 2", "2: output",
        "0: keep", "1: q from 0, keep", "2: q from 1, keep",
    ],
    mdlam: [
        "0: output, q to 1", "1: output, q to 2", "2: output",
        "0: return_to_box", "1: q from 0, return_to_box, p to 0", "2: q from 1, return_to_box, p to 1",
        "0: p from 1, keep", "1: p from 2, keep", "2: keep",
    ],
}  # fmt: skip


@pytest.mark.parametrize("algorithm", SETTLING, ids=lambda m: m.__name__.split(".")[-1])
def test_what_follows_from_variables_changed_from_outside(algorithm: ModuleType) -> None:
    assert steps(algorithm, phases="SETTLE") == SETTLING[algorithm]


def test_blocks_of_one_process_share_what_both_compute() -> None:
    x, weights, problem = random_problem([4, 5, 5, 3], 6)
    state = start(pdadmm, x, weights, problem)
    for _ in range(2):
        before, state = state, iterate(state, pdadmm.PHASES, problem, LocalChannel())
        for below, above in pairwise(state):
            assert below.u is not None
            assert above.u_prev is not None
            assert above.u_prev.data_ptr() == below.u.data_ptr()
        assert not torch.equal(before[0].u, state[0].u)  # type: ignore[arg-type]


def test_a_block_that_is_updated_is_let_go() -> None:
    x, weights, problem = random_problem([4, 5, 5, 3], 6)
    state = start(pdadmm, x, weights, problem)
    advance(state, pdadmm.PHASES, problem, LocalChannel())
    held = [(weakref.ref(block), weakref.ref(block.z)) for block in state]
    kept = [block.only(("q",)) for block in state]
    q = [block.q for block in state]
    advance(state, pdadmm.PHASES, problem, LocalChannel())
    assert all(ref() is None for pair in held for ref in pair)
    assert all(k.q is old for k, old in zip(kept[:-1], q[:-1], strict=True))
    assert sum(t.numel() for block in kept for name, t in block.tensors().items() if name != "q") == 0


def test_stacks_send_at_their_ends_alone() -> None:
    assert steps(pdadmm, [range(1), range(1, 4), range(4, 5)]) == [
        "0: update_p", "1: update_p, p to 0", "4: update_p, p to 3",
        "0: update_W_b_z", "1: update_W_b_z", "4: update_W_b_z",
        "0: p from 1, update_q, q to 1", "1: p from 4, update_q, q to 4", "4: update_q",
        "0: update_u", "1: q from 0, update_u", "4: q from 3, update_u",
    ]  # fmt: skip

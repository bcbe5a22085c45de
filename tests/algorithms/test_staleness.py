"""A staleness of 1: against its formulas, the same u at both ends, the same points as without."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from problems import (
    blobs,
    from_blocks,
    random_problem,
    random_state,
    reference_iteration,
    singles,
    start,
    to_blocks,
)
from torch import Tensor

from gamlp_admm import GAMLP, Anderson, PdADMMG
from gamlp_admm.admm.engine import Phase, iterate
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import pdadmm, trainer
from gamlp_admm.codecs.plan import Codecs, Plan
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment
from gamlp_admm.nn.activations import PiecewiseLinear
from gamlp_admm.nn.network import Network
from gamlp_admm.parallel.channel import LocalChannel

WIDTHS = [4, 5, 5, 5, 3]
STACKED = [range(1), range(1, 3), range(3, 4)]


def after(state: list[Block], phases: tuple[Phase, ...], problem: Problem, iterations: int) -> list[Block]:
    for k in range(iterations):
        now = replace(problem, codecs=replace(problem.codecs, iteration=k + 1))
        state = iterate(state, phases, now, LocalChannel())
    return state


@pytest.mark.parametrize("rule", ["linesearch", "exact"])
@pytest.mark.parametrize("groups", [None, STACKED], ids=["single", "stacked"])
def test_an_iteration_is_the_formulas(rule: str, groups: list[range] | None) -> None:
    weight = 0.5 + torch.rand(7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    _, weights, problem = random_problem(WIDTHS, 7, rule=rule, weight=weight)
    wanted = random_state(WIDTHS, 7)
    problem = replace(problem, normal=None if rule == "linesearch" else type(problem.normal)(wanted.P[0], weight))
    made = to_blocks(wanted, groups or singles(weights))
    for _ in range(3):
        wanted = reference_iteration(wanted, problem, stale=True)
        made = after(made, pdadmm.STALE, problem, 1)
    for field, tensors in vars(from_blocks(made)).items():
        for mine, expected in zip(tensors, getattr(wanted, field), strict=True):
            assert torch.allclose(mine, expected, rtol=1e-9, atol=1e-9), field


@pytest.mark.parametrize("codec", ["fp32", "int2-delta", "grid:-1:1:64"])
def test_both_ends_hold_the_same(codec: str) -> None:
    x, weights, problem = random_problem(WIDTHS, 7, dtype=torch.float32)
    problem = replace(problem, codecs=Codecs(Plan.of(codec)))
    apart = (*pdadmm.STALE[:-1], replace(pdadmm.STALE[-1], shares=None))  # as two processes compute u, each for itself
    state = after(start(pdadmm, x, weights, problem, STACKED), apart, problem, 4)
    together = after(start(pdadmm, x, weights, problem), pdadmm.STALE, problem, 4)
    for below, above in pairwise(state):
        assert torch.equal(below.u[-1:], above.u_prev)  # type: ignore[index, arg-type]
        assert torch.equal(below.sent("q")[-1:], above.q_prev)  # type: ignore[arg-type]
        assert torch.equal(above.sent("p")[:1], below.p_next)  # type: ignore[arg-type]
    for mine, other in zip(from_blocks(state).U, from_blocks(together).U, strict=True):
        assert torch.equal(mine, other)


def test_it_converges_to_the_same_point() -> None:
    # With f(z) = z and fixed weights the problem is convex, and has one solution.
    x, weights, problem = random_problem([3, 4, 2], 5, loss="squared_error", rule="exact", rho=0.5, nu=0.5)
    linear = PiecewiseLinear("linear", lambda z: z.clone(), ((-math.inf, math.inf, 1.0, 0.0),))
    problem = replace(problem, network=Network(linear))

    def bare(block: Block, problem: Problem) -> Block:
        return replace(pdadmm.update_p(block, problem), q=pdadmm.update_q(block, problem).q)

    def solved(phases: tuple[Phase, ...]) -> list[Tensor]:
        states = (phases[0], Phase(pdadmm.update_z), *phases[2:])
        made = from_blocks(after(start(pdadmm, x, weights, problem), states, problem, 150))
        return [*made.P, *made.Z, *made.Q, *made.U]

    wanted, made = solved(pdadmm.PHASES), solved(pdadmm.STALE)
    assert all(torch.allclose(mine, expected, atol=1e-8) for mine, expected in zip(made, wanted, strict=True))
    lost = solved((replace(pdadmm.STALE[0], update=bare), *pdadmm.STALE[1:]))  # not held back, both ends overshoot
    assert float(lost[-1].abs().max()) > 1e3


def test_what_it_says_of_itself() -> None:
    model = GAMLP(8, 6, 3, 3, init="kaiming")
    result = PdADMMG(rho=1.0, nu=0.1, staleness=1).fit(model, blobs(), 2, seed=0)
    assert result.converges is None  # the theorem is of iterations that wait
    assert PdADMMG(staleness=1).settings()["staleness"] == "1"
    assert PdADMMG().assumed()["staleness"] == "0"
    assert repr(PdADMMG(rho=1.0, staleness=1)).endswith("staleness=1)")
    faster = Anderson(PdADMMG(rho=1.0, nu=0.1, staleness=1), 3).fit(model, blobs(), 4, seed=0)
    assert len(faster.history) == 4


WRONG: dict[str, tuple[str, Any]] = {
    "more": ("staleness 2: allowed: 0, 1", lambda: PdADMMG(staleness=2)),
    "no number": ("staleness must be an integer, not '1'", lambda: PdADMMG(staleness="1")),  # type: ignore[arg-type]
    "batches": ("staleness 1 needs all rows at once", lambda: PdADMMG(staleness=1, batch_size=8)),
    "sweeps": ("staleness does not apply to dladmm; it takes", lambda: trainer("dladmm", staleness=1)),
    "less": ("staleness must be an integer from 0 to 1, not -1", lambda: Experiment(staleness=-1).resolve()),
    "option": ("staleness must be at most 1, not 2", lambda: Experiment(staleness=2).resolve()),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str) -> None:
    said, call = WRONG[name]
    with pytest.raises(InputError, match=said):
        call()

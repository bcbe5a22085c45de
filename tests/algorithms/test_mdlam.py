"""mDLAM: its blocks against the objective written out, feasibility, monotony, extrapolation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import problems
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, blobs, iterated, randn, start
from torch import Tensor

from gamlp_admm import GAMLP, MDLAM
from gamlp_admm.admm.blocks import RULES
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import mdlam
from gamlp_admm.errors import InputError
from gamlp_admm.nn.activations import ACTIVATIONS, activation
from gamlp_admm.nn.losses import RISKS

WIDTHS = [4, 5, 6, 3]
N = 9
MONOTONE = ["relu", "leaky_relu", "hardtanh", "tanh", "sigmoid"]


random_problem = partial(problems.random_problem, kind=mdlam.MDLAMProblem)


def run(state: list[Block], problem: mdlam.MDLAMProblem, iterations: int = 1, first: int = 0) -> list[Block]:
    for k in range(first, first + iterations):
        state = iterated(mdlam, state, replace(problem, momentum=mdlam.nesterov(k)))
    return state


def naive(state: Sequence[Block], problem: mdlam.MDLAMProblem) -> Tensor:
    """Return F as the paper writes it, from p, W, b and z."""
    total = problem.risk.value(state[-1].z[0], problem.y, problem.weight)
    for s in state:
        W = s.W[0]
        total = total + problem.mu * (W.abs().sum() if problem.regularizer == "l1" else (W**2).sum() / 2)
        total = total + problem.rho / 2 * ((s.z[0] - s.p[0] @ W.T - s.b[0]) ** 2).sum()
    return total


def violation(state: Sequence[Block], problem: mdlam.MDLAMProblem) -> float:
    """Return by how much the worst entry leaves |a − f(z)| ≤ ε."""
    gaps = [(after.p - problem.f(s.z)).abs().max() for s, after in pairwise(state)]
    return float(max(gaps, default=torch.tensor(0.0))) - problem.epsilon


# --- blocks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", MONOTONE)
@pytest.mark.parametrize("epsilon", [0.01, 0.3, 5.0])
def test_hidden_z_is_the_nearest_that_is_allowed(f: str, epsilon: float) -> None:
    _, _, problem = random_problem(WIDTHS, N, f=f, rho=0.7)
    problem = replace(problem, epsilon=epsilon)
    x, weights, _ = random_problem(WIDTHS, N, f=f)
    state = run(start(mdlam, x, weights, problem), problem)
    s = replace(state[1], W=randn(1, 6, 5, seed=3))
    s = replace(s, M=s.p @ s.W.mT)
    after = mdlam.update_b_z(s, problem)  # type: ignore[arg-type]
    m, a = s.p @ s.W.mT + after.b[:, None], s.p_next
    assert a is not None
    assert ((problem.f(after.z) - a).abs() <= epsilon + 1e-9).all()
    grid = torch.linspace(-9, 9, 3001, dtype=F64)[:, None, None, None]
    allowed = (problem.f(grid) - a).abs() <= epsilon
    best = torch.where(allowed, (grid - m) ** 2, math.inf).amin(0)
    assert ((after.z - m) ** 2 <= best + 1e-12).all()


@pytest.mark.parametrize("f", MONOTONE)
def test_preimages(f: str) -> None:
    kind = activation(f)
    z = 3 * randn(2000, seed=1)
    low, high = kind.preimage(kind(z) - 0.2, kind(z) + 0.1)
    assert ((low <= z) & (z <= high)).all()
    for bound in (low, high):
        inside = bound.isfinite()
        assert ((kind(bound) - kind(z))[inside] <= 0.1 + 1e-9).all()
        assert ((kind(bound) - kind(z))[inside] >= -0.2 - 1e-9).all()
    beyond_low, beyond_high = kind.limits
    if math.isfinite(beyond_low):  # nothing is that low: the lowest there is
        _, high = kind.preimage(torch.tensor([beyond_low - 9.0]), torch.tensor([beyond_low - 5.0]))
        assert (kind(high) - beyond_low).abs() < 1e-5
    if math.isfinite(beyond_high):
        low, _ = kind.preimage(torch.tensor([beyond_high + 5.0]), torch.tensor([beyond_high + 9.0]))
        assert (kind(low) - beyond_high).abs() < 1e-5


def test_weights_and_inputs_descend_from_extrapolated_points_or_from_where_they_were() -> None:
    for seed in range(20):
        x, weights, problem = random_problem(WIDTHS, N, seed, rho=0.7, mu=0.1)
        problem = replace(problem, epsilon=0.2)
        state = run(start(mdlam, x, weights, problem), problem, 6)
        before = naive(state, problem)
        for momentum in (0.0, 0.5, 50.0):  # the last throws anything too far
            now = replace(problem, momentum=momentum)
            for l, s in enumerate(state):
                assert isinstance(s, mdlam.MomentumBlock)
                for update in (mdlam.update_weights, mdlam.update_a, mdlam.update_b_z):
                    after = [*state[:l], update(s, now), *state[l + 1 :]]
                    assert naive(after, problem) <= before + 1e-12 * before.abs()
                    assert violation(after, problem) < 1e-12
                    torch.testing.assert_close(after[l].M, after[l].p @ after[l].W.mT)


def test_the_papers_momentum() -> None:
    s = [0.0]
    for _ in range(30):
        s.append((1 + math.sqrt(1 + 4 * s[-1] ** 2)) / 2)
    for k in range(1, 30):
        assert mdlam.nesterov(k) == pytest.approx((s[k] - 1) / s[k + 1])
    assert mdlam.nesterov(0) == mdlam.nesterov(1) == 0


def test_extrapolation_is_applied() -> None:
    x, weights, problem = random_problem(WIDTHS, N, rho=0.7, mu=0.1)
    problem = replace(problem, epsilon=0.2)
    state = run(start(mdlam, x, weights, problem), problem, 8)
    slow, fast = (run(state, problem, 1, first=k) for k in (0, 8))
    assert any(not torch.equal(a.W, b.W) for a, b in zip(slow, fast, strict=True))
    # A step from W + ω(W − W_before), written out.
    s, omega = state[0], mdlam.nesterov(8)
    assert isinstance(s, mdlam.MomentumBlock)
    assert s.W_before is not None
    W = s.W + omega * (s.W - s.W_before)
    r = s.p @ W.mT + s.b[:, None] - s.z
    G = problem.rho * r.mT @ s.p + problem.mu * W
    H = problem.rho * s.p.mT @ s.p + problem.mu * torch.eye(4, dtype=F64)
    theta = (G * (G @ H)).sum(-1, keepdim=True) / (G * G).sum(-1, keepdim=True)
    torch.testing.assert_close(fast[0].W, W - G / theta)


# --- iterations ---------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rule=st.sampled_from(RULES),
    regularizer=st.sampled_from(["l1", "l2"]),
    loss=st.sampled_from(sorted(RISKS)),
    f=st.sampled_from(MONOTONE),
    depth=st.integers(1, 5),
    rho=st.floats(1e-4, 100),
    mu=st.floats(0, 1),
    epsilon=st.sampled_from([1e-3, 0.1, 1.0, 100.0]),
)
def test_the_objective_never_rises_at_fixed_epsilon(
    seed: int, rule: str, regularizer: str, loss: str, f: str, depth: int, rho: float, mu: float, epsilon: float
) -> None:
    widths = [4, *[5] * (depth - 1), 3]
    x, weights, problem = random_problem(widths, 8, seed, loss=loss, f=f, rho=rho, mu=mu, rule=rule, tau=0.1)
    problem = replace(problem, regularizer=regularizer, epsilon=epsilon)
    state = start(mdlam, x, weights, problem)
    values = [naive(state, problem).item()]
    for k in range(12):
        state = run(state, problem, 1, first=k)
        values.append(naive(state, problem).item())
        assert violation(state, problem) <= 1e-7 * (1 + epsilon)
        measured = mdlam.layer_terms(state, state, problem)
        assert measured[0].sum().item() == pytest.approx(values[-1], rel=1e-9)
    assert max(b - a for a, b in pairwise(values)) <= 1e-8 * (1 + abs(values[0])), values


def test_shrinking_epsilon_makes_the_layers_meet() -> None:
    data, model = blobs(), GAMLP(8, 6, 3, 4, init="kaiming").double()
    result = MDLAM(rho=0.1, mu=0.01, epsilon=10.0, epsilon_min=1e-3).fit(model, data, 60, seed=0)
    assert result.history[-1]["primal_residual"] <= 3 * 6 * int(data.train_mask.sum()) * 1e-6
    assert result.history[-1]["dual_residual"] is None
    assert result.last["train_accuracy"] > 0.7


@pytest.mark.parametrize("solver", RULES)
def test_extrapolation_does_not_hurt(solver: str) -> None:
    def objective(nesterov: bool) -> float:
        model = GAMLP(8, 6, 3, 3, init="kaiming").double()
        trainer = MDLAM(rho=0.1, mu=0.01, epsilon=0.05, epsilon_min=0.05, solver=solver, tau=0.01, nesterov=nesterov)
        objectives = [r["objective"] for r in trainer.fit(model, blobs(), 80, seed=0).history]
        assert all(b <= a + 1e-9 * abs(a) for a, b in pairwise(objectives))
        return float(objectives[-1])

    assert objective(True) < 1.02 * objective(False)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - set(MONOTONE)))
def test_activations_that_are_not_monotone_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is not monotone; allowed: relu, leaky_relu, hardtanh, tanh, sigmoid"):
        MDLAM().fit(GAMLP(8, 6, 3, 2, activation=name), blobs(), 2)


@pytest.mark.parametrize(
    "options", [{"epsilon": 0.0}, {"epsilon_min": -1.0}, {"epsilon_decay": 1.5}, {"rho": 0.0}, {"regularizer": "l3"}]
)
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        MDLAM(**options)

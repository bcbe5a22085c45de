"""dlADMM: its blocks against the augmented Lagrangian written out, sweeps, monotony, processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import (
    F64,
    blobs,
    iterated,
    lagrangian,
    rand,
    randn,
    random_problem,
    random_weights,
    row_weights,
    start,
)
from torch import Tensor

from gamlp_admm import GAMLP, DlADMM
from gamlp_admm.admm.blocks import RULES
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import dladmm
from gamlp_admm.errors import InputError
from gamlp_admm.nn.activations import activation
from gamlp_admm.nn.losses import RISKS, risk
from gamlp_admm.nn.network import Network

WIDTHS = [4, 5, 6, 3]
N = 9


def naive(state: Sequence[Block], problem: Problem) -> Tensor:
    """Return L_ρ as the paper writes it, from p, W, b, z and the last u alone; autograd goes through."""
    nu, rho, mu, f, w = problem.nu, problem.rho, problem.mu, problem.f, row_weights(problem)
    last = state[-1]
    assert last.u is not None
    total = problem.risk.value(last.z[0], problem.y, problem.weight)
    for l, s in enumerate(state):
        total = total + (mu * s.W.abs().sum() if problem.regularizer == "l1" else mu / 2 * (s.W**2).sum())
        gap = s.z[0] - s.p[0] @ s.W[0].T - s.b[0]
        if s is last:
            total = total + (w * last.u[0] * gap).sum() + rho / 2 * (w * gap**2).sum()
        else:
            a = state[l + 1].p[0]
            total = total + nu / 2 * (w * gap**2).sum() + nu / 2 * (w * (a - f(s.z[0])) ** 2).sum()
    return total


def gradient(state: Sequence[Block], problem: Problem, l: int, field: str) -> Tensor:
    leaf = getattr(state[l], field).clone().requires_grad_()
    changed = [*state[:l], state[l].with_fields({field: leaf}), *state[l + 1 :]]
    (result,) = torch.autograd.grad(naive(changed, problem), leaf)
    return result


def somewhere(problem: Problem, seed: int = 0, widths: Sequence[int] = WIDTHS, rows: int = N) -> list[Block]:
    """Return blocks at which no constraint holds, with consistent copies of their neighbours' variables."""
    x = randn(rows, widths[0], seed=seed)
    state = start(dladmm, x, random_weights(widths, seed), problem)
    values: list[dict[str, Tensor]] = []
    for l, s in enumerate(state):
        fields = {"z": randn(*s.z.shape, seed=seed + 10 + l), "b": randn(*s.b.shape, seed=seed + 20 + l)}
        if l:
            fields["p"] = randn(*s.p.shape, seed=seed + 30 + l)
            fields["q_prev"] = problem.f(values[-1]["z"])
            values[-1]["p_next"] = fields["p"]
        if s.u is not None:
            fields["u"] = randn(*s.u.shape, seed=seed + 40)
        values.append(fields)
    state = [s.with_fields(fields) for s, fields in zip(state, values, strict=True)]
    return [replace(s, M=s.p @ s.W.mT) for s in state]


def changed(state: Sequence[Block], l: int, block: Block, field: str) -> list[Block]:
    return [*state[:l], state[l].with_fields({field: getattr(block, field)}), *state[l + 1 :]]


# --- blocks -------------------------------------------------------------------------------------------------

UPDATES: dict[str, Any] = {
    "p": dladmm.update_a,
    "W": dladmm.update_weights,
    "b": dladmm.update_b,
    "z": dladmm.update_z,
}


def random_weighted(seed: int, **options: Any) -> Problem:
    weight = 0.5 + rand(N, seed=seed + 50)
    _, _, problem = random_problem(WIDTHS, N, seed, rho=0.7, nu=0.3, mu=0.2, weight=weight, **options)
    return replace(problem, normal=None)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("l", range(3))
@pytest.mark.parametrize("field", ["p", "W", "b"])
def test_exact_blocks_are_stationary_points(field: str, l: int, loss: str) -> None:
    problem = random_weighted(l, rule="exact", loss=loss)
    state = somewhere(problem, seed=l)
    block = UPDATES[field](state[l], problem)
    after = changed(state, l, block, field)
    if (field, l) == ("p", 0):  # the features
        assert block is state[0]
        return
    assert gradient(after, problem, l, field).abs().max() < 1e-9
    assert naive(after, problem) < naive(state, problem)
    torch.testing.assert_close(block.M, block.p @ block.W.mT)


@pytest.mark.parametrize("f", ["relu", "leaky_relu", "tanh"])
@pytest.mark.parametrize("l", range(2))
def test_hidden_z_is_no_worse_than_any_on_a_grid(l: int, f: str) -> None:
    problem = replace(random_weighted(l), network=Network(activation(f)))
    state = somewhere(problem, seed=l)
    z = dladmm.update_z(state[l], problem).z
    s, a = state[l], state[l + 1].p
    m = s.p @ s.W.mT + s.b[:, None]

    def value(z: Tensor) -> Tensor:
        return (z - m) ** 2 + (a - problem.f(z)) ** 2

    grid = torch.linspace(-8, 8, 4001, dtype=F64)[:, None, None, None]
    assert (value(z) <= value(grid).amin(0) + 1e-12).all()


@pytest.mark.parametrize("loss", RISKS)
def test_last_z_is_a_stationary_point(loss: str) -> None:
    problem = random_weighted(3, loss=loss)
    state = somewhere(problem, seed=3)
    after = changed(state, 2, dladmm.update_z(state[2], problem), "z")
    assert gradient(after, problem, 2, "z").abs().max() < 1e-8


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("regularizer", ["l1", "l2"])
def test_no_update_raises_the_lagrangian(regularizer: str, rule: str) -> None:
    problem = replace(random_weighted(1, rule=rule, tau=0.1), normal=None, regularizer=regularizer)
    state = somewhere(problem, seed=5)
    before = naive(state, problem)
    for l in (2, 1, 0):
        for field in ("z", "b", "W", "p"):
            state = changed(state, l, UPDATES[field](state[l], problem), field)
            state = [replace(s, M=s.p @ s.W.mT) for s in state]
            if field == "z" and l < 2:
                state[l + 1] = replace(state[l + 1], q_prev=problem.f(state[l].z))
            if field == "p" and l:
                state[l - 1] = replace(state[l - 1], p_next=state[l].p)
            after = naive(state, problem)
            assert after <= before + 1e-10 * (1 + before.abs()), (l, field)
            before = after


def test_multiplier_is_minus_the_gradient_of_the_risk() -> None:
    # Lemma 2 of the paper: the last z is exact, and U is updated from its residual.
    x, weights, problem = random_problem(WIDTHS, N, rho=2.0, rule="exact")
    last = iterated(dladmm, start(dladmm, x, weights, problem), problem, 3)[-1]
    z = last.z[0].clone().requires_grad_()
    (g,) = torch.autograd.grad(problem.risk.value(z, problem.y), z)
    assert last.u is not None
    torch.testing.assert_close(last.u[0], -g, atol=1e-7, rtol=1e-7)


# --- iterations ---------------------------------------------------------------------------------------------


def test_an_iteration_is_the_papers_order_of_updates() -> None:
    """Algorithm 1: for l = L … 1: a, z, b, W; for l = 1 … L: W, b, z, a; then U."""
    x, weights, problem = random_problem(WIDTHS, N, rho=0.7, nu=0.3, mu=0.2, rule="exact")
    state = iterated(dladmm, start(dladmm, x, weights, problem), problem, 1)  # so that nothing is at rest
    expected = list(state)

    def put(l: int, field: str) -> None:
        block = UPDATES[field](expected[l], problem)
        expected[l] = expected[l].with_fields({field: getattr(block, field), "M": block.M})
        if field == "p" and l:
            expected[l - 1] = replace(expected[l - 1], p_next=block.p)
        if field == "z" and l < 2:
            expected[l + 1] = replace(expected[l + 1], q_prev=problem.f(block.z))

    for l in (2, 1, 0):
        if l < 2:
            put(l + 1, "p")  # a_l is the input of layer l + 1
        for field in ("z", "b", "W"):
            put(l, field)
    for l in range(3):
        for field in ("W", "b", "z"):
            put(l, field)
        if l < 2:
            put(l + 1, "p")
    expected[2] = dladmm.update_u(expected[2], problem)
    for s, wanted in zip(iterated(dladmm, state, problem), expected, strict=True):
        for field in ("p", "W", "b", "z"):
            torch.testing.assert_close(getattr(s, field), getattr(wanted, field))
    torch.testing.assert_close(iterated(dladmm, state, problem)[-1].u, expected[2].u)


def test_terms_sum_to_the_lagrangian() -> None:
    for regularizer in ("l1", "l2"):
        problem = replace(random_weighted(4), regularizer=regularizer)
        state = somewhere(problem, seed=4)
        assert lagrangian(dladmm, state, problem) == pytest.approx(naive(state, problem).item())
        terms = dladmm.layer_terms(state, state, problem)
        assert terms.shape == (3, 3)
        gap = state[-1].z - state[-1].p @ state[-1].W.mT - state[-1].b[:, None]
        assert terms[1].sum().item() == pytest.approx((row_weights(problem) * gap**2).sum().item())
        assert not terms[2].any()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rule=st.sampled_from(RULES),
    regularizer=st.sampled_from(["l1", "l2"]),
    loss=st.sampled_from(sorted(RISKS)),
    f=st.sampled_from(["relu", "leaky_relu", "hardtanh", "tanh"]),
    depth=st.integers(1, 5),
    nu=st.floats(1e-3, 10),
    mu=st.floats(0, 1),
)
def test_the_lagrangian_never_rises_beyond_2H(
    seed: int, rule: str, regularizer: str, loss: str, f: str, depth: int, nu: float, mu: float
) -> None:
    widths = [4, *[5] * (depth - 1), 3]
    rho = 2.01 * risk(loss).smoothness
    assert dladmm.converges(rho, risk(loss).smoothness)
    x, weights, problem = random_problem(widths, 8, seed, loss=loss, f=f, rho=rho, nu=nu, mu=mu, rule=rule, tau=0.1)
    problem = replace(problem, regularizer=regularizer)
    state = iterated(dladmm, start(dladmm, x, weights, problem), problem)
    values = [lagrangian(dladmm, state, problem)]
    for _ in range(12):
        state = iterated(dladmm, state, problem)
        values.append(lagrangian(dladmm, state, problem))
    rises = [b - a for a, b in pairwise(values)]
    assert max(rises) <= 1e-8 * (1 + abs(values[0])), values


def test_convergence_condition() -> None:
    assert not dladmm.converges(1.0, 0.5)
    assert dladmm.converges(1.001, 0.5)
    assert DlADMM(rho=1.1).converges(activation("relu")) is True
    assert DlADMM(rho=1.1, loss="squared_error").converges(activation("relu")) is False


# --- the trainer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", RULES)
def test_it_learns_and_its_lagrangian_falls(solver: str) -> None:
    data, model = blobs(), GAMLP(8, 6, 3, 3, init="kaiming").double()
    result = DlADMM(rho=1.1, nu=0.1, mu=0.01, solver=solver, tau=0.01).fit(model, data, 60, seed=0)
    assert result.converges is True
    objectives = [r["objective"] for r in result.history]
    assert all(b <= a + 1e-9 * abs(a) for a, b in pairwise(objectives))
    assert result.last["train_accuracy"] > 0.8
    assert result.history[-1]["primal_residual"] < result.history[0]["primal_residual"]


def test_l1_gives_zeros_where_l2_gives_none() -> None:
    def zeros(regularizer: str, solver: str) -> int:
        model = GAMLP(8, 6, 3, 2, init="kaiming").double()
        trainer = DlADMM(rho=1.0, nu=0.1, mu=0.5, regularizer=regularizer, solver=solver)
        trainer.fit(model, blobs(), 80, seed=0, select="last")
        return sum(int((p == 0).sum()) for p in model.parameters() if p.ndim == 2)

    for solver in ("exact", "linesearch"):
        assert zeros("l1", solver) > 10
        assert zeros("l2", solver) == 0


def test_regression() -> None:
    x = randn(400, 4, seed=1)
    y = (x[:, :1] ** 2 + x[:, 1:2]).float()
    mask = torch.arange(400) < 300
    data = type("Data", (), {"x": x.float(), "y": y, "train_mask": mask, "test_mask": ~mask})()
    result = DlADMM(rho=2.1, nu=0.5, mu=1e-3, loss="squared_error").fit(
        GAMLP(4, 40, 1, 2, init="kaiming"), data, 100, seed=0, select="last"
    )
    assert result.last["test_accuracy"] > 0.8  # R²


@pytest.mark.parametrize("options", [{"rho": 0.0}, {"nu": -1.0}, {"mu": -1.0}, {"regularizer": "l3"}, {"solver": "x"}])
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        DlADMM(**options)

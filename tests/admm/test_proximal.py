"""Blocks that are not smooth: optimality conditions, descent, and what a step without its constraint would be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, rand, randn
from torch import Tensor

from gamlp_admm.admm import blocks, proximal

S, N, N_IN, N_OUT = 2, 12, 6, 4


def problem(seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return P, W, M and the residual r of a random target."""
    P, W = scale * randn(S, N, N_IN, seed=seed), randn(S, N_OUT, N_IN, seed=seed + 1)
    M = P @ W.mT
    return P, W, M, M - randn(S, N, N_OUT, seed=seed + 2)


def lasso(P: Tensor, W: Tensor, target: Tensor, nu: float, mu: float) -> Tensor:
    return nu / 2 * ((target - P @ W.mT) ** 2).sum((1, 2)) + mu * W.abs().sum((1, 2))


def test_soft_is_the_prox_of_the_absolute_value() -> None:
    x = torch.linspace(-3, 3, 61, dtype=F64)
    grid = torch.linspace(-4, 4, 8001, dtype=F64)[:, None]
    best = grid[((grid - x) ** 2 / 2 + 0.7 * grid.abs()).argmin(0), 0]
    torch.testing.assert_close(proximal.soft(x, torch.tensor(0.7, dtype=F64)), best, atol=1e-3, rtol=0)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("nu", "mu"), [(1.0, 0.5), (0.1, 0.5), (3.0, 0.0), (0.01, 5.0)])
def test_exact_weights_satisfy_the_conditions_of_the_lasso(nu: float, mu: float, constant: bool) -> None:
    P, W, M, r = problem(1)
    gram = P.mT @ P if constant else None
    G = blocks.W_gradient(r, P, W, nu, 0.0)
    new, product = proximal.W_l1_exact(G, P, W, nu, mu, gram)
    torch.testing.assert_close(product, P @ new.mT)
    gradient = nu * (P @ new.mT - (M - r)).mT @ P
    assert ((gradient + mu * new.sign())[new != 0].abs() < 1e-8).all()
    assert (gradient[new == 0].abs() <= mu + 1e-8).all()
    if mu >= 5.0:
        assert not new.any()


def test_exact_weights_stop_in_single_precision() -> None:
    P, W, M, r = (t.float() for t in problem(2, scale=100.0))
    G = blocks.W_gradient(r, P, W, 1.0, 0.0)
    new, _ = proximal.W_l1_exact(G, P, W, 1.0, 0.5)
    assert (lasso(P, new, M - r, 1.0, 0.5) <= lasso(P, W, M - r, 1.0, 0.5)).all()


def test_a_layers_lasso_does_not_depend_on_those_beside_it() -> None:
    P, W = randn(3, 20, 6, seed=1).float(), randn(3, 4, 6, seed=2).float()
    P[1] *= 30  # takes longer than the others
    G = randn(3, 4, 6, seed=3).float()
    whole, _ = proximal.W_l1_exact(G, P, W, 1.0, 0.5)
    for layer in range(3):
        one = slice(layer, layer + 1)
        assert torch.equal(proximal.W_l1_exact(G[one], P[one], W[one], 1.0, 0.5)[0], whole[one])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9999), nu=st.floats(1e-3, 100), mu=st.floats(0, 10), scale=st.sampled_from([0.0, 1e-3, 1, 50])
)
def test_a_step_of_weights_never_raises_the_lasso(seed: int, nu: float, mu: float, scale: float) -> None:
    P, W, M, r = problem(seed, scale)
    new, product = proximal.W_l1_step(blocks.W_gradient(r, P, W, nu, 0.0), P, W, M, nu, mu)
    assert torch.isfinite(new).all()
    torch.testing.assert_close(product, P @ new.mT)
    before = lasso(P, W, M - r, nu, mu)
    assert (lasso(P, new, M - r, nu, mu) <= before + 1e-11 * (1 + before)).all()


def test_steps_of_weights_come_to_the_solution() -> None:
    P, W, M, r = problem(3)
    target = M - r
    exact, _ = proximal.W_l1_exact(blocks.W_gradient(r, P, W, 1.0, 0.0), P, W, 1.0, 0.5)
    for _ in range(2000):
        W, M = proximal.W_l1_step(blocks.W_gradient(M - target, P, W, 1.0, 0.0), P, W, M, 1.0, 0.5)
    torch.testing.assert_close(W, exact, atol=1e-5, rtol=0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), nu=st.floats(1e-3, 100), width=st.sampled_from([0.0, 0.1, 1.0, 100.0]))
def test_a_step_of_inputs_stays_in_the_box_and_never_raises_the_fit(seed: int, nu: float, width: float) -> None:
    P, W, M, r = problem(seed)
    low = P - width * rand(S, N, N_IN, seed=seed + 3)
    high = P + width * rand(S, N, N_IN, seed=seed + 4)
    g = nu * r @ W
    new, product = proximal.p_in_box(g, P, W, M, nu, low, high)
    assert ((low - 1e-12 <= new) & (new <= high + 1e-12)).all()
    torch.testing.assert_close(product, new @ W.mT)
    target = M - r
    assert ((target - product).square().sum() <= (target - M).square().sum() * (1 + 1e-12)).all()
    if width == 0.0:
        assert torch.equal(new, P)


def test_in_a_wide_box_the_step_is_the_line_search() -> None:
    # Its start is 1.1 times too careful; the line search over [0, 1] leaves it so.
    P, W, M, r = problem(5)
    g, far = r @ W, torch.full_like(P, 1e9)
    new, _ = proximal.p_in_box(g, P, W, M, 1.0, -far, far)
    free, _ = blocks.p_step(g, P, W, M, 1.0, 0.0, blocks.Rule())
    torch.testing.assert_close(P - new, (P - free) / 1.1)


def test_where_the_gradient_vanishes_nothing_moves() -> None:
    P, W, M, _ = problem(6)
    zero = torch.zeros_like(P)
    new, product = proximal.p_in_box(zero, P, W, M, 1.0, P - 1, P + 1)
    assert torch.equal(new, P)
    assert torch.equal(product, M)
    new, _ = proximal.W_l1_step(torch.zeros_like(W), P, W, M, 1.0, 0.0)
    assert torch.equal(new, W)

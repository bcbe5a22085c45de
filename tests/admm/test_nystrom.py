"""Conjugate gradients with a sketch: descent, precision, and the same bits whoever makes it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, randn
from spectra import SHAPES, gap, objective, rows
from torch import Tensor

from gamlp_admm.admm.nystrom import Iterative


def decaying(N: int, n: int, seed: int = 0) -> Tensor:
    """Return rows whose eigenvalues fall as 1/i², as those of bags of words do."""
    U, V = torch.linalg.qr(randn(N, n, seed=seed))[0], torch.linalg.qr(randn(n, n, seed=seed + 1))[0]
    return 30 * U / torch.arange(1, n + 1, dtype=F64) @ V.T


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    shape=st.sampled_from(list(SHAPES)),
    decades=st.integers(0, 12),
    c=st.sampled_from([0.0, 1e-6, 0.1, 10.0]),
    rank=st.integers(1, 30),
    dtype=st.sampled_from([torch.float32, F64]),
)
def test_no_update_raises_the_objective(
    seed: int, shape: str, decades: int, c: float, rank: int, dtype: torch.dtype
) -> None:
    P, T = rows(shape, decades, seed).to(dtype), randn(SHAPES[shape][0], 3, seed=5).to(dtype)
    equations = Iterative(P, rank=rank, steps=4)
    W = randn(3, P.shape[1], seed=6).to(dtype)
    M = P @ W.T
    for _ in range(4):
        before = objective(P, W, T, c)
        W, M = equations.update(W, M, T, c)
        assert objective(P, W, T, c) <= before + 1e4 * torch.finfo(dtype).eps * (before + 900)
        torch.testing.assert_close(M, P @ W.T, rtol=0, atol=1e3 * torch.finfo(dtype).eps * float(1 + W.norm()))


def test_a_sketch_is_worth_many_steps() -> None:
    P, T, c = decaying(200, 120), randn(200, 3, seed=5), 0.01
    sketched, plain = Iterative(P, rank=40, steps=3), Iterative(P, rank=1, steps=3)
    gaps = {}
    for equations in (sketched, plain):
        W, M = torch.zeros(3, 120, dtype=F64), torch.zeros(200, 3, dtype=F64)
        for _ in range(4):
            W, M = equations.update(W, M, T, c)
        gaps[equations.rank] = gap(P, W, T, c)
    assert gaps[40] < 1e-3 * gaps[1]


def test_the_sketch_has_the_largest_eigenvalues() -> None:
    P = decaying(200, 120)
    U, values = Iterative(P, rank=40).sketch()
    wanted, V = torch.linalg.eigh(P.T @ P)
    torch.testing.assert_close(values[:8], wanted.flip(0)[:8], rtol=0.1, atol=0)
    assert (values <= wanted.flip(0)[:40] * (1 + 1e-6)).all()
    torch.testing.assert_close(U.T @ U, torch.eye(40, dtype=F64))
    assert float((U[:, 0] @ V[:, -1]).abs()) > 0.999


def test_full_rank_solves_in_one_step() -> None:
    P, T, c = rows("tall"), randn(60, 3, seed=5), 0.1
    W, _ = Iterative(P, steps=1).update(torch.zeros(3, 20, dtype=F64), torch.zeros(60, 3, dtype=F64), T, c)
    assert gap(P, W, T, c) < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_same_bits_whatever_else_draws_numbers(dtype: torch.dtype) -> None:
    P, T = decaying(60, 30).to(dtype), randn(60, 3, seed=5).to(dtype)
    first = Iterative(P, rank=8).fit(T, 0.1)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert torch.equal(Iterative(P, rank=8).fit(T, 0.1), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_target_that_is_met_stays() -> None:
    P, W = decaying(60, 30), torch.zeros(3, 30, dtype=F64)
    T = torch.zeros(60, 3, dtype=F64)
    new, M = Iterative(P, rank=8).update(W, T, T, 0.1)
    assert not new.any()
    assert not M.any()

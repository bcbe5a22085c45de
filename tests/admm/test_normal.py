"""Normal equations: every way to solve them against a singular value decomposition in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from problems import F64, rand, randn
from spectra import SHAPES, gap, minimiser, rows
from torch import Tensor

from gamlp_admm.admm import normal
from gamlp_admm.admm.normal import KEPT, Dual, Factored, NormalEquations, Primal
from gamlp_admm.admm.nystrom import Iterative

CLOSE = 1e-5  # of the objective at W = 0


def best_kind(P: Tensor, **options: Any) -> Factored:
    return (Primal if len(P) >= P.shape[1] else Dual)(P, **options)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("c", [0.0, 1e-6, 0.1, 10.0])
@pytest.mark.parametrize("decades", [0, 4, 10])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_factored_is_solved(shape: str, decades: int, c: float, dtype: torch.dtype) -> None:
    P, T = rows(shape, decades).to(dtype), randn(SHAPES[shape][0], 3, seed=5).to(dtype)
    W = randn(3, P.shape[1], seed=6).to(dtype)
    for kind in (Primal, Dual) if shape == "square" else (type(best_kind(P)),):
        equations = kind(P)
        assert gap(P, equations.fit(T, c), T, c) < CLOSE
        new, M = equations.update(W, P @ W.T, T, c)
        assert gap(P, new, T, c) < CLOSE
        assert new.dtype == M.dtype == dtype
        assert torch.equal(M, P @ new.T)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("c", [0.0, 0.1])
@pytest.mark.parametrize("rank", [0, 1, 13])
@pytest.mark.parametrize("shape", ["tall", "wide", "square"])
def test_singular_matrices(shape: str, rank: int, c: float, dtype: torch.dtype) -> None:
    P, T = rows(shape, rank=rank).to(dtype), randn(SHAPES[shape][0], 3, seed=5).to(dtype)
    for equations in (best_kind(P), Iterative(P)):
        W = equations.fit(T, c)
        assert torch.isfinite(W).all()
        assert gap(P, W, T, c) < CLOSE


@pytest.mark.parametrize("kind", [Primal, Dual])
def test_no_ridge_is_added_that_nobody_asked_for(kind: type[NormalEquations]) -> None:
    # One eigenvalue of 900·10⁴ beside others of 0.09 to 9: a ridge of n·ε·λ_max of float32 would be 20.
    P = rows("square", 2)
    P = torch.cat([P, 3000 * torch.ones(1, 40, dtype=F64) / 40**0.5]).float()[: 41 if kind is Primal else 40]
    T, c = randn(len(P), 3, seed=1).float(), 0.1
    wanted = minimiser(P, T, c)
    assert (kind(P).fit(T, c).double() - wanted).norm() < 1e-4 * wanted.norm()


def test_how_precisely_a_factor_is_applied() -> None:
    assert not normal.coarse(1e3, 0.1, torch.float32)
    assert normal.coarse(1e4, 0.1, torch.float32)
    assert not normal.coarse(1e4, 0.1, F64)
    assert normal.coarse(0.0, 0.0, F64)
    assert normal.coarse(float("nan"), 1.0, F64)
    P = rows("tall", 4).float()
    equations = Primal(P)
    assert equations.factor(10.0).inverse is not None
    assert equations.factor(1e-3).L is not None


def test_steps_refine_what_rounding_left() -> None:
    P, T, c = rows("tall", 6).float(), randn(60, 3, seed=5).float(), 0.02
    equations = Primal(P)
    assert equations.factor(c).inverse is not None
    W = torch.zeros(3, 20)
    M = P @ W.T
    gaps = []
    for _ in range(3):
        W, M = equations.update(W, M, T, c)
        gaps.append(gap(P, W, T, c))
    assert gaps[0] < normal.LOST**2
    assert max(gaps[1:]) < 1e-8


@pytest.mark.parametrize("kind", [Primal, Dual, Iterative])
def test_columns_that_no_row_has(kind: type[NormalEquations]) -> None:
    # As the one that compressed features carry: weight decay sets it to 0, and without it stays as it was.
    P = torch.cat([rows("wide")[:, :18], torch.zeros(20, 1, dtype=F64)], 1)
    W, T = randn(3, 19, seed=1), randn(20, 3, seed=2)
    decayed, _ = kind(P).update(W, P @ W.T, T, 0.1)
    kept, _ = kind(P).update(W, P @ W.T, T, 0.0)
    if kind is not Iterative:  # whose steps only move towards it
        assert decayed[:, -1].abs().max() < 1e-12
    torch.testing.assert_close(kept[:, -1], W[:, -1], atol=1e-6 if kind is Iterative else 1e-12, rtol=0)


@pytest.mark.parametrize("kind", [Primal, Dual, Iterative])
@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_a_weight_is_as_many_rows(shape: str, kind: type[NormalEquations]) -> None:
    P, T, c = rows(shape, 2), randn(SHAPES[shape][0], 3, seed=5), 0.1
    weight = 0.1 + 2 * rand(len(P), seed=3)
    equations = kind(P, weight)
    assert gap(P, equations.fit(T, c), T, c, weight) < 1e-7
    W = randn(3, P.shape[1], seed=6)
    new, _ = equations.update(W, P @ W.T, T, c)
    assert gap(P, new, T, c, weight) < (0.1 if kind is Iterative else 1e-10)


@pytest.mark.parametrize("kind", [Primal, Iterative])
def test_shards_sum_what_they_have(kind: Any) -> None:
    P, T, c, W = rows("tall"), randn(60, 3, seed=5), 0.1, randn(3, 20, seed=6)
    whole, _ = kind(P).update(W, P @ W.T, T, c)
    # The other shard's sums are those of an equal half, so that twice a sum is the sum.
    half = kind(P / 2**0.5, row_sum=lambda x: 2 * x)
    T = T / 2**0.5
    assert torch.allclose(half.update(W, half.P @ W.T, T, c)[0], whole, atol=1e-9)


def test_factors_are_kept_for_the_last_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []
    plain = normal.cholesky
    monkeypatch.setattr(normal, "cholesky", lambda H, c, scale: made.append(c) or plain(H, c, scale))
    P, T = rows("tall"), randn(60, 3, seed=5)
    equations = Primal(P)
    for c in (1.0, 1.0, 2.0, 1.0, 2.0):
        equations.fit(T, c)
    assert made == [1.0, 2.0]
    for c in (3.0, 2.0, 1.0):  # 1.0 is the one that was not used for the longest time
        equations.fit(T, c)
    assert made == [1.0, 2.0, 3.0, 1.0]


@pytest.mark.parametrize(("kind", "shape"), [(Primal, "tall"), (Dual, "wide"), (Iterative, "tall")])
def test_memory_is_as_stated(kind: Any, shape: str) -> None:
    P, T = rows(shape).float(), randn(SHAPES[shape][0], 3, seed=5).float()
    equations = kind(P)
    for c in (1e-3, 0.1, 1e-4, 10.0):
        equations.fit(T, c)
    held = sum(t.nbytes for t in equations.tensors())
    if kind is Iterative:
        assert held <= 4 * 20 * (20 + 4 * 3) + 8 * 60 * 3
    else:
        assert 0 < held <= 8 * (1 + KEPT) * min(P.shape) ** 2


def test_nothing_that_is_given_is_modified() -> None:
    P, T, W = rows("tall"), randn(60, 3, seed=5), randn(3, 20, seed=6)
    weight, M = 0.5 + rand(60, seed=1), rows("tall") @ randn(3, 20, seed=6).T
    given = (P, T, W, weight, M)
    copies = [t.clone() for t in given]
    for kind in (Primal, Dual, Iterative):
        equations = kind(P, weight)
        equations.update(W, M, T, 0.1)
        equations.fit(T, 0.1)
    assert all(torch.equal(t, copy) for t, copy in zip(given, copies, strict=True))


def test_a_matrix_by_blocks_is_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normal, "ENTRIES", 1)
    P, weight = randn(2500, 150, seed=1), rand(2500, seed=2)
    H = normal.gram_matrix(P, weight)
    torch.testing.assert_close(H, P.T * weight @ P)
    assert torch.equal(H, H.T)
    assert normal.gram_matrix(P[:0]).shape == (150, 150)

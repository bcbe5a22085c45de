"""Thin products with wide rows, and what majorises them."""

from __future__ import annotations

import pytest
import torch
from problems import F64, rand, randn

from gamlp_admm.admm.thin import Sketch, ThinRows


@pytest.mark.parametrize("sparse", [False, True])
def test_thin_products(sparse: bool) -> None:
    X = randn(50, 20, dtype=torch.float32)
    if sparse:
        X = torch.where(rand(50, 20, seed=3) < 0.9, 0, X.abs()) - rand(20, seed=4).float()  # centred words
    center = X.mean(0)
    A, thin = X - center, ThinRows(X, center)
    assert (thin.kept is not None) == sparse
    V, S = randn(20, 3, seed=6, dtype=torch.float32), randn(50, 3, seed=7, dtype=torch.float32)
    assert torch.allclose(thin.times(V), A @ V, atol=1e-5)
    assert torch.allclose(thin.transposed(S), A.T @ S, atol=1e-5)


def test_thin_rows_with_scaled_columns() -> None:
    X, factors, weight = randn(50, 20), rand(20, seed=2) + 0.1, rand(50, 1, seed=3)
    plain = ThinRows(X, X.mean(0))
    thin, A = plain.scaled(factors), (X - X.mean(0)) * factors
    V, S, b = randn(20, 3, seed=6), randn(50, 3, seed=7), randn(3, seed=8)
    assert torch.allclose(thin.times(V), A @ V)
    assert torch.allclose(thin.transposed(S), A.T @ S)
    W, own = thin.entered(V.T, b)  # for rows as they are
    assert torch.allclose(X @ W.T + own, A @ V + b)
    assert torch.allclose(plain.squares(weight), (weight * (X - X.mean(0)).square()).sum(0))
    assert plain.factors is None


@pytest.mark.parametrize("weighted", [False, True])
def test_a_sketch_majorises(weighted: bool) -> None:
    # A decaying spectrum of 60 directions, 10 of which are kept.
    X = randn(80, 60) * 0.8 ** torch.arange(60)
    X = X - X.mean(0)
    weight = 2 * rand(80, 1, seed=5) if weighted else torch.ones(80, 1, dtype=F64)
    sketch = Sketch(ThinRows(X, torch.zeros(60, dtype=F64)), weight, rank=10)
    inverse = sketch.step(torch.eye(60, dtype=F64), 0.5, 0.1)
    assert torch.allclose(inverse, inverse.T, atol=1e-10)
    gap = torch.linalg.inv(inverse) - (0.5 * X.T @ (X * weight) + 0.1 * torch.eye(60, dtype=F64))
    assert torch.linalg.eigvalsh(gap).min() > -1e-6 * torch.linalg.matrix_norm(X.T @ X, 2)

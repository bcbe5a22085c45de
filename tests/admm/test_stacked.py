"""Sums and element-wise updates of stacks of layers, slice by slice."""

from __future__ import annotations

import pytest
import torch
from problems import randn
from torch import Tensor

from gamlp_admm.admm import blocks, stacked
from gamlp_admm.nn.activations import ACTIVATIONS


@pytest.mark.parametrize("width", [5, 7, 64])
def test_slices_of_rows_change_nothing(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Element-wise updates run slice by slice where there are many rows.
    P, M, Q, U = (randn(2, 40, width, seed=i) for i in range(4))
    b, f = randn(2, width, seed=5), ACTIVATIONS["tanh"]

    def updates() -> list[Tensor]:
        return [
            blocks.residual(M, b, P),
            blocks.u_update(U, P, Q, 0.3),
            blocks.q_update(P, Q, U, f, 0.2, 0.3),
            blocks.z_hidden(M, b, P, Q, f),
        ]

    whole = updates()
    monkeypatch.setattr(stacked, "SLICE", 3 * width)  # 40 rows are no multiple of 3
    assert all(torch.allclose(a, b, atol=1e-13) for a, b in zip(updates(), whole, strict=True))


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_squared_distances(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = randn(3, rows, 7, seed=1), randn(3, rows, 7, seed=2)
    wanted = (X - Y).square().sum((1, 2))
    torch.testing.assert_close(stacked.squared_distances(X, Y), wanted)
    monkeypatch.setattr(stacked, "SLICE", 14)
    torch.testing.assert_close(stacked.squared_distances(X, Y), wanted)
    assert torch.equal(stacked.squared_distances(X[1:], Y[1:]), stacked.squared_distances(X, Y)[1:])


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_squared_columns(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    X = randn(3, rows, 7, seed=1)
    for entries in (14, 1000):
        monkeypatch.setattr(stacked, "SLICE", entries)
        torch.testing.assert_close(stacked.squared_columns(X), X.square().sum(1))
        assert torch.equal(stacked.squared_columns(X[1:]), stacked.squared_columns(X)[1:])

"""Sparse features: the same numbers as dense ones, and the same complaints."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.propagation import NodeFeatures, SparseFeatures, as_features

LAYOUTS = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)


def thin(dtype: torch.dtype = torch.float32) -> Tensor:
    """An empty row, an empty column, negative numbers."""
    x = torch.zeros(40, 60)
    x[torch.arange(1, 40), torch.arange(1, 40) % 29] = torch.arange(39.0) - 5
    x[7, :2] = torch.tensor([3.0, -1.0])
    return x.to(dtype)


@pytest.fixture(params=[50, 2**20])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row at a time, and all."""
    monkeypatch.setattr("gamlp_admm.propagation.sparse_features.BLOCK", request.param)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("given", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("asked", [None, torch.bfloat16, torch.float64])
def test_sparse_features_are_the_dense_ones(given: torch.dtype, asked: torch.dtype | None, normalize: bool) -> None:
    x = thin(given)
    expected, dtype = NodeFeatures.of(x, asked, normalize)
    for each in (x, *(x.to_sparse(layout=layout) for layout in LAYOUTS)):
        features, known = as_features(each, asked, normalize, look=True)
        assert isinstance(features, SparseFeatures)
        assert (features.dtype, known, features.shape, len(features)) == (expected.dtype, dtype, (40, 60), 40)
        assert features.nnz == x.count_nonzero()
        torch.testing.assert_close(features.tile(), expected.tile())
        torch.testing.assert_close(features.tile(slice(2, 5)), expected.tile(slice(2, 5)))


def test_dense_features_stay_so_where_many_are_not_zero() -> None:
    assert isinstance(as_features(thin())[0], NodeFeatures)  # where nobody asked to look
    assert SparseFeatures.found(torch.ones(9, 9)) is None
    x = torch.ones(1000, 16)
    x[::3] = 0  # which is all that a sample sees
    assert SparseFeatures.found(x) is None
    assert SparseFeatures.found(torch.zeros(5, 3)) is not None
    assert SparseFeatures.found(torch.zeros(0, 3)) is not None


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("layout", [torch.strided, *LAYOUTS])
def test_the_first_wrong_value_is_named(layout: Any, wrong: float) -> None:
    x = thin()
    x[3, 11] = x[20, 0] = wrong
    x = x if layout is torch.strided else x.to_sparse(layout=layout)
    with pytest.raises(InputError, match=r"2 NaN or infinite values \(as torch.float32\), the first at row 3, col"):
        as_features(x, look=True)
    with pytest.raises(InputError, match=r"data\.x must be a real tensor of shape"):
        as_features(x[0], look=True)

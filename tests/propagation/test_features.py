"""Features a few columns at a time: what they are computed with, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from gamlp_admm.errors import InputError
from gamlp_admm.propagation import NodeFeatures, dense_features


@pytest.fixture(params=[4, 2**22])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row at a time, and all."""
    monkeypatch.setattr("gamlp_admm.propagation.features.SMALL", request.param)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(
    "given", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool]
)
def test_tiles_are_columns_in_the_type_to_compute_in(given: torch.dtype) -> None:
    x = torch.tensor([[0, 1, 3, -4], [0, 0, 0, 0], [2, 2, 0, 0]]).to(given)
    features, dtype = NodeFeatures.of(x)
    assert dtype == (given if given.is_floating_point else torch.float32)
    assert torch.cat([features.tile(columns) for columns in features.tiles(3)], 1).equal(x.to(features.dtype))
    assert features.dtype == torch.promote_types(dtype, torch.float32)
    normal, _ = NodeFeatures.of(x, normalize=True)
    whole = F.normalize(x.to(normal.dtype), p=1.0, dim=1, eps=torch.finfo(normal.dtype).tiny)
    assert torch.cat([normal.tile(slice(i, i + 1)) for i in range(4)], 1).equal(whole)


def test_features_are_copied_only_where_they_must_be() -> None:
    x = torch.ones(3, 4)
    assert dense_features(x)[0].data_ptr() == x.data_ptr()
    assert NodeFeatures.of(x.to_sparse())[0].tile().equal(x)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(
    ("given", "asked", "wrong"),
    [
        (torch.float16, None, math.inf),
        (torch.float32, torch.bfloat16, math.nan),
        (torch.float64, torch.float32, 1e300),
    ],
)
def test_the_first_wrong_value_is_named(given: torch.dtype, asked: torch.dtype | None, wrong: float) -> None:
    x = torch.zeros(5, 3, dtype=given)
    x[3, 1] = x[4, 0] = wrong
    told = r"data.x has 2 NaN or infinite values \(as torch.float32\), the first at row 3, column 1: features must be"
    with pytest.raises(InputError, match=told):
        NodeFeatures.of(x, asked)

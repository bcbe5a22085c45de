"""The product of an operator and features, written in place."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import sparse
from small_graphs import MATRIX, features

from gamlp_admm import propagation


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_product_writes_into_column_blocks(dtype: torch.dtype) -> None:
    P = propagation.to_torch(sparse.csr_array(MATRIX.numpy()), dtype)
    wide = torch.full((3, 7), math.nan, dtype=dtype)
    H, restart = features(3, 2).to(dtype), features(3, 2).to(dtype).neg()
    out = wide[:, 3:5]
    assert propagation.product(P, H, out) is out
    torch.testing.assert_close(out, MATRIX.to(dtype) @ H)
    propagation.product(P, H, out, restart=restart, alpha=0.25)
    torch.testing.assert_close(out, 0.75 * (MATRIX.to(dtype) @ H) + 0.25 * restart)
    assert wide[:, :3].isnan().all()
    assert wide[:, 5:].isnan().all()


def test_product_does_not_depend_on_the_number_of_threads() -> None:
    index = torch.randint(500, (2, 5000), generator=torch.Generator().manual_seed(0))
    matrix = propagation.sym(propagation.adjacency(index, None, 500))
    H = features(500, 64)
    results = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            results.append(propagation.product(propagation.to_torch(matrix, H.dtype), H, torch.empty_like(H)))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(*results)
    torch.testing.assert_close(results[0], torch.from_numpy(matrix @ H.numpy()))

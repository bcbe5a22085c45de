"""The product of an operator and features, written in place."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import pytest
import torch
from scipy import sparse
from small_graphs import MATRIX, features
from torch_geometric.data import Data

from gamlp_admm import AugmentFeatures, propagation
from gamlp_admm.propagation.product import tile_width, write_powers


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


@pytest.mark.parametrize("entries", [0, 1])
def test_rows_without_entries_are_zero_whatever_was_there(entries: int) -> None:
    one = sparse.csr_array((torch.ones(entries).numpy(), ([1] * entries, [0] * entries)), shape=(3, 3))
    H, out = features(3, 2).float(), torch.full((3, 2), math.nan)
    expected = torch.zeros(3, 2)
    expected[1] = entries * H[0]
    assert propagation.product(propagation.to_torch(one, torch.float32), H, out).equal(expected)


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


@pytest.mark.parametrize("operator", ["sym", "row"])
@pytest.mark.parametrize("direction", propagation.DIRECTIONS)
@pytest.mark.parametrize(("edges", "ones"), [(0, False), (9, False), (200, True), (2000, False)])
def test_matrices_of_unweighted_graphs_have_the_bits_of_their_formula(
    operator: str, direction: str, edges: int, ones: bool
) -> None:
    nodes, draw = 60, torch.Generator().manual_seed(edges)
    index = torch.randint(nodes, (2, edges), generator=draw) // 2  # repeated edges and self-loops, isolated nodes
    scheme = propagation.Scheme(1, operator, alpha=0.1, t=3.0, direction=direction)
    A = propagation.adjacency(index, None, nodes, direction)
    for dtype in (torch.float32, torch.float64):
        expected = propagation.to_torch(propagation.OPERATORS[operator].matrix(A), dtype)
        weight = torch.ones(index.shape[1]) if ones else None
        made = scheme.matrix(index, weight, torch.empty(nodes, 0, dtype=dtype))
        for part in ("crow_indices", "col_indices", "values"):
            assert getattr(made, part)().equal(getattr(expected, part)().to(getattr(made, part)().dtype)), part


@pytest.mark.parametrize("kind", ["small", "gathered", "with a root"])
def test_powers_at_once_have_the_bits_of_one_product_after_the_other(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gamlp_admm.propagation.gather.RESULT", 1)
    A = sparse.random_array((700, 700), density=0.01, format="csr", rng=0)
    matrix = (
        propagation.to_torch(A, torch.float32) if kind == "small" else propagation.GatherMatrix.of(A, A.sum(axis=1))
    )
    wide, root = features(700, 9).float(), torch.rand(700, generator=torch.Generator().manual_seed(0)) + 0.5
    given_wide, H = wide.clone(), wide[:, 2:7]
    states, scale = [H / root[:, None] if kind == "with a root" else H], torch.ones(700, 1)
    for _ in range(4):
        states.append(propagation.product(matrix, states[-1], torch.empty(700, 5)))
    if kind == "with a root":
        matrix, scale = replace(matrix, root=root), root[:, None]
    out = torch.full((700, 4, 5), math.nan)
    half = torch.empty(700, 5, dtype=torch.bfloat16)
    work = torch.empty(700, 5), torch.empty(700, 5)
    write_powers(matrix, H, [out[:, 0], half, None, out[:, 3]], work)
    assert out[:, 0].equal(states[1] * scale)
    assert half.equal((states[2] * scale).bfloat16())
    assert out[:, 3].equal(states[4] * scale)
    assert out[:, 1:3].isnan().all()
    assert wide.equal(given_wide)


def test_bits_do_not_depend_on_columns_multiplied_together(monkeypatch: pytest.MonkeyPatch) -> None:
    index = torch.randint(300, (2, 2000), generator=torch.Generator().manual_seed(0))
    data = Data(x=features(300, 70).float(), edge_index=index)
    expected = AugmentFeatures(3)(data).x
    monkeypatch.setattr("gamlp_admm.propagation.features.SMALL", 4)
    for cached, widths in ((300 * 32, {32}), (2**21, {70}), (300 * 64, {64})):
        monkeypatch.setattr(sys.modules[tile_width.__module__], "CACHED", cached)  # product is a function, too
        matrix = propagation.Scheme(3, "sym", alpha=0.1, t=3.0, direction="both").matrix(index, None, data.x)
        assert {min(tile_width(matrix) or 0, 70)} == widths
        assert AugmentFeatures(3)(data).x.equal(expected)

"""Large graphs: rows that are gathered, with the normalisation folded in, against the small graphs' path in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from small_graphs import Graph, graphs, table
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm import propagation
from gamlp_admm.propagation import GatherMatrix, Scheme
from gamlp_admm.transforms import AugmentFeatures, AugmentLabels

LARGE, SMALL, TILE = (f"gamlp_admm.propagation.{name}" for name in ("gather.LARGE", "features.SMALL", "gather.TILE"))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every graph counts as large, every row and column of its features too."""
    monkeypatch.setattr(LARGE, -1)
    monkeypatch.setattr(SMALL, 4)
    monkeypatch.setattr(TILE, 2)


def some_features(nodes: int, columns: int = 5) -> Tensor:
    return torch.randn(nodes, columns, generator=torch.Generator().manual_seed(nodes))


def tangle(nodes: int, edges: int, seed: int = 0) -> Tensor:
    """Repeated edges, repeated self-loops, isolated nodes."""
    return torch.randint(nodes, (2, edges), generator=torch.Generator().manual_seed(seed)) // 2


@settings(table, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    graph=graphs(),
    weighted=st.booleans(),
    operator=st.sampled_from(["sym", "row", "ppr", "heat", propagation.sym]),
    direction=st.sampled_from(propagation.DIRECTIONS),
)
@pytest.mark.usefixtures("large")
def test_gathered_states_equal_products_in_float64(graph: Graph, weighted: bool, operator: Any, direction: str) -> None:
    index, weight, nodes = graph
    x = some_features(nodes)
    data = Data(x=x.clone(), edge_index=index, edge_weight=weight if weighted else None)
    augment = AugmentFeatures(range(4), operator, direction=direction, t=1.0)
    made = augment(data).x
    data.x = x.double()
    torch.testing.assert_close(made.double(), augment(data).x, rtol=1e-5, atol=1e-5)
    assert torch.equal(made[:, :5], x)


@pytest.mark.usefixtures("large")
def test_an_unweighted_graph_stores_no_values() -> None:
    index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    for operator, root in (("sym", [math.sqrt(2), math.sqrt(3), math.sqrt(2), 1]), ("row", None)):
        scheme = Scheme(2, operator, alpha=0.1, t=3.0, direction="both")
        matrix = scheme.matrix(index, None, torch.empty(4, 1))
        assert isinstance(matrix, GatherMatrix)
        assert matrix.values is None
        assert matrix.indices.dtype == torch.int32
        torch.testing.assert_close(matrix.scale, torch.tensor([1 / 2, 1 / 3, 1 / 2, 1]))
        torch.testing.assert_close(matrix.root, root if root is None else torch.tensor(root))


def test_only_large_graphs_are_gathered_and_only_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = Scheme(1, "sym", alpha=0.1, t=3.0, direction="both")
    index = torch.tensor([[0], [1]])
    monkeypatch.setattr(LARGE, 3)  # and there are 4 entries
    assert isinstance(scheme.matrix(index, None, torch.empty(2, 1)), GatherMatrix)
    assert isinstance(scheme.matrix(index, None, torch.empty(2, 1, dtype=torch.float64)), Tensor)
    monkeypatch.setattr(LARGE, 4)
    assert isinstance(scheme.matrix(index, None, torch.empty(2, 1)), Tensor)


@pytest.mark.usefixtures("large")
def test_a_node_of_degree_zero_gives_and_gets_nothing() -> None:
    # Node 0 has a self-loop of weight 0 alone, and an edge leads from it to node 1.
    index, weight = torch.tensor([[0, 0], [0, 1]]), torch.tensor([0.0, 3.0])
    for operator, kept in (("sym", [[0.0], [0.5 * 0.5]]), ("row", [[0.0], [0.75 * 4 + 0.25]])):
        data = Data(x=torch.tensor([[4.0], [1.0]]), edge_index=index, edge_weight=weight)
        made = AugmentFeatures((1,), operator, direction="along")(data).x
        torch.testing.assert_close(made, torch.tensor(kept))


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("edge_weight", [1e-30, 1e30])
def test_weights_of_any_size(edge_weight: float) -> None:
    index = torch.tensor([[0, 1, 0, 1], [1, 0, 0, 1]])
    data = Data(x=torch.tensor([[1.0], [3.0]]), edge_index=index, edge_weight=torch.full((4,), edge_weight))
    torch.testing.assert_close(AugmentFeatures((1, 2))(data).x, torch.full((2, 2), 2.0))


def test_bits_depend_neither_on_threads_nor_on_tiles_nor_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LARGE, -1)
    data = Data(x=some_features(1200, 7), edge_index=tangle(1200, 5000))
    expected = AugmentFeatures(2)(data).x
    torch.set_num_threads(2)
    try:
        assert torch.equal(AugmentFeatures(2)(data).x, expected)
    finally:
        torch.set_num_threads(1)
    monkeypatch.setattr(SMALL, 4)
    monkeypatch.setattr(TILE, 3)
    monkeypatch.setattr("gamlp_admm.propagation.gather.RESULT", 1)
    assert torch.equal(AugmentFeatures(2)(data).x, expected)


@pytest.mark.parametrize("root", [None, torch.tensor([1.0, 2.0, 4.0])])
def test_multiply_writes_any_columns_of_any_type(root: Tensor | None) -> None:
    dense = torch.tensor([[0.0, 0.5, 0.0], [0.25, 0.0, 1.0], [0.0, 0.0, 0.0]])  # row 2 gathers nothing
    kept = sparse.csr_array(dense.double().numpy())
    matrix = GatherMatrix(
        *(
            getattr(GatherMatrix.of(kept, np.array([1.0, 2.0, 3.0])), name)
            for name in ("indptr", "indices", "values", "scale", "columns")
        ),
        root,
    )
    A = torch.tensor([[1.0], [2.0], [3.0]]) * dense
    A = A if root is None else root[:, None] * A / root
    H, restart = some_features(3, 4), some_features(3, 2)
    wide = torch.full((3, 5), math.nan, dtype=torch.float64)
    assert propagation.product(matrix, H[:, 1:3], wide[:, 2:4], restart=restart, alpha=0.25) is not None
    torch.testing.assert_close(wide[:, 2:4].float(), 0.75 * (A @ H[:, 1:3]) + 0.25 * restart)
    assert wide[:, [0, 1, 4]].isnan().all()
    half = propagation.product(matrix, H, torch.empty(3, 4, dtype=torch.bfloat16))
    torch.testing.assert_close(half, (A @ H).bfloat16())
    assert propagation.product(matrix, H[:, :0], torch.empty(3, 0)).shape == (3, 0)


@pytest.mark.usefixtures("large")
def test_some_rows_of_a_state() -> None:
    index, x = tangle(9, 20), some_features(9)
    scheme = Scheme((0, 2), "sym", alpha=0.1, t=3.0, direction="both")
    matrix = scheme.matrix(index, None, x)
    every, rows = propagation.propagate(scheme, matrix, x).view(9, 2, 5), torch.tensor([7, 0, 3])
    for i, state in enumerate(scheme.kept(matrix, x)):
        assert torch.equal(state[rows], every[rows, i])
        assert torch.equal(state[2:4], every[2:4, i])
        state.write(out := torch.empty(3, 5), rows)
        assert torch.equal(out, every[rows, i])


@pytest.mark.usefixtures("large")
def test_labels_are_gathered_too() -> None:
    data = Data(x=some_features(12), edge_index=tangle(12, 40), y=torch.arange(12) % 3, train_mask=torch.arange(12) < 6)
    for folds in (None, 2):
        made = AugmentLabels(2, folds=folds)(data).x
        data.x = data.x.double()
        exact = AugmentLabels(2, folds=folds)(data).x
        torch.testing.assert_close(made.double(), exact, rtol=1e-5, atol=1e-6)
        data.x = data.x.float()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.usefixtures("large")
def test_on_a_cuda_device() -> None:
    data = Data(x=some_features(50), edge_index=tangle(50, 200))
    for operator in ("sym", "ppr"):
        there = AugmentFeatures(3, operator)(data.clone().to("cuda")).x
        assert there.is_cuda
        torch.testing.assert_close(there.cpu(), AugmentFeatures(3, operator)(data).x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("restart", [True, False])
def test_a_new_tensor_has_the_same_bits(root: bool, restart: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamlp_admm.propagation.gather.RESULT", 1000)
    generator = torch.Generator().manual_seed(0)
    A = sparse.random_array((700, 700), density=0.01, format="csr", rng=0)
    matrix = GatherMatrix.of(A, np.arange(700.0))
    if root:
        matrix = replace(matrix, root=torch.rand(700, generator=generator) + 0.5)
    dense, other = torch.randn(2, 700, 5, generator=generator)
    for columns in (5, 0):
        x, again = dense[:, :columns], other[:, :columns] if restart else None
        expected = matrix.multiply(x, torch.empty_like(x), again, alpha=0.3)
        assert matrix.multiplied(x, again, alpha=0.3).equal(expected)

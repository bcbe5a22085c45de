"""Matrices of large graphs, made some rows at a time, against the operators of small ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_graphs import Graph, table
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.propagation import DIRECTIONS, GatherMatrix, adjacency, from_edges, row, sym


@st.composite
def tangled(draw: st.DrawFn) -> Graph:
    """Directed graphs with isolated nodes; edges and self-loops may be repeated, of weight 0, or both."""
    nodes = draw(st.integers(1, 9))
    node = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.one_of(st.tuples(node, node), node.map(lambda n: (n, n))), max_size=30))
    weight = st.one_of(st.just(0.0), st.just(1.0), st.floats(0.01, 10))
    weights = draw(st.lists(weight, min_size=len(edges), max_size=len(edges)))
    index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t().contiguous()
    return index, torch.tensor(weights, dtype=torch.float64), nodes


def entries(matrix: GatherMatrix) -> Tensor:
    N = matrix.shape[1]
    return matrix.multiply(torch.eye(N), torch.empty(N, N)).double()


@settings(table, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tangled(), st.booleans(), st.sampled_from(DIRECTIONS), st.sampled_from([0.0, 0.5]), st.sampled_from([1, 9, 99]))
def test_some_rows_at_a_time_or_all_at_once(
    monkeypatch: pytest.MonkeyPatch, graph: Graph, weighted: bool, direction: str, coefficient: float, rows: int
) -> None:
    index, weight, nodes = graph
    monkeypatch.setattr("gamlp_admm.propagation.edges.CHUNK", rows)
    given_weight = weight if weighted else None
    made = from_edges(index, given_weight, nodes, direction, coefficient, working=64 * rows)
    A = (sym if coefficient else row)(adjacency(index, given_weight, nodes, direction))
    torch.testing.assert_close(entries(made), torch.from_numpy(A.toarray()), rtol=1e-6, atol=1e-9)
    assert made.indptr[-1] == len(made.indices)
    for low, high in zip(made.indptr[:-1], made.indptr[1:], strict=True):  # the nearer in memory, the faster
        assert (made.indices[low:high].diff() >= 0).all()


@pytest.mark.parametrize("layout", ["pairs", "halves"])
@pytest.mark.parametrize("weighted", [False, True])
def test_edges_that_are_followed_by_their_reverse(layout: str, weighted: bool) -> None:
    once = torch.randint(20, (2, 60), generator=torch.Generator().manual_seed(0)) // 2  # some repeated, some loops
    twice = torch.stack([once, once.flip(0)], dim=2 if layout == "pairs" else 1).flatten(1)
    weight = torch.arange(60.0) % 7
    weights = weight.repeat_interleave(2) if layout == "pairs" else weight.repeat(2)
    for given_weight in (weights, weights.index_fill(0, torch.tensor([119]), 9.0)) if weighted else (None,):
        A = sym(adjacency(twice, given_weight, 20))
        made = from_edges(twice, given_weight, 20, working=64 * 30)
        torch.testing.assert_close(entries(made), torch.from_numpy(A.toarray()), rtol=1e-6, atol=1e-9)


def test_other_coefficients() -> None:
    index = torch.tensor([[0, 0, 1], [1, 2, 2]])
    B = torch.tensor([[1.0, 1, 1], [1, 1, 1], [1, 1, 1]])
    for weight in (None, torch.ones(3)):
        torch.testing.assert_close(entries(from_edges(index, weight, 3, coefficient=1.0)), (B / 3).double())
    weighted = from_edges(index[:, :1], torch.tensor([3.0]), 2, "along", coefficient=1.0)  # row sums 1 and 4
    torch.testing.assert_close(entries(weighted), torch.tensor([[1, 0], [3, 1 / 4]], dtype=torch.float64))


def test_weights_of_one_are_no_weights() -> None:
    index = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    plain, ones = from_edges(index, None, 2), from_edges(index, torch.ones(4), 2)
    assert ones.values is None
    assert plain.indices.equal(ones.indices)


@pytest.mark.parametrize("weight", [None, torch.arange(400) % 7 / 3])
def test_edges_and_entries_in_files(tmp_path: Path, weight: Tensor | None) -> None:
    index = torch.randint(50, (2, 400), generator=torch.Generator().manual_seed(0))
    expected = from_edges(index, weight, 50)
    np.save(tmp_path / "edges.npy", index.int().numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "edges.npy", mmap_mode="c"))
    made = from_edges(mapped, weight, 50, folder=tmp_path, working=64 * 100)
    assert made.indices.equal(expected.indices)
    assert entries(made).equal(entries(expected))
    assert (tmp_path / "indices").stat().st_size == 4 * len(made.indices)
    assert (tmp_path / "values").exists() == (weight is not None)


def test_wrong_input_is_named_as_of_small_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamlp_admm.propagation.edges.CHUNK", 2)
    index, weight = torch.tensor([[0, 1, 2, 0, 1], [1, 0, 1, 0, 3]]), torch.tensor([0.0, 1, 2, -1, 5])
    for make in (adjacency, from_edges):
        with pytest.raises(InputError, match=r"^edge_index\[1, 4\] is 3: a graph of 3 nodes allows 0 to 2$"):
            make(index, None, 3)
        with pytest.raises(InputError, match=r"^edge_weight\[3\] is -1.0: weights must be finite and not negative$"):
            make(index, weight, 4)
        with pytest.raises(InputError, match="direction"):
            make(index, None, 4, "up")

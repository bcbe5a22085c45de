"""Operators against dense linear algebra and PyG's gcn_norm; and given matrices."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from small_graphs import MATRIX, Graph, dense, graphs, table
from torch import Tensor
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from gamlp_admm import propagation
from gamlp_admm.errors import InputError


def dense_adjacency(graph: Graph, direction: str) -> Tensor:
    index, weight, nodes = graph
    A = torch.zeros(nodes, nodes, dtype=torch.float64)
    for (source, target), w in zip(index.t().tolist(), weight.tolist(), strict=True):
        A[target, source] += w
    return {"along": A, "against": A.t(), "both": torch.maximum(A, A.t())}[direction]


def dense_loops(A: Tensor, graph: Graph) -> Tensor:
    index, _, nodes = graph
    present = torch.zeros(nodes, dtype=torch.bool).index_fill_(0, index[0][index[0] == index[1]], True)
    return A + torch.diag((~present).to(A.dtype))


@table
@given(graphs(), st.sampled_from(propagation.DIRECTIONS))
def test_operators_equal_dense_algebra(graph: Graph, direction: str) -> None:
    A = propagation.adjacency(*graph, direction)
    reference = dense_adjacency(graph, direction)
    torch.testing.assert_close(dense(A), reference)
    looped = dense_loops(reference, graph)
    torch.testing.assert_close(dense(propagation.add_self_loops(A)), looped)
    degree = looped.sum(1)
    root = torch.where(degree > 0, degree.rsqrt(), 0)
    torch.testing.assert_close(dense(propagation.sym(A)), root[:, None] * looped * root)
    torch.testing.assert_close(dense(propagation.row(A)), looped / torch.where(degree > 0, degree, 1)[:, None])
    torch.testing.assert_close(dense(A), reference)


@st.composite
def tangled(draw: st.DrawFn) -> Graph:
    """Directed graphs with isolated nodes; edges and self-loops may be repeated, of weight 0, or both."""
    nodes = draw(st.integers(1, 6))
    node = st.integers(0, nodes - 1)
    loop = node.map(lambda n: (n, n))
    edges = draw(st.lists(st.one_of(st.tuples(node, node), loop), max_size=24))
    weight = st.one_of(st.just(0.0), st.floats(0.01, 10))
    weights = draw(st.lists(weight, min_size=len(edges), max_size=len(edges)))
    index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t().contiguous()
    return index, torch.tensor(weights, dtype=torch.float64), nodes


@settings(table, max_examples=300)
@given(tangled(), st.booleans(), st.sampled_from(["along", "against"]))
def test_sym_equals_gcn_norm(graph: Graph, weighted: bool, direction: str) -> None:
    index, weight, nodes = graph
    given_weight = weight if weighted else None
    edges = index if direction == "along" else index.flip(0)
    norm_index, norm = gcn_norm(edges, given_weight, nodes, dtype=torch.float64)
    reference = dense_adjacency((norm_index, norm, nodes), "along")
    P = propagation.sym(propagation.adjacency(index, given_weight, nodes, direction))
    torch.testing.assert_close(dense(P), reference)


@table
@given(tangled())
def test_both_directions_equal_gcn_norm_of_the_larger_weights(graph: Graph) -> None:
    index, _, nodes = graph
    larger = propagation.adjacency(*graph, "both").tocoo()
    norm_index, norm = gcn_norm(
        torch.stack([torch.from_numpy(larger.col), torch.from_numpy(larger.row)]).long(),
        torch.from_numpy(larger.data),
        nodes,
    )
    loops = index[0] == index[1]
    assert set(larger.row[larger.row == larger.col].tolist()) == set(index[0][loops].tolist())
    P = propagation.sym(propagation.adjacency(*graph, "both"))
    torch.testing.assert_close(dense(P), dense_adjacency((norm_index, norm, nodes), "along"))


@table
@given(tangled(), st.sampled_from(propagation.DIRECTIONS))
def test_rows_of_row_sum_to_one_unless_only_a_loop_of_weight_zero_is_there(graph: Graph, direction: str) -> None:
    A = propagation.adjacency(*graph, direction)
    total = dense(propagation.row(A)).sum(1)
    reached = dense(propagation.add_self_loops(A)).sum(1) > 0
    torch.testing.assert_close(total, reached.double())


@table
@given(graphs())
def test_both_directions_leave_an_undirected_graph_as_it_is(graph: Graph) -> None:
    index, weight, nodes = graph
    once = index[0] <= index[1]
    index, weight = index[:, once], weight[once]
    loops = index[0] == index[1]
    stored_twice = torch.cat([index, index[:, ~loops].flip(0)], dim=1)
    stored_once = propagation.adjacency(index, weight, nodes, "both")
    weights = torch.cat([weight, weight[~loops]])
    for direction in propagation.DIRECTIONS:
        A = propagation.adjacency(stored_twice, weights, nodes, direction)
        torch.testing.assert_close(dense(A), dense(stored_once), rtol=1e-12, atol=0)


def test_sym_of_a_symmetric_graph_is_exactly_symmetric() -> None:
    index = torch.randint(30, (2, 200), generator=torch.Generator().manual_seed(0))
    P = dense(propagation.sym(propagation.adjacency(index, None, 30)))
    assert torch.equal(P, P.t())


def test_operators_by_hand() -> None:
    A = propagation.adjacency(torch.tensor([[0, 1, 1], [1, 0, 2]]), None, 4)
    assert dense(A).tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    r = 6**-0.5
    expected = torch.tensor([[1 / 2, r, 0, 0], [r, 1 / 3, r, 0], [0, r, 1 / 2, 0], [0, 0, 0, 1]])
    torch.testing.assert_close(dense(propagation.sym(A)), expected.double(), rtol=1e-7, atol=0)
    third = 1 / 3
    mean = torch.tensor([[0.5, 0.5, 0, 0], [third, third, third, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]])
    torch.testing.assert_close(dense(propagation.row(A)), mean.double(), rtol=1e-7, atol=0)


def test_direction_of_a_single_edge() -> None:
    edge = torch.tensor([[0], [1]])
    A = {d: dense(propagation.adjacency(edge, None, 2, d)).tolist() for d in propagation.DIRECTIONS}
    assert A == {"along": [[0, 0], [1, 0]], "against": [[0, 1], [0, 0]], "both": [[0, 1], [1, 0]]}


def test_repeated_edges_add_up_and_unweighted_self_loops_count_once() -> None:
    index = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    assert dense(propagation.adjacency(index, None, 2, "along")).tolist() == [[0, 0], [2, 1]]
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert dense(propagation.adjacency(index, weight, 2, "along")).tolist() == [[0, 0], [3, 4]]  # of loops the last


@pytest.mark.parametrize("direction", propagation.DIRECTIONS)
def test_present_self_loops_keep_their_weight_also_zero(direction: str) -> None:
    index = torch.tensor([[0, 1], [0, 1]])
    A = propagation.adjacency(index, torch.tensor([5.0, 0.0]), 3, direction)
    assert dense(propagation.add_self_loops(A)).diagonal().tolist() == [5, 0, 1]


@pytest.mark.parametrize("nodes", [0, 1, 3])
def test_no_edges(nodes: int) -> None:
    A = propagation.adjacency(torch.empty(2, 0, dtype=torch.int64), None, nodes)
    for operator in (propagation.sym, propagation.row):
        assert torch.equal(dense(operator(A)), torch.eye(nodes, dtype=torch.float64))


def test_edges_are_not_modified() -> None:
    index, weight = torch.tensor([[2, 0, 0], [0, 1, 1]]), torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)
    index_before, weight_before = index.clone(), weight.clone()
    propagation.sym(propagation.adjacency(index, weight, 3))
    assert torch.equal(index, index_before)
    assert torch.equal(weight, weight_before)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_index_types(dtype: torch.dtype) -> None:
    A = propagation.adjacency(torch.tensor([[0, 1], [1, 2]], dtype=dtype), None, 3, "along")
    assert dense(A).tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (torch.tensor([[0, 1], [1, 3]]), r"edge_index\[1, 1\] is 3: a graph of 3 nodes allows 0 to 2"),
        (torch.tensor([[0, -1], [1, 2]]), r"edge_index\[0, 1\] is -1: a graph of 3 nodes allows 0 to 2"),
        (torch.tensor([[0.0], [1.0]]), r"edge_index must hold integers \(torch.int64\), got torch.float32"),
        (torch.tensor([[0, 1, 2]]), r"edge_index must be a tensor of shape \[2, E\], got \[1, 3\]"),
        (torch.tensor([0, 1]), r"edge_index must be a tensor of shape \[2, E\], got \[2\]"),
        ([[0], [1]], r"edge_index must be a tensor of shape \[2, E\], got list"),
    ],
)
def test_wrong_edges(index: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        propagation.adjacency(index, None, 3)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.tensor([1.0, -2.0]), r"edge_weight\[1\] is -2.0: weights must be finite and not negative"),
        (torch.tensor([math.nan, 1.0]), r"edge_weight\[0\] is nan: weights must be finite and not negative"),
        (torch.tensor([1.0, math.inf]), r"edge_weight\[1\] is inf: weights must be finite and not negative"),
        (torch.ones(3), r"edge_weight must be a real tensor of shape \[2\], one weight an edge, got \[3\]"),
        ([1.0, 1.0], r"edge_weight must be a real tensor of shape \[2\], one weight an edge, got list"),
    ],
)
def test_wrong_weights(weight: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        propagation.adjacency(torch.tensor([[0, 1], [1, 2]]), weight, 3)


def test_unknown_direction() -> None:
    with pytest.raises(InputError, match=r"unknown direction 'botth': did you mean 'both'\?"):
        propagation.adjacency(torch.tensor([[0], [1]]), None, 2, "botth")


def quietly_sparse(x: Tensor, layout: torch.layout) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls these layouts beta
        return x.to_sparse(layout=layout)


@pytest.mark.parametrize(
    "given_matrix",
    [
        MATRIX.to_sparse(),
        quietly_sparse(MATRIX.float(), torch.sparse_csc),
        MATRIX.bfloat16().to_sparse(),
        sparse.csr_matrix(MATRIX.numpy()),
        sparse.coo_array(MATRIX.int().numpy()),
        sparse.lil_array(MATRIX.numpy()),
    ],
    ids=[
        "torch coo",
        "torch csc float32",
        "torch coo bfloat16",
        "scipy csr",
        "scipy coo integer",
        "scipy lil",
    ],
)
def test_given_matrices(given_matrix: object) -> None:
    assert torch.equal(dense(propagation.as_operator(given_matrix, 3)), MATRIX)


def test_given_matrix_is_not_modified() -> None:
    unsorted = sparse.csr_array((np.array([1.0, 2.0, 4.0]), np.array([1, 0, 1]), np.array([0, 3, 3])), shape=(2, 2))
    P = propagation.as_operator(unsorted, 2)
    P.data[:] = 0
    assert unsorted.data.tolist() == [1, 2, 4]
    assert unsorted.indices.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.eye(3), "operator gave a Tensor: expected a torch or SciPy sparse matrix"),
        (sparse.csr_array((2, 3)), r"operator has shape \[2, 3\]: expected \[3, 3\], the number of nodes"),
        (sparse.csr_array(np.diag([1, math.nan, 1])), "operator has complex, NaN or infinite entries: .*"),
        (sparse.csr_array(np.diag([1, 1j, 1])), "operator has complex, NaN or infinite entries: .*"),
    ],
)
def test_wrong_matrices(matrix: object, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        propagation.as_operator(matrix, 3)

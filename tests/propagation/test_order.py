"""Either order of work gives what dense propagation of all rows gives; the cheaper is taken, by count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.propagation import (
    ByColumn,
    FeaturesFirst,
    GatherMatrix,
    Matrix,
    NamedOperator,
    NodeFeatures,
    Order,
    Scheme,
    SelectorsFirst,
    SparseFeatures,
    adjacency,
    as_features,
    from_edges,
    order_of_work,
    propagate,
    row,
    to_torch,
)
from gamlp_admm.propagation.narrowing import Entries, Narrowing, distances

N, F = 60, 23
SCHEMES: list[tuple[Any, str]] = [
    (0, "sym"),
    ((0, 1, 3), "sym"),
    (4, "row"),
    ((2,), "row"),
    (5, "ppr"),
    ((0, 3), "heat"),
]


def graph(num_edges: int = 90) -> sparse.csr_array:
    """A directed, weighted one with isolated nodes and small balls."""
    generator = torch.Generator().manual_seed(1)
    edges = torch.randint(N - 5, (2, num_edges), generator=generator)
    return adjacency(edges, torch.rand(num_edges, dtype=torch.float64, generator=generator), N, "along")


def words(share: float = 0.05, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(N, F, dtype=torch.float64, generator=generator)
    return (x * (torch.rand(N, F, generator=generator) < share)).to(dtype)


def scheme(hops: Any, operator: str) -> Scheme:
    return Scheme(hops, operator, alpha=0.2, t=0.5, direction="along")


def everything(order: Order, dtype: torch.dtype | None = None) -> Tensor:
    """All units; what is not written stays NaN."""
    out = torch.full(order.shape, torch.nan, dtype=dtype or order.dtype)
    for unit in order.units():
        order.write(unit, out[unit.rows, :, unit.columns])
    return out.flatten(1)


def by_column(*problem: Any) -> Order:
    return ByColumn(FeaturesFirst(*problem), SelectorsFirst(*problem))


@pytest.fixture(params=[1, 256])
def fill(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly everything is multiplied as a sparse matrix, or nearly nothing."""
    monkeypatch.setattr("gamlp_admm.propagation.order.FILL", request.param)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles, panels, units and chunks, also of a small graph."""
    for name, value in {
        "features.TILE": 5,
        "features.SMALL": 1,
        "selectors_first.PANEL": 3,
        "selectors_first.ROWS": 7,
    }.items():
        monkeypatch.setattr(f"gamlp_admm.propagation.{name}", value)
    monkeypatch.setattr("gamlp_admm.propagation.narrowing.CHUNK", 10)


@pytest.fixture(params=[0, 2**22])
def cached(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are made some rows at a time, or as new tensors."""
    for module in ("narrowing", "selectors_first"):
        monkeypatch.setattr(f"gamlp_admm.propagation.{module}.CACHED", request.param)


@pytest.mark.usefixtures("fill", "small_steps")
@pytest.mark.parametrize(
    ("kind", "kept_sparse"),
    [(FeaturesFirst, True), (FeaturesFirst, False), (SelectorsFirst, True), (SelectorsFirst, False), (by_column, True)],
)
@pytest.mark.parametrize(("hops", "operator"), SCHEMES)
@pytest.mark.parametrize("rows", [[7], [50, 3, 20, 9, 58, 0, 31, 14], [*range(N)]])
def test_all_orders_give_the_wanted_rows(
    kind: Callable[..., Order], hops: Any, operator: str, kept_sparse: bool, rows: list[int]
) -> None:
    how, x = scheme(hops, operator), words()
    matrix = to_torch(how.named.matrix(graph()), torch.float64)
    expected = propagate(how, matrix, x)[rows]
    features = SparseFeatures.of(x.to_sparse())[0] if kept_sparse else NodeFeatures.of(x)[0]
    made = everything(kind(how, matrix, features, torch.tensor(rows)))
    torch.testing.assert_close(made, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("fill", "small_steps", "cached")
@pytest.mark.parametrize("coefficient", [0.0, 0.5])
@pytest.mark.parametrize("weighted", [True, False])
def test_matrices_of_large_graphs_in_all_orders(coefficient: float, weighted: bool) -> None:
    A = graph()
    if not weighted:
        A.data[:] = 1
    how, x, rows = scheme(3, "sym" if coefficient else "row"), words(dtype=torch.float32), torch.tensor([40, 2, 11])
    target, source = A.nonzero()
    edges = torch.from_numpy(np.stack([source, target])).long()
    matrix = from_edges(edges, torch.from_numpy(A.tocoo().data) if weighted else None, N, "along", coefficient)
    expected = propagate(how, to_torch(how.named.matrix(A), torch.float64), x.double())[rows]
    for features in (as_features(x)[0], as_features(x.to_sparse())[0]):
        kinds: list[Any] = [FeaturesFirst, SelectorsFirst] + [by_column] * isinstance(features, SparseFeatures)
        for kind in kinds:
            made = everything(kind(how, matrix, features, rows))
            torch.testing.assert_close(made.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("small_steps", "cached")
@pytest.mark.parametrize("gathered", [True, False])
@pytest.mark.parametrize(("hops", "operator"), SCHEMES)
def test_features_first_has_the_bits_of_all_rows(hops: Any, operator: str, gathered: bool) -> None:
    # Each row is the same sum, whichever others are made.
    how, x, rows = scheme(hops, operator), words(1, torch.float32), torch.tensor([3, 30, 12])
    P = how.named.matrix(graph())
    matrix: Matrix = GatherMatrix.of(P) if gathered else to_torch(P, torch.float32)
    assert everything(FeaturesFirst(how, matrix, as_features(x)[0], rows)).equal(propagate(how, matrix, x)[rows])
    for features in (as_features(x)[0], as_features(x.to_sparse())[0]):
        assert propagate(how, matrix, features, torch.bfloat16).equal(propagate(how, matrix, x, torch.bfloat16))


def test_a_diffusion_that_may_be_anything_is_made_of_all_rows() -> None:
    def odd(matrix: Matrix, features: Tensor) -> Any:
        yield features
        yield features.flip(0)  # no polynomial of the matrix

    how = scheme(1, "row")
    how.named = NamedOperator(row, odd)
    x, rows = words(), torch.tensor([4, 1])
    order = order_of_work(how, to_torch(row(graph()), torch.float64), as_features(x)[0], rows)
    assert everything(order).equal(torch.cat([x, x.flip(0)], 1)[rows])


def chosen(x: Tensor, rows: Tensor | None, hops: Any = 3, nodes: int = 2000) -> Order:
    index = torch.arange(nodes)
    ring = torch.cat([torch.stack([index, (index + step) % nodes]) for step in (1, 7, 50, 333)], 1)
    how = Scheme(hops, "sym", alpha=0.1, t=3.0, direction="both")
    features, _ = as_features(x, look=True)
    return order_of_work(how, how.matrix(ring, None, features), features, rows)


def test_the_cheaper_order_is_taken() -> None:
    few, many, generator = torch.arange(50), torch.arange(1800), torch.Generator().manual_seed(0)
    narrow = torch.ones(2000, 8)
    wide = (torch.rand(2000, 1500, generator=generator) < 0.01).float()
    for x, rows in ((narrow, few), (narrow, many), (wide, many), (wide, None)):
        assert isinstance(chosen(x, rows), FeaturesFirst)
    order = chosen(wide, few)
    assert isinstance(order, SelectorsFirst)
    assert order.cost < FeaturesFirst(order.scheme, order.matrix, order.features, few).cost


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("operator", ["sym", "ppr"])
def test_each_column_is_made_where_it_costs_less(operator: str) -> None:
    x = torch.cat([torch.ones(N, 40, dtype=torch.float64), *[words(0.02)] * 40], 1)
    how, rows = scheme(4, operator), torch.arange(10)
    matrix, features = to_torch(how.named.matrix(graph(600)), torch.float64), SparseFeatures.of(x.to_sparse())[0]
    propagating, selecting = (kind(how, matrix, features, rows) for kind in (FeaturesFirst, SelectorsFirst))
    order = ByColumn(propagating, selecting)
    assert order.frequent[:40].tolist() == [*range(40)]
    assert len(order.frequent) < x.shape[1] / 2
    assert order.cost < min(propagating.cost, selecting.cost)
    torch.testing.assert_close(everything(order), propagate(how, matrix, x)[rows], rtol=1e-12, atol=1e-12)


def test_what_is_farther_than_the_steps_lead_is_left_out() -> None:
    path = sparse.diags_array(np.ones(99), offsets=1, format="csr")
    narrow = Narrowing(to_torch(path, torch.float64), np.array([10, 50]), 8, columns=1)
    assert narrow.ball is not None
    assert narrow.ball.tolist() == [*range(10, 19), *range(50, 59)]
    assert narrow.ball[narrow.wanted].tolist() == [10, 50]
    least = [2 * distance for distance in range(8, 0, -1)]  # rows within 7, 6, … steps
    assert all(needed <= made <= 4 / 3 * needed for needed, made in zip(least, narrow.entries, strict=True))
    assert narrow.copied <= 4 * least[0]


def test_rows_are_copied_where_that_saves_more_than_it_costs() -> None:
    A = sparse.random_array((200, 200), density=0.05, format="csr", rng=0)
    matrix, rows = to_torch(A, torch.float64), np.arange(60)
    of_few, of_many = (Narrowing(matrix, rows, 3, columns).entries for columns in (1, 10_000))
    assert of_few == [A.nnz] * 3
    assert of_many[-1] == A[rows].nnz < of_many[0] == A.nnz


def test_distances_are_those_of_a_walk_against_the_edges() -> None:
    A = (graph().toarray() > 0) * 1.0
    found = distances(Entries.of(to_torch(sparse.csr_array(A), torch.float64)), np.array([4, 17]), 5)
    reached = np.isin(np.arange(N), [4, 17])
    for step in range(6):
        assert (found <= step).tolist() == reached.tolist()
        reached = reached | (reached @ A > 0)
    assert 0 < (found == 6).sum() < N

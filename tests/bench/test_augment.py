"""The benchmark of propagation: what it times is the same product, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from gamlp_admm.bench import augment
from gamlp_admm.bench.augment import METHODS, OURS, Shape, edges_of_shape, measure
from gamlp_admm.errors import InputError
from gamlp_admm.report.augment import augment_markdown
from gamlp_admm.transforms import AugmentFeatures


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(augment.SHAPES, "1e5", Shape(50, 400))


def test_edges_are_stored_both_ways_with_degrees_of_a_power_law() -> None:
    edges = edges_of_shape(Shape(1000, 20_000))
    assert edges.shape == (2, 20_000)
    assert edges.min() >= 0
    assert edges.max() < 1000
    codes, reverse = (1000 * a + b for a, b in ((edges[0], edges[1]), (edges[1], edges[0])))
    assert codes.sort().values.equal(reverse.sort().values)
    degrees = edges[0].bincount(minlength=1000).double()
    assert degrees.std() > degrees.mean().sqrt() * 2  # those of a graph without hubs would be of the order of the root


@pytest.mark.parametrize("large", [True, False])
def test_all_methods_multiply_the_same(monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    monkeypatch.setattr("gamlp_admm.propagation.gather.LARGE", -1 if large else 10**9)
    results: dict[str, Any] = {}

    def keep(runs: dict[str, Any], repeat: int, before: Any = None) -> dict[str, float]:
        results.update({name: run() for name, run in runs.items()})
        return dict.fromkeys(runs, 1.0)

    monkeypatch.setattr(augment, "_least", keep)
    edges, x = edges_of_shape(Shape(50, 400)), torch.randn(50, 6)
    with augment._quiet():
        augment.whole(edges, x, METHODS, 1)
        expected = AugmentFeatures(augment.HOPS)(Data(x=x, edge_index=edges)).x
        for name in (augment.CSR, augment.SCIPY, augment.EDGE_INDEX):  # which have self-loops, as this package
            torch.testing.assert_close(results.pop(name), expected, rtol=1e-4, atol=1e-5)
        assert results.pop(augment.SIGN).shape == expected.shape
        augment.one_hop(edges, x, METHODS, 1)
    sums = torch.as_tensor(results.pop(augment.SCIPY))
    for name in (augment.CSR, augment.CSR64, augment.EDGE_INDEX):
        torch.testing.assert_close(results[name], sums, rtol=1e-4, atol=1e-5)


def test_report_and_tables() -> None:
    report = augment.report(["1e5"], [3], [1], repeat=1)
    (row,) = report["rows"]
    assert {*row["whole"]} <= {OURS, *METHODS}
    assert row["hop"][OURS] > 0
    text = augment_markdown({"rows": [row, measure("1e5", 3, 1, (), 1)], "memory": []})
    assert text.count("| 1e5 | 1 | 3 |") == 4
    assert "| over the bound |" in text
    memory = {"dtype": "float32", "where": "memory", "size": 2**20, "extra": 3 * 2**20}
    assert augment_markdown({"rows": [], "memory": [memory]}).endswith("| float32 | memory | 1 | 3 |")
    with pytest.raises(InputError, match="unknown shape 'arxi': did you mean 'arxiv'"):
        augment.report(["arxi"], [3], [1])
    with pytest.raises(InputError, match="columns is 0: it must be positive"):
        augment.report(["1e5"], [0], [1])


@pytest.mark.slow
def test_peak_memory_of_a_process_of_its_own() -> None:
    for memory in (None, 2**28):
        extra = augment.peak(2000, 16, "float32", memory)
        assert extra is None or extra >= 0

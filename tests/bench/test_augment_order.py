"""The benchmark of few rows: its made graph, what it measures, its table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from gamlp_admm.bench.augment_order import WAYS, made_graph, markdown, measure, run


def test_both_ways_are_measured_and_compared(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    data = made_graph(nodes=400, edges=1500, words=300, numbers=2000, labelled=30)
    labelled = data.train_mask | data.val_mask | data.test_mask
    assert (data.x.shape, int(labelled.sum()), data.edge_index.shape) == ((400, 300), 30, (2, 3000))
    frequencies = data.x.sum(0).sort(descending=True).values
    assert frequencies[0] > 8 * frequencies[150]
    measured = [measure(data, "made", way, tmp_path) for way in WAYS]
    torch.set_num_threads(threads)
    assert measured[0].difference is None  # with which the others are compared
    assert all(each.difference is not None and each.difference < 1e-6 for each in measured[1:])
    assert all(each.seconds > 0 for each in measured)


def test_the_table_has_medians_and_ratios() -> None:
    def result(way: str, seconds: float, mebibytes: int) -> dict[str, object]:
        difference = None if way == "T.SIGN" else 1e-7
        return {"graph": "made", "way": way, "seconds": seconds, "extra": mebibytes * 2**20, "difference": difference}

    results = [result("all", 9, 100), result("all", 10, 100), result("all", 50, 100), result("labelled", 2, 25)]
    assert markdown([result("T.SIGN", 30, 50), *results]).splitlines()[2:] == [
        "| made | T.SIGN | 30.00 | 50 | 15.0 | 2.0 |  |",
        "| made | all | 10.00 | 100 | 5.0 | 4.0 | 1e-07 |",
        "| made | labelled | 2.00 | 25 |  |  | 1e-07 |",
    ]


def test_results_are_plain_values(tmp_path: Path) -> None:
    data = made_graph(nodes=50, edges=60, words=40, numbers=50, labelled=5)
    kept = asdict(measure(data, "made", "T.SIGN", tmp_path))
    assert {*map(type, kept.values())} <= {str, float, int, type(None)}
    assert run([]) == []

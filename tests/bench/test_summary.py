"""The rows and columns that results make."""

from __future__ import annotations

from typing import Any

import pytest
from benches import summary


@pytest.fixture
def report() -> dict[str, Any]:
    return summary()


def test_rows_are_of_the_results(report: dict[str, Any]) -> None:
    titles = [(c["dataset"], c["splits"], c["title"]) for c in report["columns"]]
    assert titles == [
        ("cora", "usual", "public split"),
        ("coauthor-cs", "usual", "papers' split"),
        ("coauthor-cs", "random", "random splits"),
    ]
    ours, gcn, *published = report["rows"]
    assert [row["group"] for row in (ours, gcn)] == ["ours", "peers"]
    assert ours["cells"][2]["mean"] == pytest.approx(0.85)
    assert ours["cells"][2]["std"] == pytest.approx(0.1 / 2**0.5)
    assert gcn["cells"][0] == {
        **{"mean": 0.7, "std": None, "seeds": 1, "planned": 2},
        **{"val_mean": 0.5, "seconds": 2.0},
    }
    assert {row["group"] for row in published} == {"published"}
    appnp = next(row for row in published if row["method"] == "APPNP")
    assert appnp["cells"][0]["mean"] == 0.833
    assert appnp["cells"][1:] == [None, None]
    assert all(row["cells"][2] is None for row in published)  # theirs is the usual split

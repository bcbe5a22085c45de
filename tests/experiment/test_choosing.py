"""What is chosen on validation where nobody says: features, units and width, on graphs made to call for each."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from gamlp_admm.algorithms import views
from gamlp_admm.experiment import Experiment, choosing, run
from gamlp_admm.experiment.choosing import ChosenFeatures, choose, hops, width

CLASSES = 3


def graph(*, nodes: int = 240, homophily: float = 0.8, noise: float = 1.0, columns: int = 6, seed: int = 0) -> Data:
    """A block model with features around a mean for each class, 40/30/30."""
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    y = torch.arange(nodes) % CLASSES
    x = drawn(CLASSES, columns)[y] + noise * drawn(nodes, columns)
    ends = torch.randint(nodes, (2, 8 * nodes), generator=random)
    alike = y[ends[0]] == y[ends[1]]
    kept = torch.rand(ends.shape[1], generator=random) < torch.where(alike, homophily, 1 - homophily)
    edges = ends[:, kept & (ends[0] != ends[1])]
    part = (torch.arange(nodes) // CLASSES) % 10
    masks = {"train_mask": part < 4, "val_mask": (part >= 4) & (part < 7), "test_mask": part >= 7}
    return Data(x=x, y=y, edge_index=torch.cat([edges, edges.flip(0)], 1), **masks)


def chosen(data: Data, **options: Any) -> ChosenFeatures:
    used = Experiment(dataset="pyg:Own:Graph", **options).resolve()
    assert used.auto == "all"
    return choose(used, data, CLASSES)


def taken(found: ChosenFeatures) -> list[str]:
    return [name for step in found.about if step["taken"] for name in step["options"]]


def test_propagated_features_come_first() -> None:
    found = chosen(graph())
    assert found.changes["operator"] in ("sym", "ppr")
    assert found.data.num_features in (3 * 6, 6)
    assert found.changes["auto"] == "none"


def test_labels_are_taken_where_only_they_tell() -> None:
    assert "label_operator" in taken(chosen(graph(noise=100.0, homophily=0.7, nodes=480)))


def test_nothing_is_taken_where_it_adds_nothing() -> None:
    assert taken(chosen(graph(noise=0.3))) == ["operator", "hops"]
    assert "label_operator" not in taken(chosen(graph(noise=0.3)))


def test_columns_in_units_of_their_own() -> None:
    data = graph(nodes=480, homophily=0.5, noise=0.5)
    data.x = torch.cat([data.x, 1e4 * torch.randn(480, 3, generator=torch.Generator().manual_seed(1))], 1)
    found = chosen(data)
    assert found.about[0]["score"] > 0.95  # by themselves: the first candidate has them
    assert chosen(graph(nodes=480, homophily=0.5, noise=0.5)).about[0]["score"] > 0.95


def test_many_rows_come_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    data = graph(nodes=480)  # 192 training rows of at most 27 columns
    assert "batch_size" not in chosen(data).changes
    monkeypatch.setattr(choosing, "MANY_ROWS", 192)
    found = chosen(data)
    assert found.changes["batch_size"] == choosing.BATCH
    assert found.about[-1]["options"] == {"batch_size": choosing.BATCH}
    for options in ({"batch_size": 7}, {"codec": "int8"}, {"anderson": 2}, {"algorithm": "pdadmm-g-q"}):
        assert "batch_size" not in chosen(data, **options).changes
    monkeypatch.setattr(choosing, "ROWS_A_COLUMN", 100)  # too wide for as many rows
    assert "batch_size" not in chosen(data).changes


def test_words_too_many_to_be_solved_for_stay_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(found: ChosenFeatures) -> set[str]:
        return {name for step in found.about for name in step["options"]}

    data = graph(columns=40)
    data.edge_index = data.edge_index[:, ::8]  # few neighbours, so that zeros stay
    data.x = (data.x > 3).float()
    assert {"alpha", "unit_rows"} <= tried(chosen(data))
    monkeypatch.setattr(views, "_factor_pays", lambda *sizes: False)
    assert tried(chosen(data)) == {"operator", "hops", "label_operator", "label_hops", "label_scale"}
    data.x = torch.randn(data.x.shape, generator=torch.Generator().manual_seed(1))
    assert {"alpha", "unit_rows"} <= tried(chosen(data))  # full rows are no worse off


def test_without_edges_features_are_as_they_are() -> None:
    data = graph()
    data.edge_index = torch.empty(2, 0, dtype=torch.long)
    assert chosen(data).changes["operator"] == "none"


def test_without_validation_nothing_is_chosen() -> None:
    data = graph()
    data.val_mask = torch.zeros_like(data.val_mask)
    assert chosen(data).about == []


def test_labels_of_test_nodes_are_not_looked_at() -> None:
    data, other = graph(noise=3.0), graph(noise=3.0)
    other.y[other.test_mask] = (other.y[other.test_mask] + 1) % CLASSES
    assert chosen(data).about == chosen(other).about


@pytest.mark.parametrize(("features", "expected"), [(10, 2), (3000, 2), (4000, 2), (5000, 1), (50_000, 1)])
def test_hops_fit_into_columns(features: int, expected: int) -> None:
    assert hops(features) == expected


@pytest.mark.parametrize(
    ("rows", "classes", "expected"), [(140, 7, 100), (1600, 7, 200), (9000, 10, 256), (4000, 300, 1200)]
)
def test_width(rows: int, classes: int, expected: int) -> None:
    assert width(rows, classes) == expected


@pytest.mark.parametrize(
    "options", [{"operator": "sym"}, {"hidden": 20}, {"scale": "unit"}, {"auto": "none"}, {"init": "kaiming"}], ids=str
)
def test_what_is_said_is_not_chosen(options: dict[str, Any]) -> None:
    assert Experiment(dataset="pyg:Own:Graph", **options).resolve().auto == "none"


def test_a_recipe_says_it_too() -> None:
    assert Experiment(dataset="cora").resolve().auto == "none"
    assert Experiment(dataset="cora", split="60/20/20").resolve().auto == "all"
    assert Experiment(dataset="cora", algorithm="adam", split="60/20/20").resolve().auto == "none"


def test_a_run_reports_what_was_chosen_and_repeats_by_its_report() -> None:
    first = run(Experiment(dataset="karate", split="40/30/30", iterations=3))
    report = json.loads(json.dumps(first.report))
    assert report["chosen"][0]["taken"]
    assert report["config"]["auto"] == "none"
    assert report["config"]["patience"] == 10
    said = {name: value for name, value in report["config"].items() if value is not None}
    said["grow"] = "none"
    again = run(replace(Experiment.of(said), seed=first.experiment.seed))
    assert again.report["best"] == report["best"]
    assert "chosen" not in again.report

"""A graph of one's own on the command line: train, compare, tune, files of options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import ranks

from examples.tables import KINDS, write

TRAIN = ("train", "--operator", "sym", "--hops", 1, "--hidden", 8, "--iterations", 4, "--quiet")
TABLES = ("--data", "graph", "--label", "kind", "--id", "name", "--weight", "times")

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph of 60 nodes in the working folder."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "graph", 60, known=50)
    return tmp_path / "graph"


def report(name: str) -> dict[str, Any]:
    return dict(json.loads(Path(name).read_text()))


def timeless(name: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in report(name)["history"]]


def test_train_and_its_report_as_a_file_of_options(gamlp: Command) -> None:
    status, _, err = gamlp(*TRAIN, *TABLES, "--features", "age,p*", "--json", "first.json")
    assert (status, err) == (0, "")
    first = report("first.json")
    assert first["dataset"] == "graph"
    assert first["classes"] == [*KINDS]
    assert first["split"].startswith("60/20/20: of the nodes with a label")
    assert sum(first["num_nodes"].values()) == 50
    named = {"data": "graph", "label": "kind", "features": "age,p*", "id": "name", "weight": "times"}
    assert {name: first["config"][name] for name in named} == named
    assert gamlp("train", "--config", "first.json", "--json", "again.json", "--quiet")[0] == 0
    assert timeless("again.json") == timeless("first.json")
    assert report("again.json")["config"] == first["config"]
    Path("run.toml").write_text(
        'data = "graph"\nlabel = "kind"\nid = "name"\nweight-attr = "times"\nfeatures = "age,p*"\n'
    )
    assert gamlp(*TRAIN, "--config", "run.toml", "--json", "third.json")[0] == 0
    assert timeless("third.json") == timeless("first.json")
    assert gamlp(*TRAIN, *TABLES, "--json", "all.json")[0] == 0
    assert timeless("all.json") != timeless("first.json")


def test_compare_and_tune(gamlp: Command) -> None:
    options = list(TRAIN[1:])
    assert gamlp("compare", *TABLES, *options, "--codecs", "fp32,int8", "--json", "table.json")[0] == 0
    assert [row["codec"] for row in report("table.json")["rows"]] == ["fp32", "int8"]
    search = ("--search", "nu=0.01,0.1", "--trials", 2, "--finalists", 0)
    status, out, err = gamlp("tune", *TABLES, *options[:-1], *search, "--recipe", "best.toml")
    assert status == 0, err
    assert "pdadmm-g on graph" in out
    assert "gamlp-admm train" in out
    assert "--data graph --label kind --id name --weight times" in " ".join(out.split())
    assert "--data graph" in Path("best.toml").read_text()
    assert gamlp(*TRAIN, *TABLES, "--recipe", "best.toml")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--label", "kind"), "label 'kind' is of a graph of one's own, and needs data, a file or folder"),
        (("--data", "graph", "--id", "name"), "the graph has no labels: name their column by label"),
        (("--data", "graph", "--label", "kind"), "nodes are numbers from 0 to 59, unless id names the column"),
        (("--data", "none"), "data none: no such file or folder"),
        (("--data", "graph", "--label", "kin"), "unknown column of label 'kin': did you mean 'kind'?"),
        ((*TABLES, "--weight", "tims"), "unknown column of weight 'tims': did you mean 'times'?"),
        ((*TABLES, "--features", "kind,age"), "the column 'kind' is the label, the id or the split"),
        ((*TABLES, "--split", "column"), "split 'column': the graph comes with no column"),
        ((*TABLES, "--split-index", 3), "split_index 3: the data come with no split, not several"),
        ((*TABLES, "--dataset", "karate"), "dataset 'karate' and data 'graph' exclude each other"),
        (("--data", "graph/nodes.csv"), "unknown kind of file nodes.csv '.csv'"),
    ],
)
def test_what_is_wrong_is_one_line(gamlp: Command, options: tuple[Any, ...], message: str) -> None:
    status, out, err = gamlp(*TRAIN, *options)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_features_of_a_graph_without_any(gamlp: Command, graph: Path) -> None:
    nodes = (graph / "nodes.csv").read_text().splitlines()
    (graph / "nodes.csv").write_text("\n".join(",".join(line.split(",")[:2]) for line in nodes))
    assert "allowed features: degree" in gamlp(*TRAIN, *TABLES)[2]
    assert gamlp(*TRAIN, *TABLES, "--features", "random:5", "--json", "run.json")[0] == 0
    assert report("run.json")["num_parameters"] == (2 * 5 + 1) * 8 + (8 + 1) * 3


def test_two_processes_have_the_graph_of_the_first(gamlp: Command, tmp_path: Path) -> None:
    assert gamlp(*TRAIN, *TABLES, "--json", "one.json")[0] == 0
    absolute = ("--data", tmp_path / "graph", *TABLES[2:])
    both = [*TRAIN, *absolute, "--json", tmp_path / "two.json", "--device", "cpu"]
    with ranks(tmp_path, both, both) as run:
        assert [each.status for each in run.ended()] == [0, 0]
    assert timeless("two.json") == timeless("one.json")

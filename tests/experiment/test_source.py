"""What an experiment is about: a data set by name, a graph by path, a graph in memory. The same graph, the same run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gamlp_admm.datasets import load_dataset, load_graph
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, compare, prepare, run
from gamlp_admm.experiment import source as sources
from gamlp_admm.experiment.options import IN_MEMORY
from gamlp_admm.experiment.source import handed, held, load
from gamlp_admm.tuning import tune

SMALL = Experiment(operator="sym", hops=1, hidden=8, layers=2, iterations=3, threads=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Karate in a file, under names of its own."""
    data = load_dataset("karate").data
    kept = {"feat": data.x, "kind": data.y, "edge_index": data.edge_index, "strength": 1 + data.edge_index[0] % 3}
    masks = {f"{part}_mask": data[f"{part}_mask"] for part in ("train", "val", "test")}
    np.savez(tmp_path / "club.npz", **{name: value.numpy() for name, value in (kept | masks).items()})
    return tmp_path / "club.npz"


OWN = {"label": "kind", "features": "feat"}


def accuracies(report: dict[str, Any]) -> Any:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in report["history"]]


def test_a_graph_trains_as_the_data_set_that_it_is(path: Path) -> None:
    named = run(replace(SMALL, dataset="karate")).report
    by_path = run(replace(SMALL, data=str(path), **OWN)).report
    by_argument = run(replace(SMALL, **OWN), data=path).report
    loaded = load_graph(path, **OWN)
    in_memory = run(SMALL, data=loaded).report
    as_data = run(SMALL, data=load_dataset("karate").data).report
    for report in (by_path, by_argument, in_memory, as_data):
        assert accuracies(report) == accuracies(named)
    assert (by_path["dataset"], by_path["config"]["data"]) == ("club.npz", str(path))
    assert by_argument["config"] == by_path["config"]
    assert (in_memory["dataset"], in_memory["config"]["data"]) == ("club.npz", IN_MEMORY)
    assert accuracies(run(Experiment.of(by_path["config"])).report) == accuracies(named)  # its config repeats it
    with pytest.raises(InputError, match=r"'club\.npz' was in memory; hand it over again"):
        run(Experiment.of(in_memory["config"]))


def test_weights_are_used_by_name(path: Path) -> None:
    plain = prepare(replace(SMALL, data=str(path), **OWN)).data
    weighted = prepare(replace(SMALL, data=str(path), weight="strength", **OWN)).data
    assert plain.edge_weight is None
    assert torch.equal(weighted.edge_weight, (1 + plain.edge_index[0] % 3))
    assert not torch.equal(plain.x, weighted.x)
    assert Experiment.of({"weight_attr": "w"}) == Experiment(weight="w")  # the name that it had


def test_no_recipe_is_for_a_graph_of_ones_own() -> None:
    cora = Experiment(dataset="cora").resolve()
    assert Experiment(data="somewhere/cora").resolve().values() != cora.values()
    assert Experiment(data="somewhere/cora").resolve().auto == "all"
    assert Experiment(data="somewhere/cora/").resolve().dataset == "cora"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"label": "kind"}, "label 'kind' is of a graph of one's own, and needs data"),
        ({"features": "degree"}, "features 'degree' is of a graph"),
        ({"id": "name"}, "id 'name' is of a graph"),
        ({"split": "column"}, "split 'column' is for a graph of one's own"),
        ({"split": "masks", "dataset": "karate"}, "split 'masks' is for a graph of one's own"),
        ({"split": "column:fold"}, "split 'column:fold' is for a graph of one's own"),
        ({"data": "g.pt", "dataset": "karate"}, "dataset 'karate' and data 'g.pt' exclude each other"),
        ({"data": "g.pt", "split": "60/20/21"}, "split '60/20/21': allowed"),
        ({"data": "g.pt", "split": "60/20/20", "split_index": 1}, "split_index does not apply to the split 60/20/20"),
        ({"split_index": -1}, "split_index must be an integer from 0"),
    ],
)
def test_what_does_not_go_together(options: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        Experiment(**options).resolve()


def test_what_is_wrong_with_a_graph_is_said_when_it_is_loaded(path: Path) -> None:
    for options, match in (
        ({"data": str(path.parent / "none.pt")}, r"none\.pt: no such file"),
        ({"data": str(path), "label": "kid"}, "attribute of label 'kid': did you mean 'kind'"),
        ({"data": str(path), "split_index": 2, **OWN}, "split_index 2: the data come with one split"),
        ({"dataset": "karate", "split_index": 2}, "split_index 2: the data come with one split"),
    ):
        with pytest.raises(InputError, match=match):
            load(Experiment(**options).resolve())


def test_a_graph_is_given_once(path: Path) -> None:
    with pytest.raises(InputError, match="data is given twice"):
        handed(replace(SMALL, data=str(path)), path)
    with pytest.raises(
        InputError, match="label 'kind' does not apply to a graph that is loaded; give it to load_graph"
    ):
        handed(replace(SMALL, label="kind"), load_graph(path, **OWN))
    with pytest.raises(InputError, match="resolved for a data set"):
        handed(SMALL.resolve(), path)
    with pytest.raises(InputError, match=r"prepared is of club\.npz, the experiment of digits-knn"):
        run(SMALL, prepared=prepare(SMALL, data=load_graph(path, **OWN)))
    experiment, graph = held(replace(SMALL, data=str(path), **OWN), None)
    assert graph is not None
    assert (experiment.data, experiment.dataset, experiment.label) == (IN_MEMORY, "club.npz", None)
    assert handed(experiment, graph) == (experiment, graph)  # again, in what it is handed to


@pytest.fixture
def one_load(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls of load_graph."""
    calls: list[Any] = []
    monkeypatch.setattr(sources, "load_graph", lambda *a, **k: calls.append(a) or load_graph(*a, **k))
    return calls


def test_compare_and_tune_take_it_and_load_it_once(path: Path, one_load: list[Any], tmp_path: Path) -> None:
    own = replace(SMALL, **OWN)
    table = compare(own, ["fp32", "int8"], (0, 1), data=path)
    assert list(table.index) == ["fp32", "int8"]
    assert {each["dataset"] for each in table.attrs["report"]["runs"]} == {"club.npz"}
    assert len(one_load) == 1
    search = {"nu": "0.01,0.1"}
    storage = tmp_path / "trials"
    first = tune(own, search, 2, finalists=0, data=path, storage=storage)
    assert len(one_load) == 2
    assert first.dataset == "club.npz"
    moved = path.rename(tmp_path / "moved")  # elsewhere it is the same graph
    (tmp_path / "there").mkdir()
    moved.rename(tmp_path / "there" / "club.npz")
    again = tune(replace(own, data=str(tmp_path / "there" / "club.npz")), search, 2, finalists=0, storage=storage)
    assert again.trials == first.trials
    with pytest.raises(InputError, match="belongs to a search with other values in train_mask and val_mask"):
        tune(replace(own, split="60/20/20"), search, 2, data=tmp_path / "there" / "club.npz", storage=storage)


def test_a_checkpoint_goes_on_with_the_same_content_alone(path: Path, tmp_path: Path) -> None:
    own = replace(SMALL, data=str(path), checkpoint=str(tmp_path / "checkpoint"), iterations=4, **OWN)
    whole = run(own).report
    stopped = replace(own, checkpoint=str(tmp_path / "stopped"))
    run(stopped, [lambda progress: progress.record["iteration"] == 2])
    (tmp_path / "there").mkdir()
    moved = path.rename(tmp_path / "there" / "club.npz")
    resumed = run(replace(stopped, data=str(moved), resume=True)).report
    assert accuracies(resumed) == accuracies(whole)
    run(replace(stopped, data=str(moved), overwrite=True), [lambda progress: progress.record["iteration"] == 2])
    with np.load(moved) as file:
        arrays = dict(file)
    arrays["feat"][0] += 1
    np.savez(moved, **arrays)
    with pytest.raises(InputError, match=r"was made with other values in data\.x"):
        run(replace(stopped, data=str(moved), resume=True))

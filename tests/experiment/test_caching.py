"""Runs on kept features: the second one propagates nothing, and gives the same bits."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from gamlp_admm.cli import main
from gamlp_admm.experiment import Experiment, Run, compare, load_predictor, predict, prepare, run
from gamlp_admm.propagation import NamedOperator, diffuse, features_first, register_operator
from gamlp_admm.propagation.operators import OPERATORS
from gamlp_admm.propagation.store import FeatureCache
from gamlp_admm.tuning.measuring import Measurer

KARATE = Experiment(dataset="karate", operator="sym", hops=2, hidden=8, iterations=3, label_operator="row", cache="all")
CHOOSING = Experiment(iterations=2, cache="all")


def graph() -> Data:
    """A graph on which features are chosen."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, generator=generator) + y[:, None]
    edges = torch.stack([torch.arange(60), (torch.arange(60) + 3) % 60])
    part = torch.rand(60, generator=generator)
    masks = {"train_mask": part < 0.5, "val_mask": (part >= 0.5) & (part < 0.8), "test_mask": part >= 0.8}
    return Data(x=x, y=y, edge_index=edges, **masks)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FeatureCache:
    monkeypatch.setenv("GAMLP_ADMM_CACHE", str(tmp_path / "cache"))
    return FeatureCache(tmp_path / "cache")


def nothing_is_propagated(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("something was propagated")

    monkeypatch.setattr(diffuse, "product", fail)
    monkeypatch.setattr(features_first, "write_powers", fail)


def timeless(done: Run) -> Any:
    history = [{name: value for name, value in each.items() if name != "seconds"} for each in done.report["history"]]
    return history, done.report["best"], done.report["start"], done.report.get("chosen")


@pytest.mark.parametrize(("experiment", "count"), [(KARATE, 2), (CHOOSING, 3)], ids=["given", "chosen"])
def test_a_second_run_propagates_nothing(experiment: Experiment, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = None if experiment is KARATE else graph()
    plain = run(replace(experiment, cache="none"), data=data)
    first = run(experiment, data=data)
    nothing_is_propagated(monkeypatch)
    second = run(experiment, data=data)
    told = [each.report["augment"] for each in (plain, first, second)]
    assert [(each["cached"], each["found"] + each["made"], each["made"]) for each in told[::2]] == [
        (False, count, count),
        (True, count, 0),
    ]
    assert told[1]["keys"] == told[2]["keys"]
    assert told[0]["keys"] == []
    for other in (first, second):
        assert timeless(other) == timeless(plain)
        for ours, theirs in zip(other.model.parameters(), plain.model.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_features_lie_as_those_that_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, kept = (prepare(replace(KARATE, cache=mode)).data for mode in ("none", "all", "all"))
    assert torch.equal(made.x, kept.x)
    assert (made.x.stride(), made.x.dtype, made.feature_blocks) == (kept.x.stride(), kept.x.dtype, kept.feature_blocks)


def test_comparing_and_searching_take_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run(KARATE)
    nothing_is_propagated(monkeypatch)
    assert len(compare(KARATE, ["fp32", "int8"])) == 2
    assert Measurer()(KARATE, [0, 1]).error is None


def test_predicting_on_the_graph_of_the_training_propagates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(KARATE)
    done.save(file := io.BytesIO())
    saved = file.getvalue()
    plain = predict(io.BytesIO(saved), cache="none")
    nothing_is_propagated(monkeypatch)
    assert torch.equal(predict(io.BytesIO(saved), cache="all").outputs, plain.outputs)
    graph = prepare(replace(KARATE, operator="none", hops=None, label_operator=None)).data
    assert torch.equal(load_predictor(io.BytesIO(saved), cache="all")(graph).outputs, plain.outputs)
    with pytest.raises(AssertionError, match="something was propagated"):
        load_predictor(io.BytesIO(saved), cache="none")(graph)


def test_little_work_is_not_kept(cache: FeatureCache) -> None:
    assert run(replace(KARATE, cache="auto")).report["augment"]["keys"] == []
    assert not cache.folder.exists()


def test_a_registered_operator_is_known_by_its_code() -> None:
    def factor(value: float) -> NamedOperator:
        return NamedOperator(lambda A: value * A)

    made = []
    for operator in (factor(0.5), factor(0.25), factor(0.5)):
        register_operator("scaled", operator)
        try:
            made.append(run(replace(KARATE, operator="scaled", label_operator=None)).report["augment"]["made"])
        finally:
            del OPERATORS["scaled"]
    assert made == [1, 1, 0]


def test_the_command_line_says_so(capsys: pytest.CaptureFixture[str], cache: FeatureCache) -> None:
    line = ["train", "--dataset", "karate", "--operator", "sym", "--iterations", "2", "--cache"]
    assert main([*line, "all"]) == 0
    assert "s augmentation, " in capsys.readouterr().out
    assert main([*line, "all", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert "s augmentation (cached), " in err
    assert json.loads(out)["augment"]["keys"] == [entry.key for entry in cache.entries()]
    assert json.loads(out)["config"]["cache"] == "all"
    assert cache.entries()[0].about["dataset"] == "karate"
    assert main([*line, "some"]) == 2
    assert capsys.readouterr().err.strip().endswith("allowed: auto, all, none")

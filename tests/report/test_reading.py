"""Reading reports back: what is read, what labels are, and how each kind of damage is named."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import codecs, made, seeds

from gamlp_admm.errors import InputError
from gamlp_admm.report.reading import read, run_sets
from gamlp_admm.report.runs import mean_and_deviation


def written(path: Path, report: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report))
    return path


def test_what_is_read_of_a_run() -> None:
    report = made()
    (only,) = run_sets(report, "it")
    run = only.first
    assert (run.dataset, run.seed, run.num_parameters, run.bytes_sent) == ("toy", 0, 1234, 20000)
    assert run.iterations == list(range(21))
    assert run.columns["primal_residual"][4] == math.sqrt(report["history"][4]["primal_residual"])
    assert run.columns["dual_residual"][4] == report["history"][4]["dual_residual"]
    assert run.at_best("bytes_sent") == 20000


def test_runs_of_several_seeds_are_one_setting() -> None:
    (only,) = run_sets(seeds(made(0), made(1, gain=0.02)), "it")
    mean, deviation = only.mean("best", "test_accuracy") or (0, 0)
    values = [run.best["test_accuracy"] or 0 for run in only.runs]
    assert mean == pytest.approx(sum(values) / 2)
    assert deviation == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    assert mean_and_deviation([0.5, None]) is None


def test_a_comparison_has_a_setting_a_codec() -> None:
    sets = run_sets(codecs(fp32=[made(0), made(1)], int2=[made(0, codec="int2")]), "it")
    assert [(each.label, len(each.runs)) for each in sets] == [("fp32", 2), ("int2", 1)]
    assert sets[1].first.config["codec"] == "int2"


def test_labels_tell_runs_apart(tmp_path: Path) -> None:
    one = written(tmp_path / "deep" / "run.json", made())
    two = written(tmp_path / "wide.json", made())
    three = written(tmp_path / "other" / "wide.json", codecs(fp32=[made()], int2=[made()]))
    four = written(tmp_path / "other2" / "wide.json", made())
    assert [each.label for each in read([one.parent])] == ["deep"]
    assert [each.label for each in read([three])] == ["fp32", "int2"]
    labels = [each.label for each in read([one.parent, two, three, four])]
    assert labels == ["deep", "wide (1)", "wide, fp32", "wide, int2", "wide (2)"]


def test_the_measure_that_selects_comes_first() -> None:
    report = made()
    for record in (*report["history"], report["best"], report["last"]):
        record["test_f1_macro"] = record["val_f1_macro"] = 0.5
    assert run_sets(report, "it")[0].first.metrics == ["accuracy", "f1_macro"]
    report["metric"] = "f1_macro"
    assert run_sets(report, "it")[0].first.metrics == ["f1_macro", "accuracy"]
    report["history"][0]["test_r2"] = report["history"][0]["test_accuracy"]  # real targets
    assert "accuracy" not in run_sets(report, "it")[0].first.metrics


def test_what_is_new_in_a_report_is_no_damage() -> None:
    report = made()
    report["more"] = report["best"]["metric"] = report["history"][0]["note"] = "text"
    del report["per_class"], report["confusion"], report["processes"]
    assert run_sets(report, "it")[0].first.per_class == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        ('{"runs": [', "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "the whole is not a table"),
        ("{}", "config is missing"),
        ('{"runs": []}', "runs is empty"),
        ('{"runs": 5}', "runs is not a list"),
        ('{"runs": [[]]}', r"runs\[0\] is not a table"),
        ('{"runs": [{}]}', r"runs\[0\].config is missing"),
    ],
)
def test_what_is_no_report(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"x\.json .*{said}.*allowed: a file of train --json"):
        read([file])


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(report: dict[str, Any]) -> None:
        at: Any = report
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("history", value=[]), "history is empty"),
        (put("history", value={}), "history is not a list"),
        (put("history", 3, value=None), r"history\[3\] is missing"),
        (put("history", 3, "iteration", value=2), "iterations that do not rise"),
        (put("history", 3, "val_accuracy", value="high"), r"history\[3\].val_accuracy is no number"),
        (put("history", 3, "bytes_sent", value=None), "has a record without bytes_sent"),
        (put("best", value=[1]), "best is not a table"),
        (put("best", "test_accuracy", value=True), "best.test_accuracy is no number"),
        (put("config", "layers", value="two"), "config.layers is not an integer"),
        (put("config", "hops", value=2.5), "config.hops is not"),
        (put("dataset", value=None), "dataset is missing"),
        (put("metric", value=["f1"]), "metric is not a text"),
        (put("seed", value=1.5), "seed is not an integer"),
        (put("confusion", "test", value=[[1, 2]]), "confusion.test is no square matrix of 2 classes"),
        (put("confusion", "test", value=[[1, 2], [3, "4"]]), r"confusion.test\[1\]\[1\] is not an integer"),
        (put("per_class", "test", 0, "f1", value="good"), r"per_class.test\[0\].f1 is no number"),
        (put("processes", 0, "wire_bytes", value={"a": 1}), "a key that is no boundary"),
        (put("processes", 0, "layers", value=[1]), "layers is no pair"),
        (put("environment", value="cpu"), "environment is not a table"),
    ],
)
def test_damage_is_named(change: Callable[[dict[str, Any]], None], said: str) -> None:
    report = copy.deepcopy(made())
    change(report)
    with pytest.raises(InputError, match=f"it is no report of a run: .*{said}"):
        run_sets(report, "it")


def test_a_comparison_without_its_runs() -> None:
    report = codecs(fp32=[made()], int2=[made()])
    with pytest.raises(InputError, match="is 1, but there are 0 runs for it"):
        run_sets(report | {"runs": report["runs"][:1]}, "it")
    with pytest.raises(InputError, match="no row for 1 of the runs"):
        run_sets(report | {"rows": report["rows"][:1]}, "it")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json cannot be read \(No such file"):
        read([tmp_path / "none.json"])
    with pytest.raises(InputError, match=r"run\.json cannot be read"):
        read([tmp_path])
    (tmp_path / "m.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is no text"):
        read([tmp_path / "m.json"])
    one = written(tmp_path / "run.json", made())
    with pytest.raises(InputError, match="are one run"):
        read([one, tmp_path])

"""``--metric`` from the command line to table, JSON and plot, in all commands that select."""

import json

import pytest
from samples import KARATE

from gamlp_admm.experiment import Experiment, best_run, run
from gamlp_admm.tuning import tune


def test_train(gamlp, tmp_path):
    plot = tmp_path / "curves.png"
    status, out, err = gamlp(*KARATE, "--metric", "f1_macro", "--json", "-", "--plot", plot)
    assert status == 0
    report = json.loads(out)
    assert report["metric"] == report["best"]["metric"] == report["config"]["metric"] == "f1_macro"
    values = [record["val_f1_macro"] for record in report["history"]]
    assert report["best"]["val_f1_macro"] == max(values)
    assert report["best"]["iteration"] == report["history"][values.index(max(values))]["iteration"]
    shown = [[cell.strip() for cell in line.split("│")] for line in err.splitlines() if "│" in line]
    assert [cells[3] for cells in shown] == ["f1_macro", "accuracy"] * 2
    assert f"{report['best']['test_f1_macro']:.4f}" == shown[0][-2]
    assert plot.stat().st_size


def test_several_seeds_and_codecs(gamlp):
    status, out, err = gamlp(*KARATE, "--metric", "roc_auc", "--seeds", "0,1", "--json", "-")
    assert (status, "; roc_auc" in err) == (0, True)
    report = json.loads(out)
    tests = [each["best"]["test_roc_auc"] for each in report["runs"]]
    assert report["summary"]["test_roc_auc_mean"] == pytest.approx(sum(tests) / 2)
    given = [*KARATE[1:], "--codecs", "fp32,int8", "--metric", "loss"]
    status, out, err = gamlp("compare", *given, "--json", "-")
    assert (status, "; loss" in err) == (0, True)
    row = json.loads(out)["rows"][0]
    assert (row["metric"], f"{row['test_loss_mean']:.4f}" in err) == ("loss", True)


def test_what_is_wrong(gamlp):
    status, _, err = gamlp(*KARATE, "--metric", "f1")
    assert (status, err.count("\n")) == (2, 1)
    assert "metric" in err
    assert "f1_macro" in err
    status, _, err = gamlp(*KARATE, "--metric", "r2")
    assert (status, err.count("\n")) == (2, 1)
    assert "metric r2 is not defined for one class a node" in err


def test_the_best_of_several_runs_has_the_least_loss():
    plan = Experiment(dataset="karate", hidden=8, iterations=2, metric="loss", init="kaiming", operator="sym")
    runs = [run(plan), run(Experiment(**{**vars(plan), "seed": 1}))]
    least = min(runs, key=lambda each: each.report["best"]["val_loss"])
    assert best_run(runs) is least


def test_tune_and_correct_and_smooth():
    plan = Experiment(dataset="karate", iterations=2, threads=1, metric="loss", correct_and_smooth=True)
    found = tune(plan, {"nu": "0.01,1"}, 2, finalists=1, final_seeds=(0, 1))
    assert found.metric == found.recipe["metric"] == "loss"
    told = found.report()["trials"]
    losses = [trial["val_loss"] for trial in told if trial["state"] == "complete"]
    winner = found.winner
    assert winner is not None
    assert all(loss > 0 for loss in losses)
    assert -winner["val_accuracy"] == min(losses)
    assert not any("accuracy" in name for trial in told for name in trial)
    smoothed = run(plan).report["correct_and_smooth"]
    assert smoothed.keys() == {"chosen", "val_accuracy", "test_accuracy", "val_loss", "test_loss"}

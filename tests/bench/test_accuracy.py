"""Jobs that are run: what is kept and run again, how settings are chosen, and what fails."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from gamlp_admm.bench import accuracy, peers
from gamlp_admm.bench import jobs as planned
from gamlp_admm.bench.accuracy import Accuracy, plan
from gamlp_admm.bench.jobs import Job
from gamlp_admm.bench.running import Runner, run_jobs
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import run

FEW = Accuracy()


def test_what_is_done_is_not_run_again(tmp_path: Path, runs: list[Any]) -> None:
    jobs = plan(["karate"], ["pdadmm-g", "gcn"], [0, 1])
    first = list(run_jobs(FEW, jobs, tmp_path))
    assert [job for job, _ in runs] == jobs
    again = list(run_jobs(FEW, jobs, tmp_path))
    assert len(runs) == len(jobs)
    assert [o.record for o in again] == [o.record for o in first]
    (tmp_path / jobs[2].file_name).unlink()
    (tmp_path / jobs[1].file_name).write_text("{")  # damaged
    list(run_jobs(FEW, [*jobs, Job("karate", "pdadmm-g", 5)], tmp_path))
    assert [job for job, _ in runs[len(jobs) :]] == [jobs[1], jobs[2], Job("karate", "pdadmm-g", 5)]


def test_another_version_or_recipe_is_run_again(
    tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = plan(["karate"], ["pdadmm-g"], [0])
    list(run_jobs(FEW, jobs, tmp_path))
    monkeypatch.setattr(planned, "version", lambda _: "0.0.0")
    list(run_jobs(FEW, jobs, tmp_path))
    assert len(runs) == 2
    as_it_was = Accuracy.experiment
    monkeypatch.setattr(Accuracy, "experiment", lambda *args: dataclasses.replace(as_it_was(*args), nu=0.7))
    list(run_jobs(FEW, jobs, tmp_path, root="/elsewhere"))
    list(run_jobs(FEW, jobs, tmp_path))
    assert len(runs) == 3  # another root makes no difference


def test_an_option_younger_than_a_result_was_what_it_is_by_default(tmp_path: Path, runs: list[Any]) -> None:
    jobs = plan(["karate"], ["pdadmm-g"], [0])
    [outcome] = run_jobs(FEW, jobs, tmp_path)
    file, record = tmp_path / jobs[0].file_name, outcome.record
    assert record is not None
    for name, reruns in (("weight", 0), ("seed", 0), ("nu", 1)):  # ν is not what it is by default
        options = record["config"]["experiment"]
        known = {other: value for other, value in options.items() if other != name}
        file.write_text(json.dumps(record | {"config": record["config"] | {"experiment": known}}))
        before = len(runs)
        list(run_jobs(FEW, jobs, tmp_path))
        assert len(runs) - before == reruns, name


def test_settings_are_chosen_with_the_first_seed(tmp_path: Path, runs: list[Any]) -> None:
    tried = peers.grid("gcn", 4)
    list(run_jobs(FEW, plan(["karate"], ["gcn"], [4, 2]), tmp_path))
    assert runs == [(Job("karate", "gcn", 4), tried), (Job("karate", "gcn", 2), tried[-1:])]
    list(run_jobs(FEW, plan(["karate"], ["gcn"], [4, 2, 3]), tmp_path))
    assert runs[2:] == [(Job("karate", "gcn", 3), tried[-1:])]
    list(run_jobs(FEW, plan(["karate"], ["gcn"], [2]), tmp_path))  # that was made with what seed 4 chose
    assert runs[3:] == [(Job("karate", "gcn", 2), tried)]


def test_best_on_validation_is_the_earlier_of_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    results = {1: (0.5, 0.9), 2: (0.7, 0.1), 3: (0.7, 0.8)}

    def train(self: Runner, job: Job, settings: dict[str, int]) -> dict[str, Any]:
        val, test = results[settings["lr"]]
        return {"val_accuracy": val, "test_accuracy": test, "settings": settings, "seconds": 1.0}

    monkeypatch.setattr(Runner, "train", train)
    done = Runner(FEW, None)(Job("karate", "adam", 0), [{"lr": lr} for lr in results])
    assert done["result"]["settings"] == {"lr": 2}
    assert [each["val_accuracy"] for each in done["tried"]] == [0.5, 0.7, 0.7]


def test_a_failing_job_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Any]) -> None:
    quick = Runner.__call__

    def work(self: Runner, job: Job, tried: Any) -> dict[str, Any]:
        if job.seed == 0:
            raise FloatingPointError("no longer finite")
        return quick(self, job, tried)

    monkeypatch.setattr(Runner, "__call__", work)
    outcomes = {o.job: o for o in run_jobs(FEW, plan(["karate"], ["pdadmm-g", "gcn"], [0, 1]), tmp_path)}
    errors = {str(job): o.error for job, o in outcomes.items()}
    assert errors == {
        "karate, pdadmm-g, seed 0": "FloatingPointError: no longer finite",
        "karate, pdadmm-g, seed 1": None,
        "karate, gcn, seed 0": "FloatingPointError: no longer finite",
        "karate, gcn, seed 1": "its settings are chosen with seed 0, which failed",
    }
    assert len(list(tmp_path.iterdir())) == 1


def test_data_that_cannot_be_loaded_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Any]
) -> None:
    quick = Runner.__call__

    def work(self: Runner, job: Job, tried: Any) -> dict[str, Any]:
        if job.dataset == "cora":
            raise InputError("cora: damaged")
        return quick(self, job, tried)

    monkeypatch.setattr(Runner, "__call__", work)
    outcomes = list(run_jobs(FEW, plan(["cora", "karate"], ["sgc", "gcn"], [0, 1]), tmp_path))
    assert [(o.job.dataset, o.skipped) for o in outcomes] == [("cora", True)] * 4 + [("karate", False)] * 4
    assert len(runs) == 4


def test_ours_and_adam_are_runs_of_experiment(tmp_path: Path) -> None:
    (outcome,) = run_jobs(FEW, [Job("karate", "pdadmm-g:10", 1)], tmp_path)
    assert outcome.record is not None
    used = outcome.record["config"]["experiment"]
    assert (used["layers"], used["hidden"], used["seed"]) == (10, 100, 1)
    report = run(FEW.experiment(outcome.job, None)).report
    assert outcome.record["result"]["test_accuracy"] == report["best"]["test_accuracy"]
    ridge = FEW.experiment(Job("karate", "ridge", 0), None).resolve()
    assert (ridge.algorithm, ridge.layers, ridge.operator, ridge.hops) == ("ridge", 1, used["operator"], used["hops"])
    adam = FEW.experiment(Job("karate", "adam", 0), None).resolve()
    assert (adam.algorithm, adam.hidden, adam.hops, adam.iterations) == ("adam", 16, 2, accuracy.ITERATIONS["adam"])


def test_data_are_prepared_once_for_all_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, loaded = [], []
    prepare, load = accuracy.prepare, accuracy.load_dataset
    monkeypatch.setattr(accuracy, "prepare", lambda e: prepared.append(e) or prepare(e))
    monkeypatch.setattr(accuracy, "load_dataset", lambda *a, **k: loaded.append(a) or load(*a, **k))
    monkeypatch.setattr(accuracy, "ADAM", accuracy.ADAM[:2])
    jobs = plan(["karate"], ["adam", "gcn", "sgc"], [0, 1])
    assert all(outcome.error is None for outcome in run_jobs(FEW, jobs, tmp_path))
    assert (len(prepared), len(loaded)) == (1, 1)

"""The benchmark with many labels: its plan, the features that methods share, and the rows that results make."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from benches import curves, many_labels

from gamlp_admm.bench import many_labels as module
from gamlp_admm.bench import vectors
from gamlp_admm.bench.jobs import Job, Shelf
from gamlp_admm.bench.many_labels import METHODS, ManyLabels, default_datasets, plan
from gamlp_admm.bench.running import Runner, run_jobs
from gamlp_admm.datasets import dataset_names
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, run

MANY = ManyLabels()


def test_splits_are_random_but_where_the_usual_one_has_many_labels() -> None:
    drawn, usual = plan(["cora", "ogbn-arxiv"], ["gcn"], [3])
    assert drawn == Job("cora", "gcn", 3, split_seed=3, split="60/20/20")
    assert usual == Job("ogbn-arxiv", "gcn", 3)
    jobs = plan(["karate"], ["gcn", "adam"], [0, 1])
    assert [(job.method, job.seed) for job in jobs] == [("gcn", 0), ("adam", 0), ("gcn", 1), ("adam", 1)]
    jobs = plan(["cora", "ogbn-arxiv"], [*METHODS], [0, 1])
    assert len({job.file_name for job in jobs}) == len(jobs)
    assert {*default_datasets()} <= {*dataset_names()}
    with pytest.raises(InputError, match="unknown method 'sgc'"):
        plan(["cora"], ["sgc"])


def test_settings_are_chosen_on_the_first_split(tmp_path: Path, runs: list[Any]) -> None:
    list(run_jobs(MANY, plan(["karate"], ["adam", "pdadmm-g"], [4, 2]), tmp_path))
    assert [(job.method, job.seed, len(tried)) for job, tried in runs] == [
        *(("adam", 4, len(vectors.ADAM)), ("pdadmm-g", 4, 1)),
        *(("adam", 2, 1), ("pdadmm-g", 2, 1)),
    ]


def test_all_have_the_features_of_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, fed = [], []
    prepare, of = module.prepare, module.Vectors.of
    monkeypatch.setattr(module, "prepare", lambda e: prepared.append(e) or prepare(e))
    monkeypatch.setattr(module.Vectors, "of", lambda data, *how: fed.append(data) or of(data, *how))
    for grid in ("ADAM", "FULL_ADAM"):
        monkeypatch.setattr(vectors, grid, getattr(vectors, grid)[:1])
    monkeypatch.setattr(module, "run", lambda used, prepared: fed.append(prepared.data) or run(used, prepared=prepared))
    methods = [name for name in METHODS if name != "gcn"]
    jobs = plan(["karate"], methods, [3])
    assert [o.error for o in run_jobs(MANY, jobs, tmp_path)] == [None] * len(jobs)
    drawn = {"split": "60/20/20", "split_seed": 3, "seed": 3}
    default = Experiment(dataset="karate", **drawn, evaluate_every=1, threads=1, cache="none")
    assert [each.resolve() for each in prepared] == [default.resolve()]
    assert len(fed) == len(jobs)
    assert all(data is fed[0] for data in fed)


def test_ours_are_runs_of_the_defaults() -> None:
    (job,) = plan(["karate"], ["pdadmm-g"], [1])
    result = MANY.train(job, {}, None, Shelf())
    report = run(Experiment(dataset="karate", split="60/20/20", split_seed=1, seed=1, evaluate_every=1)).report
    assert result["test_accuracy"] == report["best"]["test_accuracy"]
    assert result["curve"]["val_accuracy"] == [record["val_accuracy"] for record in report["history"]]
    assert result["curve"]["seconds"][-1] == result["seconds"] > 0


def test_a_grown_network_counts_from_its_last_stage_on(monkeypatch: pytest.MonkeyPatch) -> None:
    as_it_was = ManyLabels.experiment
    grown = {"init": "kaiming", "grow": "2,4", "layers": 4, "iterations": 6}
    monkeypatch.setattr(ManyLabels, "experiment", lambda *args: dataclasses.replace(as_it_was(*args), **grown))
    (job,) = plan(["karate"], ["pdadmm-g"], [1])
    result = MANY.train(job, {}, None, Shelf())
    assert result["epochs"] == 12
    assert len(result["curve"]["seconds"]) == 6
    assert result["val_accuracy"] == max(result["curve"]["val_accuracy"])


def test_gcn_has_a_curve_and_the_settings_for_many_labels() -> None:
    (job,) = plan(["karate"], ["gcn"], [1])
    result = Runner(MANY, None)(job, [{**MANY.grid(job)[0], "epochs": 5}])["result"]
    assert result["settings"]["batch_norm"]
    assert all(len(column) == 5 for column in result["curve"].values())
    assert result["val_accuracy"] == max(result["curve"]["val_accuracy"])


def test_another_default_runs_those_that_take_its_features_again(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = plan(["karate"], [*METHODS], [0])
    before = {job.method: MANY.describe(job, 0) for job in jobs}
    as_it_was = ManyLabels.experiment

    def other(self: ManyLabels, job: Job, root: str | None) -> Experiment | None:
        used = as_it_was(self, job, root)
        return used and dataclasses.replace(used, operator="row")

    monkeypatch.setattr(ManyLabels, "experiment", other)
    changed = {job.method for job in jobs if MANY.describe(job, 0) != before[job.method]}
    assert changed == {*METHODS} - {"gcn"}


def test_rows_are_of_the_results() -> None:
    rows = many_labels()["rows"]
    assert [(row["dataset"], row["group"], row["method"]) for row in rows] == [
        ("karate", "ours", "pdADMM-G"),
        ("coauthor-cs", "ours", "pdADMM-G"),
        ("coauthor-cs", "peers", "Adam"),
        ("coauthor-cs", "published", "NAGphormer"),
        ("coauthor-cs", "published", "GCN, tuned"),
    ]
    alone, ours, adam, *_ = rows
    assert "seconds_adam" not in alone  # there is no Adam to be as good as
    assert (ours["mean"], ours["title"], ours["seeds"]) == (pytest.approx(0.92), "60/20/20", 2)
    assert (ours["seconds_near"], ours["seconds_adam"], ours["seconds"]) == (2.0, 1.0, 3.0)
    assert (adam["seconds_near"], adam["seconds_adam"]) == (20.0, 20.0)
    assert ours["memory_bytes"] == 5e6


def test_memory_of_which_nothing_is_known() -> None:
    jobs = plan(["karate"], ["ridge"], [0])
    record = {"job": dataclasses.asdict(jobs[0]), "result": {**curves((1.0, 0.5, 0.5)), "memory_bytes": None}}
    (row,) = MANY.summarize([record], jobs)["rows"]
    assert row["memory_bytes"] is None

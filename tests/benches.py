"""What tests of benchmarks share: a graph, records of jobs and their summary, and a stand-in for training."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import stochastic_blockmodel_graph

from gamlp_admm.bench import many_labels as many
from gamlp_admm.bench.accuracy import Accuracy, plan
from gamlp_admm.bench.curve import Curve, Point
from gamlp_admm.bench.jobs import Job
from gamlp_admm.bench.running import Runner


def sbm(classes: int = 3, size: int = 60) -> Data:
    """Return a graph of communities whose features say little by themselves."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        within = torch.full((classes, classes), 0.01).fill_diagonal_(0.15)
        edge_index = stochastic_blockmodel_graph([size] * classes, within)
    y = torch.arange(classes).repeat_interleave(size)
    x = torch.rand(classes * size, 12, generator=generator)
    x[torch.arange(len(y)), y] += 0.3
    x[x < 0.6] = 0
    order = torch.randperm(len(y), generator=generator)
    data = Data(x=x, edge_index=edge_index, y=y)
    for split, rows in zip(("train", "val", "test"), order.split([30, 60, 90]), strict=True):
        data[f"{split}_mask"] = torch.zeros(len(y), dtype=torch.bool).index_fill_(0, rows, True)
    return data


def record(job: Job, test: float, val: float = 0.5) -> dict[str, Any]:
    return {
        "job": dataclasses.asdict(job),
        "result": {"test_accuracy": test, "val_accuracy": val, "seconds": 2.0, "epochs": 1, "settings": {}},
    }


def quick_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Job, tuple[Any, ...]]]:
    """Replace training by a quick stand-in; return the list of what it is called with."""
    calls: list[tuple[Job, tuple[Any, ...]]] = []

    def work(self: Runner, job: Job, tried: Any) -> dict[str, Any]:
        calls.append((job, tuple(tried)))
        return {**record(job, 0.5 + job.seed / 100), "result": record(job, 0.5)["result"] | {"settings": tried[-1]}}

    monkeypatch.setattr(Runner, "__call__", work)
    return calls


def summary() -> dict[str, Any]:
    """Return the summary of two data sets and two methods, of which one result is absent."""
    jobs = plan(["cora", "coauthor-cs"], ["pdadmm-g", "gcn", "sgc"], [0, 1], "both")
    results = {"pdadmm-g": (0.8, 0.9), "gcn": (0.7, 0.8)}
    done = [record(job, results[job.method][job.seed]) for job in jobs if job.method in results]
    done = [each for each in done if Job(**each["job"]) != Job("cora", "gcn", 1)]
    environment = {"versions": {"torch": "9"}}
    more = {"seeds": (0, 1), "notes": ["a note"], "environment": environment, "command": "c", "date": "today"}
    return Accuracy().summarize(done, jobs) | more


def curves(*points: tuple[float, float, float]) -> dict[str, Any]:
    """Return the result of a run with some evaluations."""
    curve = Curve()
    curve.points, curve.seconds = [Point(*point) for point in points], points[-1][0]
    return {**curve.result(), "settings": {}, "memory_bytes": 5e6}


def many_labels() -> dict[str, Any]:
    """Return the summary of two data sets with many labels; only one of them has Adam."""
    jobs = many.plan(["karate", "coauthor-cs"], ["pdadmm-g", "adam", "gcn"], [0, 1])
    ours = curves((1.0, 0.90, 0.94), (2.0, 0.94, 0.91), (3.0, 0.945, 0.92))
    adam = curves((10.0, 0.5, 0.5), (20.0, 0.95, 0.93), (30.0, 0.95, 0.95))
    results = {("karate", "pdadmm-g"): ours, ("coauthor-cs", "pdadmm-g"): ours, ("coauthor-cs", "adam"): adam}
    done = [
        {"job": dataclasses.asdict(job), "result": results[job.dataset, job.method]}
        for job in jobs
        if (job.dataset, job.method) in results
    ]
    environment = {"versions": {"torch": "9"}}
    more = {"seeds": (0, 1), "notes": ["a note"], "environment": environment, "command": "c", "date": "today"}
    return many.ManyLabels().summarize(done, jobs) | more

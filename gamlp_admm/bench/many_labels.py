"""Accuracy, time and memory with many labels: ours by default, and what is trained here on the same features.

Splits are random, 60 % of the nodes to train on, as papers on graph networks have them; where the usual split of a data
set has many labels, it is that. Nothing of ours is chosen for these splits but what the package itself chooses.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gamlp_admm.bench import peers, vectors
from gamlp_admm.bench.curve import Curve, Point, reached, selected
from gamlp_admm.bench.graph import Graph
from gamlp_admm.bench.jobs import EACH, Benchmark, Job, Shelf, check_names
from gamlp_admm.bench.peers import MANY, Settings
from gamlp_admm.bench.summary import cell, published, titled
from gamlp_admm.bench.vectors import Vectors
from gamlp_admm.datasets import dataset_info, dataset_names, load_dataset
from gamlp_admm.experiment import Experiment, Prepared, prepare, run
from gamlp_admm.system.peak import PeakMemory

METHODS = {
    "pdadmm-g": "pdADMM-G",
    "pdadmm-g:10": "pdADMM-G, 10 layers",
    "ridge": "Ridge regression",
    "logistic": "Logistic regression",
    "adam": "Adam",
    "adam-full": "Adam, 20 steps of all rows",
    "gcn": "GCN",
}
"""What can be trained, by name: pdADMM-G by the package's defaults, with ``:10`` with 10 layers; ridge and logistic
regression and Adam, in batches or not, on the features that those defaults choose; GCN on the graph."""

DATASETS = (
    *("cora", "citeseer", "amazon-photo", "amazon-computers", "coauthor-cs", "coauthor-physics"),
    "mnist-knn",
)
SPLIT = "60/20/20"
RIDGES = 25  # values of μ that ridge regression is tried with

NEAR = 0.99
"""Share of its own best validation accuracy at which a method counts as nearly done."""

SLACK = 0.003
"""By how much a method may be below Adam's accuracy to have reached it."""


def default_datasets() -> list[str]:
    """Return those of :data:`DATASETS` that there are."""
    return [name for name in DATASETS if name in dataset_names()]


def plan(
    datasets: Sequence[str], methods: Sequence[str] = tuple(METHODS), seeds: Sequence[int] = (0, 1, 2, 3, 4)
) -> list[Job]:
    """Return the jobs of a benchmark.

    Args:
        datasets: Names of graphs.
        methods: Names from :data:`METHODS`.
        seeds: Seeds of the weights and of the splits.

    Returns:
        The jobs, data set after data set and split after split, so that jobs share features.

    Raises:
        InputError: A name is wrong, or something is given twice or not at all.
    """
    check_names(datasets, methods, seeds, METHODS)
    jobs = []
    for dataset in datasets:
        if dataset_info(dataset).train >= MANY:
            jobs += [Job(dataset, method, seed) for method in methods for seed in seeds]
        else:
            jobs += [Job(dataset, method, seed, seed, SPLIT) for seed in seeds for method in methods]
    return jobs


class ManyLabels(Benchmark):
    """The benchmark with many labels."""

    methods = METHODS

    def experiment(self, job: Job, root: str | None) -> Experiment | None:
        """See :meth:`Benchmark.experiment`."""
        if job.method in peers.PEERS:
            return None
        algorithm, _, layers = job.method.partition(":")
        options: dict[str, Any] = {"layers": int(layers)} if layers else {}
        if algorithm == "ridge":
            options |= {"algorithm": algorithm, "iterations": RIDGES}
        return Experiment(
            dataset=job.dataset,
            root=root,
            split=job.split,
            split_seed=job.split_seed,
            seed=job.seed,
            evaluate_every=EACH,
            device="cpu",  # as the methods that it is compared with
            threads=1,
            cache="none",  # seconds and memory are those of features that are made
            **options,
        )

    def grid(self, job: Job) -> tuple[Settings, ...]:
        """See :meth:`Benchmark.grid`; ours has none."""
        if job.method in peers.PEERS:
            return peers.grid(job.method, MANY)
        return {"adam": vectors.ADAM, "adam-full": vectors.FULL_ADAM}.get(job.method, ({},))

    def train(self, job: Job, settings: Settings, root: str | None, keep: Shelf) -> dict[str, Any]:
        """See :meth:`Benchmark.train`; what it is trained on is made before memory is measured."""
        source = (job.dataset, job.split, job.split_seed)
        if (used := self.experiment(job, root)) is None:
            data = keep((*source, job.method), lambda: _load(job, root))
            train = partial(_peer, job, data, settings)
        else:
            # Of our defaults whatever the method: features may depend on the labels, and all have the same.
            ours = self.experiment(replace(job, method="pdadmm-g"), root)
            assert ours is not None
            prepared = keep(source, lambda: prepare(ours))
            train = partial(_TRAINED.get(job.method, _run), used, prepared, settings)
        with PeakMemory() as memory:
            result = train()
        return {**result, "settings": settings, "memory_bytes": memory.extra}

    def summarize(self, records: Sequence[dict[str, Any]], jobs: Sequence[Job]) -> dict[str, Any]:
        """See :meth:`Benchmark.summarize`.

        Returns:
            ``rows``, a method on a data set each, data set after data set: ``dataset``, ``title`` (of the split),
            ``group`` and ``method`` as in the benchmark of accuracy, ``mean``; where trained here also what
            :func:`gamlp_admm.bench.summary.cell` has, ``seconds_near`` until :data:`NEAR` of the method's own best mean
            validation accuracy, beside Adam ``seconds_adam`` until its mean test accuracy less :data:`SLACK` (``None``
            if never), and ``memory_bytes``; where published ``source``.
        """
        done: dict[tuple[tuple[str, str], str], list[dict[str, Any]]] = {}
        for record in records:
            job = Job(**record["job"])
            done.setdefault((job.column, job.method), []).append(record["result"])
        seeds, rows = len({job.seed for job in jobs}), []
        for column in dict.fromkeys(job.column for job in jobs):
            place = {"dataset": column[0], "title": titled(*column)["title"]}
            rival = done.get((column, "adam"))
            for method, title in METHODS.items():
                if results := done.get((column, method)):
                    group = "ours" if method.startswith("pdadmm") else "peers"
                    rows.append({**place, "group": group, "method": title, **_measures(results, rival, seeds)})
            if any(row["dataset"] == column[0] for row in rows):
                for figure in published(dataset_info(column[0]), column[1]):
                    known = {"method": figure.method, "mean": figure.accuracy, "source": figure.source}
                    rows.append({**place, "group": "published", **known})
        return {"rows": rows}


def _load(job: Job, root: str | None) -> Any:
    return load_dataset(job.dataset, root, split=job.split, seed=job.split_seed).data  # nosec B615  # ours


def _peer(job: Job, data: Any, settings: Settings) -> dict[str, Any]:
    curve = Curve()
    return {**peers.train(job.method, Graph(data), settings, job.seed, curve), **curve.result()}


def _logistic(used: Experiment, prepared: Prepared, settings: Settings) -> dict[str, Any]:
    return vectors.logistic(Vectors.of(prepared.data, prepared.changes.get("scale") == "columns"))


def _adam(used: Experiment, prepared: Prepared, settings: Settings, full: bool = False) -> dict[str, Any]:
    rows = Vectors.of(prepared.data, prepared.changes.get("scale") == "columns")
    return vectors.adam(rows, settings, used.seed, full)


def _run(used: Experiment, prepared: Prepared, settings: Settings) -> dict[str, Any]:
    """Run an experiment; its curve is that of the last stage of growth, before which there is no such network."""
    report = run(used, prepared=prepared).report
    history, curve = report["history"], Curve()
    for record in history:
        if record["layers"] == history[-1]["layers"]:
            curve.points.append(Point(*(record[name] for name in Point._fields)))
    best = report.get("correct_and_smooth", report["best"])
    found = {name: best[name] for name in ("val_accuracy", "test_accuracy")}
    took = {"seconds": report["seconds"]["train"], "epochs": report["last"]["iteration"]}
    return {**curve.result(), **found, **took}


_TRAINED: dict[str, Callable[..., dict[str, Any]]] = {
    "logistic": _logistic,
    "adam": _adam,
    "adam-full": partial(_adam, full=True),
}
"""What trains a method that is none of the package's algorithms."""


def _measures(results: list[dict[str, Any]], rival: list[dict[str, Any]] | None, planned: int) -> dict[str, Any]:
    """Return what the table says of a method on a data set; ``rival`` are the results of Adam there."""
    curves = [selected(result["curve"]) for result in results]
    near = NEAR * statistics.fmean(curve[-1].val_accuracy for curve in curves)
    memory = [result["memory_bytes"] for result in results]
    beside: dict[str, Any] = {}
    if rival is not None:
        target = statistics.fmean(result["test_accuracy"] for result in rival) - SLACK
        beside["seconds_adam"] = reached(curves, "test_accuracy", target)
    return {
        **(cell(results, planned) or {}),
        "seconds_near": reached(curves, "val_accuracy", near),
        **beside,
        "memory_bytes": None if None in memory else statistics.fmean(memory),
    }

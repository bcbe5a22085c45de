"""Test accuracy with few labels: ours, and what is trained here to compare with, beside the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gamlp_admm.bench import peers
from gamlp_admm.bench.graph import Graph
from gamlp_admm.bench.jobs import EACH, Benchmark, Job, Shelf, check_names
from gamlp_admm.bench.peers import Settings
from gamlp_admm.bench.summary import published, summarize
from gamlp_admm.datasets import dataset_info, dataset_names, load_dataset
from gamlp_admm.errors import unknown
from gamlp_admm.experiment import Experiment, prepare, run

METHODS = {
    "pdadmm-g": "pdADMM-G",
    "pdadmm-g:smooth": "pdADMM-G, Correct and Smooth",
    "pdadmm-g:10": "pdADMM-G, 10 layers",
    "pdadmm-g-q:10": "pdADMM-G-Q, 10 layers",
    "ridge": "Ridge regression",
    "adam": "Adam",
    "adam:10": "Adam, 10 layers",
    "gcn": "GCN",
    "sgc": "SGC",
    "sign": "SIGN",
}
"""What can be trained, by name: pdADMM-G by the recipe of the data set, ridge regression with its features, Adam with
its features and network; with ``:10``, the same with 10 layers of 100 neurons; with ``:smooth``, the same and Correct
and Smooth after training."""

ADAM: tuple[Settings, ...] = tuple({"lr": lr, "weight_decay": decay} for lr in (1e-3, 1e-2) for decay in (0.0, 5e-3))
"""The settings that Adam is tried with."""

ITERATIONS = {"adam": 200, "ridge": 100}
SPLITS = ("usual", "random", "both")


def default_datasets() -> list[str]:
    """Return the graphs that have published figures, the smallest first."""
    infos = [info for info in map(dataset_info, dataset_names()) if info.kind == "graph" and published(info)]
    return [info.name for info in sorted(infos, key=lambda info: info.nodes)]


def plan(
    datasets: Sequence[str], methods: Sequence[str] = tuple(METHODS), seeds: Sequence[int] = (0,), splits: str = "usual"
) -> list[Job]:
    """Return the jobs of a benchmark.

    Args:
        datasets: Names of graphs.
        methods: Names from :data:`METHODS`.
        seeds: Seeds of the weights.
        splits: ``usual``; ``random``, for a split of its own a seed where the usual one is a draw of the papers' (20
            nodes a class); or ``both``. A split that comes with the data is always that.

    Returns:
        The jobs, data set after data set.

    Raises:
        InputError: A name is wrong, or something is given twice or not at all.
    """
    check_names(datasets, methods, seeds, METHODS)
    if splits not in SPLITS:
        raise unknown("splits", splits, SPLITS)
    jobs = []
    for dataset in datasets:
        drawn = dataset_info(dataset).split == "per-class"
        if splits != "random" or not drawn:
            jobs += [Job(dataset, method, seed) for method in methods for seed in seeds]
        if splits != "usual" and drawn:
            jobs += [Job(dataset, method, seed, split_seed=seed) for method in methods for seed in seeds]
    return jobs


class Accuracy(Benchmark):
    """The benchmark of accuracy: recipes, and what is trained with few labels."""

    methods = METHODS

    def experiment(self, job: Job, root: str | None) -> Experiment | None:
        """See :meth:`Benchmark.experiment`; Adam's learning rate and weight decay are not among the options."""
        if job.method in peers.PEERS:
            return None
        algorithm, _, variant = job.method.partition(":")
        options: dict[str, Any] = {}
        if variant == "smooth":
            options["correct_and_smooth"] = True
        elif variant:
            options |= {"layers": int(variant), "hidden": 100}
        if algorithm in ITERATIONS:
            options["iterations"] = ITERATIONS[algorithm]
        return Experiment(
            dataset=job.dataset,
            root=root,
            split_seed=job.split_seed,
            algorithm=algorithm,
            seed=job.seed,
            evaluate_every=EACH,
            device="cpu",  # as the methods that it is compared with
            threads=1,
            **options,
        )

    def grid(self, job: Job) -> tuple[Settings, ...]:
        """See :meth:`Benchmark.grid`; ours are those of the recipe."""
        if job.method in peers.PEERS:
            return peers.grid(job.method, dataset_info(job.dataset).train)
        return ADAM if job.method.startswith("adam") else ({},)

    def train(self, job: Job, settings: Settings, root: str | None, keep: Shelf) -> dict[str, Any]:
        """See :meth:`Benchmark.train`."""
        base = self.experiment(job, root)
        if base is None:
            source = (job.dataset, job.split_seed)
            graph = keep(source, lambda: _graph(job, root))
            return peers.train(job.method, graph, settings, job.seed)
        prepared = keep(replace(base, seed=0), lambda: prepare(base))
        report = run(replace(base, **settings), prepared=prepared).report
        best = report.get("correct_and_smooth", report["best"])
        return {
            "val_accuracy": best["val_accuracy"],
            "test_accuracy": best["test_accuracy"],
            "epochs": report["last"]["iteration"],
            "seconds": report["seconds"]["train"],
            "settings": settings,
        }

    def summarize(self, records: Sequence[dict[str, Any]], jobs: Sequence[Job]) -> dict[str, Any]:
        """See :meth:`Benchmark.summarize` and :func:`gamlp_admm.bench.summary.summarize`."""
        return summarize(records, jobs, METHODS)


def _graph(job: Job, root: str | None) -> Graph:
    data = load_dataset(job.dataset, root, seed=job.split_seed).data  # nosec B615  # ours, not Hugging Face's
    return Graph(data)

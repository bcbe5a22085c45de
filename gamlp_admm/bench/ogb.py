"""OGB's leaderboards: their protocol, and what they ask of a submission.

Ten seeds; mean and sample standard deviation of the test figure, and of the validation figure of the same weights, by
OGB's own evaluator; the number of parameters, the hardware and the hyperparameters that were tuned.

Source:
    Rules of the leaderboards, https://ogb.stanford.edu/docs/leader_overview/ and https://ogb.stanford.edu/docs/leader_rules/.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from gamlp_admm.bench.jobs import EACH, Benchmark, Job, Shelf, check_names
from gamlp_admm.bench.peers import Settings
from gamlp_admm.datasets import dataset_info, ogb_evaluator
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, prepare, run

METHODS = {
    "pdadmm-g": "pdADMM-G",
    "pdadmm-g:10": "pdADMM-G, 10 layers",
    "pdadmm-g-q": "pdADMM-G-Q",
    "ridge": "Ridge regression",
    "adam": "Adam",
}
"""What can be trained, by name: by the data set's recipe, else by the package's defaults; with ``:10``, 10 layers."""

DATASETS = ("ogbn-arxiv",)
SEEDS = tuple(range(10))
"""The seeds that the leaderboards name; for ogbn-papers100M three of them are enough."""


def plan(
    datasets: Sequence[str] = DATASETS, methods: Sequence[str] = ("pdadmm-g",), seeds: Sequence[int] = SEEDS
) -> list[Job]:
    """Return the jobs of a benchmark, data set after data set.

    Args:
        datasets: Names of OGB's data sets.
        methods: Names from :data:`METHODS`.
        seeds: Seeds of the weights.

    Raises:
        InputError: A name is wrong, something is given twice or not at all, or ``ogb`` is not installed.
    """
    check_names(datasets, methods, seeds, METHODS)
    for name in datasets:
        ogb_evaluator(name)
    return [Job(dataset, method, seed) for dataset in datasets for method in methods for seed in seeds]


@dataclass(frozen=True)
class Leaderboard(Benchmark):
    """The benchmark of OGB's data sets.

    Attributes:
        device: What is trained on; ``None`` for the default of ``train``.
        threads: Threads of a process.
    """

    methods: ClassVar[dict[str, str]] = METHODS
    device: str | None = None
    threads: int = 1

    def experiment(self, job: Job, root: str | None) -> Experiment:
        """See :meth:`Benchmark.experiment`."""
        algorithm, _, layers = job.method.partition(":")
        options: dict[str, Any] = {"layers": int(layers)} if layers else {}
        options |= {"device": self.device} if self.device is not None else {}
        return Experiment(
            dataset=job.dataset,
            root=root,
            algorithm=algorithm,
            seed=job.seed,
            evaluate_every=EACH,
            threads=self.threads,
            **options,
        )

    def grid(self, job: Job) -> tuple[Settings, ...]:
        """See :meth:`Benchmark.grid`; there is none, what is chosen the run chooses itself."""
        return ({},)

    def train(self, job: Job, settings: Settings, root: str | None, keep: Shelf) -> dict[str, Any]:
        """See :meth:`Benchmark.train`; the figures are those of OGB's evaluator, whatever their metric.

        Features are chosen once, with seed 0, and not for each seed anew: they are hyperparameters.
        """
        used = self.experiment(job, root)
        first = replace(used, seed=0)
        prepared = keep(first, lambda: prepare(first))
        report = run(used, prepared=prepared).report
        figures, config = report["ogb"], report["config"]
        if figures["valid"] is None or figures["test"] is None:
            raise InputError(f"{job.dataset} has no validation or no test nodes")
        tuned = dict.fromkeys((*dataset_info(job.dataset).recipe, *prepared.changes))
        known = [name for name in tuned if name not in ("auto", "metric") and config.get(name) is not None]
        return {
            "val_accuracy": figures["valid"],
            "test_accuracy": figures["test"],
            "metric": figures["metric"],
            "ogb": figures["version"],
            "epochs": report["last"]["iteration"],
            "seconds": report["seconds"]["train"],
            "num_parameters": report["num_parameters"],
            "hardware": hardware(report["environment"]["device"], self.threads),
            "tuned": {name: config[name] for name in known},
            "tried": report.get("chosen", []),
            "settings": settings,
        }

    def summarize(self, records: Sequence[dict[str, Any]], jobs: Sequence[Job]) -> dict[str, Any]:
        """See :meth:`Benchmark.summarize`.

        Returns:
            ``rows``, a method on a data set each: ``dataset``, ``method``, ``metric``, ``ogb`` (its version),
            ``test_mean``, ``test_std`` (sample standard deviation), ``val_mean``, ``val_std``, ``seeds`` (that are
            done), ``planned``, ``num_parameters``, ``hardware``, ``tuned``, ``tried`` and ``seconds`` (mean, of
            training).
        """
        done: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for record in records:
            job = Job(**record["job"])
            done.setdefault((job.dataset, job.method), []).append(record["result"])
        rows, seeds = [], len({job.seed for job in jobs})
        for dataset, method in dict.fromkeys((job.dataset, job.method) for job in jobs):
            if results := done.get((dataset, method)):
                same = ("metric", "ogb", "num_parameters", "hardware", "tuned", "tried")
                rows.append(
                    {"dataset": dataset, "method": METHODS[method], "seeds": len(results), "planned": seeds}
                    | {name: results[0][name] for name in same}
                    | _spread("test", results)
                    | _spread("val", results)
                    | {"seconds": statistics.fmean(result["seconds"] for result in results)}
                )
        return {"rows": rows}


def _spread(part: str, results: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    figures = [result[f"{part}_accuracy"] for result in results]
    deviation = statistics.stdev(figures) if len(figures) > 1 else None
    return {f"{part}_mean": statistics.fmean(figures), f"{part}_std": deviation}


def hardware(device: str, threads: int) -> str:
    """Return the line of a submission that names what was trained on.

    Args:
        device: ``"cpu"``, or the name of a CUDA device.
        threads: Threads on the CPU.
    """
    if device != "cpu":
        return f"{device} ({torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / 1e9:.0f} GB)"
    return f"{_processor()} (CPU, {threads} thread{'s' if threads > 1 else ''})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()

"""The jobs of the benchmark of accuracy: which methods on which data sets from which seeds, and their options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, TypeVar

from gamlp_admm.algorithms.backprop import OPTIMIZERS
from gamlp_admm.bench import peers
from gamlp_admm.bench.peers import Settings
from gamlp_admm.datasets import dataset_info, dataset_names
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment import Experiment

Made = TypeVar("Made")

METHODS = {
    "pdadmm-g": "pdADMM-G",
    "pdadmm-g:smooth": "pdADMM-G, Correct and Smooth",
    "pdadmm-g:10": "pdADMM-G, 10 layers",
    "pdadmm-g-q:10": "pdADMM-G-Q, 10 layers",
    "adam": "Adam",
    "adam:10": "Adam, 10 layers",
    "gcn": "GCN",
    "sgc": "SGC",
    "sign": "SIGN",
}
"""What can be trained, by name: pdADMM-G by the recipe of the data set, Adam with its features and network; with
``:10``, the same with 10 layers of 100 neurons; with ``:smooth``, the same and Correct and Smooth after training."""

ADAM: tuple[Settings, ...] = tuple({"lr": lr, "weight_decay": decay} for lr in (1e-3, 1e-2) for decay in (0.0, 5e-3))
"""The settings that Adam is tried with."""

ADAM_ITERATIONS = 200
SPLITS = ("usual", "random", "both")


@dataclass(frozen=True)
class Job:
    """One method on one data set from one seed.

    Attributes:
        dataset: Name of the data set.
        method: One of :data:`METHODS`.
        seed: Seed of the weights.
        split_seed: Seed of a random split; ``None`` for the usual split.
    """

    dataset: str
    method: str
    seed: int
    split_seed: int | None = None

    @property
    def column(self) -> tuple[str, str]:
        """Data set and kind of split: what a column of the table is for."""
        return self.dataset, "usual" if self.split_seed is None else "random"

    @property
    def file_name(self) -> str:
        """Name of the file of its result."""
        return f"{self.dataset}_{self.method.replace(':', '-')}_{self.column[1]}_seed-{self.seed}.json"

    def __str__(self) -> str:
        split = "" if self.split_seed is None else f", split {self.split_seed}"
        return f"{self.dataset}, {self.method}, seed {self.seed}{split}"


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        job: The job.
        record: The contents of its file; ``None`` if it was not done.
        error: Why not.
        skipped: Whether that is because its data set cannot be loaded.
    """

    job: Job
    record: dict[str, Any] | None = None
    error: str | None = None
    skipped: bool = False


def default_datasets() -> list[str]:
    """Return the graphs that have published figures, the smallest first."""
    infos = [info for info in map(dataset_info, dataset_names()) if info.kind == "graph" and info.published]
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
    graphs = [name for name in dataset_names() if dataset_info(name).kind == "graph"]
    for kind, given, allowed in (("graph data set", datasets, graphs), ("method", methods, METHODS)):
        for name in given:
            if name not in allowed:
                raise unknown(kind, name, allowed)
    if splits not in SPLITS:
        raise unknown("splits", splits, SPLITS)
    for kind, values in (("datasets", datasets), ("methods", methods), ("seeds", seeds)):
        if not values or len({*values}) < len(values):
            raise InputError(f"{kind} {','.join(map(str, values))!r}: allowed: different ones, at least one")
    if min(seeds) < 0:
        raise InputError(f"seed {min(seeds)}: allowed: integers from 0 on")
    jobs = []
    for dataset in datasets:
        drawn = dataset_info(dataset).split == "per-class"
        if splits != "random" or not drawn:
            jobs += [Job(dataset, method, seed) for method in methods for seed in seeds]
        if splits != "usual" and drawn:
            jobs += [Job(dataset, method, seed, split_seed=seed) for method in methods for seed in seeds]
    return jobs


def experiment(job: Job, root: str | None) -> Experiment:
    """Return the options of a job that is not a peer's; Adam's learning rate and weight decay are not among them."""
    algorithm, _, variant = job.method.partition(":")
    options: dict[str, Any] = {}
    if variant == "smooth":
        options["correct_and_smooth"] = True
    elif variant:
        options |= {"layers": int(variant), "hidden": 100}
    if algorithm in OPTIMIZERS:
        options["iterations"] = ADAM_ITERATIONS
    return Experiment(
        dataset=job.dataset,
        root=root,
        split_seed=job.split_seed,
        algorithm=algorithm,
        seed=job.seed,
        threads=1,
        **options,
    )


def grid(method: str, dataset: str) -> tuple[Settings, ...]:
    """Return the settings that a method is tried with on a data set; ours are those of the recipe."""
    if method in peers.PEERS:
        return peers.grid(method, dataset_info(dataset).train)
    return ADAM if method.startswith("adam") else ({},)


def describe(job: Job, chosen_on: int) -> dict[str, Any]:
    """Return what a file must say to be the result of a job.

    Args:
        job: The job.
        chosen_on: The seed that settings are chosen on.
    """
    config: dict[str, Any] = {}
    if job.method not in peers.PEERS:
        used = experiment(job, None).resolve().values()
        config["experiment"] = {name: value for name, value in used.items() if name not in ("root", "threads")}
    tried = grid(job.method, job.dataset)
    if len(tried) > 1:
        config |= {"grid": tried, "chosen_on": chosen_on}
    description = {"job": asdict(job), "version": version("gamlp-admm"), "config": config}
    return dict(json.loads(json.dumps(description)))  # as it is read: with lists for tuples

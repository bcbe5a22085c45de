"""What benchmarks share: jobs, what comes of them, and what a benchmark says of its own."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, ClassVar, TypeVar

from gamlp_admm.bench.peers import Settings
from gamlp_admm.datasets import dataset_info, dataset_names
from gamlp_admm.datasets.splits import USUAL
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment import Experiment

Made = TypeVar("Made")

EACH = 1
"""Iterations from one evaluation to the next: tables select among as many weights as GNNs do, one an epoch."""

ELSEWHERE = ("root", "threads", "cache")
"""Options that make no other result."""


@dataclass(frozen=True)
class Job:
    """One method on one data set from one seed.

    Attributes:
        dataset: Name of the data set.
        method: Name of the method.
        seed: Seed of the weights.
        split_seed: Seed of a random split; ``None`` for the usual split.
        split: How the split is drawn, as :func:`gamlp_admm.datasets.load_dataset` takes it.
    """

    dataset: str
    method: str
    seed: int
    split_seed: int | None = None
    split: str = USUAL

    @property
    def column(self) -> tuple[str, str]:
        """Data set and kind of split: the jobs that a mean is over."""
        drawn = "random" if self.split == USUAL else self.split
        return self.dataset, USUAL if self.split_seed is None else drawn

    @property
    def file_name(self) -> str:
        """Name of the file of its result."""
        kind = self.column[1].replace("/", "-")
        return f"{self.dataset}_{self.method.replace(':', '-')}_{kind}_seed-{self.seed}.json"

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


class Shelf:
    """Keeps what was made last, and for the sake of memory nothing else."""

    def __init__(self) -> None:
        self.key: Any = None
        self.kept: Any = None

    def __call__(self, key: Any, make: Callable[[], Made]) -> Made:
        """Return what was made last if it is for this key, else make it."""
        if self.key != key:
            self.key = self.kept = None
            self.kept, self.key = make(), key
        made: Made = self.kept
        return made


class Benchmark(ABC):
    """What a benchmark says of its own: its methods, how each is trained, and what its results come to.

    Attributes:
        methods: What can be trained, by name, and how tables call it; in the order of the tables.
    """

    methods: ClassVar[dict[str, str]]

    @abstractmethod
    def experiment(self, job: Job, root: str | None) -> Experiment | None:
        """Return the options that a job is run with or whose features it takes, ``None`` if it has neither."""

    @abstractmethod
    def grid(self, job: Job) -> tuple[Settings, ...]:
        """Return the settings that a job is tried with; what they leave open, options and defaults say."""

    @abstractmethod
    def train(self, job: Job, settings: Settings, root: str | None, keep: Shelf) -> dict[str, Any]:
        """Run a job with some settings.

        Args:
            job: The job.
            settings: One of :meth:`grid`.
            root: Data root.
            keep: Keeps what it is trained on for the next job.

        Returns:
            ``val_accuracy``, ``test_accuracy``, ``settings``, and what else :meth:`summarize` reads.
        """

    @abstractmethod
    def summarize(self, records: Sequence[dict[str, Any]], jobs: Sequence[Job]) -> dict[str, Any]:
        """Return the table as data, of records of outcomes and the plan that they come from."""

    def describe(self, job: Job, chosen_on: int) -> dict[str, Any]:
        """Return what a file must say to be the result of a job.

        Args:
            job: The job.
            chosen_on: The seed that settings are chosen on.
        """
        config: dict[str, Any] = {}
        if (experiment := self.experiment(job, None)) is not None:
            used = experiment.resolve().values()
            config["experiment"] = {name: value for name, value in used.items() if name not in ELSEWHERE}
        tried = self.grid(job)
        if len(tried) > 1:
            config |= {"grid": tried, "chosen_on": chosen_on}
        description = {"job": asdict(job), "version": version("gamlp-admm"), "config": config}
        return dict(json.loads(json.dumps(description)))  # as it is read: with lists for tuples


def check_names(
    datasets: Sequence[str], methods: Sequence[str], seeds: Sequence[int], allowed: Collection[str]
) -> None:
    """Check what a plan is for.

    Args:
        datasets: Names of graphs.
        methods: Names of methods.
        seeds: Seeds of the weights.
        allowed: The methods that there are.

    Raises:
        InputError: A name is wrong, or something is given twice or not at all.
    """
    graphs = [name for name in dataset_names() if dataset_info(name).kind == "graph"]
    for kind, given, known in (("graph data set", datasets, graphs), ("method", methods, allowed)):
        for name in given:
            if name not in known:
                raise unknown(kind, name, known)
    for kind, values in (("datasets", datasets), ("methods", methods), ("seeds", seeds)):
        if not values or len({*values}) < len(values):
            raise InputError(f"{kind} {','.join(map(str, values))!r}: allowed: different ones, at least one")
    if min(seeds) < 0:
        raise InputError(f"seed {min(seeds)}: allowed: integers from 0 on")

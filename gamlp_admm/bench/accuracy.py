"""Test accuracy on many data sets: ours, and what is trained here to compare with, beside the published figures.

Every run is a job, and every job that is done a JSON file, so that a benchmark goes on where it was left. A file is
used again if it was made by the same version of this package, for the same job, with the same options: those of the
experiment as resolved (without data root and threads), the settings that its method is tried with, and the seed that
they are chosen on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

from gamlp_admm.algorithms.backprop import OPTIMIZERS
from gamlp_admm.bench import peers
from gamlp_admm.bench.peers import Settings
from gamlp_admm.datasets import dataset_info, dataset_names, default_root, load_dataset
from gamlp_admm.datasets.raw import ensure_raw
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment import Experiment, environment, prepare, run
from gamlp_admm.system.files import write_text
from gamlp_admm.system.workers import workers as started

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


def fetch(dataset: str, root: str | None) -> None:
    """Download the files of a data set that are not there.

    Raises:
        InputError: They cannot be downloaded.
    """
    ensure_raw(dataset_info(dataset), default_root() if root is None else Path(root).expanduser())


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


def outcomes(
    jobs: Sequence[Job],
    out: Path,
    *,
    root: str | None = None,
    workers: int = 1,
    doing: Callable[[str], None] = lambda what: None,
) -> Generator[Outcome, None, None]:
    """Download what is absent and run the jobs; those of a data set that cannot be downloaded are left out.

    Args:
        jobs: As for :func:`run_jobs`; so are ``out``, ``root`` and ``workers``.
        out: Folder of the results.
        root: Data root.
        workers: Processes.
        doing: Is told what is being done.
    """
    there = []
    for dataset in dict.fromkeys(job.dataset for job in jobs):
        doing(f"looking for {dataset}")
        mine = [job for job in jobs if job.dataset == dataset]
        try:
            fetch(dataset, root)
            there += mine
        except InputError as error:
            yield from (Outcome(job, error=str(error), skipped=True) for job in mine)
    doing("training")
    yield from run_jobs(there, out, root=root, workers=workers)


def run_jobs(
    jobs: Sequence[Job], out: Path, *, root: str | None = None, workers: int = 1
) -> Generator[Outcome, None, None]:
    """Run the jobs that are not done yet.

    Settings are chosen on validation with the first seed that there is a job for; the other seeds then have them too.

    Args:
        jobs: What :func:`plan` returns.
        out: Folder of the results; it exists.
        root: Data root.
        workers: Processes that run jobs, each on one thread; 1 for this one.

    Yields:
        What came of each job: first those that were done before, then the others as they come. A result is written
        before it is yielded, so nothing is lost whatever happens next.

    Raises:
        BrokenExecutor: A worker ended abruptly.
    """
    leaders: dict[Any, Job] = {}
    leader = {job: leaders.setdefault((job.column, job.method), job) for job in jobs}
    grids = {job: grid(job.method, job.dataset) for job in jobs}
    chosen = {job: grids[job] for job in leaders.values() if len(grids[job]) == 1}
    descriptions = {job: describe(job, leader[job].seed) for job in jobs}
    pending = []
    for job in jobs:
        record = _read(out / job.file_name)
        if record is None or any(record.get(key) != value for key, value in descriptions[job].items()):
            pending.append(job)
        else:
            chosen.setdefault(job, (record["result"]["settings"],))
            yield Outcome(job, record)
    running: dict[Future[Any], Job] = {}
    with started(workers, Runner, root) as pool:
        while pending or running:
            ready = [job for job in pending if leader[job] is job or leader[job] in chosen]
            for job in ready[: workers - len(running)]:
                pending.remove(job)
                running[pool.submit(job, chosen.get(leader[job], grids[job]))] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                outcome = _outcome(job, future, descriptions[job])
                if outcome.record is not None:
                    write_text(out / job.file_name, json.dumps(outcome.record, indent=1) + "\n")
                    chosen.setdefault(job, (outcome.record["result"]["settings"],))
                yield outcome
                if outcome.skipped:
                    lost = [replace(outcome, job=other) for other in pending if other.dataset == job.dataset]
                else:
                    why = f"its settings are chosen with seed {job.seed}, which failed"
                    lost = [Outcome(o, error=why) for o in pending if leader[o] is job and job not in chosen]
                yield from lost
                pending = [job for job in pending if job not in {outcome.job for outcome in lost}]


class Runner:
    """Runs jobs, and keeps what the last one was trained on for the next.

    Args:
        root: Data root.
    """

    def __init__(self, root: str | None) -> None:
        self.root = root
        self.key: Any = None
        self.kept: Any = None

    def __call__(self, job: Job, tried: Sequence[Settings]) -> dict[str, Any]:
        """Run a job with each of some settings.

        Returns:
            ``result``, that of the settings that are best on validation; ``tried``, all of them and their validation
            accuracies; and ``environment``.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            results = [self.train(job, settings) for settings in tried]
            return {
                "result": max(results, key=lambda result: float(result["val_accuracy"])),
                "tried": [{key: result[key] for key in ("settings", "val_accuracy")} for result in results],
                "environment": environment("cpu"),
            }
        finally:
            torch.set_num_threads(threads)

    def train(self, job: Job, settings: Settings) -> dict[str, Any]:
        """Run a job with some settings and return what came of it."""
        if job.method in peers.PEERS:
            source = (job.dataset, job.split_seed)
            graph = self._keep(
                source, lambda: peers.Graph(load_dataset(job.dataset, self.root, seed=job.split_seed).data)
            )
            return peers.train(job.method, graph, settings, job.seed)
        base = experiment(job, self.root)
        prepared = self._keep(replace(base, seed=0), lambda: prepare(base))
        report = run(replace(base, **settings), prepared=prepared).report
        best = report.get("correct_and_smooth", report["best"])
        return {
            "val_accuracy": best["val_accuracy"],
            "test_accuracy": best["test_accuracy"],
            "epochs": report["last"]["iteration"],
            "seconds": report["seconds"]["train"],
            "settings": settings,
        }

    def _keep(self, key: Any, make: Callable[[], Made]) -> Made:
        """Return what was made last if it is for this key, else make it; one thing is kept, for the sake of memory."""
        if self.key != key:
            self.key = self.kept = None
            self.kept, self.key = make(), key
        made: Made = self.kept
        return made


def _outcome(job: Job, future: Future[Any], description: dict[str, Any]) -> Outcome:
    try:
        return Outcome(job, description | future.result())
    except BrokenExecutor:
        raise
    except InputError as error:  # options are checked before: it is the data
        return Outcome(job, error=str(error), skipped=True)
    except Exception as error:
        return Outcome(job, error=f"{type(error).__name__}: {error}")


def _read(path: Path) -> dict[str, Any] | None:
    """Return a record, ``None`` if there is none that can be read."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None

"""Running a benchmark's jobs.

Every job that is done is a JSON file, so that a benchmark goes on where it was left. A file is used again if it was
made by the same version of this package, for the same job, with the same options: those of the experiment as resolved
(without data root, threads and cache), the settings that its method is tried with, and the seed that they are chosen
on. An option that its file does not name is younger than it, and was what it is by default now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gamlp_admm.bench.jobs import Benchmark, Job, Outcome, Shelf
from gamlp_admm.bench.peers import Settings
from gamlp_admm.datasets import dataset_info, default_root
from gamlp_admm.datasets.raw import ensure_raw
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import environment
from gamlp_admm.experiment.options import declared, renamed
from gamlp_admm.system.files import write_text
from gamlp_admm.system.workers import workers as started

RESULT: dict[str, Any] = {"settings": dict, **dict.fromkeys(("val_accuracy", "test_accuracy", "seconds"), (int, float))}
"""What every result has at least, and of which type."""


def fetch(dataset: str, root: str | None) -> None:
    """Download the files of a data set that are not there.

    Raises:
        InputError: They cannot be downloaded.
    """
    ensure_raw(dataset_info(dataset), default_root() if root is None else Path(root).expanduser())


def outcomes(
    benchmark: Benchmark,
    jobs: Sequence[Job],
    out: Path,
    *,
    root: str | None = None,
    workers: int = 1,
    doing: Callable[[str], None] = lambda what: None,
) -> Generator[Outcome, None, None]:
    """Download what is absent and run the jobs; those of a data set that cannot be downloaded are left out.

    Args:
        benchmark: As for :func:`run_jobs`; so are ``jobs``, ``out``, ``root`` and ``workers``.
        jobs: The jobs.
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
    yield from run_jobs(benchmark, there, out, root=root, workers=workers)


def run_jobs(
    benchmark: Benchmark, jobs: Sequence[Job], out: Path, *, root: str | None = None, workers: int = 1
) -> Generator[Outcome, None, None]:
    """Run the jobs that are not done yet.

    Settings are chosen on validation with the first seed that there is a job for; the other seeds then have them too.

    Args:
        benchmark: The benchmark.
        jobs: Its plan.
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
    grids = {job: benchmark.grid(job) for job in jobs}
    chosen = {job: grids[job] for job in leaders.values() if len(grids[job]) == 1}
    descriptions = {job: benchmark.describe(job, leader[job].seed) for job in jobs}
    pending = []
    for job in jobs:
        record = _read(out / job.file_name)
        if record is None or not _of(record, descriptions[job]):
            pending.append(job)
        else:
            chosen.setdefault(job, (record["result"]["settings"],))
            yield Outcome(job, record)
    running: dict[Future[Any], Job] = {}
    with started(workers, Runner, benchmark, root) as pool:
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
        benchmark: The benchmark.
        root: Data root.
    """

    def __init__(self, benchmark: Benchmark, root: str | None) -> None:
        self.benchmark, self.root, self.keep = benchmark, root, Shelf()

    def __call__(self, job: Job, tried: Sequence[Settings]) -> dict[str, Any]:
        """Run a job with each of some settings.

        Returns:
            ``result``, that of the settings that are best on validation; ``tried``, all of them with their validation
            accuracies and times; and ``environment``.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            results = [self.train(job, settings) for settings in tried]
            return {
                "result": max(results, key=lambda result: float(result["val_accuracy"])),
                "tried": [{key: result[key] for key in ("settings", "val_accuracy", "seconds")} for result in results],
                "environment": environment("cpu"),
            }
        finally:
            torch.set_num_threads(threads)

    def train(self, job: Job, settings: Settings) -> dict[str, Any]:
        """Run a job with some settings and return what came of it."""
        return self.benchmark.train(job, settings, self.root, self.keep)


def _outcome(job: Job, future: Future[Any], description: dict[str, Any]) -> Outcome:
    try:
        return Outcome(job, description | future.result())
    except BrokenExecutor:
        raise
    except InputError as error:  # options are checked before: it is the data
        return Outcome(job, error=str(error), skipped=True)
    except Exception as error:
        return Outcome(job, error=f"{type(error).__name__}: {error}")


def _of(record: dict[str, Any], description: dict[str, Any]) -> bool:
    """Return whether a record is that of a job as it is described now."""
    config = record.get("config")
    if isinstance(config, dict) and isinstance(config.get("experiment"), dict):
        then = renamed(config["experiment"])
        record = record | {"config": config | {"experiment": then}}
        younger = {name: row.option.default for name, row in declared().items() if name not in then}
        now = description["config"].get("experiment", {})
        known = {name: value for name, value in now.items() if name not in younger or value != younger[name]}
        description = description | {"config": description["config"] | {"experiment": known}}
    return all(record.get(key) == value for key, value in description.items())


def _read(path: Path) -> dict[str, Any] | None:
    """Return a record, ``None`` if there is none that can be read; such a job is run again."""
    try:
        record = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    result = record.get("result")
    whole = isinstance(result, dict) and all(isinstance(result.get(name), kind) for name, kind in RESULT.items())
    return record if whole else None

"""How good options are on validation: runs in this process or in several, on features that they share.

Nothing here, and nothing that asks here, sees test accuracy: the test nodes are hidden before training.
"""

from __future__ import annotations

import copy
import multiprocessing
import statistics
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import torch

from gamlp_admm.datasets.targets import target_kind
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.experiment import Experiment, Prepared, Resolved, prepare, run
from gamlp_admm.experiment.features import augmentation
from gamlp_admm.experiment.outcome import metric_name
from gamlp_admm.system.workers import Workers, workers
from gamlp_admm.training.metrics import METRICS
from gamlp_admm.training.result import Progress

CACHE_BYTES = 2 * 2**30
"""Features kept for later runs, by all processes together; those in use may be larger."""

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """What the runs of an experiment gave.

    Attributes:
        best: Validation score of the weights that are best on validation, of each seed: accuracy, or the experiment's
            metric, the loss with its sign changed; with Correct and Smooth, of what it makes of them.
        last: That of the last weights.
        seconds: Time of it all.
        error: Why a run failed, or ``None``.
        wrong_input: Whether it failed because of an option or the data.
    """

    best: list[float]
    last: list[float]
    seconds: float
    error: str | None = None
    wrong_input: bool = False


class Measurer:
    """Runs experiments and keeps augmented features for the next ones, the latest used, as memory allows.

    Args:
        data: A graph to train on in place of the experiments' data set, loaded.
        limit: Bytes of features to keep.
        stop: Says whether to end a run.
        resplit: Whether each seed also trains on nodes of its own, as :func:`resplit` draws them; its accuracies are
            the means of both splits.
    """

    def __init__(
        self,
        data: Any = None,
        limit: int = CACHE_BYTES,
        stop: Callable[[], bool] = lambda: False,
        resplit: bool = False,
    ) -> None:
        self.data, self.limit, self.stop, self.resplit = data, limit, stop, resplit
        self.kept: OrderedDict[tuple[Any, ...], Prepared] = OrderedDict()

    def __call__(self, experiment: Experiment | Resolved, seeds: Sequence[int]) -> Measured:
        """Run an experiment from each seed."""
        start, best, last = time.perf_counter(), [], []
        error, wrong_input = None, False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            try:
                prepared = self.prepared(experiment)
                for seed in seeds:
                    splits = [prepared.data, *([resplit(prepared.data, seed)] if self.resplit else [])]
                    runs = [self._run(replace(experiment, seed=seed), replace(prepared, data=data)) for data in splits]
                    best.append(statistics.fmean(run[0] for run in runs))
                    last.append(statistics.fmean(run[1] for run in runs))
            except (FloatingPointError, InputError) as failure:
                error, wrong_input = str(failure), isinstance(failure, InputError)
        return Measured(best, last, time.perf_counter() - start, error, wrong_input)

    def _run(self, experiment: Experiment | Resolved, prepared: Prepared) -> tuple[float, float]:
        """Return the validation scores of the best and of the last weights; more is better."""
        report = run(experiment, [_Stop(self.stop)], prepared).report
        metric = METRICS[metric_name(report)]
        best, last = report.get("correct_and_smooth") or report["best"], report["last"]
        if best["val_accuracy"] is None:
            raise InputError(f"{experiment.dataset} has no validation nodes, and tune selects on them")
        values = [each[f"val_{metric.name}"] for each in (best, last)]
        if None in values:
            raise InputError(f"metric {metric.name} is not defined on the validation nodes, and tune selects by it")
        return tuple(-value if metric.lower else value for value in values)

    def prepared(self, experiment: Experiment | Resolved) -> Prepared:
        """Return an experiment's augmented data, without test nodes."""
        used = experiment.resolve()
        key = tuple(getattr(used, name) for name in augmentation())
        if key not in self.kept:
            made = prepare(used, data=self.data)
            data = copy.copy(made.data)
            data.test_mask = torch.zeros(len(data.x), dtype=torch.bool)
            self.kept[key] = replace(made, data=data)
        self.kept.move_to_end(key)
        while len(self.kept) > 1 and sum(each.data.x.nbytes for each in self.kept.values()) > self.limit:
            self.kept.popitem(last=False)
        return self.kept[key]


@dataclass(frozen=True)
class _Stop:
    # A callback that is asked between evaluations, too.
    asked: Callable[[], bool]

    def __call__(self, _: Progress) -> bool:
        return self.asked()


def resplit(data: Any, seed: int) -> Any:
    """Return data whose training nodes are drawn anew from training and validation nodes; the rest of them validate.

    As many of each class train as before, but at most half of those there are.

    Args:
        data: PyG ``Data`` with one class a node.
        seed: Draws them.
    """
    if target_kind(data.y) != "classes":
        raise InputError("resplit needs one class a node")
    generator = torch.Generator().manual_seed(seed)
    pool = data.train_mask | data.val_mask
    train = torch.zeros_like(pool)
    for c in data.y[pool].unique():
        nodes = (pool & (data.y == c)).nonzero()[:, 0]
        count = min(int((data.train_mask & (data.y == c)).sum()), len(nodes) // 2)
        train[nodes[torch.randperm(len(nodes), generator=generator)[:count]]] = True
    drawn = copy.copy(data)
    drawn.train_mask, drawn.val_mask = train, pool & ~train
    return drawn


@contextmanager
def measurers(jobs: int = 1, data: Any = None, resplit: bool = False) -> Iterator[Workers[Measured]]:
    """Give what measures experiments: this process or, with several jobs, others, whose runs end with the block.

    Args:
        jobs: Number of experiments that run at the same time.
        data: See :class:`Measurer`.
        resplit: See :class:`Measurer`.
    """
    stop = threading.Event() if jobs == 1 else multiprocessing.get_context("spawn").Event()
    with workers(jobs, Measurer, data, CACHE_BYTES // jobs, stop.is_set, resplit) as pool:
        try:
            yield pool
        finally:
            stop.set()  # runs end after their next iteration


def measure_all(
    pool: Workers[Measured], tasks: Iterable[T], what: Callable[[T], tuple[Experiment | Resolved, Sequence[int]]]
) -> Iterator[tuple[T, Measured]]:
    """Measure tasks, each taken when there is a process for it, and yield them as they are done.

    Args:
        pool: What measures.
        tasks: The tasks.
        what: Gives a task's experiment and seeds.
    """
    pending: dict[Future[Measured], T] = {}
    remaining = iter(tasks)
    while True:
        for task in islice(remaining, pool.count - len(pending)):
            experiment, seeds = what(task)
            if pool.count > 1:
                experiment = replace(experiment, threads=experiment.threads or 1)
            pending[pool.submit(experiment, seeds)] = task
        if not pending:
            return
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            yield pending.pop(future), future.result()

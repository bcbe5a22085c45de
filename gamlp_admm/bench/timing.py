"""One turn of a method that is timed, the counts of one iteration of it, and what the machine could do at best."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from gamlp_admm.algorithms import trainer
from gamlp_admm.bench import peers
from gamlp_admm.bench.counts import Counts
from gamlp_admm.bench.curve import Curve, Point
from gamlp_admm.bench.graph import Graph
from gamlp_admm.bench.published import AsPublished
from gamlp_admm.bench.speed_cases import INITS, SETTINGS, Case, Source
from gamlp_admm.errors import Diverged, InputError
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.system.peak import PeakMemory
from gamlp_admm.training.result import Progress, Result
from gamlp_admm.training.trainer import Trainer


@dataclass(frozen=True)
class TrainedOnce:
    """One turn of a method.

    Attributes:
        steps: Seconds of each iteration at full depth.
        points: Evaluations at full depth, against seconds from the start on.
        memory: By how many bytes the resident memory grew at most, where the system says.
    """

    steps: list[float]
    points: list[Point]
    memory: int | None


def method_trainer(method: str, **settings: Any) -> Trainer:
    """Return what trains a method, other than GCN.

    Args:
        method: Of :data:`gamlp_admm.bench.speed_cases.METHODS`.
        settings: Of its trainer, in place of those that it has here.
    """
    if method == "published":
        return AsPublished(**settings)
    name, _, solver = method.partition(":")
    return trainer(name, **{"solver": solver or None, **SETTINGS.get(name, {}), **settings})


def _fit(trainer: Trainer, init: str, case: Case, data: Any, iterations: int, **more: Any) -> Result:
    """Return what a method came to; where it diverges, as far as it came."""
    model = GAMLP(data.num_features, case.hidden, int(data.y.max()) + 1, case.layers, init=init)
    try:
        return trainer.fit(model, data, iterations, **more)
    except Diverged as error:
        result: Result = error.result
        return result


def _gcn(case: Case, graph: Graph | None, seed: int, epochs: int, curve: Curve) -> None:
    if graph is None:
        raise InputError("gcn needs a graph, which random rows do not have")
    (*_, settings) = peers.grid("gcn", 0)
    peers.train("gcn", graph, settings | {"layers": case.layers, "hidden": case.hidden, "epochs": epochs}, seed, curve)


def train(method: str, case: Case, source: Source, seed: int) -> TrainedOnce:
    """Train a method once, evaluating each iteration."""
    curve = Curve()
    with PeakMemory() as memory:
        if method == "gcn":
            _gcn(case, source.graph, seed, case.iterations, curve)
            steps = [b.seconds - a.seconds for a, b in pairwise(curve.points)]
        else:
            init, grow = INITS.get(method, "kaiming"), "auto" if case.grow else None
            more: dict[str, Any] = {"seed": seed, "grow": grow, "evaluate_every": 1}
            history = _fit(method_trainer(method), init, case, source.data, case.iterations, **more).history
            last = [record for record in history if record["layers"] == case.layers]
            curve.points += [Point(*(record[name] for name in Point._fields)) for record in last]
            steps = [b["seconds"] - a["seconds"] for a, b in pairwise(last) if a["iteration"]]  # after set-up
    return TrainedOnce(steps, curve.points, memory.extra)


# --- counts -----------------------------------------------------------------------------------------------------


def count(method: str, case: Case, source: Source, **settings: Any) -> Counts:
    """Return the counts of one iteration: the second, from drawn weights at full depth, its evaluation left out.

    Args:
        method: Of :data:`gamlp_admm.bench.speed_cases.METHODS`.
        case: The network.
        source: What it is trained on.
        settings: As for :func:`method_trainer`.
    """
    counts = Counts()
    if method == "gcn":
        _gcn(case, source.graph, 0, 2, _CountedCurve(counts))
        return counts
    with ExitStack() as counting:
        second = _SecondIteration(counts, counting)
        init = INITS.get(method, "kaiming").replace("ridge", "kaiming")
        more: dict[str, Any] = {"seed": 0, "grow": None, "evaluate_every": 3, "callbacks": [second]}
        _fit(method_trainer(method, **settings), init, case, source.data, 3, **more)
    return counts


class _SecondIteration:
    """A callback that counts the second iteration; the first, so that what it holds is known."""

    def __init__(self, counts: Counts, counting: ExitStack) -> None:
        self.counts, self.counting, self.asks = counts, counting, 0

    def __call__(self, progress: Progress) -> None:
        pass

    def asked(self) -> None:
        """Come between iterations: before the first, after it, after the second."""
        self.asks += 1
        if self.asks == 1:
            self.counting.enter_context(self.counts)
        elif self.asks == 2:
            self.counts.restart()
        else:
            self.counting.close()


class _CountedCurve(Curve):
    """Counts the newest step of a training loop."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts

    @contextmanager
    def training(self) -> Iterator[None]:
        """See :meth:`Curve.training`."""
        with self.counts, super().training():
            self.counts.restart()
            yield


# --- the machine ------------------------------------------------------------------------------------------------


SQUARES, SECONDS = (512, 1024), 0.05
"""Sizes of the square products that are tried, and how long each product is."""


def product_rate(rows: int, inner: int, columns: int) -> float:
    """Return the best rate of products ``[rows, inner]`` times ``[inner, columns]`` in float32, in operations a second.

    The result is written over an earlier one, so that no fresh memory is waited for.

    Args:
        rows: Rows of the left factor.
        inner: Its columns.
        columns: Columns of the right factor.
    """
    left, right, out = torch.ones(rows, inner), torch.ones(inner, columns), torch.empty(rows, columns)
    torch.mm(left, right, out=out)
    best, begin, end = math.inf, time.perf_counter(), time.perf_counter() + SECONDS
    while best == math.inf or begin < end:
        torch.mm(left, right, out=out)
        now = time.perf_counter()
        best, begin = min(best, now - begin), now
    return 2 * rows * inner * columns / best


def rates(case: Case, num_train: int) -> dict[str, float]:
    """Return ``peak_rate``, the best that was found, and ``own_rate``, that of products ``[N, n]`` times ``[n, n]``."""
    own = product_rate(num_train, case.hidden, case.hidden)
    return {"own_rate": own, "peak_rate": max(own, *(product_rate(n, n, n) for n in SQUARES))}

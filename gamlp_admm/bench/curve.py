"""Accuracy against the time of training alone, and when a target is reached."""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple


class Point(NamedTuple):
    """One evaluation: seconds of training until then, and accuracies."""

    seconds: float
    val_accuracy: float
    test_accuracy: float


class Curve:
    """What a run is found to be while it is trained.

    Attributes:
        seconds: Time of training so far, without evaluation.
        points: The evaluations.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.points: list[Point] = []

    @contextmanager
    def training(self) -> Iterator[None]:
        """Count the time of a block."""
        begin = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begin

    def add(self, val_accuracy: float, test_accuracy: float) -> None:
        """Note an evaluation."""
        self.points.append(Point(self.seconds, val_accuracy, test_accuracy))

    @property
    def best(self) -> Point:
        """The evaluation that is best on validation, the earlier on ties."""
        return max(self.points, key=lambda point: point.val_accuracy)

    def result(self) -> dict[str, Any]:
        """Return what a result says of a run; ``curve`` has a list for each field of :class:`Point`."""
        columns = dict(zip(Point._fields, map(list, zip(*self.points, strict=True)), strict=True))
        return {
            "val_accuracy": self.best.val_accuracy,
            "test_accuracy": self.best.test_accuracy,
            "epochs": len(self.points),
            "seconds": self.seconds,
            "curve": columns,
        }


def selected(columns: dict[str, list[float]]) -> list[Point]:
    """Return the points of a result's ``curve`` that were the best on validation when they came."""
    kept: list[Point] = []
    for point in map(Point, *(columns[name] for name in Point._fields)):
        if not kept or point.val_accuracy > kept[-1].val_accuracy:
            kept.append(point)
    return kept


def reached(runs: Sequence[Sequence[Point]], key: str, target: float) -> float | None:
    """Return the time at which several runs, side by side, are first as good as a target in the mean.

    Args:
        runs: What :func:`selected` returned of each: at any time a run counts as its last point before.
        key: Which accuracy, a field of :class:`Point`.
        target: The mean that is asked for.

    Returns:
        Seconds; ``None`` if they never are.
    """
    steps = heapq.merge(*([(point.seconds, i, getattr(point, key)) for point in run] for i, run in enumerate(runs)))
    now: dict[int, float] = {}
    for seconds, i, accuracy in steps:
        now[i] = accuracy
        if len(now) == len(runs) and statistics.fmean(now.values()) >= target:
            return float(seconds)
    return None

"""Curves of runs: what several seeds have in common, which part of an axis tells them apart, and its ticks."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gamlp_admm.report.runs import RunReport, RunSet

MOST_POINTS = 400
"""A drawn curve has about so many; of more, the lowest and the highest of each bundle stay."""


@dataclass(frozen=True)
class MeanCurve:
    """The mean over runs, and their range.

    Attributes:
        name: What it is of.
        x: Iterations, or mean bytes at them; rising.
        mean: Mean over the runs.
        low: Lowest of them.
        high: Highest of them.
        runs: How many they are.
    """

    name: str
    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    runs: int = 1

    def __len__(self) -> int:
        return len(self.x)

    def at(self, x: float) -> float:
        """Return the mean at a place, on the line between the points beside it."""
        if not self.x[0] < x < self.x[-1]:
            return self.mean[0 if x <= self.x[0] else -1]
        i = bisect_right(self.x, x)
        share = (x - self.x[i - 1]) / (self.x[i] - self.x[i - 1])
        return self.mean[i - 1] + share * (self.mean[i] - self.mean[i - 1])

    def points(self, chosen: Iterable[int]) -> MeanCurve:
        """Return the curve with some of its points only."""
        where = list(chosen)
        x, mean, low, high = ([part[i] for i in where] for part in (self.x, self.mean, self.low, self.high))
        return MeanCurve(self.name, x, mean, low, high, self.runs)


def curve(each: RunSet, key: str, name: str, x: str = "iteration") -> MeanCurve:
    """Return a column of the histories of a setting's runs against another.

    Runs end at different iterations where patience ends them: one that has ended keeps its last values, so that the
    mean never jumps because a run has left it.

    Args:
        each: The runs.
        key: The column.
        name: What to call the curve.
        x: ``iteration`` or ``bytes_sent``.
    """
    points: list[tuple[float, float, float, float]] = []
    for iteration in sorted({k for run in each.runs for k in run.iterations}):
        held = [(_held(run, x, iteration), _held(run, key, iteration)) for run in each.runs]
        known = [(a, b) for a, b in held if a is not None and b is not None]
        if len(known) == len(held):
            values = [value for _, value in known]
            points.append((_mean([a for a, _ in known]), _mean(values), min(values), max(values)))
    xs, mean, low, high = ([point[i] for point in points] for i in range(4))
    return MeanCurve(name, xs, mean, low, high, len(each.runs))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _held(run: RunReport, key: str, iteration: int) -> float | None:
    # The value at an iteration, or the one before it where it was not evaluated, or the last one after its end.
    where = bisect_right(run.iterations, iteration) - 1
    return None if where < 0 or key not in run.columns else run.columns[key][where]


def positive(found: MeanCurve, of_x: bool = False) -> MeanCurve:
    """Return the points of a curve that a logarithmic axis has a place for, their band cut off where it has none."""
    kept = found.points(i for i in range(len(found)) if (found.x[i] if of_x else found.mean[i]) > 0)
    if of_x:
        return kept
    low = [low if low > 0 else mean for low, mean in zip(kept.low, kept.mean, strict=True)]
    return MeanCurve(kept.name, kept.x, kept.mean, low, kept.high, kept.runs)


def thinned(found: MeanCurve, most: int = MOST_POINTS) -> MeanCurve:
    """Return a curve with fewer points, both ends, and the lowest and the highest of each bundle between them."""
    if len(found) <= most:
        return found
    size = math.ceil(2 * len(found) / most)
    kept = {0, len(found) - 1}
    for start in range(0, len(found), size):
        bundle = range(start, min(start + size, len(found)))
        kept |= {min(bundle, key=found.mean.__getitem__), max(bundle, key=found.mean.__getitem__)}
    return found.points(sorted(kept))


def starts_of_stages(run: RunReport) -> list[tuple[int, int]]:
    """Return where stages of growth begin, and how many layers the network has then; nothing where it does not grow."""
    depths = [int(layers or 0) for layers in run.columns["layers"]]
    # Whatever the interval, a stage ends with a record.
    steps = [(run.iterations[i] + 1, b) for i, (a, b) in enumerate(pairwise(depths)) if a != b]
    return [(run.iterations[0], depths[0]), *steps] if steps else []


def window(curves: Sequence[MeanCurve], least: float = 0.02) -> tuple[float, float]:
    """Return the part of a linear axis that tells curves apart: all but how they come up at first.

    Nine tenths of each curve's points lie in it, and where it ends; its highest too.

    Args:
        curves: At least one with points.
        least: What it spans at least.
    """
    low, high = math.inf, -math.inf
    for each in filter(len, curves):
        low = min(low, each.low[-1], sorted(each.low)[len(each) // 10])
        high = max(high, *each.high)
    middle = (low + high) / 2
    low, high = min(low, middle - least / 2), max(high, middle + least / 2)
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def span(curves: Sequence[MeanCurve]) -> tuple[float, float]:
    """Return the lowest and the highest value of curves, at least one of which has points."""
    known = [each for each in curves if len(each)]
    return min(min(each.low) for each in known), max(max(each.high) for each in known)


def logarithmic(curves: Sequence[MeanCurve]) -> list[MeanCurve] | None:
    """Return curves as a logarithmic axis shows them, or ``None`` where a linear one is better: negative, or near."""
    kept = [positive(each) for each in curves]
    if not any(map(len, kept)) or min(min(each.mean, default=0.0) for each in curves) < 0:
        return None
    low, high = span(kept)
    return kept if high / low > 3 else None


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers in an interval, 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return powers of ten in a positive interval, not too many; others between them where they are few."""
    exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    if len(exponents) >= 3:
        step = math.ceil(len(exponents) / most)
        return [10.0**e for e in exponents if e % step == 0]
    around = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**e for e in around for f in factors if low <= f * 10.0**e <= high]
        if 2 <= len(ticks) <= most:
            return ticks
    return linear_ticks(low, high)

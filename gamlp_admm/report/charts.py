"""Charts as a page shows them: curves in a box that stretches, the words around it, and what is said of them.

A chart's lines are an SVG of 1000 by 1000 units that is stretched to its box, whose strokes are not; words and ticks
are beside it, as text, so that they have one size on a phone and on a laptop.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gamlp_admm.report import curves as of
from gamlp_admm.report.curves import MeanCurve
from gamlp_admm.report.tables import size

COLOURS = 8
UNITS = 1000.0


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        low: Where it begins.
        high: Where it ends.
        log: Whether it is logarithmic.
        in_bytes: Whether it counts bytes.
    """

    low: float
    high: float
    log: bool = False
    in_bytes: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies: 0 at the axis' beginning, 1 at its end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low) if self.high > self.low else 0.5
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Return where ticks are, in per cent of the axis, and their labels."""
        values = of.log_ticks(self.low, self.high) if self.log else of.linear_ticks(self.low, self.high)
        step = min((b - a for a, b in pairwise(values)), default=1.0)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        labels = [size(v) if self.in_bytes else power(v) if self.log else f"{v:.{digits}f}" for v in values]
        return [(round(100 * self.share(v), 2), label) for v, label in zip(values, labels, strict=True)]


def power(value: float) -> str:
    """Return a positive number as text: powers of ten that are far from 1 as such."""
    exponent = round(math.log10(value))
    if abs(exponent) < 4 or not math.isclose(value, 10.0**exponent):
        return f"{value:.4g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


@dataclass(frozen=True)
class Line:
    """A drawn curve.

    Attributes:
        name: What it is of.
        colour: Number of its colour, from 0.
        path: The SVG path of its mean.
        band: That of its range, empty of one run.
        dot: That of the selected weights, empty where they are not shown.
    """

    name: str
    colour: int
    path: str
    band: str
    dot: str


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: What it shows.
        note: What must be known to read it.
        x_label: What the horizontal axis counts.
        x: The horizontal axis.
        y: The vertical axis.
        lines: The curves.
        summary: In words what is drawn, for those who do not see it.
        data: The points, as JSON, for those who point at them.
        marks: Where the network grows, in per cent.
    """

    title: str
    note: str
    x_label: str
    x: Axis
    y: Axis
    lines: list[Line]
    summary: str
    data: str
    marks: list[float]


def chart(
    title: str,
    curves: Sequence[MeanCurve],
    *,
    shares: bool = False,
    in_bytes: bool = False,
    dots: Sequence[tuple[float, float] | None] = (),
    colours: Sequence[int] = (),
    stages: Sequence[tuple[int, int]] = (),
    note: str = "",
) -> Chart | None:
    """Return a chart of curves, or ``None`` where none of them has points.

    Args:
        title: What it shows.
        curves: The curves, each with a name.
        shares: Whether values are accuracies and the like, on a linear axis that shows what tells them apart; else the
            axis shows all, and is logarithmic where they are positive and far apart.
        in_bytes: Whether the horizontal axis counts bytes, and is logarithmic; else iterations.
        dots: Where the selected weights are, a place a curve, or ``None``.
        colours: Number of the colour of each curve; their own numbers where there are none.
        stages: Where stages of growth begin, and the layers from there on.
        note: What must be known to read it.
    """
    drawn = [of.positive(each, of_x=True) if in_bytes else each for each in curves]
    wide = None if shares else of.logarithmic(drawn)
    drawn = drawn if wide is None else wide
    if not any(map(len, drawn)):
        return None
    y = _log_axis(*of.span(drawn)) if wide else Axis(*of.window(drawn, least=0.01 if shares else 1e-12))
    ends = [x for each in drawn for x in each.x]
    x = Axis(min(ends), max(ends), log=in_bytes, in_bytes=in_bytes)
    thin = [of.thinned(each) for each in drawn]
    places = [*dots, *[None] * (len(thin) - len(dots))]
    numbers = [*colours] or [i % COLOURS for i in range(len(thin))]
    lines = [
        Line(each.name, number, _path(each.x, each.mean, x, y), _band(each, x, y), _dot(place, x, y))
        for each, place, number in zip(thin, places, numbers, strict=True)
        if len(each)
    ]
    marks = [] if in_bytes else [round(100 * x.share(k), 2) for k, _ in stages[1:] if x.low <= k <= x.high]
    if marks:
        first, *later = (str(layers) for _, layers in stages)
        note = f"The network has {first} layers, from the dashed lines on {' and '.join(later)}. {note}".rstrip()
    label = "bytes between layers" if in_bytes else "iteration"
    return Chart(title, note, label, x, y, lines, _summary(title, drawn, label), _data(thin, numbers, x), marks)


def _log_axis(low: float, high: float) -> Axis:
    margin = (high / low) ** 0.04
    return Axis(low / margin, high * margin, log=True)


def _at(x: float, y: float, of_x: Axis, of_y: Axis) -> str:
    return f"{UNITS * of_x.share(x):.4g} {UNITS * (1 - of_y.share(y)):.4g}"


def _path(xs: Sequence[float], ys: Sequence[float], x: Axis, y: Axis) -> str:
    return "M" + "L".join(_at(a, b, x, y) for a, b in zip(xs, ys, strict=True)) + ("h0" if len(xs) == 1 else "")


def _band(each: MeanCurve, x: Axis, y: Axis) -> str:
    if each.runs == 1 or len(each) < 2:
        return ""
    return _path([*each.x, *reversed(each.x)], [*each.high, *reversed(each.low)], x, y) + "z"


def _dot(place: tuple[float, float] | None, x: Axis, y: Axis) -> str:
    if place is None or (x.log and place[0] <= 0) or not x.low <= place[0] <= x.high or not y.low <= place[1] <= y.high:
        return ""
    return f"M{_at(*place, x, y)}h0"  # a line without length, whose round ends are a dot however the box is stretched


def _summary(title: str, curves: Sequence[MeanCurve], label: str) -> str:
    said = []
    for each in filter(len, curves):
        first, last, top = each.mean[0], each.mean[-1], max(each.mean)
        many = f" (mean of {each.runs} runs)" if each.runs > 1 else ""
        said.append(f"{each.name}{many}: from {first:.4g} to {last:.4g}, highest {top:.4g}")
    return f"{title} against {label}. {'; '.join(said)}."


def _data(curves: Sequence[MeanCurve], numbers: Sequence[int], x: Axis) -> str:
    """Return what pointing at a chart needs: the axis, and points with as many digits as are shown."""
    lines = [
        {"name": each.name, "colour": number, "x": _short(each.x), "y": _short(each.mean)}
        | ({"low": _short(each.low), "high": _short(each.high)} if each.runs > 1 else {})
        for each, number in zip(curves, numbers, strict=True)
        if len(each)
    ]
    return json.dumps(
        {"x": [x.low, x.high, x.log], "bytes": x.in_bytes, "lines": lines}, separators=(",", ":"), ensure_ascii=False
    )


def _short(values: Sequence[float]) -> list[float]:
    return [int(v) if v == int(v) and abs(v) < 1e15 else float(f"{v:.5g}") for v in values]

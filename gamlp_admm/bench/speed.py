"""How fast training is: an iteration, its share of the machine's product rate, its memory, and the time to an accuracy.

Every method trains on the same rows in the same run, on the same number of threads; methods take turns. An iteration's
time is the median over all iterations of all turns, evaluation excluded. The machine's *peak* is the best rate of dense
products in float32 that was found in the run, square ones or of the shape of the problem's own. What does not depend on
the machine is counted (:mod:`gamlp_admm.bench.counts`), on one iteration from drawn weights at full depth.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch

from gamlp_admm.bench.curve import Point, reached, selected
from gamlp_admm.bench.speed_cases import METHODS, Case, Source, SpeedPlan
from gamlp_admm.bench.timing import TrainedOnce, count, rates, train
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import environment


def measure(
    name: str,
    case: Case,
    methods: Sequence[str],
    root: str | None = None,
    done: Callable[[str], None] = lambda _: None,
    machine: bool = True,
) -> list[dict[str, Any]]:
    """Measure methods on a case, in turn.

    Args:
        name: What to call the case.
        case: The case.
        methods: Of :data:`METHODS`.
        root: Data root.
        done: Is told what has been done, after each turn of each method.
        machine: Whether the machine's rates are measured, before each turn.

    Returns:
        A row a method: ``problem``, ``title``, ``method``, ``rows``, ``layers``, ``hidden``, ``seconds`` (of an
        iteration, median), ``iterations`` (that it is of), ``calls``, ``products``, ``operations``, ``tensor_bytes``
        (of an iteration, counted), ``memory_bytes`` (resident, beyond the data; ``None`` where the system does not
        say), ``target``, ``target_seconds`` (``None`` if never reached); of the machine ``peak_rate`` and ``own_rate``
        in operations a second.
    """
    source = Source.of(case, root)
    turns: dict[str, list[TrainedOnce]] = {method: [] for method in methods}
    found: dict[str, float] = {}
    for turn in range(case.turns):
        for which, rate in rates(case, source.num_train).items() if machine else ():
            found[which] = max(rate, found.get(which, 0.0))
        for method in methods:
            turns[method].append(train(method, case, source, seed=turn))
            done(f"{name}, {method}")
    rows = []
    for method, runs in turns.items():
        counts, steps = count(method, case, source), [step for run in runs for step in run.steps]
        memory = [run.memory for run in runs if run.memory is not None]
        curves = [_columns(run.points) for run in runs]
        rows.append(
            {
                "problem": name,
                "title": str(case),
                "method": METHODS[method],
                "rows": source.num_train,
                "layers": case.layers,
                "hidden": case.hidden,
                "seconds": statistics.median(steps),
                "iterations": len(steps),
                "calls": counts.calls,
                "products": counts.products,
                "operations": counts.operations,
                "tensor_bytes": counts.peak,
                "memory_bytes": statistics.median(memory) if memory else None,
                "target": case.target,
                "target_seconds": case.target and reached(list(map(selected, curves)), "val_accuracy", case.target),
                **found,
            }
        )
    return rows


def _columns(points: Sequence[Point]) -> dict[str, list[float]]:
    return {name: [getattr(point, name) for point in points] for name in Point._fields}


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent a of seconds ~ sizeᵃ: the least-squares line through the logarithms of the three largest."""
    points = sorted(zip(sizes, seconds, strict=True))[-3:]
    x, y = ([math.log(value) for value in column] for column in zip(*points, strict=True))
    return statistics.linear_regression(x, y).slope


def slopes(growth: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the slope by method and axis, of rows with an axis and a size."""
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in growth:
        points.setdefault(row["method"], {}).setdefault(row["axis"], []).append((row["size"], row["seconds"]))
    return {
        method: {axis: slope(*zip(*found, strict=True)) for axis, found in axes.items()}
        for method, axes in points.items()
    }


def report(
    plan: SpeedPlan, threads: int = 1, root: str | None = None, done: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measure what is planned, one after the other; a problem whose data cannot be loaded is left out.

    Args:
        plan: What is measured.
        threads: Threads of all methods.
        root: Data root.
        done: Is told what has been done.

    Returns:
        ``rows`` of :func:`measure`, ``growth`` (rows with ``axis`` and ``size`` too), its :func:`slopes`, ``notes`` and
        ``environment``.

    Raises:
        InputError: No data can be loaded.
    """
    rows, grown, notes = list[dict[str, Any]](), list[dict[str, Any]](), list[str]()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name, case, methods in plan.cases():
            try:
                rows += measure(name, case, methods, root, done)
            except InputError as error:
                notes.append(f"{name} is left out: {error}")
        for axis, size, case, methods in plan.growth():
            made = measure(f"growth, {axis} {size}", case, methods, root, done, machine=False)
            grown += [{**row, "axis": axis, "size": size} for row in made]
    finally:
        torch.set_num_threads(before)
    if not rows and not grown:
        raise InputError("; ".join(notes))
    environ = environment("cpu") | {"threads": threads}
    return {"rows": rows, "growth": grown, "slopes": slopes(grown), "notes": notes, "environment": environ}

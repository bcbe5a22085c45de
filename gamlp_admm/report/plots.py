"""Plots of runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError
from gamlp_admm.report.tables import SPLITS, headline
from gamlp_admm.system.files import replacing


def check_plot(path: Path) -> None:
    """Check that a plot can be made.

    Raises:
        InputError: matplotlib is absent, or it does not know the file's ending.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise InputError("plot needs matplotlib: pip install 'gamlp-admm[plot]'") from None
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in known:
        raise InputError(f"plot {path}: allowed endings: {', '.join(sorted(known))}")


def plot(report: dict[str, Any], path: Path) -> None:
    """Plot objective, residuals and accuracies of a run against iterations.

    Args:
        report: What :class:`gamlp_admm.experiment.Run` reports.
        path: The file; its ending decides the format.

    Raises:
        InputError: See :func:`check_plot`.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    history, best = report["history"], report["best"]
    iterations = [record["iteration"] for record in history]
    figure = Figure(figsize=(8, 7), layout="constrained")
    cost, accuracy = figure.subplots(2, sharex=True)
    for key, colour in (
        ("objective", "C0"),
        ("primal_residual", "C1"),
        ("dual_residual", "C2"),
        ("train_loss", "C7"),
    ):
        values = [float("nan") if record[key] is None or record[key] <= 0 else record[key] for record in history]
        if any(value == value for value in values):
            cost.plot(iterations, values, color=colour, label=key.replace("_", " "))
    for split, colour in zip(SPLITS, ("C7", "C0", "C3"), strict=True):
        values = [record[f"{split}_accuracy"] for record in history]
        if None not in values:
            accuracy.plot(iterations, values, color=colour, label={"val": "validation"}.get(split, split))
    if best["test_accuracy"] is not None:
        label = f"best on validation: test {best['test_accuracy']:.4f}"
        accuracy.plot(best["iteration"], best["test_accuracy"], "o", color="C3", label=label)
    starts = [b for a, b in pairwise(history) if a["layers"] != b["layers"]]
    for stage in starts:
        for axes in (cost, accuracy):
            axes.axvline(stage["iteration"] - 0.5, color="0.6", linestyle="--", linewidth=1)
    for stage in [history[0], *starts] if starts else []:
        place = {"xycoords": ("data", "axes fraction"), "xytext": (3, -11), "textcoords": "offset points"}
        cost.annotate(f"{stage['layers']} layers", (stage["iteration"], 1), **place, color="0.4", fontsize=8)
    cost.set(yscale="log", ylabel="objective, residuals, loss", title=headline(report["config"]))
    accuracy.set(xlabel="iteration", ylabel="accuracy")
    for axes in (cost, accuracy):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    with replacing(path) as part:
        figure.savefig(part, format=path.suffix.removeprefix(".").lower(), dpi=150)


def plot_comparison(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot test accuracy of several codecs against bytes and iterations: means over seeds, and their range.

    Args:
        records: What :meth:`gamlp_admm.experiment.comparison.Comparison.histories` yields.
        path: The file; its ending decides the format.

    Raises:
        InputError: See :func:`check_plot`.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    by_bytes, by_iterations = figure.subplots(1, 2, sharey=True)
    for codec in dict.fromkeys(record["codec"] for record in records):
        points: dict[int, list[dict[str, Any]]] = {}
        for record in records:
            if record["codec"] == codec and record["test_accuracy"] is not None:
                points.setdefault(record["iteration"], []).append(record)
        accuracies = [[record["test_accuracy"] for record in at] for at in points.values()]
        means = [sum(values) / len(values) for values in accuracies]
        sent = [sum(record["bytes_sent"] for record in at) / len(at) for at in points.values()]
        for axes, x in ((by_bytes, sent), (by_iterations, list(points))):
            (line,) = axes.plot(x, means, label=codec, linewidth=1.2)
            axes.fill_between(x, [*map(min, accuracies)], [*map(max, accuracies)], color=line.get_color(), alpha=0.15)
    if any(record["bytes_sent"] > 0 and record["test_accuracy"] is not None for record in records):
        by_bytes.set_xscale("log")
    by_bytes.set(xlabel="bytes sent between layers", ylabel="test accuracy")
    by_iterations.set(xlabel="iteration")
    by_iterations.legend(fontsize=9)
    for axes in (by_bytes, by_iterations):
        axes.grid(alpha=0.3)
    with replacing(path) as part:
        figure.savefig(part, format=path.suffix.removeprefix(".").lower(), dpi=150)

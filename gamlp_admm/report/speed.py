"""What the benchmark of speed gave, as tables and as a plot of how an iteration's time grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from gamlp_admm.errors import InputError
from gamlp_admm.report.charts import power
from gamlp_admm.report.plots import COLOURS, STYLES, check_plot, logarithmic_axis, save_figure
from gamlp_admm.report.text_table import TextTable

AXES = {"rows": "training rows N", "layers": "layers L", "hidden": "neurons n"}


def speed_markdown(report: Mapping[str, Any]) -> str:
    """Return the tables of ``bench speed`` as Markdown.

    Args:
        report: What ``bench speed --json`` writes: ``rows``, ``growth`` with ``slopes``, ``notes``; each may lack.
    """
    notes = (f"Note: {note}" for note in report.get("notes", []))
    return "\n\n".join([*(table.markdown() for table in _made(report)), *notes])


def speed_tables(report: Mapping[str, Any]) -> list[Table | str]:
    """Return the same for the screen."""
    return [*(table.screen() for table in _made(report)), *(f"Note: {note}" for note in report.get("notes", []))]


def _made(report: Mapping[str, Any]) -> list[TextTable]:
    made = []
    if rows := report.get("rows"):
        made += [
            TextTable(TIMES, [_times(row) for row in rows], 2),
            TextTable(COUNTS, [_counts(row) for row in rows], 2),
        ]
    if growth := report.get("growth"):
        sizes = [[row for row in growth if row["axis"] == axis] for axis in AXES]
        heads = ["method", *(f"{AXES[axis]}, {_range(points)}" for axis, points in zip(AXES, sizes, strict=True))]
        methods = dict.fromkeys(row["method"] for row in growth)
        made.append(
            TextTable(heads, [[m, *(_grown(points, m, report["slopes"][m]) for points in sizes)] for m in methods], 1)
        )
    return made


TIMES = ["problem", "method", "ms an iteration", "of its products' rate", "of the peak", "MiB", "seconds to accuracy"]
COUNTS = ["problem", "method", "operator calls", "products", "10⁶ operations", "MiB of tensors"]


def _times(row: Mapping[str, Any]) -> list[str]:
    rate, memory, target = row["operations"] / row["seconds"], row["memory_bytes"], row["target"]
    reached = "" if target is None else f"{_reached(row['target_seconds'])} ({target:g})"
    shares = [f"{100 * rate / row[name]:.0f} %" for name in ("own_rate", "peak_rate")]
    return [row["title"], row["method"], _three(1e3 * row["seconds"]), *shares, _mebibytes(memory), reached]


def _reached(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2g}"


def _counts(row: Mapping[str, Any]) -> list[str]:
    operations, tensors = _three(row["operations"] / 1e6), _mebibytes(row["tensor_bytes"])
    return [row["title"], row["method"], f"{row['calls']:,}", str(row["products"]), operations, tensors]


def _mebibytes(size: float | None) -> str:
    return "" if size is None else _three(size / 2**20)


def _three(value: float) -> str:
    """Return a number of three significant digits, without an exponent."""
    return f"{float(f'{value:.3g}'):,.12g}"


def _range(points: Sequence[Mapping[str, Any]]) -> str:
    return f"{points[0]['size']:,} to {points[-1]['size']:,}"


def _grown(points: Sequence[Mapping[str, Any]], method: str, slopes: Mapping[str, float]) -> str:
    """Return the milliseconds at both ends of an axis, and the slope."""
    first, *_, last = (1e3 * row["seconds"] for row in points if row["method"] == method)
    return f"{_three(first)} to {_three(last)} ms, slope {slopes[points[0]['axis']]:.2f}"


def plot_speed(report: Mapping[str, Any], path: Path) -> None:
    """Plot an iteration's time against rows, layers and neurons, with the slope of each curve between logarithms.

    Args:
        report: What ``bench speed --json`` writes, with ``growth`` and ``slopes``.
        path: The file; its ending decides the format.

    Raises:
        InputError: Growth was not measured, or see :func:`gamlp_admm.report.check_plot`.
    """
    check_plot(path)
    if not (growth := report.get("growth")):
        raise InputError(f"plot {path} shows growth, which was not measured: allowed: problems with growth")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    everything = [1e3 * row["seconds"] for row in growth]
    for axes, (axis, title) in zip(figure.subplots(1, len(AXES), sharey=True), AXES.items(), strict=True):
        points = [row for row in growth if row["axis"] == axis]
        for i, method in enumerate(dict.fromkeys(row["method"] for row in points)):
            x, y = zip(*((row["size"], 1e3 * row["seconds"]) for row in points if row["method"] == method), strict=True)
            look = {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i % len(STYLES)], "marker": "o"}
            axes.plot(
                x, y, **look, markersize=4, linewidth=1.4, label=f"{method}: slope {report['slopes'][method][axis]:.2f}"
            )
        logarithmic_axis(axes.xaxis, min(row["size"] for row in points), max(row["size"] for row in points), power)
        logarithmic_axis(axes.yaxis, min(everything), max(everything), power)
        axes.set(xlabel=f"{title} ({_fixed(points[0], axis)})")
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, labelleft=True)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8, frameon=False)
    figure.axes[0].set(ylabel="ms an iteration")
    save_figure(figure, path)


def _fixed(row: Mapping[str, Any], axis: str) -> str:
    return ", ".join(f"{AXES[name].rsplit(' ', 1)[1]} = {row[name]:,}" for name in AXES if name != axis)

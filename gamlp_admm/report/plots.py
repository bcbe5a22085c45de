"""Plots of runs, as one would print them: seeds as mean and range, axes that show what differs, legends beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError
from gamlp_admm.report.charts import power
from gamlp_admm.report.curves import MeanCurve, curve, log_ticks, logarithmic, positive, span, starts_of_stages, window
from gamlp_admm.report.reading import run_sets
from gamlp_admm.report.runs import FALLING, RunSet, common_metric, words
from gamlp_admm.report.tables import headline, size
from gamlp_admm.system.files import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#7F7F7F")
"""Told apart by the colour-blind, too (Okabe and Ito)."""

STYLES = ("-", "--", ":", "-.")


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
    """Plot accuracies, objective and residuals of a run against iterations; of several seeds means and ranges.

    Args:
        report: What ``train --json`` writes.
        path: The file; its ending decides the format.

    Raises:
        InputError: See :func:`check_plot`.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    (each,) = _sets(report)
    metric = each.first.metrics[0]
    parts = {"test": "test", "validation": "val", "training": "train"}
    panels = {
        words(metric): {name: f"{part}_{metric}" for name, part in parts.items()},
        "objective, loss": {"objective": "objective", "training loss": "train_loss"},
        "norm of residuals": {"primal residual": "primal_residual", "dual residual": "dual_residual"},
    }
    curves = {label: [curve(each, key, name) for name, key in keys.items()] for label, keys in panels.items()}
    drawn = [label for label, found in curves.items() if any(map(len, found))]
    figure = Figure(figsize=(3.7 * len(drawn), 3.6), layout="constrained")
    for axes, label in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        measured = label == words(metric)
        _draw(axes, curves[label], shares=measured and metric not in FALLING)
        _mark_stages(axes, starts_of_stages(each.first))
        if measured and len(each.runs) == 1:
            _dots(axes, each, panels[label].values())
        axes.set(xlabel="iteration", ylabel=label)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=8, frameon=False, columnspacing=1)
    _title(figure, headline(each.first.config | {"dataset": each.first.dataset}), *_selected(each, metric))
    save_figure(figure, path)


def plot_comparison(report: dict[str, Any], path: Path) -> None:
    """Plot the test accuracy of several codecs against bytes and iterations: means over seeds, and their range.

    Dots are where runs came near to the first codec's best validation score (``bytes_to_99``), in the mean.

    Args:
        report: What ``compare --json`` writes.
        path: The file; its ending decides the format.

    Raises:
        InputError: See :func:`check_plot`.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    sets = _sets(report)
    metric, near = common_metric(sets), False
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, x in zip(panels, ("bytes_sent", "iteration"), strict=True):
        curves = [curve(each, f"test_{metric}", each.label, x) for each in sets]
        curves = [positive(found, of_x=True) for found in curves] if x == "bytes_sent" else curves
        _draw(axes, curves, shares=metric not in FALLING)
        if x == "bytes_sent" and any(map(len, curves)):
            ends = [at for found in curves for at in found.x]
            logarithmic_axis(axes.xaxis, min(ends), max(ends), size)
            near = _dots_of_near(axes, curves, report["rows"])
    panels[0].set(xlabel="bytes sent between layers", ylabel=f"test {words(metric)}")
    panels[1].set(xlabel="iteration")
    what = [f"dots: 99 % of the best validation {words(metric)} of {sets[0].label}"] if near else []
    _title(figure, headline(sets[0].first.config | {"algorithm": "codecs", "codec": None}), *what)
    handles, labels = panels[1].get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), fontsize=8, frameon=False)
    save_figure(figure, path)


def _sets(report: dict[str, Any]) -> list[RunSet]:
    return run_sets(json.loads(json.dumps(report)), "the report")  # as a file of it would be


def _title(figure: Any, *lines: str) -> None:
    text = "\n".join(lines).encode("utf-8", "replace").decode()  # file names may hold what is no character
    figure.suptitle(text, fontsize=10, parse_math=False)


def _selected(each: RunSet, metric: str) -> list[str]:
    """Return what the selected weights are worth, as a line of a title."""
    pair = each.mean("best", f"test_{metric}")
    if pair is None:
        return []
    over = f" ± {pair[1]:.4f} over {len(each.runs)} seeds, whose range is shaded" if len(each.runs) > 1 else ""
    return [f"selected on validation: test {words(metric)} {pair[0]:.4f}{over}"]


def _draw(axes: Any, curves: Sequence[MeanCurve], shares: bool) -> None:
    """Draw means and ranges; accuracies and the like in the window that tells them apart, others all of them."""
    wide = None if shares else logarithmic(curves)
    curves = curves if wide is None else wide
    for i, each in enumerate(curves):
        if len(each):
            colour, style = COLOURS[i % len(COLOURS)], STYLES[i % len(STYLES)]
            axes.plot(each.x, each.mean, color=colour, linestyle=style, linewidth=1.4, label=each.name)
            if each.runs > 1:
                axes.fill_between(each.x, each.low, each.high, color=colour, alpha=0.18, linewidth=0)
    if wide:
        logarithmic_axis(axes.yaxis, *span(curves), power)
    elif any(map(len, curves)):
        axes.set_ylim(*window(curves, least=0.01 if shares else 1e-12))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def logarithmic_axis(axis: Any, low: float, high: float, text: Any) -> None:
    """Make an axis logarithmic, with ticks at round numbers.

    Args:
        axis: Of matplotlib.
        low: Lowest value that it shows.
        high: Highest.
        text: From a value to the label of its tick.
    """
    from matplotlib.ticker import NullLocator

    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    ticks = log_ticks(low, high)
    axis.set_ticks(ticks, labels=map(text, ticks))
    axis.set_minor_locator(NullLocator())


def _mark_stages(axes: Any, stages: Sequence[tuple[int, int]]) -> None:
    """Say, above the axes, where the network grows."""
    for i, (k, layers) in enumerate(stages):
        if i:
            axes.axvline(k, color="0.6", linestyle=":", linewidth=1)
        place = {"xycoords": ("data", "axes fraction"), "xytext": (0, 3), "textcoords": "offset points"}
        axes.annotate(f"{layers}" if i else f"{layers} layers", (k, 1), **place, color="0.4", fontsize=8)


def _dots(axes: Any, each: RunSet, keys: Iterable[str]) -> None:
    """Mark the selected weights of a run."""
    for key, colour in zip(keys, COLOURS, strict=False):
        value = each.first.at_best(key)
        if value is not None:
            axes.plot(each.first.best["iteration"], value, "o", color=colour, markersize=5, clip_on=False)


def _dots_of_near(axes: Any, curves: Sequence[MeanCurve], rows: Sequence[dict[str, Any]]) -> bool:
    """Mark where the runs of a codec came near to the best validation score; return whether any did."""
    near = [row.get("bytes_to_99") for row in rows]
    for i, (each, at) in enumerate(zip(curves, near, strict=True)):
        if at and len(each):
            axes.plot(at, each.at(at), "o", color=COLOURS[i % len(COLOURS)], markersize=5, clip_on=False)
    return any(near)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure; the file's ending decides the format."""
    from matplotlib import rc_context

    with replacing(path) as part, rc_context({"pdf.fonttype": 42}):  # letters, which journals ask for, not their shapes
        figure.savefig(part, format=path.suffix.removeprefix(".").lower(), dpi=200)

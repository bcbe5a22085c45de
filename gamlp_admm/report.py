"""What users see of a run: live progress, summary tables, plots; and files that are never half-written."""

from __future__ import annotations

import csv
import io
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gamlp_admm.errors import InputError

if TYPE_CHECKING:  # importing torch takes a second, which tables do not need
    from gamlp_admm.datasets import DatasetRow
    from gamlp_admm.history import Progress

SPLITS = ("train", "val", "test")


def percent(accuracy: float | None) -> str:
    """Return an accuracy as text, ``-`` where there is none."""
    return "-" if accuracy is None else f"{accuracy:.4f}"


def size(count: float) -> str:
    """Return a number of bytes as text, in decimal units."""
    units = ("B", "kB", "MB", "GB", "TB")
    step = 0
    while count >= 999.5 and step + 1 < len(units):
        count, step = count / 1000, step + 1
    return f"{count:.3g} {units[step]}"


# --- progress -----------------------------------------------------------------------------------------------


class LiveProgress:
    """Shows training as it goes on a terminal; a callback of ``fit`` and a context manager.

    Args:
        console: The terminal.
        title: What is trained.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.live = Live(console=console, transient=True, refresh_per_second=8)
        self.title = title
        self.first: tuple[float, int] | None = None

    def __enter__(self) -> LiveProgress:
        self.live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.live.__exit__(*exception)

    def __call__(self, progress: Progress) -> None:
        """Show the newest record."""
        now, record, total = time.monotonic(), progress.record, progress.total_iterations
        iteration = record["iteration"]
        self.first = self.first or (now, iteration)
        start, done = self.first
        pace = (now - start) / (iteration - done) if iteration > done else None
        self.live.update(Group(self._bar(iteration, total, pace), self._numbers(record)))

    def _bar(self, iteration: int, total: int, pace: float | None) -> Table:
        bar = Table.grid(padding=(0, 1))
        left = "" if pace is None else f"{1e3 * pace:.3g} ms each, {pace * (total - iteration):.0f} s left"
        bar.add_row(self.title, ProgressBar(total, iteration, width=24), f"{iteration}/{total}", left)
        return bar

    @staticmethod
    def _numbers(record: dict[str, Any]) -> Text:
        parts = [f"{record['layers']} layers", f"objective {record['objective']:.4g}"]
        if record["primal_residual"] is not None:
            parts.append(f"primal residual {record['primal_residual']:.2e}")
        parts += [f"{split} {percent(record[f'{split}_accuracy'])}" for split in SPLITS]
        return Text("  ".join(parts), style="dim")


# --- tables -------------------------------------------------------------------------------------------------


def run_table(report: dict[str, Any]) -> Group:
    """Return the summary of one run: accuracies, cost, and which side of the convergence theorem it is on."""
    config, best, last = report["config"], report["best"], report["last"]
    table = Table(title=headline(config), title_justify="left", title_style="bold")
    for column in ("weights", "iteration", "train", "validation", "test"):
        table.add_column(column, justify="left" if column == "weights" else "right")
    at_best = next((r for r in report["history"] if r["iteration"] == best["iteration"]), last)
    for name, chosen in (
        ("best on validation", {**best, **{"train_accuracy": at_best["train_accuracy"]}}),
        ("last", last),
    ):
        accuracies = [percent(chosen[f"{split}_accuracy"]) for split in SPLITS]
        table.add_row(name, str(chosen["iteration"]), *accuracies)
    seconds = report["seconds"]
    each = 1e3 * seconds["train"] / last["iteration"]
    lines = [
        f"{seconds['train']:.3g} s training ({each:.3g} ms an iteration), "
        f"{seconds['augment']:.3g} s augmentation, {seconds['total']:.3g} s in all",
        f"{size(report['bytes_sent_total'])} sent between layers, {report['num_parameters']:,} parameters",
    ]
    if report["converges"] is not None:
        lines.append(theorem(config, report["converges"]))
    if len(report["processes"]) > 1:
        lines += [process_line(process) for process in report["processes"]]
    return Group(table, *map(Text, lines))


def process_line(process: dict[str, Any]) -> str:
    """Return what one process did, on one line."""
    if process["layers"] is None:
        return f"rank {process['rank']}: no layers"
    first, last = process["layers"]
    seconds, wait = process["seconds"], process["wait_seconds"]
    sent = ", ".join(f"{size(count)} over {l + 1}|{l + 2}" for l, count in sorted(process["wire_bytes"].items()))
    return (
        f"rank {process['rank']}: layers {first}-{last}, {seconds - wait:.3g} s computing, "
        f"{wait:.3g} s waiting, sent {sent or 'nothing'}"
    )


class Plan:
    """A callback of ``fit`` that says which process owns which layers, whenever that changes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.parts: list[range] = []

    def __call__(self, progress: Progress) -> None:
        """Print the plan if it is new."""
        if progress.parts != self.parts:
            self.parts = progress.parts
            owned = [f"{part[0] + 1}-{part[-1] + 1}" if part else "none" for part in self.parts]
            self.console.print(f"layers of each stage: {', '.join(owned)}")


def headline(config: dict[str, Any]) -> str:
    """Return what a run is, on one line."""
    hops = config["hops"]
    steps = "" if hops is None else f" {hops}" if isinstance(hops, int) else f" {','.join(map(str, hops))}"
    shape = f"{config['layers']} layers" + (f" x {config['hidden']}" if config["layers"] > 1 else "")
    codec = config["codec"]
    coded = "" if codec in (None, "fp32", "fp64") else f", codec {codec}"
    return f"{config['algorithm']} on {config['dataset']}: {shape}, operator {config['operator']}{steps}{coded}"


def theorem(config: dict[str, Any], converges: bool) -> str:
    """Return which side of the condition of Theorem 1 (TNNLS 2022) a run is on."""
    penalties = f"rho = {config['rho']:g}, nu = {config['nu']:g}"
    relation, meaning = (">", "guaranteed") if converges else ("<=", "not guaranteed")
    condition = f"rho {relation} max(4 nu S^2, (sqrt(17)+1)/2 nu)"
    return f"theorem: {penalties}: {condition}, so convergence is {meaning}"


def seeds_table(report: dict[str, Any]) -> Table:
    """Return the summary of several seeds."""
    runs, summary = report["runs"], report["summary"]
    table = Table(title=headline(runs[0]["config"]), title_justify="left", title_style="bold", show_footer=True)
    table.add_column("seed", "mean ± std", justify="right")
    columns = {
        "validation": ("best", "val_accuracy", "val_accuracy"),
        "test": ("best", "test_accuracy", "test_accuracy"),
        "last test": ("last", "test_accuracy", "last_test_accuracy"),
    }
    for title, (_, _, name) in columns.items():
        mean, std = summary[f"{name}_mean"], summary[f"{name}_std"]
        table.add_column(title, "-" if mean is None else f"{mean:.4f} ± {std:.4f}", justify="right")
    table.add_column("seconds", justify="right")
    for run in runs:
        accuracies = [percent(run[selected][key]) for selected, key, _ in columns.values()]
        table.add_row(str(run["seed"]), *accuracies, f"{run['seconds']['train']:.3g}")
    return table


def comparison_table(rows: Sequence[dict[str, Any]], config: dict[str, Any]) -> Table:
    """Return the table of a comparison of codecs.

    Args:
        rows: What :meth:`gamlp_admm.comparison.Comparison.rows` returns.
        config: The options of one of the runs.
    """
    title = headline(config | {"algorithm": "codecs"})
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("codec", no_wrap=True)
    columns = ("test", "last test", "bytes an iteration", "bytes in all", "less than fp32", "than authors", "seconds")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")

    def accuracy(row: dict[str, Any], name: str) -> str:
        mean, deviation = row[f"{name}_mean"], row[f"{name}_std"]
        return "-" if mean is None else f"{mean:.4f}" + (f" ± {deviation:.4f}" if row["seeds"] > 1 else "")

    def times(row: dict[str, Any], name: str) -> str:
        return "-" if row[name] is None else f"{row[name]:.3g}x"

    for row in rows:
        table.add_row(
            row["codec"],
            accuracy(row, "test_accuracy"),
            accuracy(row, "last_test_accuracy"),
            size(row["bytes_per_iteration"]),
            size(row["bytes_total"]),
            times(row, "times_fewer_than_fp32"),
            times(row, "times_fewer_than_authors"),
            f"{row['seconds']:.3g}",
        )
    return table


def datasets_table(rows: Sequence[DatasetRow]) -> Table:
    """Return the table of data sets."""
    table = Table(box=SIMPLE_HEAD, padding=0)
    table.add_column("name", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for column in ("nodes", "edges", "features", "classes", "download"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("present", no_wrap=True)
    table.add_column("licence", overflow="fold")
    table.add_column("origin", overflow="fold")
    for row in rows:
        counts = [f"{n:,}" for n in (row.nodes, row.edges, row.features, row.classes)]
        download = size(row.download_bytes) if row.download_bytes else "none"
        present = "yes" if row.present else "no"
        table.add_row(row.name, row.kind, *counts, download, present, row.licence, row.origin)
    return table


# --- plots --------------------------------------------------------------------------------------------------


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
        records: What :meth:`gamlp_admm.comparison.Comparison.histories` yields.
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


# --- files --------------------------------------------------------------------------------------------------


def check_writable(option: str, path: Path) -> None:
    """Check that a file can be written.

    Args:
        option: The option that names it.
        path: The file.

    Raises:
        InputError: It cannot.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{option} {path} cannot be written: it is not a regular file")
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written ({error.strerror})") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new file beside ``path`` that takes its place when the block ends, and not if it raises."""
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, suffix=".part")
    os.close(handle)
    try:
        yield Path(name)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)  # mkstemp makes private files
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows with the same keys as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_history(path: Path, reports: Sequence[dict[str, Any]]) -> None:
    """Write the history of some runs as CSV, with a column for the seed."""
    rows = [{"seed": report["seed"], **record} for report in reports for record in report["history"]]
    write_text(path, csv_text(rows))

"""Tables of accuracy, time and memory with many labels, on a terminal and as Markdown."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from gamlp_admm.report.accuracy import foot, label, text
from gamlp_admm.report.text_table import TextTable

HEADINGS = ("test accuracy", "near its best, s", "as good as Adam, s", "in all, s", "memory, MB")
MEANING = """\
Means over the seeds, each of which draws weights and, where it is random, the split; ± sample standard deviation;
weights selected on validation. Seconds are those of training on one thread, without features, evaluation and the choice
of settings: until the mean of the best validation accuracies so far has 99 % of its last value; until the mean test
accuracy of the weights selected so far is Adam's less 0.3 points (–: never); in all. Memory: by how much training grew
the process at most."""


def many_labels_table(report: dict[str, Any]) -> Table:
    """Return the table of a benchmark with many labels; the best of what was trained here is bold.

    Args:
        report: What ``bench many-labels --json`` writes.
    """
    table = Table(title="many labels", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("data set", no_wrap=True)
    table.add_column("method", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    rows = report["rows"]
    for i, (row, cells) in enumerate(zip(rows, _shown(rows, "[bold]{}[/bold]"), strict=True)):
        last = i + 1 < len(rows) and row["dataset"] != rows[i + 1]["dataset"]
        table.add_row(*cells, end_section=last)
    return table


def many_labels_markdown(report: dict[str, Any]) -> str:
    """Return the same as Markdown, with what the figures are, the sources of the published ones, and the command."""
    rows = report["rows"]
    sources: dict[str, dict[str, None]] = {}
    table = TextTable(["data set", "method", *HEADINGS], _shown(rows, "**{}**"), left=2)
    for row in rows:
        if row["group"] == "published":
            sources.setdefault(row["source"], {})[row["method"]] = None
    named = {source: list(methods) for source, methods in sources.items()}
    seeds = ", ".join(map(str, report["seeds"]))
    return "\n".join([table.markdown(), "", f"Seeds {seeds}. {MEANING}", *foot(report, named)]) + "\n"


def _shown(rows: list[dict[str, Any]], bold: str) -> list[list[str]]:
    """Return the cells of each row; ``bold`` is around the best accuracy on a data set among what was trained here."""
    best: dict[str, float] = {}
    for row in rows:
        if row["group"] != "published":
            best[row["dataset"]] = max(row["mean"], best.get(row["dataset"], 0.0))
    shown = []
    for row in rows:
        cells = [f"{row['dataset']}, {row['title']}", label(row), text(row)]
        if row["group"] == "published":
            shown.append([*cells, "", "", "", ""])
            continue
        if row["mean"] == best[row["dataset"]]:
            cells[-1] = bold.format(cells[-1])
        memory = row["memory_bytes"]
        times = [_seconds(row[key]) if key in row else "" for key in ("seconds_near", "seconds_adam", "seconds")]
        shown.append([*cells, *times, "–" if memory is None else f"{memory / 1e6:.0f}"])
    return shown


def _seconds(value: float | None) -> str:
    """Return seconds with three digits, those before the point, or to a millisecond."""
    if value is None:
        return "–"
    if value < 0.001:
        return "< 0.001"
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"

"""Tables of test accuracy on many data sets, on a terminal and as Markdown."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from gamlp_admm.report.text_table import line

GROUPS = {"ours": "here", "peers": "here", "published": "published"}


def accuracy_table(report: dict[str, Any]) -> Table:
    """Return the table of a benchmark of accuracy; the best of what was trained here is bold.

    Args:
        report: What ``bench accuracy --json`` writes.
    """
    table = Table(
        title="test accuracy", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("method", no_wrap=True)
    for column in report["columns"]:
        table.add_column(f"{column['dataset']}\n{column['title']}", justify="right")
    rows = list(zip(report["rows"], _shown(report, "[bold]{}[/bold]"), strict=True))
    for i, (row, cells) in enumerate(rows):
        last = i + 1 < len(rows) and row["group"] != rows[i + 1][0]["group"]
        table.add_row(label(row), *cells, end_section=last)
    return table


def accuracy_markdown(report: dict[str, Any]) -> str:
    """Return the same as Markdown, with what the figures are, the sources of the published ones, and the command."""
    titles = [f"{column['dataset']}, {column['title']}" for column in report["columns"]]
    lines = [line(["test accuracy", *titles]), line(["---"] * (1 + len(titles)))]
    for row, cells in zip(report["rows"], _shown(report, "**{}**"), strict=True):
        lines.append(line([label(row), *cells]))
    seeds = ", ".join(map(str, report["seeds"]))
    lines += ["", f"Seeds {seeds}: mean ± sample standard deviation; weights selected on validation."]
    return "\n".join([*lines, *foot(report, _sources(report))]) + "\n"


def foot(report: dict[str, Any], sources: dict[str, list[str]]) -> list[str]:
    """Return the lines below a benchmark's table: sources of published figures, notes and how it was made."""
    lines = []
    if sources:
        lines += ["", "Published:", "", *(f"- {'; '.join(methods)}: {source}" for source, methods in sources.items())]
    versions = ", ".join(f"{name} {number}" for name, number in report["environment"]["versions"].items())
    lines += ["", *(f"Note: {note}\n" for note in report["notes"])]
    return [*lines, f"`{report['command']}`, {report['date']}; {versions}."]


def label(row: dict[str, Any]) -> str:
    """Return what a table calls a method, and where its figures come from."""
    neurons = f", {row['neurons']} neurons" if row.get("neurons") else ""
    return f"{row['method']}{neurons}, {GROUPS[row['group']]}"


def text(cell: dict[str, Any] | None) -> str:
    """Return an accuracy: mean and deviation; of a published figure the digits that it has, at least three."""
    if cell is None:
        return ""
    if "seeds" not in cell:
        return f"{cell['mean']:.4f}".removesuffix("0")
    deviation = "" if cell["std"] is None else f" ± {cell['std']:.4f}"
    seeds = "" if cell["seeds"] == cell["planned"] else f" ({cell['seeds']} of {cell['planned']} seeds)"
    return f"{cell['mean']:.4f}{deviation}{seeds}"


def _shown(report: dict[str, Any], bold: str) -> list[list[str]]:
    """Return the cells of each row as text; ``bold`` is around the best of a column among what was trained here."""
    here = [row["cells"] for row in report["rows"] if row["group"] != "published"]
    best = [max((cell["mean"] for cell in cells if cell), default=None) for cells in zip(*here, strict=True)]
    rows = []
    for row in report["rows"]:
        marks = [
            cell is not None and "seeds" in cell and cell["mean"] == top
            for cell, top in zip(row["cells"], best, strict=True)
        ]
        rows.append(
            [bold.format(text(cell)) if mark else text(cell) for cell, mark in zip(row["cells"], marks, strict=True)]
        )
    return rows


def _sources(report: dict[str, Any]) -> dict[str, list[str]]:
    """Return the published methods by source."""
    sources: dict[str, list[str]] = {}
    for row in report["rows"]:
        for source in dict.fromkeys(cell["source"] for cell in row["cells"] if cell and "source" in cell):
            sources.setdefault(source, []).append(label(row).removesuffix(", published"))
    return sources

"""What the benchmark of propagation gave, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from gamlp_admm.report.text_table import TextTable

OURS, BOUND = "this package", "bound"


def augment_markdown(report: Mapping[str, Any]) -> str:
    """Return the tables of ``bench augment`` as Markdown.

    Args:
        report: What ``bench augment --json`` writes: ``rows`` and ``memory``.
    """
    return "\n\n".join(table.markdown() for table in _made(report))


def augment_tables(report: Mapping[str, Any]) -> list[Table]:
    """Return the same for the screen."""
    return [table.screen() for table in _made(report)]


def _made(report: Mapping[str, Any]) -> list[TextTable]:
    made = []
    for part, title in (("hop", "one hop"), ("whole", "4 hops, normalisation included")):
        found = [row for row in report["rows"] if row.get(part)]
        others = [*dict.fromkeys(name for row in found for name in row[part] if name not in (OURS, BOUND))]
        heads = ["graph", "threads", "columns", "seconds", *(["over the bound"] if part == "hop" else []), *others]
        if found:
            made.append(TextTable(heads, [_cells(row, row[part], others) for row in found], 2, title))
    if memory := report.get("memory"):
        heads = ["result", "where", "of it, MiB", "beyond the input, MiB"]
        title = "memory, 200,000 nodes × 128 columns × 4 hops"
        made.append(TextTable(heads, [_memory(row) for row in memory], 2, title))
    return made


def _cells(row: Mapping[str, Any], times: Mapping[str, float], others: Sequence[str]) -> list[str]:
    ours = times[OURS]
    bound = [f"{ours / times[BOUND]:.2f}"] if BOUND in times else []
    ratios = [f"{times[name] / ours:.1f}×" if name in times else "" for name in others]
    return [row["shape"], str(row["threads"]), str(row["columns"]), f"{ours:.3g}", *bound, *ratios]


def _memory(row: Mapping[str, Any]) -> list[str]:
    extra = "" if row["extra"] is None else f"{row['extra'] / 2**20:.0f}"
    return [row["dtype"], row["where"], f"{row['size'] / 2**20:.0f}", extra]

"""What the benchmark of OGB's data sets gave: a table, and forms that are ready to be submitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from gamlp_admm.report.accuracy import foot
from gamlp_admm.report.text_table import TextTable

HEADINGS = ("data set", "method", "test", "validation", "metric", "parameters", "seconds")
BLANK = "(yours)"


def ogb_table(report: dict[str, Any]) -> Group:
    """Return the table of ``bench ogb``, and a form for each of its rows.

    Args:
        report: What ``bench ogb --json`` writes.
    """
    return Group(_made(report).screen(), *(Text("\n".join([*form(row, report), ""])) for row in report["rows"]))


def ogb_markdown(report: dict[str, Any]) -> str:
    """Return the same as Markdown, with the command."""
    lines = [_made(report).markdown()]
    for row in report["rows"]:
        lines += ["", "```text", *form(row, report), "```"]
    return "\n".join([*lines, *foot(report, {})]) + "\n"


def form(row: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Return the fields of a submission to a leaderboard, one a line.

    Args:
        row: One of the rows of the report.
        report: The report.
    """
    seeds = f"{row['seeds']} seeds: {', '.join(map(str, report['seeds']))}"
    if row["seeds"] < row["planned"]:
        seeds = f"{row['seeds']} of {row['planned']} seeds"
    fields = {
        "Dataset": row["dataset"],
        "Method": row["method"],
        "OGB version": row["ogb"],
        "External data": "No",
        "Test performance": f"{figure(row, 'test')} ({row['metric']}; {seeds}; unbiased standard deviation)",
        "Validation performance": figure(row, "val"),
        "#Params": f"{row['num_parameters']:,}",
        "Hardware": row["hardware"],
        "Tuned hyperparameters": tuned(row),
        "Code": f"{BLANK}; {report['command']}",
        "Paper": "https://arxiv.org/abs/2105.09837",
        "Contact": BLANK,
    }
    return [f"{name + ':':<24}{value}" for name, value in fields.items()]


def figure(row: Mapping[str, Any], part: str) -> str:
    """Return mean ± sample standard deviation, of one seed the mean alone."""
    deviation = row[f"{part}_std"]
    return f"{row[f'{part}_mean']:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def tuned(row: Mapping[str, Any]) -> str:
    """Return the settings that were tuned, and what else was tried where a run chose them itself."""
    settings = ", ".join(f"{name}={value}" for name, value in row["tuned"].items()) or "none"
    others = [candidate for candidate in row["tried"] if not candidate["taken"]]
    tried = "; ".join(
        ", ".join(f"{name}={value}" for name, value in candidate["options"].items()) for candidate in others
    )
    return settings + (f" (on validation; also tried: {tried})" if tried else "")


def _made(report: Mapping[str, Any]) -> TextTable:
    return TextTable(HEADINGS, [_cells(row) for row in report["rows"]], left=2, title="OGB", wrap=False)


def _cells(row: Mapping[str, Any]) -> list[str]:
    seeds = "" if row["seeds"] == row["planned"] else f" ({row['seeds']} of {row['planned']} seeds)"
    cells = [row["dataset"], row["method"], figure(row, "test") + seeds, figure(row, "val"), row["metric"]]
    return [*cells, f"{row['num_parameters']:,}", f"{row['seconds']:.3g}"]

"""How a search for good options stands, and what it gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gamlp_admm.report.tables import percent


class SearchProgress:
    """Shows a search as it goes on a terminal; a callback of ``tune`` and a context manager.

    Args:
        console: The terminal.
        title: What is searched.
        total: Number of trials.
    """

    def __init__(self, console: Console, title: str, total: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=console, transient=True)
        self.title = title
        self.task = self.progress.add_task(title, total=total)

    def __enter__(self) -> SearchProgress:
        self.progress.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.progress.__exit__(*exception)

    def __call__(self, step: Any) -> None:
        """Show a :class:`gamlp_admm.tuning.Step`."""
        what = f"{self.title}, {step.phase}, best validation {percent(step.best)}"
        self.progress.update(self.task, description=what, completed=step.done, total=step.total)


def search_table(trials: Sequence[dict[str, Any]], title: str, metric: str = "accuracy") -> Table:
    """Return the table of some trials of a search.

    Args:
        trials: Rows of :meth:`gamlp_admm.tuning.Tuning.told`, at least one, in the order of the table.
        title: What was searched.
        metric: Name of the metric.
    """
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("trial", *trials[0]["searched"], "validation", "finals", "seconds"):
        table.add_column(column, justify="right", overflow="fold")

    def accuracy(trial: dict[str, Any], name: str) -> str:
        mean, deviation = trial[name], trial[f"{name}_std"]
        spread = deviation if name == f"val_{metric}" else mean is not None
        return percent(mean) + (f" ± {deviation:.4f}" if spread else "")

    for trial in trials:
        number = f"{trial['number']}, as it stands" if trial["standing"] else str(trial["number"])
        accuracies = [accuracy(trial, f"val_{metric}"), accuracy(trial, f"final_val_{metric}")]
        table.add_row(number, *trial["searched"].values(), *accuracies, f"{trial['seconds']:.3g}")
    return table

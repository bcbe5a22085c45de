"""How a run stands, while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gamlp_admm.report.tables import SPLITS, codec_line, percent

if TYPE_CHECKING:  # importing torch takes a second, which tables do not need
    from gamlp_admm.training.result import Progress


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
        self.live.update(Group(self._bar(iteration, total, pace), self._numbers(record, progress.metric)))

    def _bar(self, iteration: int, total: int, pace: float | None) -> Table:
        bar = Table.grid(padding=(0, 1))
        left = "" if pace is None else f"{1e3 * pace:.3g} ms each, {pace * (total - iteration):.0f} s left"
        bar.add_row(self.title, ProgressBar(total, iteration, width=24), f"{iteration}/{total}", left)
        return bar

    @staticmethod
    def _numbers(record: dict[str, Any], metric: str) -> Text:
        parts = [f"{record['layers']} layers", f"objective {record['objective']:.4g}"]
        if record["primal_residual"] is not None:
            parts.append(f"primal residual {record['primal_residual']:.2e}")
        parts += [] if metric == "accuracy" else [metric]
        parts += [f"{split} {percent(record[f'{split}_{metric}'])}" for split in SPLITS]
        return Text("  ".join(parts), style="dim")


class DivisionLine:
    """A callback of ``fit`` that says which process owns which layers, whenever that changes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.parts: list[range] = []

    def __call__(self, progress: Progress) -> None:
        """Print the plan if it is new."""
        if progress.parts != self.parts:
            self.parts = progress.parts
            owned = [f"{part[0] + 1}-{part[-1] + 1}" if part else "none" for part in self.parts]
            self.console.print(f"layers of each part: {', '.join(owned)}")


class CodecLine:
    """A callback of ``fit`` that says what ``codec auto`` chose, as soon as an iteration has been evaluated."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.told: str | None = None

    def __call__(self, progress: Progress) -> None:
        """Print the choice if it is new."""
        if progress.codec is not None and (line := codec_line(progress.codec)) != self.told:
            self.told = line
            self.console.print(line)


class WorkProgress:
    """Shows on a terminal how much of some work is done, and when it will be; a context manager, called with both."""

    def __init__(self, console: Console, title: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(24), TaskProgressColumn(), TimeRemainingColumn())
        self.shown = Bars(*columns, console=console, transient=True, speed_estimate_period=3600)
        self.title = title
        self.task: TaskID | None = None

    def __enter__(self) -> WorkProgress:
        self.shown.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.shown.__exit__(*exception)

    def __call__(self, done: int, total: int) -> None:
        """Show how much is done; what was when it is first called took no time here."""
        if self.task is None:
            self.task = self.shown.add_task(self.title, total=total, completed=done)
        self.shown.update(self.task, completed=done)

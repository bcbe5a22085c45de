"""Progress of a benchmark: a bar on a terminal, and a line for what goes wrong."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class BenchmarkProgress:
    """Shows how far a benchmark is; a context manager.

    Args:
        console: Where to.
        total: Number of jobs.
        quiet: Whether to say only what failed.
    """

    def __init__(self, console: Console, total: int, quiet: bool) -> None:
        self.console, self.quiet = console, quiet
        self.said: set[str] = set()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        shown = console.is_terminal and not quiet
        self.progress = Progress(*columns, *times, console=console, transient=True, disable=not shown)
        self.bar = self.progress.add_task("", total=total)

    def __enter__(self) -> BenchmarkProgress:
        if not self.progress.disable:
            self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if not self.progress.disable:  # rich before 14 ends it with an empty line all the same
            self.progress.stop()

    def show(self, what: str) -> None:
        """Say what is being done."""
        self.progress.update(self.bar, description=what)

    def add(self, job: str, dataset: str, error: str | None, skipped: bool) -> None:
        """Count a job.

        Args:
            job: What it is.
            dataset: Its data set.
            error: Why it was not done, if it was not.
            skipped: Whether that is because the data set cannot be loaded.
        """
        if skipped and not self.quiet:
            self._say(f"{dataset} is left out: {error}")
        elif error is not None and not skipped:
            self._say(f"{job} failed: {error}")
        self.progress.update(self.bar, advance=1, description=job)

    def _say(self, line: str) -> None:
        if line not in self.said:
            self.said.add(line)
            self.console.print(f"gamlp-admm: {' '.join(line.split())}", markup=False, soft_wrap=True)

"""What the commands of ``gamlp-admm bench`` share: a plan is run, and what it gave is shown and written."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gamlp_admm.cli import running
from gamlp_admm.cli.console import PROGRAM
from gamlp_admm.errors import InputError, Interrupted


def check(outputs: Mapping[str, Any], plot: Path | None = None) -> None:
    """Check, before anything is measured, that what is asked for can be written; see :func:`running.check_files`."""
    running.check_files({name: outputs[name] for name in ("markdown", "json")}, plot)


def tell(
    made: dict[str, Any],
    to_markdown: Callable[[dict[str, Any]], str],
    to_screen: Callable[[dict[str, Any]], Sequence[Any]],
    markdown: Path | None,
    json: Path | None,
    quiet: bool,
) -> None:
    """Show and write what was measured.

    Args:
        made: What was measured.
        to_markdown: Makes a text of it.
        to_screen: Makes tables and texts of it.
        markdown: A file for the one; ``-`` for standard output.
        json: A file for the numbers; ``-`` for standard output.
        quiet: Whether the screen is spared.
    """
    from rich.console import Console

    made |= {
        "command": shlex.join([PROGRAM, *click.get_current_context().find_root().obj]),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    if markdown is not None:
        running.write(markdown, to_markdown(made).rstrip() + "\n")
    if json is not None:
        running.write(json, running.dumps(made))
    if not quiet:
        screen = Console(stderr=Path("-") in (markdown, json), highlight=False)
        screen.width = screen.width if screen.is_terminal else 220
        screen.print(*to_screen(made), sep="\n")


def run(
    benchmark: Any,
    plan: Sequence[Any],
    to_markdown: Callable[[dict[str, Any]], str],
    to_table: Callable[[dict[str, Any]], Any],
    *,
    root: str | None,
    out: Path,
    jobs: int,
    threads: int = 1,
    **outputs: Any,
) -> None:
    """Run a plan, and show and write what came of it.

    Args:
        benchmark: What runs jobs, and sums up.
        plan: The jobs.
        to_markdown: Makes a text of the summary.
        to_table: Makes a table of it.
        root: Data root.
        out: Folder of results.
        jobs: Processes.
        threads: Threads of each.
        outputs: As for :func:`tell`.

    Raises:
        InputError: No data set can be loaded, or something cannot be written.
    """
    from rich.console import Console

    from gamlp_admm.experiment import environment
    from gamlp_admm.system.files import make_directory

    check(outputs)
    console = Console(stderr=True, highlight=False)
    make_directory("out", out)
    outcomes = _outcomes(benchmark, plan, out, root, jobs, console, outputs["quiet"])
    done = [outcome.record for outcome in outcomes if outcome.record is not None]
    failed = [outcome for outcome in outcomes if outcome.error is not None and not outcome.skipped]
    skipped = [*dict.fromkeys(outcome.error for outcome in outcomes if outcome.skipped)]
    if not done and not failed:
        raise InputError(f"no data set can be loaded: {skipped[0]}")
    report = benchmark.summarize(done, plan) | {
        "seeds": [*dict.fromkeys(job.seed for job in plan)],
        "jobs": done,
        "notes": [*skipped, *(f"{outcome.job}: {outcome.error}" for outcome in failed)],
        "environment": environment("cpu") | {"processes": jobs, "threads": threads},
    }
    tell(report, to_markdown, lambda made: [to_table(made)], **outputs)
    if failed:
        click.get_current_context().exit(1)


def _outcomes(
    benchmark: Any, plan: Sequence[Any], folder: Path, root: str | None, workers: int, console: Any, quiet: bool
) -> list[Any]:
    """Run a plan with a progress bar on a terminal and a line for what goes wrong; return the outcomes.

    Raises:
        Interrupted: After Ctrl-C, or if a worker was killed; what is done is kept.
    """
    from concurrent.futures import BrokenExecutor

    from gamlp_admm.bench.running import outcomes as coming_from
    from gamlp_admm.report import BenchmarkProgress
    from gamlp_admm.system.allocator import keep_freed_memory

    keep_freed_memory()
    outcomes: list[Any] = []
    with BenchmarkProgress(console, len(plan), quiet) as progress:
        try:
            coming = coming_from(benchmark, plan, folder, root=root, workers=workers, doing=progress.show)
            with closing(coming):
                for outcome in coming:
                    outcomes.append(outcome)
                    progress.add(str(outcome.job), outcome.job.dataset, outcome.error, outcome.skipped)
        except (KeyboardInterrupt, BrokenExecutor) as error:
            stopped = isinstance(error, KeyboardInterrupt)
            what = "interrupted" if stopped else "a worker ended abruptly (too little memory?)"
            kept = sum(outcome.record is not None for outcome in outcomes)
            left = f"{kept} of {len(plan)} results are in {folder}; the same command goes on from there"
            raise Interrupted(f"{what}: {left}") from None
    return outcomes

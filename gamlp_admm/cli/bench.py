"""``gamlp-admm bench``: benchmarks that reproduce the tables of the documentation."""

from __future__ import annotations

import os
import shlex
from concurrent.futures import BrokenExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gamlp_admm.cli import running
from gamlp_admm.cli.console import PROGRAM
from gamlp_admm.cli.options import Name, Numbers, SectionCommand, flag, option, root
from gamlp_admm.errors import InputError, Interrupted
from gamlp_admm.experiment.declaration import DATA, PROCESSES, TRAINING


@click.group(invoke_without_command=True)
@click.pass_context
def bench(ctx: click.Context) -> None:
    """Reproduce the tables of the documentation."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _datasets() -> list[str]:
    from gamlp_admm.datasets.info import dataset_names

    return dataset_names()


@bench.command(cls=SectionCommand)
@option(
    "--datasets",
    Name(_datasets, several=True),
    "graphs with published figures",
    metavar="A,B,C",
    section=DATA,
    help="Data sets, with , between.",
)
@option(
    "--methods",
    Name(several=True),
    "all",
    metavar="A,B,C",
    section=TRAINING,
    help="Of pdadmm-g, pdadmm-g:smooth, pdadmm-g:10, pdadmm-g-q:10, adam, adam:10, gcn, sgc, sign.",
)
@option("--seeds", Numbers(), "0,1,2,3,4", metavar="A,B,C", section=TRAINING, help="Train from each seed.")
@option(
    "--splits",
    default="usual",
    section=DATA,
    help="usual; random: for each seed its own, where the papers drew one; both.",
)
@root
@option("--out", Path, "bench-accuracy", metavar="DIR", help="Folder of results; what is there is not run again.")
@option(
    "--jobs",
    click.IntRange(1),
    "number of cores",
    metavar="N",
    section=PROCESSES,
    help="Processes, each on one thread.",
)
@option("--markdown", Path, metavar="FILE", help="Write the table as Markdown; - for standard output.")
@option("--json", Path, metavar="FILE", help="Write the table and every result; - for standard output.")
@flag("--quiet", help="Print nothing but errors.")
def accuracy(
    datasets: tuple[str, ...] | None,
    methods: tuple[str, ...] | None,
    seeds: tuple[int, ...] | None,
    splits: str | None,
    root: str | None,
    out: Path | None,
    jobs: int | None,
    markdown: Path | None,
    json: Path | None,
    quiet: bool,
) -> None:
    """Compare test accuracy with Adam, GCN, SGC, SIGN and published figures.

    Ours are the data sets' recipes; with :10, 10 layers of 100 neurons. Settings of the others are chosen on validation
    with the first seed. A data set that is absent and cannot be downloaded is left out.
    """
    from rich.console import Console

    from gamlp_admm import report as reports
    from gamlp_admm.bench import jobs as planned
    from gamlp_admm.bench.summary import summarize
    from gamlp_admm.experiment import environment

    seeds = seeds or (0, 1, 2, 3, 4)
    plan = planned.plan(
        datasets or planned.default_datasets(), methods or tuple(planned.METHODS), seeds, splits or "usual"
    )
    running.check_files({"markdown": markdown, "json": json}, None)
    folder = _folder(out or Path("bench-accuracy"))
    console = Console(stderr=True, highlight=False)
    outcomes = _run(plan, folder, root, jobs or os.cpu_count() or 1, console, quiet)
    done = [outcome.record for outcome in outcomes if outcome.record is not None]
    failed = [outcome for outcome in outcomes if outcome.error is not None and not outcome.skipped]
    skipped = [*dict.fromkeys(outcome.error for outcome in outcomes if outcome.skipped)]
    if not done and not failed:
        raise InputError(f"no data set can be loaded: {skipped[0]}")
    report = summarize(done, plan) | {
        "seeds": seeds,
        "jobs": done,
        "notes": [*skipped, *(f"{outcome.job}: {outcome.error}" for outcome in failed)],
        "environment": environment("cpu") | {"processes": jobs or os.cpu_count() or 1, "threads": 1},
        "command": shlex.join([PROGRAM, *click.get_current_context().find_root().obj]),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    if markdown is not None:
        running.write(markdown, reports.accuracy_markdown(report))
    if json is not None:
        running.write(json, running.dumps(report))
    if not quiet:
        screen = Console(stderr=Path("-") in (markdown, json), highlight=False)
        if not screen.is_terminal:
            screen.width = 220
        screen.print(reports.accuracy_table(report))
    if failed:
        click.get_current_context().exit(1)


def _folder(path: Path) -> Path:
    """Return the folder of results, made if need be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out {path} cannot be written ({error.strerror})") from None
    return path


def _run(plan: list[Any], folder: Path, root: str | None, workers: int, console: Any, quiet: bool) -> list[Any]:
    """Run a plan with a progress bar on a terminal and a line for what goes wrong; return the outcomes.

    Raises:
        Interrupted: After Ctrl-C, or if a worker was killed; what is done is kept.
    """
    from gamlp_admm.bench import accuracy as benchmark
    from gamlp_admm.report import BenchmarkProgress

    outcomes: list[Any] = []
    with BenchmarkProgress(console, len(plan), quiet) as progress:
        try:
            coming = benchmark.outcomes(plan, folder, root=root, workers=workers, doing=progress.show)
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

"""``gamlp-admm bench``: benchmarks that reproduce the tables of the documentation."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gamlp_admm.cli import running
from gamlp_admm.cli.console import PROGRAM
from gamlp_admm.cli.options import Decorator, Name, Numbers, SectionCommand, flag, option, root, shared
from gamlp_admm.errors import InputError, Interrupted
from gamlp_admm.experiment.declaration import DATA, PROCESSES, TRAINING
from gamlp_admm.experiment.options import declared

SEEDS = (0, 1, 2, 3, 4)


@click.group(invoke_without_command=True)
@click.pass_context
def bench(ctx: click.Context) -> None:
    """Reproduce the tables of the documentation."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _datasets() -> list[str]:
    from gamlp_admm.datasets.info import dataset_names

    return dataset_names()


def _shared(
    methods: str,
    datasets: str,
    seeds: str,
    out: str,
    jobs: tuple[str, str],
    defaults: tuple[str, str] = ("all", "0,1,2,3,4"),
) -> Decorator:
    """Return the options that all benchmarks have.

    Args:
        methods: What the help says of methods.
        datasets: What it says are the default data sets.
        seeds: What it says that a seed draws.
        out: Default folder.
        jobs: What it says of processes, and of their default number.
        defaults: What it says are the default methods and seeds.
    """
    names = "A,B,C"
    made = [
        option(
            "--datasets",
            Name(_datasets, several=True),
            datasets,
            metavar=names,
            section=DATA,
            help="Data sets, with , between.",
        ),
        option("--methods", Name(several=True), defaults[0], metavar=names, section=TRAINING, help=methods),
        option("--seeds", Numbers(), defaults[1], metavar=names, section=TRAINING, help=seeds),
        root,
        option("--out", Path, out, metavar="DIR", help="Folder of results; what is there is not run again."),
        option("--jobs", click.IntRange(1), jobs[1], metavar="N", section=PROCESSES, help=jobs[0]),
        option("--markdown", Path, metavar="FILE", help="Write the table as Markdown; - for standard output."),
        option("--json", Path, metavar="FILE", help="Write the table and every result; - for standard output."),
        flag("--quiet", help="Print nothing but errors."),
    ]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for each in reversed(made):
            command = each(command)
        return command

    return decorate


@bench.command(cls=SectionCommand)
@_shared(
    "Of pdadmm-g, pdadmm-g:smooth, pdadmm-g:10, pdadmm-g-q:10, ridge, adam, adam:10, gcn, sgc, sign.",
    "graphs with published figures",
    "Train from each seed.",
    "bench-accuracy",
    ("Processes, each on one thread.", "number of cores"),
)
@option(
    "--splits",
    default="usual",
    section=DATA,
    help="usual; random: for each seed its own, where the papers drew one; both.",
)
def accuracy(splits: str | None, **given: Any) -> None:
    """Compare test accuracy with ridge, Adam, GCN, SGC, SIGN and published figures.

    Ours are the data sets' recipes; with :10, 10 layers of 100 neurons. Settings of the others are chosen on validation
    with the first seed. A data set that is absent and cannot be downloaded is left out.
    """
    from gamlp_admm import report as reports
    from gamlp_admm.bench.accuracy import METHODS, Accuracy, default_datasets, plan

    datasets, methods, seeds = (given.pop(name) for name in ("datasets", "methods", "seeds"))
    jobs = plan(datasets or default_datasets(), methods or tuple(METHODS), seeds or SEEDS, splits or "usual")
    given["jobs"] = given["jobs"] or os.cpu_count() or 1
    given["out"] = given["out"] or Path("bench-accuracy")
    _benchmark(Accuracy(), jobs, reports.accuracy_markdown, reports.accuracy_table, **given)


@bench.command("many-labels", cls=SectionCommand)
@_shared(
    "Of pdadmm-g, pdadmm-g:10, ridge, logistic, adam, adam-full, gcn.",
    "six graphs, mnist-knn",
    "Draw weights and split from each seed.",
    "bench-many-labels",
    ("Processes, each on one thread; with several, times are not to be relied on.", "1"),
)
def many_labels(**given: Any) -> None:
    """Compare accuracy, time and memory on 60/20/20 splits with ridge, logistic regression, Adam and GCN.

    Ours are the package's defaults; with :10, 10 layers. Ridge, logistic regression and Adam have the features that
    those defaults choose; settings of Adam and GCN are chosen on validation with the first seed. Where the usual split
    has many labels, it is that. A data set that is absent and cannot be downloaded is left out.
    """
    from gamlp_admm import report as reports
    from gamlp_admm.bench.many_labels import METHODS, ManyLabels, default_datasets, plan

    datasets, methods, seeds = (given.pop(name) for name in ("datasets", "methods", "seeds"))
    jobs = plan(datasets or default_datasets(), methods or tuple(METHODS), seeds or SEEDS)
    given["jobs"] = given["jobs"] or 1
    given["out"] = given["out"] or Path("bench-many-labels")
    _benchmark(ManyLabels(), jobs, reports.many_labels_markdown, reports.many_labels_table, **given)


@bench.command(cls=SectionCommand)
@_shared(
    "Of pdadmm-g, pdadmm-g:10, pdadmm-g-q, ridge, adam.",
    "ogbn-arxiv",
    "Train from each seed.",
    "bench-ogb",
    ("Processes.", "1"),
    ("pdadmm-g", "0,1,…,9"),
)
@shared("device", Name(lambda: declared()["device"].option.allowed()))
@shared("threads", click.IntRange(1), "cores, divided among processes")
def ogb(device: str | None, threads: int | None, **given: Any) -> None:
    """Run the protocol of OGB's leaderboards, and print what a submission asks for.

    Ten seeds; mean and sample standard deviation by OGB's evaluator, parameters, hardware and tuned hyperparameters.
    Ours are the data sets' recipes, else the package's defaults. Needs the package ogb.
    """
    from gamlp_admm import report as reports
    from gamlp_admm.bench.ogb import DATASETS, SEEDS, Leaderboard, plan

    datasets, methods, seeds = (given.pop(name) for name in ("datasets", "methods", "seeds"))
    jobs = plan(datasets or DATASETS, methods or ("pdadmm-g",), seeds or SEEDS)
    given["jobs"] = given["jobs"] or 1
    given["out"] = given["out"] or Path("bench-ogb")
    benchmark = Leaderboard(device, threads or max((os.cpu_count() or 1) // given["jobs"], 1))
    _benchmark(benchmark, jobs, reports.ogb_markdown, reports.ogb_table, threads=benchmark.threads, **given)


def _shapes() -> list[str]:
    from gamlp_admm.bench.augment import SHAPES

    return [*SHAPES]


@bench.command("augment", cls=SectionCommand)
@option(
    "--shapes",
    Name(_shapes, several=True),
    "arxiv",
    metavar="A,B",
    section=DATA,
    help="Of 1e5, 1e6, arxiv, 1e7, products: random graphs of that size.",
)
@option("--columns", Numbers(), "32", metavar="A,B", section=DATA, help="Columns of the features.")
@option("--threads", Numbers(), "1", metavar="A,B", section=PROCESSES, help="Numbers of threads.")
@option("--repeat", click.IntRange(1), "3", metavar="N", help="Repetitions, of which the quickest counts.")
@flag("--memory", help="Measure peak memory, too, in processes of their own.")
@option("--markdown", Path, metavar="FILE", help="Write the tables as Markdown; - for standard output.")
@option("--json", Path, metavar="FILE", help="Write every result; - for standard output.")
@flag("--quiet", help="Print nothing but errors.")
def augment(
    shapes: Sequence[str] | None,
    columns: Sequence[int] | None,
    threads: Sequence[int] | None,
    repeat: int | None,
    memory: bool,
    markdown: Path | None,
    json: Path | None,
    quiet: bool,
) -> None:
    """Time the propagation of features beside torch.sparse, SciPy, PyG's EdgeIndex and T.SIGN, and the bound.

    Graphs are random, with power-law degrees. The bound is the time of reading the rows that a product gathers. In the
    columns of the others is how many times as long they take. By default it takes a few seconds; products needs 16 GB.
    """
    from gamlp_admm import report as reports
    from gamlp_admm.bench.augment import report

    running.check_files({"markdown": markdown, "json": json}, None)
    made = report(shapes or ("arxiv",), columns or (32,), threads or (1,), repeat or 3, memory)
    _tell(made, reports.augment_markdown, reports.augment_tables, markdown, json, quiet)


def _problems() -> list[str]:
    from gamlp_admm.bench.speed_cases import CASES, GROWTH

    return [*CASES, GROWTH]


@bench.command("speed", cls=SectionCommand)
@option(
    "--problems",
    Name(_problems, several=True),
    "cora,cora-10,large,growth",
    metavar="A,B",
    section=DATA,
    help="Of karate, cora, cora-10, large (20,000 random rows, 10 × 500), growth (of N, L and n).",
)
@root
@option(
    "--methods",
    Name(several=True),
    "those that suit the problem",
    metavar="A,B",
    section=TRAINING,
    help="Of pdadmm-g, pdadmm-g:linesearch, pdadmm-g:exact, pdadmm-g:backtracking, pdadmm-g-q, dladmm, mdlam, badm, "
    "sisa, adam, gcn, published.",
)
@option("--target", float, "0.74 on Cora", metavar="X", section=TRAINING, help="Validation accuracy to be timed until.")
@option("--threads", click.IntRange(1), "1", metavar="N", section=PROCESSES, help="Threads, of all methods.")
@option("--repeat", click.IntRange(1), "3; large, growth: 1", metavar="N", help="Turns, each from a seed of its own.")
@flag("--quick", help="Only karate, and growth of small networks: a check that takes seconds.")
@option("--plot", Path, metavar="FILE", help="Plot growth; the ending decides the format.")
@option("--markdown", Path, metavar="FILE", help="Write the tables as Markdown; - for standard output.")
@option("--json", Path, metavar="FILE", help="Write every result; - for standard output.")
@flag("--quiet", help="Print nothing but errors.")
def speed(
    problems: Sequence[str] | None,
    root: str | None,
    methods: Sequence[str] | None,
    target: float | None,
    threads: int | None,
    repeat: int | None,
    quick: bool,
    plot: Path | None,
    markdown: Path | None,
    json: Path | None,
    quiet: bool,
) -> None:
    """Time an iteration of every solver beside Adam, GCN and the papers' recipe, and training to an accuracy.

    Beside times are the share of the machine's product rate, memory, operator calls and products. Times are medians,
    without evaluation. By default it takes some minutes.
    """
    from rich.console import Console

    from gamlp_admm import report as reports
    from gamlp_admm.bench.speed import report
    from gamlp_admm.bench.speed_cases import DEFAULTS, QUICK, SpeedPlan

    running.check_files({"markdown": markdown, "json": json}, plot)
    planned = SpeedPlan(problems or (QUICK if quick else DEFAULTS), methods, repeat, target, quick)
    if plot is not None and not planned.growth():
        raise InputError(f"plot {plot} shows growth: --problems must have it")
    with reports.BenchmarkProgress(Console(stderr=True, highlight=False), planned.size, quiet) as progress:
        made = report(planned, threads or 1, root, lambda what: progress.add(what, "", None, False))
    if plot is not None:
        reports.plot_speed(made, plot)
    _tell(made, reports.speed_markdown, reports.speed_tables, markdown, json, quiet)


def _tell(
    made: dict[str, Any],
    to_markdown: Callable[[dict[str, Any]], str],
    to_tables: Callable[[dict[str, Any]], Sequence[Any]],
    markdown: Path | None,
    json: Path | None,
    quiet: bool,
) -> None:
    """Show and write what was measured."""
    from rich.console import Console

    made |= {
        "command": shlex.join([PROGRAM, *click.get_current_context().find_root().obj]),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    if markdown is not None:
        running.write(markdown, to_markdown(made) + "\n")
    if json is not None:
        running.write(json, running.dumps(made))
    if not quiet:
        screen = Console(stderr=Path("-") in (markdown, json), highlight=False)
        screen.width = screen.width if screen.is_terminal else 220
        screen.print(*to_tables(made), *(f"Note: {note}" for note in made.get("notes", ())), sep="\n")


def _benchmark(
    benchmark: Any,
    plan: Sequence[Any],
    to_markdown: Callable[[dict[str, Any]], str],
    to_table: Callable[[dict[str, Any]], Any],
    *,
    root: str | None,
    out: Path,
    jobs: int,
    markdown: Path | None,
    json: Path | None,
    quiet: bool,
    threads: int = 1,
) -> None:
    """Run a plan, and show and write what came of it."""
    from rich.console import Console

    from gamlp_admm.experiment import environment
    from gamlp_admm.system.files import make_directory

    running.check_files({"markdown": markdown, "json": json}, None)
    console = Console(stderr=True, highlight=False)
    make_directory("out", out)
    outcomes = _run(benchmark, plan, out, root, jobs, console, quiet)
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
        "command": shlex.join([PROGRAM, *click.get_current_context().find_root().obj]),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    if markdown is not None:
        running.write(markdown, to_markdown(report))
    if json is not None:
        running.write(json, running.dumps(report))
    if not quiet:
        screen = Console(stderr=Path("-") in (markdown, json), highlight=False)
        if not screen.is_terminal:
            screen.width = 220
        screen.print(to_table(report))
    if failed:
        click.get_current_context().exit(1)


def _run(
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

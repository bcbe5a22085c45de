"""``gamlp-admm bench``: benchmarks that reproduce the tables of the documentation."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from gamlp_admm.cli import benchmarking
from gamlp_admm.cli.options import Decorator, Name, Numbers, SectionCommand, flag, option, root, shared
from gamlp_admm.errors import InputError
from gamlp_admm.experiment.declaration import DATA, PROCESSES, TRAINING
from gamlp_admm.experiment.options import declared

SEEDS = (0, 1, 2, 3, 4)


@click.group(invoke_without_command=True)
@click.pass_context
def bench(ctx: click.Context) -> None:
    """Reproduce the tables of the documentation."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


OUTPUTS = (
    option("--markdown", Path, metavar="FILE", help="Write the tables as Markdown; - for standard output."),
    option("--json", Path, metavar="FILE", help="Write every result; - for standard output."),
    flag("--quiet", help="Print nothing but errors."),
)
"""Options of where results go, which all benchmarks have."""


def _together(*options: Decorator) -> Decorator:
    """Return one decorator for several options, in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for each in reversed(options):
            command = each(command)
        return command

    return decorate


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
        *OUTPUTS,
    ]
    return _together(*made)


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
    benchmarking.run(Accuracy(), jobs, reports.accuracy_markdown, reports.accuracy_table, **given)


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
    benchmarking.run(ManyLabels(), jobs, reports.many_labels_markdown, reports.many_labels_table, **given)


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
    benchmarking.run(benchmark, jobs, reports.ogb_markdown, reports.ogb_table, threads=benchmark.threads, **given)


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
@_together(*OUTPUTS)
def augment(
    shapes: Sequence[str] | None,
    columns: Sequence[int] | None,
    threads: Sequence[int] | None,
    repeat: int | None,
    memory: bool,
    **outputs: Any,
) -> None:
    """Time the propagation of features beside torch.sparse, SciPy, PyG's EdgeIndex and T.SIGN, and the bound.

    Graphs are random, with power-law degrees. The bound is the time of reading the rows that a product gathers. In the
    columns of the others is how many times as long they take. By default it takes a few seconds; products needs 16 GB.
    """
    from gamlp_admm import report as reports
    from gamlp_admm.bench.augment import report

    benchmarking.check(outputs)
    made = report(shapes or ("arxiv",), columns or (32,), threads or (1,), repeat or 3, memory)
    benchmarking.tell(made, reports.augment_markdown, reports.augment_tables, **outputs)


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
@_together(*OUTPUTS)
def speed(
    problems: Sequence[str] | None,
    root: str | None,
    methods: Sequence[str] | None,
    target: float | None,
    threads: int | None,
    repeat: int | None,
    quick: bool,
    plot: Path | None,
    **outputs: Any,
) -> None:
    """Time an iteration of every solver beside Adam, GCN and the papers' recipe, and training to an accuracy.

    Beside times are the share of the machine's product rate, memory, operator calls and products. Times are medians,
    without evaluation. By default it takes some minutes.
    """
    from rich.console import Console

    from gamlp_admm import report as reports
    from gamlp_admm.bench.speed import report
    from gamlp_admm.bench.speed_cases import DEFAULTS, QUICK, SpeedPlan

    benchmarking.check(outputs, plot)
    planned = SpeedPlan(problems or (QUICK if quick else DEFAULTS), methods, repeat, target, quick)
    if plot is not None and not planned.growth():
        raise InputError(f"plot {plot} shows growth: --problems must have it")
    with reports.BenchmarkProgress(Console(stderr=True, highlight=False), planned.size, outputs["quiet"]) as progress:
        made = report(planned, threads or 1, root, lambda what: progress.add(what, "", None, False))
    if plot is not None:
        reports.plot_speed(made, plot)
    benchmarking.tell(made, reports.speed_markdown, reports.speed_tables, **outputs)

"""``gamlp-admm augment``: propagated features, made into a directory within a cap of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from gamlp_admm.cli import cached, running
from gamlp_admm.cli.options import Name, SectionCommand, flag, option, own_graph, root, shared
from gamlp_admm.errors import InputError, Interrupted
from gamlp_admm.experiment.declaration import FEATURES, PROCESSES
from gamlp_admm.experiment.options import declared

DTYPES = ("float32", "bfloat16", "float16", "float64")


def _taken(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command the options of an experiment that decide what features there are."""
    for name in reversed(("split", "split_seed", "recipe", "operator", "hops", "alpha", "t", "normalize_features")):
        command = shared(name)(command)
    return command


@click.command(cls=SectionCommand)
@shared("dataset")
@own_graph
@root
@_taken
@option(
    "--rows",
    section=FEATURES,
    metavar="WHICH",
    default="all",
    help="Nodes whose features are kept: all; labelled, those of the split; or a file of their numbers or ids.",
)
@option(
    "--dtype",
    click.Choice(DTYPES),
    section=FEATURES,
    default="float32",
    help="Type of the numbers that are kept; computed is in float32 at least.",
)
@option("--out", Path, metavar="DIR", default="the cache, where runs find them", help="Directory of the features.")
@option(
    "--memory",
    section=PROCESSES,
    metavar="SIZE",
    default="half of what is free",
    help="What data and work may take in memory, as 4GiB; besides the program itself, about 300 MiB.",
)
@shared("device", Name(lambda: declared()["device"].option.allowed()))
@shared("threads", click.IntRange(1, 1024))
@flag("--list", help="List the features that runs have kept, and make none.")
@option("--prune", metavar="SIZE", help="Remove those not used for longest, until so much is left, as 2GiB; or all.")
@option("--json", Path, metavar="FILE", help="Write what was made, and the plan; - for standard output.")
@shared("overwrite")
@flag("--quiet", help="Print nothing but errors.")
@flag("--verbose", help="Say how many columns are made at a time, and what takes how much memory.")
def augment(
    rows: str | None,
    dtype: str | None,
    out: Path | None,
    memory: str | None,
    list: bool,
    prune: str | None,
    json: Path | None,
    overwrite: bool | None,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Propagate features once, into a directory that is read where it lies.

    Some columns are made at a time, so that features may be larger than memory. Killed or interrupted, the same command
    goes on where it was, and ends in the same bytes.
    """
    from gamlp_admm.errors import byte_count
    from gamlp_admm.experiment import Experiment
    from gamlp_admm.experiment.storing import store
    from gamlp_admm.system.allocator import keep_no_freed_memory

    if prune is not None or list:
        if out is not None:
            raise InputError("out does not apply to list and prune, which are about kept features and make none")
        if prune is not None:
            click.echo(cached.pruned(prune))
        if list:
            click.echo(cached.listed())
        return
    if quiet and verbose:
        raise InputError("quiet and verbose exclude each other; give one of them")
    running.check_files({"json": json}, None)
    keep_no_freed_memory()
    used = Experiment.of(options).resolve()
    with _shown(used.dataset, out, quiet) as (progress, say):
        made = store(
            used,
            out,
            rows=rows or "all",
            dtype=dtype or DTYPES[0],
            memory=None if memory is None else byte_count("memory", memory),
            overwrite=bool(overwrite),
            progress=progress,
            planned=lambda plan: say(str(plan)) if verbose else None,
        )
    if json is not None:
        running.write(json, running.dumps(made))
    if not quiet:
        click.echo(made["text"], err=json == Path("-"))


@contextmanager
def _shown(dataset: str, out: Path | None, quiet: bool) -> Iterator[tuple[Any, Any]]:
    """Give what shows how much is done, and what says a line."""
    from rich.console import Console

    from gamlp_admm.report import WorkProgress

    console = Console(stderr=True, highlight=False)
    reached = [0, 1]
    with ExitStack() as stack:
        bar = stack.enter_context(WorkProgress(console, dataset)) if console.is_terminal and not quiet else None

        def progress(done: int, total: int) -> None:
            reached[:] = done, total
            if bar is not None:
                bar(done, total)

        try:
            yield progress, lambda line: console.print(line, markup=False, soft_wrap=True)
        except KeyboardInterrupt:
            share = f"{reached[0] / max(reached[1], 1):.0%}"
            left = (
                "nothing of it is kept without --out"
                if out is None
                else f"the same command goes on from what {out} has"
            )
            raise Interrupted(f"interrupted at {share}; {left}") from None

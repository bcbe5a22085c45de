"""``gamlp-admm tune``: a search for good options, on validation accuracy."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gamlp_admm.cli import running
from gamlp_admm.cli.console import PROGRAM
from gamlp_admm.cli.options import Numbers, SectionCommand, SectionOption, flag, option
from gamlp_admm.errors import InputError, Interrupted
from gamlp_admm.experiment.declaration import PROCESSES

if TYPE_CHECKING:
    from gamlp_admm.tuning import Tuning

SHOWN = 10
"""Trials of the table."""

ELSEWHERE = {"root", "cache", "storage", "recipe", "json", "jobs", "threads", "quiet", "write"}
"""Options that a recipe's comment leaves out: they are about a machine, not about the result."""

SEARCH = "Search"
searching = partial(option, section=SEARCH)


@click.command(
    cls=SectionCommand,
    experiment=True,
    without=(
        *("timeout", "recipe", "processes", "node_shards", "balance", "seed"),
        *("trace", "checkpoint", "checkpoint_every", "resume", "overwrite"),
    ),
)
@click.option(
    "--search",
    multiple=True,
    metavar="NAME=HOW",
    cls=SectionOption,
    section=SEARCH,
    help="Search an option of train, and no other unless also named: NAME=A,B,…, NAME=LOW:HIGH or NAME=LOW:HIGH:log; "
    "features=ppr/10/0.05,sym/1-2 for operator, hops and alpha or t together; rho/nu.",
)
@searching("--space", Path, metavar="FILE", help="Read more of them from the table [search] of a TOML file.")
@searching("--trials", int, "50", help="Trials, those in --storage included; the first is what stands.")
@searching("--seeds", Numbers(), "0", metavar="A,B,C", help="Each trial is the mean over these.")
@searching("--finalists", int, "5", help="The best trials that are run again; 0 for none.")
@searching("--final-seeds", Numbers(), "0,1,2,3,4", metavar="A,B,C", help="Seeds of the finalists.")
@flag("--resplit", section=SEARCH, help="Each seed trains on a split redrawn without test nodes, too.")
@searching("--timeout", float, metavar="SECONDS", help="Begin no further trial after that time.")
@searching("--sampler-seed", int, "0", help="Seed of what is proposed.")
@searching("--storage", Path, metavar="FILE", help="Keep the trials there; go on where it ends.")
@option("--jobs", int, "1", section=PROCESSES, help="Processes that run trials, with one thread each.")
@option("--recipe", Path, metavar="FILE", help="Write the best options as a TOML table [recipe].")
@flag("--write", help="Replace the recipe in the description of the data set, in a checkout.")
@option("--json", Path, metavar="FILE", help="Write all trials; - for standard output.")
@flag("--quiet", help="Print nothing but errors.")
@click.pass_context
def tune(
    context: click.Context,
    /,
    search: tuple[str, ...],
    space: Path | None,
    recipe: Path | None,
    write: bool,
    json: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Search for the options with the best validation accuracy, or other --metric.

    Options of train that are given stay fixed. By default features, layers, nu, mu and rho/nu are searched, but for
    those given. Test accuracy is neither looked at nor printed. Ctrl-C ends the search with what is done.
    """
    from rich.console import Console

    from gamlp_admm import report, tuning
    from gamlp_admm.experiment import Experiment
    from gamlp_admm.system.allocator import keep_freed_memory

    tuning.check_optuna()
    names = ("trials", "seeds", "finalists", "final_seeds", "timeout", "sampler_seed", "storage", "resplit", "jobs")
    how = {name: value for name in names if (value := options.pop(name)) is not None}
    experiment = Experiment.of(options)
    texts = {**(tuning.Space.read(space).texts if space else {}), **tuning.Space.parse(search).texts}
    searched = tuning.Space(texts) if texts else None
    described = _description(experiment.dataset) if write else None
    if recipe is not None or write:
        tuning.check_recipe(experiment, searched)
    running.check_files({"recipe": recipe, "write": described, "json": json, "storage": how.get("storage")}, None)
    for path in (recipe, described):
        if path is not None:
            _present(path)  # what is wrong with it is said before the search
    keep_freed_memory()
    terminal, printed = Console(stderr=True, highlight=False), Console(stderr=json == Path("-"), highlight=False)
    with ExitStack() as stack:
        live = []
        if terminal.is_terminal and not quiet:
            bar = report.SearchProgress(terminal, f"tune {experiment.dataset}", how.get("trials", 50))
            live = [stack.enter_context(bar)]
        found = tuning.tune(experiment, searched, **how, callbacks=live)
    for path in (recipe, described):
        if path is not None and found.winner is not None:
            _write(path, found.recipe, _comment(context, found, found.winner))
    if json is not None:
        running.write(json, running.dumps(found.report()))
    if found.winner is not None and not quiet:
        if not printed.is_terminal:
            printed.width = 160
        printed.print(_table(found))
        printed.print(f"The best, by validation {found.metric}:")
        printed.print(_command(context, "train", {**options, **found.best}), soft_wrap=True)
    if found.interrupted:
        more = f"--storage {how['storage']} goes on" if "storage" in how else "no --storage to go on from"
        raise Interrupted(f"interrupted after {len(found.trials)} trials: {more}")


def _description(dataset: str) -> Path:
    """Return the file that describes a data set."""
    from gamlp_admm.datasets import info

    path = info.catalogue_folder() / f"{dataset}.toml"
    if not (info.in_checkout() and path.is_file()):
        raise InputError(f"write: {dataset} has no description in a checkout here; allowed: --recipe FILE")
    return path


def _write(path: Path, recipe: Mapping[str, Any], comment: str) -> None:
    """Write a recipe to a file of its own, or to one that has more to say."""
    from gamlp_admm.experiment.recipe import with_recipe
    from gamlp_admm.system.files import replacing

    with replacing(path) as part:
        part.write_bytes(with_recipe(_present(path), recipe, comment).encode("utf-8"))


def _present(path: Path) -> str:
    """Return the text of a file in which a recipe is replaced; none of a file that is not there, or of a device.

    Raises:
        InputError: It is a file in which none can be replaced.
    """
    from gamlp_admm.experiment.recipe import with_recipe
    from gamlp_admm.system.files import is_special

    if is_special(path) or not path.exists():
        return ""
    try:
        text = path.read_bytes().decode("utf-8")
        with_recipe(text, {}, "")
    except OSError as error:
        raise InputError(f"recipe {path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"recipe {path} is there, and no recipe can be written into it ({error})") from None
    return text


def _comment(context: click.Context, found: Tuning, winner: Mapping[str, Any]) -> str:
    """Return where a recipe comes from: command, date, version, trials and validation accuracy."""
    from datetime import date
    from importlib.metadata import version

    given = {name: value for name, value in context.params.items() if name not in ELSEWHERE and value is not None}
    final = winner["final_val_accuracy"] is not None
    told = next(trial for trial in found.told() if trial["number"] == winner["number"])
    figure = told[f"final_val_{found.metric}" if final else f"val_{found.metric}"]
    seeds = ",".join(map(str, found.final_seeds if final else found.seeds))
    made = f"{_command(context, 'tune', given)}; {date.today()}, {PROGRAM} {version(PROGRAM)}"
    return f"{made}, {len(found.trials)} trials, validation {found.metric} {figure:.4f} over seeds {seeds}"


def _command(context: click.Context, command: str, options: Mapping[str, Any]) -> str:
    """Return the command line of options."""
    words = [PROGRAM, command]
    parameters = context.command.get_params(context)
    for parameter in sorted(parameters, key=lambda p: getattr(p, "declared", None) is not None):  # its own first
        value = options.get(str(parameter.name))
        for each in (value or ()) if parameter.multiple else [value]:
            if isinstance(each, bool):
                words += (parameter.opts if each else parameter.secondary_opts)[:1]
            elif each is not None:
                words += [parameter.opts[0], ",".join(map(str, each)) if isinstance(each, tuple) else str(each)]
    return shlex.join(words)


def _table(found: Tuning) -> Any:
    from gamlp_admm.report import search_table

    def rank(trial: Mapping[str, Any]) -> tuple[float, ...]:
        return trial is not found.winner, -(trial["final_val_accuracy"] or 0), -trial["val_accuracy"], trial["number"]

    pairs = zip(found.trials, found.told(), strict=True)
    ranked = sorted((pair for pair in pairs if pair[0]["state"] == "complete"), key=lambda pair: rank(pair[0]))
    complete = [told for _, told in ranked]
    shown = complete[:SHOWN] + [trial for trial in complete[SHOWN:] if trial["standing"]]
    states = [trial["state"] for trial in found.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    by = "" if found.metric == "accuracy" else f"; {found.metric}"
    return search_table(shown, f"{found.algorithm} on {found.dataset}: {counts} trials{by}", found.metric)

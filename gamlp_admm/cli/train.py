"""``gamlp-admm train``: augment, train, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gamlp_admm.cli import running
from gamlp_admm.cli.options import Numbers, SectionCommand, flag, option
from gamlp_admm.errors import InputError
from gamlp_admm.experiment.declaration import TRAINING

if TYPE_CHECKING:
    from gamlp_admm.experiment import Resolved

RUN = ("run.json", "history.csv", "model.safetensors")
"""The files of a run in its --log-dir."""


@click.command(cls=SectionCommand, experiment=True)
@option(
    "--seeds",
    Numbers(),
    metavar="A,B,C",
    section=TRAINING,
    help="Train from each seed; report mean and deviation.",
)
@option("--save", Path, metavar="FILE", help="Write the model (safetensors); with --seeds the best validated.")
@option("--plot", Path, metavar="FILE", help="Plot the run (png, pdf, svg).")
@option(
    "--log-dir",
    Path,
    metavar="DIR",
    help="Write run.json, history.csv and model.safetensors there.",
)
@option("--json", Path, metavar="FILE", help="Write the report; - for standard output.")
@flag("--quiet", help="Print nothing but errors.")
@flag("--verbose", help="Say how it was solved, too, and which side of the convergence theorem it is on.")
def train(
    seeds: tuple[int, ...] | None,
    save: Path | None,
    plot: Path | None,
    log_dir: Path | None,
    json: Path | None,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Augment, train, evaluate.

    With no options: handwritten digits that need no download. `recipe` stands for the tuned settings of the
    data set. The model kept is the one that is best on validation.
    """
    from rich.console import Console

    from gamlp_admm import report as reports
    from gamlp_admm.experiment import Experiment, seeded, summarize
    from gamlp_admm.parallel.first import is_first
    from gamlp_admm.system import files, torchrun

    if quiet and verbose:
        raise InputError("quiet and verbose exclude each other; give one of them")
    quiet = running.start_quietly(options, quiet)
    seeds = _seeds(options, seeds)
    used = Experiment.of(options).resolve()
    plan = [used] if seeds is None else seeded(used, seeds)
    if log_dir is not None and torchrun.rank() == 0:
        files.make_directory("log-dir", log_dir)
        _check_free(log_dir, used)
    logs = {} if log_dir is None else {f"log-dir: {name}": log_dir / name for name in RUN}
    running.check_files({"save": save, "json": json, **logs}, plot)
    if running.handed_over(used):
        return
    with running.processes(plan) as group:
        titled = [(f"{each.dataset}, seed {each.seed}", each) for each in plan]
        runs = list(running.train_all(titled, quiet, group))
        first = is_first(group)
    if not first:
        return
    chosen = max(runs, key=lambda run: run.report["best"]["val_accuracy"] or 0.0)
    report = chosen.report if seeds is None else summarize(runs)
    if save is not None:
        chosen.save(save)
    if plot is not None:
        reports.plot(report, plot)
    if log_dir is not None:
        files.write_text(log_dir / RUN[0], running.dumps(report))
        files.write_history(log_dir / RUN[1], [run.report for run in runs])
        chosen.save(log_dir / RUN[2])
    if json is not None:
        running.write(json, running.dumps(report))
    if not quiet:
        table = reports.run_table(report, verbose) if seeds is None else reports.seeds_table(report)
        Console(stderr=json == Path("-"), highlight=False).print(table)


def _seeds(options: dict[str, Any], seeds: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return the seeds, unless the command line has one seed and a file several.

    Raises:
        InputError: Both are given in one place.
    """
    if seeds is None or options["seed"] is None:
        return seeds
    context = click.get_current_context()
    seed_from, seeds_from = (context.get_parameter_source(name) for name in ("seed", "seeds"))
    if seed_from == seeds_from:
        raise InputError("seed and seeds exclude each other; give one of them")
    if seed_from is ParameterSource.COMMANDLINE:
        return None
    options["seed"] = None
    return seeds


def _check_free(log_dir: Path, used: Resolved) -> None:
    """Check that nothing is lost in a folder that results go to.

    Raises:
        InputError: An earlier run is there, and no option says that this one replaces it or goes on from it.
    """
    left = [name for name in RUN if (log_dir / name).exists()]
    if left and not (used.overwrite or used.resume):
        raise InputError(f"log-dir {log_dir} holds a run ({', '.join(left)}); allowed: another folder, or --overwrite")

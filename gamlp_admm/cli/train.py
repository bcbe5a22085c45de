"""``gamlp-admm train``: augment, train, evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gamlp_admm.cli import running
from gamlp_admm.cli.options import Numbers, SectionCommand, flag, option
from gamlp_admm.errors import InputError
from gamlp_admm.experiment.declaration import TRAINING
from gamlp_admm.system import torchrun

if TYPE_CHECKING:
    from gamlp_admm.experiment import Resolved, Run

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
@running.LOGGER
@option("--json", Path, metavar="FILE", help="Write the report; - for standard output.")
@flag("--quiet", help="Print nothing but errors.")
@flag("--verbose", help="Say how it was solved, too, and which side of the convergence theorem it is on.")
def train(
    seeds: tuple[int, ...] | None,
    save: Path | None,
    plot: Path | None,
    log_dir: Path | None,
    logger: str | None,
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
    from gamlp_admm.experiment import Experiment, seeded
    from gamlp_admm.parallel.first import is_first

    if quiet and verbose:
        raise InputError("quiet and verbose exclude each other; give one of them")
    quiet = running.start_quietly(options, quiet)
    seeds = _seeds(options, seeds)
    used = Experiment.of(options).resolve()
    plan = [used] if seeds is None else seeded(used, seeds)
    outputs = _Outputs(save, plot, log_dir, json)
    outputs.check(used)
    logged = running.logs(logger, log_dir, several=len(plan) > 1)
    if running.handed_over(used):
        return
    with running.processes(plan) as group:
        titled = [(f"{each.dataset}, seed {each.seed}", each) for each in plan]
        runs = list(running.train_all(titled, quiet, group, logged))
        first = is_first(group)
    report, kept = outputs.write(runs, seeds is not None) if first else ({}, None)
    if runs[-1].stopped is not None:
        raise running.ended_early(runs[-1], kept)
    if first and not quiet:
        table = reports.run_table(report, verbose) if seeds is None else reports.seeds_table(report)
        Console(stderr=json == Path("-"), highlight=False).print(table)


@dataclass(frozen=True)
class _Outputs:
    """The files that results go to, each ``None`` where it is not asked for."""

    save: Path | None
    plot: Path | None
    log_dir: Path | None
    json: Path | None

    def check(self, used: Resolved) -> None:
        """Check, in the first process, that they can be written, and that no earlier run is lost.

        Raises:
            InputError: They cannot, or one is.
        """
        from gamlp_admm.system.files import make_directory

        if self.log_dir is not None and torchrun.rank() == 0:
            make_directory("log-dir", self.log_dir)
            _check_free(self.log_dir, used)
        logs = {} if self.log_dir is None else {f"log-dir: {name}": self.log_dir / name for name in RUN}
        running.check_files({"save": self.save, "json": self.json, **logs}, self.plot)

    def write(self, runs: Sequence[Run], several: bool) -> tuple[dict[str, Any], str | None]:
        """Write what runs gave, the last of which may have been stopped.

        Args:
            runs: The runs.
            several: Whether they are to be reported as those of several seeds.

        Returns:
            The report; and of the model, where it is written, which it is and what it is worth.
        """
        from gamlp_admm import report as reports
        from gamlp_admm.experiment import best_run, summarize
        from gamlp_admm.system import files

        chosen = best_run(runs)
        report = summarize(runs) if several else chosen.report
        if self.save is not None:
            chosen.save(self.save)
        if self.plot is not None and all(run.report["history"] for run in runs):
            reports.plot(report, self.plot)
        if self.log_dir is not None:
            files.write_text(self.log_dir / RUN[0], running.dumps(report))
            files.write_history(self.log_dir / RUN[1], [run.report for run in runs])
            chosen.save(self.log_dir / RUN[2])
        if self.json is not None:
            running.write(self.json, running.dumps(report))
        best = chosen.report["best"]
        seed = f"seed {chosen.experiment.seed}, " if several else ""
        by = best["metric"]
        value = f"{'' if by == 'accuracy' else f'{by} '}{reports.percent(best[f'val_{by}'])}"
        worth = f"{seed}iteration {best['iteration']}, validation {value}"
        worth = worth if best["iteration"] is not None else f"{seed}not evaluated yet"
        if (model := self.save or (self.log_dir and self.log_dir / RUN[2])) is None:
            return report, None
        return report, f"{model} has the best weights so far ({worth})"


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

"""``gamlp-admm train``: augment, train, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gamlp_admm.cli import running
from gamlp_admm.cli.console import Numbers, option
from gamlp_admm.errors import InputError

if TYPE_CHECKING:
    from gamlp_admm.experiment.runner import Run


@click.command()
@running.experiment_options()
@option("--seed", int, "0", help="Seed of the weights.")
@option("--seeds", Numbers(), metavar="A,B,C", help="Train from each seed; report mean and deviation.")
@option("--save", Path, metavar="FILE", help="Write the model (safetensors); with --seeds the best validated.")
@option("--plot", Path, metavar="FILE", help="Plot the run (png, pdf, svg).")
@option("--log-dir", Path, metavar="DIR", help="Write run.json, history.csv and model.safetensors there.")
@option("--json", Path, metavar="FILE", help="Write the report; - for standard output.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def train(
    seeds: tuple[int, ...] | None,
    save: Path | None,
    plot: Path | None,
    log_dir: Path | None,
    json: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Augment, train, evaluate.

    With no options: handwritten digits that need no download. `recipe` stands for the tuned settings of the
    data set. The model kept is the one that is best on validation.
    """
    from rich.console import Console

    from gamlp_admm import report as reports
    from gamlp_admm.experiment import runner as experiments
    from gamlp_admm.experiment.options import Experiment
    from gamlp_admm.parallel import launch
    from gamlp_admm.system import files

    quiet = running.start_quietly(options, quiet)
    if seeds is not None and options["seed"] is not None:
        raise InputError("seed and seeds exclude each other; give one of them")
    experiment = Experiment(**{name: v for name, v in options.items() if v is not None})
    plan = [experiment] if seeds is None else experiments.seeded(experiment, seeds)
    for each in plan:
        each.resolve()
    if log_dir is not None and launch.rank() == 0:
        _make_directory("log-dir", log_dir)
    log = None if log_dir is None else log_dir / "run.json"
    running.check_files({"save": save, "json": json, "log-dir": log}, plot)
    if running.handed_over(experiment):
        return
    with running.processes(experiment) as group:
        titled = [(f"{each.dataset}, seed {each.seed}", each) for each in plan]
        runs = list(running.train_all(titled, quiet, group))
    if launch.rank() > 0:
        return
    chosen = max(runs, key=lambda run: run.report["best"]["val_accuracy"] or 0.0)
    report = chosen.report if seeds is None else experiments.summarize(runs)
    if save is not None:
        _save(chosen, save)
    if plot is not None:
        reports.plot(chosen.report, plot)
    if log_dir is not None:
        files.write_text(log_dir / "run.json", running.dumps(report))
        files.write_history(log_dir / "history.csv", [run.report for run in runs])
        _save(chosen, log_dir / "model.safetensors")
    if json is not None:
        running.write(json, running.dumps(report))
    if not quiet:
        table = reports.run_table(report) if seeds is None else reports.seeds_table(report)
        Console(stderr=json == Path("-"), highlight=False).print(table)


def _make_directory(option: str, path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written ({error.strerror})") from None


def _save(run: Run, path: Path) -> None:
    from gamlp_admm.system.files import replacing

    with replacing(path) as part:
        run.save(part)

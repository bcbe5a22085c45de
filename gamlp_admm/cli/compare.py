"""``gamlp-admm compare``: the same training under several codecs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gamlp_admm.cli import running
from gamlp_admm.cli.options import Name, Numbers, SectionCommand, flag, option
from gamlp_admm.experiment.declaration import TRAINING
from gamlp_admm.experiment.options import declared


@click.command(cls=SectionCommand, experiment=True, without=("codec", "seed"))
@option(
    "--codecs",
    Name(lambda: declared()["codec"].option.allowed(), several=True),
    "fp32,int8-delta,int4-delta,int2-delta,grid:auto:256",
    section=TRAINING,
    help="Codecs, with , between.",
)
@option("--seeds", Numbers(), "0", metavar="A,B,C", section=TRAINING, help="Train each codec from each seed.")
@option("--plot", Path, metavar="FILE", help="Plot accuracy against bytes and iterations (png, pdf, svg).")
@option("--csv", Path, metavar="FILE", help="Write the table as CSV; - for standard output.")
@option("--json", Path, metavar="FILE", help="Write the table and every run's report; - for standard output.")
@running.LOGGER
@flag("--quiet", help="Print nothing but errors.")
def compare(
    codecs: tuple[str, ...] | None,
    seeds: tuple[int, ...] | None,
    plot: Path | None,
    csv: Path | None,
    json: Path | None,
    logger: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Train the same network under several codecs; compare accuracy, bytes and seconds.

    A grid makes pdadmm-g-q of pdadmm-g. What is done when a comparison is interrupted is written all the same.
    """
    from rich.console import Console

    from gamlp_admm import report
    from gamlp_admm.experiment import Experiment
    from gamlp_admm.experiment import comparison as comparisons
    from gamlp_admm.parallel.first import is_first
    from gamlp_admm.system import files

    quiet = running.start_quietly(options, quiet)
    experiment = Experiment.of(options)
    plan = comparisons.plan(experiment, codecs or comparisons.COMPARED, seeds or (0,))
    running.check_files({"csv": csv, "json": json}, plot)
    logged = running.logs(logger)
    if running.handed_over(plan[0][1]):
        return
    done = comparisons.Comparison()
    titled = [(f"{name}, seed {each.seed} ({i} of {len(plan)})", each) for i, (name, each) in enumerate(plan, 1)]
    with running.processes([each for _, each in plan]) as group:
        try:
            for (name, _), run in zip(plan, running.train_all(titled, quiet, group, logged), strict=False):
                if run.stopped is not None:
                    raise running.ended_early(run)
                done.add(name, run)
        finally:  # an interrupted comparison keeps what it has
            if done.reports and is_first(group):
                if plot is not None:
                    report.plot_comparison(done.report(), plot)
                if csv is not None:
                    running.write(csv, files.csv_text(done.rows()))
                if json is not None:
                    running.write(json, running.dumps(done.report()))
                if not quiet:
                    to_stdout = Path("-") in (csv, json)
                    console = Console(stderr=to_stdout, highlight=False)
                    if not console.is_terminal:
                        console.width = 160
                    console.print(report.comparison_table(done.rows(), done.report()["runs"][0]["config"]))

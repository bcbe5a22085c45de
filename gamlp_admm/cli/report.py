"""``gamlp-admm report``: one HTML page from one or more runs."""

from __future__ import annotations

from pathlib import Path

import click

from gamlp_admm.cli.running import write


@click.command()
@click.argument("runs", nargs=-1, required=True, type=Path, metavar="RUN…")
@click.option(
    "--output",
    type=Path,
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
    help="Where to; - for standard output.",
)
def report(runs: tuple[Path, ...], output: Path) -> None:
    """Make one HTML page of runs.

    RUN is a file of `train --json` or `compare --json`, or a directory of `train --log-dir`; several are shown side by
    side. The page needs no network and no other file.
    """
    from gamlp_admm.report import html_page
    from gamlp_admm.report.reading import read, run_file
    from gamlp_admm.system.files import check_unlike, check_writable

    if output != Path("-"):
        check_writable("output", output)
        for run in runs:
            check_unlike([("output", output), ("RUN", run_file(run))])
    write(output, html_page(read(runs)))

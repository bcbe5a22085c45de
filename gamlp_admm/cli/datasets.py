"""``gamlp-admm datasets``: what can be loaded."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from gamlp_admm.cli.options import root


@click.command()
@root
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def datasets(root: str | None, as_json: bool) -> None:
    """List the data sets.

    Sizes, whether they are present under the data root, licence and origin.
    """
    from rich.console import Console

    from gamlp_admm.datasets import list_datasets
    from gamlp_admm.report import datasets_table

    rows = list_datasets(root)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = 200
        console.print(datasets_table(rows))

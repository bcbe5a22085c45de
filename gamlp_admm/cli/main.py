"""The command line ``gamlp-admm``.

Exit status: 0 done; 2 the user's input is wrong, one line on standard error; 1 anything else. Modules that
import torch are imported inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Sequence

import click

from gamlp_admm.cli.console import Commands, execute
from gamlp_admm.system.deferred import deferred

COMMANDS = ("augment", "bench", "compare", "datasets", "export", "predict", "report", "train", "tune")

DEFERRED = ("torch._dynamo", *(f"torch_geometric.{name}" for name in ("datasets", "explain", "nn", "profile")))
"""What ``import torch_geometric`` imports, in longer than torch itself takes, and few commands use."""


@click.group(cls=Commands, names=COMMANDS, invoke_without_command=True, context_settings={"max_content_width": 110})
@click.option("--debug", is_flag=True, envvar="GAMLP_ADMM_DEBUG", help="Print the traceback of an error.")
@click.version_option(package_name="gamlp-admm")
@click.pass_context
def commands(ctx: click.Context, debug: bool) -> None:
    """Train graph-augmented MLPs without backpropagation, all layers at once."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: The arguments; those of the process if ``None``.

    Returns:
        The exit status.
    """
    # torch's threads (OpenMP) spin while they wait for each other; beside another busy process each of the thousands
    # of small operations of a run then waits for its time slice (measured: 90 times slower). Read on importing torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Errors of torch's stores and sockets, in many lines of C++, when another process fails: ours are one line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    if args is None:  # the process is ours, and at its end there is nothing in cycles worth the time of finding them
        atexit.register(gc.freeze)
    with deferred(*DEFERRED):
        return execute(commands, args)

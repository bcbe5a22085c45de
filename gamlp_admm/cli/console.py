"""What every command shares: exit statuses, and errors and warnings of one line."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from gamlp_admm.errors import (
    DamageWarning,
    Diverged,
    InputError,
    InputWarning,
    Interrupted,
    NeighbourError,
    OutputLost,
    ProcessFailed,
    ProcessInputError,
    Told,
    line,
    unknown,
)
from gamlp_admm.system import signals, streams, torchrun
from gamlp_admm.system.extensions import load_extensions
from gamlp_admm.system.lazy import load

PROGRAM = "gamlp-admm"

JOINING = {"train", "compare"}
"""Commands that the processes of a run carry out together."""


def execute(commands: click.Command, args: Sequence[str] | None) -> int:
    """Run a command line and turn what goes wrong into one line and an exit status.

    SIGTERM and SIGHUP do what Ctrl-C does, here and in all commands.

    Args:
        commands: The commands.
        args: The arguments; those of the process if ``None``.

    Returns:
        The exit status.
    """
    arguments = sys.argv[1:] if args is None else [*map(str, args)]
    status, error = 0, None
    with streams.enduring() as lost:
        try:
            with signals.handling(_interrupt), _one_line_warnings():
                code = commands.main(arguments, prog_name=PROGRAM, standalone_mode=False, obj=arguments)
                status = code if isinstance(code, int) else 0
        except (KeyboardInterrupt, Exception) as raised:
            error = raised
        if error is None and (why := lost()) is not None:
            error = OutputLost(f"standard output cannot be written ({why})" if why else "")
        return status if error is None else _end(error, early=bool(JOINING.intersection(arguments[:2])))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _end(error: BaseException, early: bool) -> int:
    """Say what went wrong, or leave that to another process; return the exit status.

    Args:
        error: What went wrong.
        early: Whether other processes may still wait for this one, and must be told.
    """
    kind, status, text = _judged(error)
    rank = torchrun.rank()
    named = text
    if kind == "own" and text and not isinstance(error, ProcessInputError) and (rank or status == 1):
        named = f"rank {rank}: {text}" if torchrun.is_worker() else text
    if torchrun.started_here():  # the process that started this one says it
        torchrun.note(kind, status, named)
        return status
    told = False
    if rank == 0:
        _say(named)
    whole = kind != "interrupted" or "gamlp_admm.parallel.joining" in sys.modules  # not half imported
    if torchrun.is_worker() and early and whole and kind != "lost":
        from gamlp_admm.parallel import joining

        told = joining.tell_others(text, status == 2)
    if rank > 0 and not told and kind != "interrupted":  # which all are
        _say(named)
    return status


def _judged(error: BaseException) -> tuple[str, int, str]:
    """Return an error's kind (:func:`gamlp_admm.system.torchrun.note`), the exit status, and what there is to say."""
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else PROGRAM
        return "own", 2, f"{error.format_message()} (see {path} --help)"
    if isinstance(error, KeyboardInterrupt | Interrupted | Diverged):  # which all processes do alike
        return "interrupted", 1, str(error) or "interrupted"
    if isinstance(error, NeighbourError | ProcessFailed):
        return "lost", getattr(error, "status", 1), line(error)
    if isinstance(error, Told):
        return "lost", 2, ""
    return "own", 2 if isinstance(error, InputError) else 1, line(error)


def _say(text: str) -> None:
    if text:
        click.echo(f"{PROGRAM}: {' '.join(text.split())}", err=True)


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Print each warning of ours once, on one line; leave other warnings as they are."""
    shown = set()
    with warnings.catch_warnings():
        default = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, InputWarning | DamageWarning):
                default(message, category, *where, **more)
            elif str(message) not in shown:
                shown.add(str(message))
                _say(f"warning: {message}")

        warnings.showwarning = show
        warnings.simplefilter("always", InputWarning)
        warnings.simplefilter("always", DamageWarning)
        yield


class Commands(click.Group):
    """A group of commands, each imported when it is asked for, from the file of its name.

    It suggests the nearest one, and lets other packages add to the one that is asked for.

    Args:
        names: The commands.
    """

    def __init__(self, *args: Any, names: Sequence[str] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self.names = names

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See :meth:`click.Group.list_commands`."""
        return [*self.names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See :meth:`click.Group.get_command`."""
        if cmd_name not in self.names:
            return None
        command: click.Command = load(f"gamlp_admm.cli.{cmd_name}:{cmd_name}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See :meth:`click.Group.resolve_command`."""
        if args[0] not in self.names and not ctx.resilient_parsing and not args[0].startswith("-"):
            raise unknown("command", args[0], self.names)
        load_extensions()
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """See :meth:`click.Group.invoke`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except (click.exceptions.Exit, click.UsageError):
            raise
        except Exception:
            if ctx.params["debug"]:
                traceback.print_exc()
            raise

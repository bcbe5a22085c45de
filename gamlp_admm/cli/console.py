"""What every command shares: exit statuses, and errors and warnings of one line."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from gamlp_admm.errors import InputError, InputWarning, Interrupted, NeighbourError, ProcessFailed, Stopped, unknown
from gamlp_admm.system import torchrun
from gamlp_admm.system.extensions import load_extensions

PROGRAM = "gamlp-admm"


def execute(commands: click.Command, args: Sequence[str] | None) -> int:
    """Run a command line and turn what goes wrong into one line and an exit status.

    Args:
        commands: The commands.
        args: The arguments; those of the process if ``None``.

    Returns:
        The exit status.
    """
    try:
        with _one_line_warnings():
            load_extensions()
            arguments = sys.argv[1:] if args is None else [*map(str, args)]
            code = commands.main(arguments, prog_name=PROGRAM, standalone_mode=False, obj=arguments)
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except InputError as error:
        return _fail(2, str(error)) if torchrun.rank() == 0 else 2  # all processes of a run raise it
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else PROGRAM
        return _fail(2, f"{error.format_message()} (see {path} --help)")
    except Interrupted as error:
        return _fail(1, str(error)) if torchrun.rank() == 0 else 1
    except BrokenPipeError:  # who read our output has left; Python would complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> int:
    if isinstance(error, ProcessFailed):  # a process with status 2 has said what is wrong
        return 2 if error.status == 2 else _fail(1, str(error))
    if isinstance(error, Stopped) and not str(error):  # the processes that were started have spoken
        return 1
    if isinstance(error, NeighbourError):
        return _fail(1, str(error))
    text = str(error) if isinstance(error, Stopped) else f"{type(error).__name__}: {error}"
    return _fail(1, f"rank {torchrun.rank()}: {text}" if torchrun.is_worker() else text)


def _fail(status: int, message: str) -> int:
    click.echo(f"{PROGRAM}: {' '.join(message.split())}", err=True)
    return status


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Print each :class:`InputWarning` once, on one line; leave other warnings as they are."""
    shown = set()
    with warnings.catch_warnings():
        default = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, InputWarning):
                default(message, category, *where, **more)
            elif str(message) not in shown:
                shown.add(str(message))
                _fail(0, f"warning: {message}")

        warnings.showwarning = show
        warnings.simplefilter("always", InputWarning)
        yield


class Commands(click.Group):
    """A group that suggests the nearest command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See :meth:`click.Group.resolve_command`."""
        if args[0] not in self.commands and not ctx.resilient_parsing and not args[0].startswith("-"):
            raise unknown("command", args[0], self.commands)
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

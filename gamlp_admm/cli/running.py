"""What the commands that train share: processes, progress, files, and Ctrl-C and its like."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gamlp_admm.cli.options import Name, option
from gamlp_admm.errors import Diverged, InputError, InputWarning, Interrupted
from gamlp_admm.system import signals, streams, torchrun

if TYPE_CHECKING:
    from gamlp_admm.experiment import Resolved, Run
    from gamlp_admm.report.loggers import Logging
    from gamlp_admm.training.result import Progress


def start_quietly(options: dict[str, Any], quiet: bool) -> bool:
    """Complete the options of a process that torchrun started; return whether it prints nothing but errors.

    Raises:
        InputError: torchrun's variables are no place in a run, or the options are for another number of processes.
    """
    torchrun.check()
    if torchrun.is_worker():
        size = torchrun.world_size()
        if options["processes"] not in (None, size):
            raise InputError(f"processes {options['processes']}: torchrun started {size}; leave it out")
        options["processes"] = size
    quiet = quiet or torchrun.rank() > 0
    if quiet:
        warnings.simplefilter("ignore", InputWarning)
    return quiet


def handed_over(used: Resolved) -> bool:
    """Start the processes that an experiment asks for, wait for them, and return whether there were any to start."""
    from gamlp_admm.parallel import launch

    if used.processes == 1 or torchrun.is_worker():
        return False
    launch.start(used.processes, click.get_current_context().find_root().obj, used.threads)
    return True


@contextmanager
def processes(plan: Sequence[Resolved]) -> Iterator[Any]:
    """Give the process group of experiments, ``None`` where they run in one process.

    Raises:
        InputError: The processes were started for different experiments.
    """
    from gamlp_admm.parallel import joining, launch
    from gamlp_admm.system.allocator import keep_freed_memory

    keep_freed_memory()
    used = plan[0]
    if used.processes == 1:
        torchrun.warn_if_half_set()
        yield None
        return
    if torchrun.started_here():
        launch.die_with_parent()
    with joining.joined(used.device, used.timeout, _common(plan)) as group:
        yield group


def _common(plan: Sequence[Resolved]) -> dict[str, Any]:
    """Return what all processes must agree on: an option's value, or those of several runs."""
    each = [used.common() for used in plan]
    values = {name: [common[name] for common in each] for name in each[0]}
    runs = len(plan)
    return {"runs": runs} | {name: v[0] if v == v[:1] * runs else v for name, v in values.items()}


def train_all(
    plan: Sequence[tuple[str, Resolved]],
    quiet: bool,
    group: Any = None,
    logged: Callable[[Resolved], Logging] | None = None,
) -> Iterator[Run]:
    """Run experiments on one data set, one after the other, with progress on a terminal.

    Args:
        plan: Title and options of each.
        quiet: Whether to show nothing.
        group: The processes that run them together.
        logged: Makes the log of a run.

    Yields:
        Each run; a signal to stop ends one in order, and that is the last (:attr:`Run.stopped`), as does divergence.
    """
    from rich.console import Console

    from gamlp_admm import report
    from gamlp_admm.experiment.claim import check
    from gamlp_admm.experiment.runner import prepare, run
    from gamlp_admm.parallel.first import is_first, on_first

    console = Console(stderr=True, highlight=False)
    visible = console.is_terminal and not quiet
    lines = () if quiet else (report.CodecLine,) if group is None else (report.CodecLine, report.DivisionLine)
    always = [line(console) for line in lines]
    for _, each in plan:  # before data are loaded
        on_first(partial(check, each), group)
    with ExitStack() as stack:
        if visible:
            stack.enter_context(console.status(f"loading and augmenting {plan[0][1].dataset}"))
        prepared = prepare(plan[0][1], group, split_only=True)
    for title, each in plan:
        with ExitStack() as stack:
            callbacks: list[Any] = [stack.enter_context(OrderlyStop()), *always]
            if visible:
                callbacks.append(stack.enter_context(report.LiveProgress(console, title)))
            logs: list[Logging] = []
            if logged is not None and is_first(group):
                logs.append(stack.enter_context(logged(each.changed(prepared.changes))))
            try:
                done = run(each, [*callbacks, *logs], prepared, group)
            except Diverged as error:
                done = error.run
            for log in logs:
                log.finish(done.report)
        yield done
        if done.stopped is not None:
            return


def ended_early(run: Run, kept: str | None = None) -> Exception:
    """Return the error that says that a run was stopped, or diverged, and what is left of it.

    Args:
        run: The run.
        kept: What is kept beside its checkpoint.
    """
    left, diverged = [kept] if kept else [], run.report["diverged"]
    if (place := run.experiment.checkpoint) and not diverged:  # where it would diverge again
        left.append(f"--resume goes on from {place}")
    files = "--save or --log-dir" if diverged else "--save, --log-dir or --checkpoint"
    said = "; ".join(left) or f"nothing of it is kept without {files}"
    return (
        Diverged(f"{diverged}; {said}") if diverged else Interrupted(f"interrupted at iteration {run.stopped}: {said}")
    )


LOGGER = option(
    "--logger",
    Name(lambda: [*_loggers()]),
    help="Log each run, while it trains, to tensorboard, wandb or mlflow.",
    metavar="NAME",
)


def _loggers() -> Mapping[str, Any]:
    from gamlp_admm.report import loggers

    return loggers.LOGGERS


def logs(name: str | None, log_dir: Path | None = None, several: bool = False) -> Callable[[Resolved], Logging] | None:
    """Return what makes the log of a run, ``None`` where there is no logger; checked in the first process.

    Args:
        name: The logger.
        log_dir: Where it writes files, if it does; ``None`` for the place that it chooses.
        several: Whether there are runs of several seeds, which then have a folder each.

    Raises:
        InputError: There is no such logger, or its package is absent.
    """
    from gamlp_admm.report.loggers import Logging, check_logger

    if name is None or torchrun.rank() > 0:
        return None
    check_logger(name)

    def logged(used: Resolved) -> Logging:
        folder = log_dir / f"seed-{used.seed}" if several and log_dir is not None else log_dir
        return Logging(name, used.values(), folder)

    return logged


class OrderlyStop:
    """Lets the first Ctrl-C, SIGTERM or SIGHUP during training end it in order, so that ``fit`` writes its checkpoint.

    A callback of ``fit`` and a context manager. A second one, or one before training, ends it at once. One that this
    process was started to ignore, as in the background of a script or by ``nohup``, changes nothing.
    """

    def __init__(self) -> None:
        self.training = self.requested = False

    def __enter__(self) -> OrderlyStop:
        self.heard: AbstractContextManager[None] = signals.handling(self._interrupt)
        self.heard.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.heard.__exit__(*exception)

    def __call__(self, progress: Progress) -> bool:
        """Return whether to stop."""
        return self.asked()

    def asked(self) -> bool:
        """Return whether to stop; training has begun."""
        self.training = True
        return self.requested

    def _interrupt(self, *_: object) -> None:
        if self.requested or not self.training:
            raise KeyboardInterrupt
        self.requested = True


def check_files(files: dict[str, Path | None], plot: Path | None) -> None:
    """Check, in the first process, that the files that options name can be written, and standard output for ``-``."""
    from gamlp_admm import report
    from gamlp_admm.system.files import check_unlike, check_writable

    if torchrun.rank() == 0:
        given = [(name, path) for name, path in {**files, "plot": plot}.items() if path is not None]
        for name, path in given:
            if path != Path("-"):
                check_writable(name, path)
            elif not streams.has_stdout():
                raise InputError(f"{name} -: standard output is closed; allowed: a file")
        check_unlike((name, path) for name, path in given if path != Path("-"))
        if plot is not None:
            report.check_plot(plot)


def write(path: Path, text: str) -> None:
    """Write a text to a file, or to standard output for ``-``."""
    from gamlp_admm.system.files import write_text

    if path == Path("-"):
        click.echo(text, nl=False)
    else:
        write_text(path, text)


def dumps(value: Any) -> str:
    """Return a JSON text."""
    return json.dumps(value, indent=1) + "\n"

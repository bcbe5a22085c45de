"""What the commands that train share: their options, processes, progress, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gamlp_admm.cli.console import Decorator, Interrupted, Numbers, option
from gamlp_admm.errors import InputError, InputWarning

if TYPE_CHECKING:
    from gamlp_admm.experiment.options import Experiment
    from gamlp_admm.experiment.runner import Run
    from gamlp_admm.training.result import Progress

OPTIONS: tuple[Decorator, ...] = (
    option("--dataset", default="digits-knn", help="Data set; `gamlp-admm datasets` lists them."),
    option("--root", metavar="DIR", help="Data root.  [default: $GAMLP_ADMM_DATA, else a cache folder]"),
    option("--recipe", metavar="FILE", default="the data set's", help="TOML file with the recipe, as tune writes it."),
    option("--split-seed", int, "the usual split", help="Seed of a random split."),
    option(
        "--algorithm",
        default="pdadmm-g",
        help="Or pdadmm-g-q, pdadmm, dladmm, mdlam, badm, sisa, adam, sgd, adagrad, adadelta.",
    ),
    option("--operator", default="recipe, else sym", help="sym, row, ppr, heat, none, or several: ppr/10/0.2+row/1-2."),
    option("--hops", Numbers(single=True), "recipe, else 4; 10 for ppr, heat", help="Steps, or a set: 0,2,4."),
    option("--alpha", float, "0.1", help="Teleport probability of ppr."),
    option("--t", float, "3", help="Diffusion time of heat."),
    option("--normalize-features/--raw-features", help="Divide each node's features by their sum.  [default: raw]"),
    option("--component-power", float, "0", help="Scale principal components by this power of their singular values."),
    option("--components", int, "256", help="Components that are kept then."),
    option("--unit-rows/--raw-rows", help="Centre the propagated features, divide rows by their norm.  [default: raw]"),
    option("--label-operator", default="none", help="Append training labels, propagated by sym, row, ppr or heat."),
    option("--label-hops", Numbers(single=True), "4; 10 for ppr, heat", help="Steps of the labels, or a set: 1,2."),
    option("--label-scale", float, "1", help="Factor of the columns of labels."),
    option("--correct-and-smooth/--as-predicted", help="Correct and smooth predictions, as validates best."),
    option("--layers", int, "recipe, else 2", help="Linear layers."),
    option("--hidden", int, "recipe, else 100", help="Neurons of a hidden layer."),
    option("--activation", default="relu", help="relu, leaky_relu, hardtanh, tanh, sigmoid, gelu or silu."),
    option("--init", default="recipe, else kaiming", help="kaiming, normal or identity."),
    option("--residual/--plain", help="Add the input of hidden layers to their output.  [default: plain]"),
    option("--iterations", int, "recipe, else 100", help="Iterations of each growth stage."),
    option("--grow", metavar="DEPTHS", default="auto", help="Stages, as 2,5,10; none; auto: from 5 layers on."),
    option("--patience", int, "0: never", help="Evaluations without a better validation that end a stage."),
    option("--evaluate-every", int, "1", metavar="K", help="Evaluate every K iterations."),
    option("--loss", default="cross_entropy", help="Or squared_error, binary_cross_entropy, squared_hinge."),
    option("--class-weight", default="none", help="none or balanced."),
    option("--scale", default="unit; others than pdadmm: none", help="Units of the features in training: unit, none."),
    option(
        "--rho",
        float,
        "--nu, else recipe, else the algorithm's",
        help="Penalty of what has multipliers; badm, sisa: of steps.",
    ),
    option("--nu", float, "--rho, else recipe, else the algorithm's", help="Penalty of z = pW + b and q = f(z)."),
    option("--mu", float, "recipe, else the algorithm's", help="Weight of the regulariser of ADMM; pdadmm: nu/10."),
    option("--decay-to", default="identity", help="What pdadmm's hidden layers decay to: identity or zero."),
    option("--regularizer", default="l2", help="l2 or l1, of dladmm and mdlam."),
    option("--solver", default="linesearch; dladmm: exact", help="linesearch, backtracking or exact."),
    option("--schedule", default="constant", help="Or every:K:FACTOR:LIMIT, stall:K:FACTOR:LIMIT."),
    option("--codec", default="fp32; grid:auto:256", help="How p and q travel: fp16, int8, int4-delta, int2-delta, …"),
    option("--quantize", default="p", help="What lives on the grid of pdadmm-g-q: p, q or pq."),
    option("--tau", float, "20", help="First step denominator of backtracking."),
    option("--epsilon", float, "the algorithm's", help="mdlam: how far inputs may be from outputs, at first."),
    option("--epsilon-decay", float, "the algorithm's", help="Its factor from one iteration to the next."),
    option("--epsilon-min", float, "the algorithm's", help="Its least value."),
    option("--nesterov/--no-nesterov", help="mdlam: extrapolate or not.  [default: extrapolate]"),
    option("--anderson", int, "none", metavar="M", help="Anderson acceleration of ADMM, with memory M."),
    option("--lr", float, "the optimiser's", help="Learning rate of gradients; badm, sisa: 1."),
    option("--weight-decay", float, "0", help="Weight decay of gradients."),
    option("--sigma", float, "1", help="Penalty of badm and sisa: 1 / learning rate in the long run."),
    option("--batch-size", int, "all rows", help="Rows of a batch of gradients; an iteration is then an epoch."),
    option("--sub-batches", int, "1", help="Parts of a batch that badm and sisa find consensus over."),
    option("--device", default="cpu", help="cpu or cuda."),
    option("--dtype", default="float32", help="float32 or float64."),
    option("--threads", int, "torch's choice", help="Threads on the CPU."),
    option("--checkpoint", metavar="DIR", help="Write a checkpoint there at the end and when interrupted."),
    option("--checkpoint-every", int, metavar="K", help="And every K iterations."),
    click.option("--resume", is_flag=True, help="Go on from the checkpoint."),
    option("--processes", int, "1, or torchrun's", metavar="P", help="Divide the layers among P processes."),
    option("--node-shards", int, "1", metavar="R", help="Divide the rows too: P processes are stages x R."),
    option("--balance", Numbers(), "by cost", metavar="A,B,…", help="Number of layers of each stage."),
    option("--timeout", float, "300", metavar="SECONDS", help="Longest wait for another process."),
    option("--trace", metavar="DIR", help="Write a Chrome trace of each process there."),
)
"""The options of an :class:`gamlp_admm.experiment.Experiment`, but for its seed."""


def experiment_options(*without: str) -> Decorator:
    """Return a decorator that gives a command :data:`OPTIONS`, except those named."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(OPTIONS):
            command = decorator(command)
        made: list[click.Option] = command.__click_params__  # type: ignore[attr-defined]
        made[:] = [parameter for parameter in made if parameter.name not in without]
        return command

    return decorate


def start_quietly(options: dict[str, Any], quiet: bool) -> bool:
    """Complete the options of a process that torchrun started; return whether it prints nothing but errors."""
    from gamlp_admm.parallel import launch

    if launch.is_worker():
        size = int(os.environ["WORLD_SIZE"])
        if options["processes"] not in (None, size):
            raise InputError(f"processes {options['processes']}: torchrun started {size}; leave it out")
        options["processes"] = size
    quiet = quiet or launch.rank() > 0
    if quiet:
        warnings.simplefilter("ignore", InputWarning)
    return quiet


def handed_over(experiment: Experiment) -> bool:
    """Start the processes that an experiment asks for, wait for them, and return whether there were any to start."""
    from gamlp_admm.parallel import launch

    if experiment.processes == 1 or launch.is_worker():
        return False
    launch.start(experiment.processes, click.get_current_context().find_root().obj, experiment.threads)
    return True


@contextmanager
def processes(experiment: Experiment) -> Iterator[Any]:
    """Give the process group of an experiment, ``None`` where it runs in one process."""
    from gamlp_admm.parallel import launch
    from gamlp_admm.system.allocator import keep_freed_memory

    keep_freed_memory()
    if experiment.processes == 1:
        yield None
    else:
        with launch.joined(experiment.device, experiment.timeout) as group:
            yield group


def train_all(plan: Sequence[tuple[str, Experiment]], quiet: bool, group: Any = None) -> Iterator[Run]:
    """Run experiments on one data set, one after the other, with progress on a terminal.

    Args:
        plan: Title and options of each.
        quiet: Whether to show nothing.
        group: The processes that run them together.

    Raises:
        Interrupted: After Ctrl-C, which ends a run in order; that run is not handed out.
    """
    from rich.console import Console

    from gamlp_admm.experiment.runner import prepare, run
    from gamlp_admm.report import LiveProgress, Plan

    console = Console(stderr=True, highlight=False)
    visible, whose = console.is_terminal and not quiet, Plan(console)
    with ExitStack() as stack:
        if visible:
            stack.enter_context(console.status(f"loading and augmenting {plan[0][1].dataset}"))
        prepared = prepare(plan[0][1], group)
    for title, each in plan:
        with ExitStack() as stack:
            stop = stack.enter_context(OrderlyStop())
            live: list[Any] = [stack.enter_context(LiveProgress(console, title))] if visible else []
            if group is not None and not quiet:
                live.insert(0, whose)
            done = run(each, [stop, *live], prepared, group)
        if stop.requested:
            where = f"--resume goes on from {each.checkpoint}" if each.checkpoint else "no --checkpoint to keep it"
            raise Interrupted(f"interrupted at iteration {done.report['last']['iteration']}: {where}")
        yield done


class OrderlyStop:
    """Lets the first Ctrl-C during training end it in order, so that ``fit`` writes its checkpoint.

    A callback of ``fit`` and a context manager. A second Ctrl-C, or one before training, ends it at once.
    """

    def __init__(self) -> None:
        self.training = self.requested = False

    def __enter__(self) -> OrderlyStop:
        self.before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self.before)

    def __call__(self, progress: Progress) -> bool:
        """Return whether to stop."""
        self.training = True
        return self.requested

    def _interrupt(self, *_: object) -> None:
        if self.requested or not self.training:
            raise KeyboardInterrupt
        self.requested = True


def check_files(files: dict[str, Path | None], plot: Path | None) -> None:
    """Check, in the first process, that the files that options name can be written."""
    from gamlp_admm import report
    from gamlp_admm.parallel import launch
    from gamlp_admm.system.files import check_writable

    if launch.rank() == 0:
        for name, path in {**files, "plot": plot}.items():
            if path is not None and path != Path("-"):
                check_writable(name, path)
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

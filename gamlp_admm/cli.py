"""The command line ``gamlp-admm``.

Exit status: 0 done; 2 the user's input is wrong, one line on standard error; 1 anything else. Modules that
import torch are imported inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gamlp_admm.console import Commands, Interrupted, Numbers, execute, option
from gamlp_admm.errors import InputError, InputWarning

if TYPE_CHECKING:
    from gamlp_admm.experiment import Run
    from gamlp_admm.history import Progress
    from gamlp_admm.options import Experiment
    from gamlp_admm.prediction import Prediction


@click.group(cls=Commands, invoke_without_command=True, context_settings={"max_content_width": 110})
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
    return execute(commands, args)


# --- train --------------------------------------------------------------------------------------------------


@commands.command()
@option("--dataset", default="digits-knn", help="Data set; `gamlp-admm datasets` lists them.")
@option("--root", metavar="DIR", help="Data root.  [default: $GAMLP_ADMM_DATA, else a cache folder]")
@option("--split-seed", int, "the usual split", help="Seed of a random split.")
@option("--algorithm", default="pdadmm-g", help="pdadmm-g, pdadmm, adam, sgd, adagrad or adadelta.")
@option("--operator", default="recipe, else sym", help="sym, row, ppr, heat, or none for no augmentation.")
@option("--hops", Numbers(single=True), "recipe, else 4; 10 for ppr, heat", help="Steps, or a set: 0,2,4.")
@option("--alpha", float, "0.1", help="Teleport probability of ppr.")
@option("--t", float, "3", help="Diffusion time of heat.")
@option("--normalize-features/--raw-features", help="Divide each node's features by their sum.  [default: raw]")
@option("--layers", int, "recipe, else 2", help="Linear layers.")
@option("--hidden", int, "recipe, else 100", help="Neurons of a hidden layer.")
@option("--activation", default="relu", help="relu, leaky_relu, hardtanh, tanh, sigmoid, gelu or silu.")
@option("--init", default="recipe, else kaiming", help="kaiming, normal or identity.")
@option("--iterations", int, "recipe, else 100", help="Iterations of each growth stage.")
@option("--grow", metavar="DEPTHS", default="auto", help="Stages, as 2,5,10; none; auto: from 5 layers on.")
@option("--patience", int, "0: never", help="Evaluations without a better validation that end a stage.")
@option("--evaluate-every", int, "1", metavar="K", help="Evaluate every K iterations.")
@option("--loss", default="cross_entropy", help="Or squared_error, binary_cross_entropy, squared_hinge.")
@option("--class-weight", default="none", help="none or balanced.")
@option("--rho", float, "--nu, else recipe, else 0.01", help="Penalty of p = q between layers.")
@option("--nu", float, "--rho, else recipe, else 0.01", help="Penalty of z = pW + b and q = f(z).")
@option("--mu", float, "recipe, else 0.01", help="Weight decay of ADMM.")
@option("--solver", default="linesearch", help="linesearch, backtracking or exact.")
@option("--schedule", default="constant", help="Or every:K:FACTOR:LIMIT, stall:K:FACTOR:LIMIT.")
@option("--tau", float, "20", help="First step denominator of backtracking.")
@option("--lr", float, "the optimiser's", help="Learning rate of backpropagation.")
@option("--weight-decay", float, "0", help="Weight decay of backpropagation.")
@option("--seed", int, "0", help="Seed of the weights.")
@option("--seeds", Numbers(), metavar="A,B,C", help="Train from each seed; report mean and deviation.")
@option("--device", default="cpu", help="cpu or cuda.")
@option("--dtype", default="float32", help="float32 or float64.")
@option("--threads", int, "torch's choice", help="Threads on the CPU.")
@option("--checkpoint", metavar="DIR", help="Write a checkpoint there at the end and when interrupted.")
@option("--checkpoint-every", int, metavar="K", help="And every K iterations.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint.")
@option("--processes", int, "1, or torchrun's", metavar="P", help="Divide the layers among P processes.")
@option("--node-shards", int, "1", metavar="R", help="Divide the rows too: P processes are stages x R.")
@option("--balance", Numbers(), "by cost", metavar="A,B,…", help="Number of layers of each stage.")
@option("--timeout", float, "300", metavar="SECONDS", help="Longest wait for another process.")
@option("--trace", metavar="DIR", help="Write a Chrome trace of each process there.")
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

    from gamlp_admm import experiment as experiments
    from gamlp_admm import launch
    from gamlp_admm import report as reports
    from gamlp_admm.memory import keep_freed_memory
    from gamlp_admm.options import Experiment

    if launch.is_worker():
        size = int(os.environ["WORLD_SIZE"])
        if options["processes"] not in (None, size):
            raise InputError(f"processes {options['processes']}: torchrun started {size}; leave it out")
        options["processes"] = size
    quiet = quiet or launch.rank() > 0
    if quiet:
        warnings.simplefilter("ignore", InputWarning)
    if seeds is not None and options["seed"] is not None:
        raise InputError("seed and seeds exclude each other; give one of them")
    experiment = Experiment(**{name: v for name, v in options.items() if v is not None})
    plan = [experiment] if seeds is None else experiments.seeded(experiment, seeds)
    for each in plan:
        each.resolve()
    to_stdout = json == Path("-")
    if launch.rank() == 0:
        files = {"save": save, "plot": plot, "json": None if to_stdout else json}
        if log_dir is not None:
            _make_directory("log-dir", log_dir)
            files["log-dir"] = log_dir / "run.json"
        for name, path in files.items():
            if path is not None:
                reports.check_writable(name, path)
        if plot is not None:
            reports.check_plot(plot)
    processes = plan[0].processes
    if processes > 1 and not launch.is_worker():
        launch.start(processes, click.get_current_context().find_root().obj, plan[0].threads)
        return

    keep_freed_memory()
    if processes > 1:
        with launch.joined(plan[0].device, plan[0].timeout) as group:
            runs = _train(plan, quiet, group)
        if launch.rank() > 0:
            return
    else:
        runs = _train(plan, quiet)
    chosen = max(runs, key=lambda run: run.report["best"]["val_accuracy"] or 0.0)
    report = chosen.report if seeds is None else experiments.summarize(runs)
    if save is not None:
        _save(chosen, save)
    if plot is not None:
        reports.plot(chosen.report, plot)
    if log_dir is not None:
        reports.write_text(log_dir / "run.json", _dumps(report))
        reports.write_history(log_dir / "history.csv", [run.report for run in runs])
        _save(chosen, log_dir / "model.safetensors")
    if json is not None:
        _write(json, _dumps(report))
    if not quiet:
        table = reports.run_table(report) if seeds is None else reports.seeds_table(report)
        Console(stderr=to_stdout, highlight=False).print(table)


def _train(plan: Sequence[Experiment], quiet: bool, group: Any = None) -> list[Run]:
    """Run the experiments, which differ in their seeds, with progress on a terminal."""
    from rich.console import Console

    from gamlp_admm.experiment import prepare, run
    from gamlp_admm.report import LiveProgress, Plan

    console = Console(stderr=True, highlight=False)
    visible = console.is_terminal and not quiet
    runs: list[Run] = []
    with ExitStack() as stack:
        if visible:
            stack.enter_context(console.status(f"loading and augmenting {plan[0].dataset}"))
        prepared = prepare(plan[0], group)
    for each in plan:
        with ExitStack() as stack:
            stop = stack.enter_context(OrderlyStop())
            title = f"{each.dataset}, seed {each.seed}"
            live: list[Any] = [stack.enter_context(LiveProgress(console, title))] if visible else []
            if group is not None and not quiet:
                live.insert(0, Plan(console))
            runs.append(run(each, [stop, *live], prepared, group))
        if stop.requested:
            where = f"--resume goes on from {each.checkpoint}" if each.checkpoint else "no --checkpoint to keep it"
            raise Interrupted(f"interrupted at iteration {runs[-1].report['last']['iteration']}: {where}")
    return runs


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


def _make_directory(option: str, path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written ({error.strerror})") from None


def _save(run: Run, path: Path) -> None:
    from gamlp_admm.report import replacing

    with replacing(path) as part:
        run.save(part)


def _write(path: Path, text: str) -> None:
    """Write a text to a file, or to standard output for ``-``."""
    from gamlp_admm.report import write_text

    if path == Path("-"):
        click.echo(text, nl=False)
    else:
        write_text(path, text)


def _dumps(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


# --- predict and datasets -----------------------------------------------------------------------------------


@commands.command()
@click.argument("model", type=Path)
@option("--dataset", default="the model's", help="Data set.")
@option("--root", metavar="DIR", help="Data root.  [default: $GAMLP_ADMM_DATA, else a cache folder]")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="all",
    show_default=True,
    help="Which nodes.",
)
@click.option("--out", type=Path, default=Path("-"), metavar="FILE", help="Where to; - for standard output.")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True, help="Form.")
def predict(model: Path, dataset: str | None, root: str | None, split: str, out: Path, form: str) -> None:
    """Write each node's class and probabilities.

    MODEL is a file that `train --save` wrote. The accuracy over the nodes of known labels is printed too.
    """
    from gamlp_admm import prediction as predictions
    from gamlp_admm.report import check_writable, percent

    if out != Path("-"):
        check_writable("out", out)
    prediction = predictions.predict(model, dataset, root)
    _write(out, _json(prediction, split) if form == "json" else _csv(prediction, split))
    splits = ["train", "val", "test", "all"] if split == "all" else [split]
    accuracies = ", ".join(f"{name} {percent(prediction.accuracy[name])}" for name in splits)
    click.echo(f"accuracy on {prediction.dataset}: {accuracies}", err=out == Path("-"))


def _rows(prediction: Prediction, split: str) -> Iterator[tuple[int, int, list[float]]]:
    nodes = prediction.rows[split]
    classes, probabilities = prediction.classes[nodes].tolist(), prediction.probabilities[nodes].tolist()
    return zip(nodes.tolist(), classes, probabilities, strict=True)


def _csv(prediction: Prediction, split: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["node", "class", *(f"p{c}" for c in range(prediction.probabilities.shape[1]))])
    writer.writerows([node, c, *probabilities] for node, c, probabilities in _rows(prediction, split))
    return text.getvalue()


def _json(prediction: Prediction, split: str) -> str:
    nodes = [{"node": n, "class": c, "probabilities": p} for n, c, p in _rows(prediction, split)]
    accuracy = prediction.accuracy
    return json.dumps({"dataset": prediction.dataset, "split": split, "accuracy": accuracy, "nodes": nodes}) + "\n"


@commands.command()
@option("--root", metavar="DIR", help="Data root.  [default: $GAMLP_ADMM_DATA, else a cache folder]")
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

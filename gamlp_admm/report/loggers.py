"""Where a run is logged while it trains: TensorBoard, Weights & Biases, or MLflow, each of which is imported when used.

A logger is one small class behind one protocol: it starts with the options as hyperparameters, takes the figures of
each evaluated iteration, and ends with those of the whole run.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gamlp_admm.errors import InputError, InputWarning, line, unknown

if TYPE_CHECKING:  # importing torch takes a second, which help does not need
    from gamlp_admm.training.result import Progress

Figures = Mapping[str, float]


class Logger(Protocol):
    """What takes down a run; made with its title, its options as hyperparameters, and a folder or ``None``."""

    def log(self, figures: Figures, iteration: int) -> None:
        """Take down the figures of an iteration."""

    def end(self, figures: Figures, finished: bool) -> None:
        """Take down the figures of the whole run, none if it failed, and whether it came to its end."""


class TensorBoardLogger:
    """Writes the event files that TensorBoard reads, in the folder, else in one below ``runs``.

    What goes on from a checkpoint takes the place of the later iterations that are there; with ``overwrite`` of all.
    """

    def __init__(self, title: str, config: Mapping[str, Any], folder: Path | None) -> None:
        self.place = folder or Path("runs") / f"{title}-{time.strftime('%Y%m%d-%H%M%S')}"
        self.config = {k: v if isinstance(v, int | float) else str(v) for k, v in config.items()}
        self.writer: Any = None
        self.last = 0

    def log(self, figures: Figures, iteration: int) -> None:
        """See :meth:`Logger.log`."""
        if self.writer is None:
            self.writer = self._opened(iteration)
            self._session(*self._hyperparameters()[:2])
        self.last = iteration
        for name, value in figures.items():
            self.writer.add_scalar(name, value, iteration)

    def end(self, figures: Figures, finished: bool) -> None:
        """See :meth:`Logger.end`."""
        if self.writer is None:
            return
        for name, value in figures.items():
            self.writer.add_scalar(name, value, self.last)
        if finished:
            self._session(self._hyperparameters()[2])
        self.writer.close()

    def _opened(self, iteration: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        if self.config.get("overwrite"):
            for old in self.place.glob("events.out.tfevents.*"):
                old.unlink()
        return SummaryWriter(str(self.place), purge_step=iteration if self.config.get("resume") else None)

    def _hyperparameters(self) -> tuple[Any, ...]:
        # What opens a run of the page that compares hyperparameters, and what closes it; add_hparams makes another run.
        from torch.utils.tensorboard.summary import hparams

        shown = dict.fromkeys(("best/val_accuracy", "best/test_accuracy", "bytes_sent_total", "seconds/train"), 0.0)
        return tuple(hparams(self.config, shown))  # type: ignore[no-untyped-call]

    def _session(self, *summaries: Any) -> None:
        for summary in summaries:
            self.writer.file_writer.add_summary(summary)


class WandbLogger:
    """Makes a run of Weights & Biases, in the project ``$WANDB_PROJECT``, else ``gamlp-admm``; files in the folder."""

    def __init__(self, title: str, config: Mapping[str, Any], folder: Path | None) -> None:
        import wandb

        project = os.environ.get("WANDB_PROJECT", "gamlp-admm")
        self.run: Any = wandb.init(project=project, name=title, config=dict(config), dir=folder)

    def log(self, figures: Figures, iteration: int) -> None:
        """See :meth:`Logger.log`."""
        self.run.log(dict(figures), step=iteration)

    def end(self, figures: Figures, finished: bool) -> None:
        """See :meth:`Logger.end`."""
        self.run.summary.update(dict(figures))
        self.run.finish(exit_code=0 if finished else 1)


class MlflowLogger:
    """Makes a run of MLflow, where ``$MLFLOW_TRACKING_URI`` and ``$MLFLOW_EXPERIMENT_NAME`` say."""

    def __init__(self, title: str, config: Mapping[str, Any], folder: Path | None) -> None:
        import mlflow

        self.mlflow: Any = mlflow
        mlflow.start_run(run_name=title)
        mlflow.log_params(dict(config))

    def log(self, figures: Figures, iteration: int) -> None:
        """See :meth:`Logger.log`."""
        self.mlflow.log_metrics(dict(figures), step=iteration)

    def end(self, figures: Figures, finished: bool) -> None:
        """See :meth:`Logger.end`."""
        try:
            self.mlflow.log_metrics(dict(figures))
        finally:
            self.mlflow.end_run("FINISHED" if finished else "KILLED" if figures else "FAILED")


LOGGERS: dict[str, Callable[[str, Mapping[str, Any], Path | None], Logger]] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "mlflow": MlflowLogger,
}
"""What a run can be logged to, by name: that of the package and of the extra that installs it."""


def check_logger(name: str) -> None:
    """Check that a logger can be used.

    Raises:
        InputError: There is none of this name, or its package is absent.
    """
    if name not in LOGGERS:
        raise unknown("logger", name, LOGGERS)
    try:
        import_module(name)
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) and error.name == name else f" ({line(error)})"
        raise InputError(f"logger {name} needs {name}{why}: pip install 'gamlp-admm[{name}]'") from None


class Logging:
    """A callback of ``fit`` that logs one run, and a context manager around it.

    Whatever goes wrong in a logger is a warning; the run goes on without it.

    Args:
        name: Name of the logger, one of :data:`LOGGERS`.
        config: The options of the run, as :meth:`gamlp_admm.experiment.Resolved.values` returns them.
        folder: Where a logger that writes files does so; ``None`` for the place that it chooses.

    Raises:
        InputError: As :func:`check_logger` says.
    """

    def __init__(self, name: str, config: Mapping[str, Any], folder: Path | None = None) -> None:
        check_logger(name)
        self.name, self.folder = name, folder
        self.config = {option: value for option, value in config.items() if value is not None}
        self.logger: Logger | None = None
        self.figures: Figures = {}
        self.finished = False

    def __enter__(self) -> Logging:
        with self._surviving():
            self.logger = self._started()
        return self

    def __call__(self, progress: Progress) -> None:
        """Log the newest record."""
        record = progress.record
        figures = {name: value for name, value in _numbers(record).items() if name != "iteration"}
        with self._surviving():
            if self.logger is not None:
                self.logger.log(figures, record["iteration"])

    def finish(self, report: Mapping[str, Any]) -> None:
        """Note what a run came to, which is logged when the block ends.

        Args:
            report: What :class:`gamlp_admm.experiment.Run` reports.
        """
        nested = ((f"{group}/{name}", value) for group in ("best", "seconds") for name, value in report[group].items())
        whole = {name: report[name] for name in ("bytes_sent_total", "num_parameters")}
        self.figures, self.finished = _numbers({**dict(nested), **whole}), report.get("stopped") is None

    def __exit__(self, *exception: Any) -> None:
        with self._surviving():
            if self.logger is not None:
                self.logger.end(self.figures, self.finished)

    def _started(self) -> Logger:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        shown = ("dataset", "algorithm", "codec")
        title = [str(self.config[name]) for name in shown if name in self.config]
        return LOGGERS[self.name]("-".join([*title, f"seed-{self.config['seed']}"]), self.config, self.folder)

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            failed, self.logger = self.logger, None
            with suppress(Exception):
                if failed is not None:
                    failed.end({}, False)
            what = f"logger {self.name} failed, and the run goes on without it: {line(error)}"
            warnings.warn(what, InputWarning, stacklevel=3)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}

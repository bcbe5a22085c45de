"""What runs give: the model, the report of one run, and the summary of several."""

from __future__ import annotations

import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import torch

from gamlp_admm.experiment.declaration import DATA, FEATURES, OUTPUT, PROCESSES
from gamlp_admm.experiment.features import augmentation
from gamlp_admm.experiment.options import OF_GRAPHS, declared
from gamlp_admm.experiment.per_class import per_class
from gamlp_admm.experiment.resolve import Resolved
from gamlp_admm.nn import GAMLP
from gamlp_admm.system.words import outcome
from gamlp_admm.training.metrics import METRICS
from gamlp_admm.training.result import Result
from gamlp_admm.training.rows import SPLITS
from gamlp_admm.transforms.recipe import Transform


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run.

    Attributes:
        experiment: Every option as used.
        model: The trained model, with the weights that are best on validation.
        report: What ``train --json`` writes.
        stopped: The iteration after which a callback, in whichever process, ended it early, or at which it
            diverged; else ``None``.
        features: The transform that makes the model's features of a graph, fitted to that of the run.
        names: ``class_names`` and ``feature_names``, where the graph has them.
        kind: What its targets are (:func:`gamlp_admm.datasets.targets.target_kind`).
    """

    experiment: Resolved
    model: GAMLP
    report: dict[str, Any]
    stopped: int | None = None
    features: Transform | None = None
    names: Mapping[str, list[str]] = field(default_factory=dict)
    kind: str = "classes"

    def __str__(self) -> str:
        told, number = self.report, self.experiment.processes
        seconds = told["seconds"]["train"]
        return "\n".join(outcome(told["best"], told["last"], seconds, told["bytes_sent_total"], number, told["metric"]))

    def __repr__(self) -> str:
        of = f"{self.experiment.algorithm} on {self.experiment.dataset}"
        return f"<{type(self).__name__} of {of}: {'; '.join(str(self).splitlines())}>"

    def save(self, path: str | Path | IO[bytes]) -> None:
        """Write the model, with what :func:`gamlp_admm.load_predictor` needs to know of its features and classes."""
        used = {name: getattr(self.experiment, name) for name in saved_options()}
        if self.experiment.data is not None:  # no data set that could be loaded by its name
            del used["dataset"]
        self.model.save(
            path,
            features=self.features,
            **self.names,
            loss=self.experiment.loss,
            kind=self.kind,
            weight_attr=self.experiment.weight,
            experiment=used,
            classes=self.model.config["out_channels"],
            test_accuracy=self.report["best"]["test_accuracy"],
            correct_and_smooth=self.report.get("correct_and_smooth", {}).get("chosen"),
            about=self._about(),
        )

    def _about(self) -> dict[str, Any]:
        """Return what a model card says of the run; nothing that names the machine."""
        apart = (DATA, FEATURES, PROCESSES, OUTPUT)
        options = {n: getattr(self.experiment, n) for n, each in declared().items() if each.option.group not in apart}
        told = {name: self.report[name] for name in ("dataset", "algorithm", "best")}
        return {**told, "versions": self.report["environment"]["versions"], "options": options}


def saved_options() -> tuple[str, ...]:
    """Return the names of the options that are saved with a model: what a prediction depends on."""
    return ("dataset", *OF_GRAPHS, *augmentation(), "loss")


def report(used: Resolved, model: GAMLP, result: Result, seconds: dict[str, float], data: Any) -> dict[str, Any]:
    """Return what ``train --json`` writes of a run.

    Args:
        used: Its options.
        model: The trained model.
        result: What training gave.
        seconds: Of augmentation, of training, and in all.
        data: PyG ``Data``; ``None`` in processes other than the first.
    """
    last = result.last
    return {
        "dataset": used.dataset,
        "algorithm": used.algorithm,
        "config": used.values(),
        "environment": environment(used.device, used.processes),
        "history": [{k: _finite(v) for k, v in record.items()} for record in result.records],
        "metric": result.metric,
        "best": {"metric": "accuracy"}
        | (result.best or {k: last.get(k) for k in ("iteration", "val_accuracy", "test_accuracy")}),
        "last": last,
        "seconds": seconds,
        "bytes_sent_total": result.bytes_sent_total,
        "num_parameters": model.num_parameters,
        "seed": used.seed,
        "converges": result.converges,
        "theorem": result.theorem,
        "start": result.start,
        "solver": result.solver,
        "units": result.units,
        "codec": result.codec,
        "stopped": result.stopped,
        "diverged": result.diverged,
        "processes": result.processes,
        **({"classes": data.class_names} if "class_names" in (data or ()) else {}),
        "num_nodes": {split: int(data[f"{split}_mask"].sum()) for split in SPLITS if data is not None},
        **({} if data is None else per_class(model, data)),
    }


def metric_name(report: Mapping[str, Any]) -> str:
    """Return the name of the metric that a run was selected by, of its report; older ones do not say it."""
    return str(report.get("metric", "accuracy"))


def best_run(runs: Sequence[Run]) -> Run:
    """Return the run that is best on validation by the runs' metric, the earlier on ties.

    Example:
        >>> from gamlp_admm.experiment import Experiment, best_run, run, seeded
        >>> plan = Experiment(dataset="karate", operator="sym", hidden=8, iterations=3, metric="loss")
        >>> runs = [run(each) for each in seeded(plan, [0, 1])]
        >>> best_run(runs).report["best"]["val_loss"] == min(each.report["best"]["val_loss"] for each in runs)
        True
    """

    def score(run: Run) -> float:
        value = METRICS[metric_name(run.report)].better(run.report["best"])[1]
        return -math.inf if value is None else value

    return max(runs, key=score)


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None  # JSON has neither NaN nor infinity


def environment(device: str, processes: int = 1) -> dict[str, Any]:
    """Return the versions, the device, and the processes and threads of a run.

    Example:
        >>> from gamlp_admm.experiment import environment
        >>> sorted(environment("cpu"))
        ['device', 'processes', 'threads', 'versions']
    """
    packages = ("gamlp-admm", "torch", "torch-geometric", "numpy", "scipy")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "processes": processes,
        "threads": torch.get_num_threads(),
    }


def summarize(runs: Sequence[Run]) -> dict[str, Any]:
    """Return ``runs``, their reports, and ``summary``: means and sample standard deviations over the runs.

    ``test_accuracy`` is that of the weights that are best on validation, ``last_test_accuracy`` of the last; with
    another metric its figures beside them, as ``test_roc_auc``. A run that was stopped counts only where none came to
    its end.

    Example:
        >>> from gamlp_admm.experiment import Experiment, run, seeded, summarize
        >>> plan = seeded(Experiment(dataset="karate", operator="sym", hidden=8, iterations=3), [0, 1])
        >>> told = summarize([run(each) for each in plan])
        >>> len(told["runs"]), 0 <= told["summary"]["test_accuracy_mean"] <= 1
        (2, True)
    """
    reports = [run.report for run in runs]
    finished = [report for report in reports if report["stopped"] is None]
    return {"runs": reports, "summary": summary(finished or reports)}


def summary(reports: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return what :func:`summarize` calls the summary, of runs' reports.

    Example:
        >>> from gamlp_admm.experiment import summary
        >>> scores = {"test_accuracy": 0.5, "val_accuracy": 0.75}
        >>> summary([{"best": scores, "last": scores}])["test_accuracy_mean"]
        0.5
    """
    result: dict[str, float | None] = {}
    for selected, prefix in (("best", ""), ("last", "last_")):
        names = dict.fromkeys(("accuracy", metric_name(reports[0])))
        for key in (f"{split}_{name}" for name in names for split in ("test", "val")):
            values = [report[selected].get(key) for report in reports]
            known = None not in values
            deviation = statistics.stdev(values) if known and len(values) > 1 else 0.0
            result[f"{prefix}{key}_mean"] = statistics.fmean(values) if known else None
            result[f"{prefix}{key}_std"] = deviation if known else None
    return result

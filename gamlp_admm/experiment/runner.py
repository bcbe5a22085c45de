"""One experiment from end to end: load a data set, augment it, train, evaluate, report.

The command line is a thin layer over this module.
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gamlp_admm.datasets import DatasetInfo, load_dataset
from gamlp_admm.errors import InputError
from gamlp_admm.experiment.features import AUGMENTATION
from gamlp_admm.experiment.options import DEFAULTS, DTYPES, FREE, Experiment, growth_depths
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.nn.losses import risk
from gamlp_admm.parallel import launch
from gamlp_admm.training import checkpoint as checkpoints
from gamlp_admm.training.result import Callback, Result
from gamlp_admm.training.rows import SPLITS
from gamlp_admm.transforms.correct_and_smooth import chosen


@dataclass(frozen=True)
class Prepared:
    """An augmented data set, which several runs may share.

    Attributes:
        data: PyG ``Data``; ``x`` holds the augmented features. ``None`` in processes other than the first.
        num_features: Columns of ``x``.
        info: Description of the data set.
        load_seconds: Time of loading.
        augment_seconds: Time of augmenting.
    """

    data: Any
    num_features: int
    info: DatasetInfo
    load_seconds: float
    augment_seconds: float


def prepare(experiment: Experiment, process_group: Any = None) -> Prepared:
    """Load and augment an experiment's data set, in the first process of ``process_group``.

    Raises:
        InputError: An option is wrong, or the data set cannot be loaded.
    """
    used = experiment.resolve()
    data: Any = None

    def load() -> Prepared:
        nonlocal data
        start = time.perf_counter()
        loaded = load_dataset(used.dataset, used.root, seed=used.split_seed)
        middle = time.perf_counter()
        data = used.transform(loaded.info.classes)(loaded.data)
        end = time.perf_counter()
        return Prepared(None, data.num_features, loaded.info, middle - start, end - middle)

    with _threads(used.threads):
        return replace(launch.on_first(load, process_group), data=data)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        experiment: Every option as used.
        model: The trained model, with the weights that are best on validation.
        report: What ``train --json`` writes.
    """

    experiment: Experiment
    model: GAMLP
    report: dict[str, Any]

    def save(self, path: str | Path) -> None:
        """Write the model, with what :func:`predict` needs to know of its features."""
        names = ("dataset", "split_seed", *AUGMENTATION, "loss")
        self.model.save(
            path,
            experiment={name: getattr(self.experiment, name) for name in names},
            classes=self.model.config["out_channels"],
            test_accuracy=self.report["best"]["test_accuracy"],
            correct_and_smooth=self.report.get("correct_and_smooth", {}).get("chosen"),
        )


def run(
    experiment: Experiment,
    callbacks: Sequence[Callback] = (),
    prepared: Prepared | None = None,
    process_group: Any = None,
) -> Run:
    """Run an experiment from end to end.

    Args:
        experiment: The options.
        callbacks: Called after each evaluated iteration (:class:`gamlp_admm.training.trainer.Progress`).
        prepared: The data set, from :func:`prepare`; loaded and augmented here if ``None``.
        process_group: The processes that all run this experiment together; the first of them loads the data.

    Returns:
        The trained model and the report; with ``process_group``, the model is whole in the first process only.

    Raises:
        InputError: An option or the data set is wrong.
        FloatingPointError: The iterates are no longer finite.
    """
    used = experiment.resolve()
    first = process_group is None or launch.rank() == 0
    if used.checkpoint is not None:
        launch.on_first(lambda: _claim(Path(str(used.checkpoint)), used), process_group)
    prepared = prepared or prepare(used, process_group)
    with _threads(used.threads):
        start = time.perf_counter()
        with torch.device("cpu" if first else "meta"):  # other processes hold their own layers alone
            model = GAMLP(
                in_channels=prepared.num_features,
                hidden_channels=used.hidden or DEFAULTS["hidden"],
                out_channels=prepared.info.classes,
                num_layers=used.layers or DEFAULTS["layers"],
                activation=used.activation or DEFAULTS["activation"],
                init=used.init or DEFAULTS["init"],
                residual=bool(used.residual),
            )
        model.to(used.device if first else "meta", DTYPES[used.dtype])
        result = used.trainer().fit(
            model,
            prepared.data,
            used.iterations or DEFAULTS["iterations"],
            seed=used.seed,
            grow=growth_depths(used.grow or "none"),
            patience=used.patience or None,
            evaluate_every=used.evaluate_every or DEFAULTS["evaluate_every"],
            callbacks=callbacks,
            checkpoint_dir=used.checkpoint,
            checkpoint_every=used.checkpoint_every,
            resume=used.resume,
            process_group=process_group,
            node_shards=used.node_shards,
            balance=used.balance,
            gather="first",
            timeout=used.timeout,
            trace_dir=used.trace,
        )
        smoothed = correct_and_smooth(model, prepared.data, used) if used.correct_and_smooth and first else {}
        total = prepared.load_seconds + prepared.augment_seconds + time.perf_counter() - start
        seconds = {"augment": prepared.augment_seconds, "train": result.seconds, "total": total}
        report = _report(used, model, result, seconds) | {"num_nodes": _num_nodes(prepared.data)} | smoothed
        return Run(used, model, report)


@torch.no_grad()
def correct_and_smooth(model: GAMLP, data: Any, used: Experiment) -> dict[str, Any]:
    """Return what reports say of Correct and Smooth after training: the way chosen on validation, and accuracies."""
    probabilities = risk(used.loss or DEFAULTS["loss"]).probabilities(model(data.x.to(used.device)))
    best = chosen(probabilities.to(data.x), data)
    test = data.test_mask & (data.y >= 0)
    accuracy = float((best.probabilities[test].argmax(1) == data.y[test]).double().mean()) if test.any() else None
    way = None if best.candidate is None else asdict(best.candidate)
    return {"correct_and_smooth": {"chosen": way, "val_accuracy": best.val_accuracy, "test_accuracy": accuracy}}


def seeded(experiment: Experiment, seeds: Sequence[int]) -> list[Experiment]:
    """Return the experiment from each seed; each has its own checkpoint, in ``seed-<seed>`` of the directory.

    To resume is to go on with the seeds that have a checkpoint and to start the others.

    Raises:
        InputError: There is no seed, or one is given twice.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds {','.join(map(str, seeds))!r}: allowed: different integers, at least one")
    if experiment.checkpoint is None:
        return [replace(experiment, seed=seed) for seed in seeds]
    folders = [Path(experiment.checkpoint) / f"seed-{seed}" for seed in seeds]
    present = [_checkpoint(folder, experiment).exists() for folder in folders]
    resume = [experiment.resume and (here or not any(present)) for here in present]
    return [
        replace(experiment, seed=seed, checkpoint=str(folder), resume=again)
        for seed, folder, again in zip(seeds, folders, resume, strict=True)
    ]


def run_seeds(experiment: Experiment, seeds: Sequence[int], callbacks: Sequence[Callback] = ()) -> list[Run]:
    """Run an experiment from several seeds; the data set is loaded and augmented once.

    Returns:
        One run a seed; :func:`summarize` makes the report of them all.
    """
    prepared = prepare(experiment)
    return [run(each, callbacks, prepared) for each in seeded(experiment, seeds)]


def summarize(runs: Sequence[Run]) -> dict[str, Any]:
    """Return ``runs``, their reports, and ``summary``: means and sample standard deviations over the runs.

    ``test_accuracy`` is that of the weights that are best on validation, ``last_test_accuracy`` of the last.
    """
    reports = [run.report for run in runs]
    return {"runs": reports, "summary": summary(reports)}


def summary(reports: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return what :func:`summarize` calls the summary, of runs' reports."""
    result: dict[str, float | None] = {}
    for selected, prefix in (("best", ""), ("last", "last_")):
        for key in ("test_accuracy", "val_accuracy"):
            values = [report[selected][key] for report in reports]
            known = None not in values
            deviation = statistics.stdev(values) if known and len(values) > 1 else 0.0
            result[f"{prefix}{key}_mean"] = statistics.fmean(values) if known else None
            result[f"{prefix}{key}_std"] = deviation if known else None
    return result


def _report(used: Experiment, model: GAMLP, result: Result, seconds: dict[str, float]) -> dict[str, Any]:
    last = result.last
    return {
        "dataset": used.dataset,
        "algorithm": used.algorithm,
        "config": asdict(used),
        "environment": environment(used.device, used.processes),
        "history": [{k: _finite(v) for k, v in record.items()} for record in result.history],
        "best": result.best or {k: last[k] for k in ("iteration", "val_accuracy", "test_accuracy")},
        "last": last,
        "seconds": seconds,
        "bytes_sent_total": result.bytes_sent_total,
        "num_parameters": model.num_parameters,
        "seed": used.seed,
        "converges": result.converges,
        "processes": result.processes,
    }


def _num_nodes(data: Any) -> dict[str, int]:
    return {split: int(data[f"{split}_mask"].sum()) for split in SPLITS if data is not None}


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None  # JSON has neither NaN nor infinity


def environment(device: str, processes: int = 1) -> dict[str, Any]:
    """Return the versions, the device, and the processes and threads of a run."""
    packages = ("gamlp-admm", "torch", "torch-geometric", "numpy", "scipy")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "processes": processes,
        "threads": torch.get_num_threads(),
    }


def _checkpoint(directory: Path, used: Experiment) -> Path:
    return directory / checkpoints.file_name(0, used.processes)


def _claim(directory: Path, used: Experiment) -> None:
    """Note in a checkpoint's directory whose it is: no other experiment may go on from it or replace it."""
    note = directory / "experiment.json"
    config = json.loads(json.dumps({name: v for name, v in asdict(used).items() if name not in FREE}))
    if used.resume and not _checkpoint(directory, used).exists():
        raise InputError(f"no checkpoint to resume from: {_checkpoint(directory, used)} does not exist")
    try:
        before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else config
        directory.mkdir(parents=True, exist_ok=True)
        for name, value in config.items():
            if before.get(name, value) != value:
                owner = f"checkpoint directory {directory} belongs to a run with {name}={before[name]}"
                raise InputError(f"{owner}, not {value}")
        note.write_text(json.dumps(config, indent=1), encoding="utf-8")
    except OSError as error:
        raise InputError(f"checkpoint directory {directory} cannot be written ({error.strerror})") from None


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)

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
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gamlp_admm import checkpoint as checkpoints
from gamlp_admm import launch
from gamlp_admm.activations import ACTIVATIONS
from gamlp_admm.data import SPLITS
from gamlp_admm.datasets import DatasetInfo, dataset_info, load_dataset
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.losses import RISKS, risk
from gamlp_admm.nn import GAMLP, INITS
from gamlp_admm.trainers import OPTIMIZERS, trainer
from gamlp_admm.training import Callback, Result, Trainer, depths
from gamlp_admm.transforms import OPERATORS, AugmentFeatures

DTYPES = {"float32": torch.float32, "float64": torch.float64}
DEVICES = ("cpu", "cuda")
CLASS_WEIGHTS = ("none", "balanced")
GROWTH = (2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Depths that ``grow="auto"`` passes through on the way to the final one."""

DEFAULTS: dict[str, Any] = {
    "operator": "sym",
    "normalize_features": False,
    "layers": 2,
    "hidden": 100,
    "activation": "relu",
    "init": "kaiming",
    "iterations": 100,
    "grow": "auto",
    "patience": 0,
    "evaluate_every": 1,
    "loss": "cross_entropy",
    "class_weight": "none",
}
"""Options that neither the user nor the recipe sets; the trainer has the defaults of its own settings."""

SETTINGS = ("loss", "class_weight", "rho", "nu", "mu", "solver", "schedule", "tau", "lr", "weight_decay")
"""Options that are arguments of the trainer."""

AUGMENTATION = ("operator", "hops", "alpha", "t", "normalize_features")
"""Options that decide what features the model takes."""

BASELINE_RECIPE = {*AUGMENTATION, "layers", "hidden"}
"""What backpropagation takes from a data set's recipe."""

RECIPE = {*BASELINE_RECIPE, *DEFAULTS, *SETTINGS} - {"evaluate_every", "lr", "weight_decay"}
"""What a data set's recipe may set; pdADMM and pdADMM-G take all of it."""

FREE = {
    "root",
    "iterations",
    "patience",
    "device",
    "threads",
    "checkpoint",
    "checkpoint_every",
    "resume",
    "timeout",
    "trace",
}
"""Options that may change between the runs that share a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Every option of one training run. ``None`` stands for the data set's recipe, else a default.

    Attributes:
        dataset: Name of a data set (:func:`gamlp_admm.datasets.load_dataset`).
        root: Data root.
        split_seed: Seed of a random split; ``None`` for the usual split.
        algorithm: One of :data:`gamlp_admm.trainers.ALGORITHMS`.
        operator: ``sym``, ``row``, ``ppr``, ``heat``, or ``none`` for the features as they are.
        hops: Propagation steps: their number, or the set to keep. The recipe's are for the recipe's operator;
            another has its own default, 4 for ``sym`` and ``row``, 10 for ``ppr`` and ``heat``.
        alpha: Teleport probability of ``ppr``.
        t: Diffusion time of ``heat``.
        normalize_features: Whether each node's features are divided by their sum before propagation.
        layers: Linear layers; by default the last depth of ``grow``, where that is given.
        hidden: Neurons of each hidden layer.
        activation: Activation function.
        init: ``kaiming``, ``normal`` or ``identity``.
        iterations: Iterations of each growth stage.
        grow: ``none``; the depths of the stages, as ``"2,5,10"`` or a sequence; or ``auto``: the depths of
            :data:`GROWTH` below ``layers``, then ``layers``, for ADMM with 5 layers or more, else ``none``.
        patience: Evaluations without a better validation accuracy that end a stage; 0 for no such end.
        evaluate_every: Iterations from one history record to the next.
        loss: Risk of the last layer.
        class_weight: ``none`` or ``balanced``.
        rho: Penalty ρ. If only one of ρ and ν is given, the other equals it, as in the papers' accuracy runs.
        nu: Penalty ν.
        mu: Weight decay μ of the ADMM algorithms.
        solver: How their quadratic blocks are solved.
        schedule: How ρ and ν change.
        tau: First step denominator of ``backtracking``.
        lr: Learning rate of backpropagation.
        weight_decay: Weight decay of backpropagation.
        seed: Seed of the weights.
        device: ``cpu`` or ``cuda``.
        dtype: ``float32`` or ``float64``.
        threads: Threads on the CPU; ``None`` for torch's choice.
        checkpoint: Directory of the checkpoint.
        checkpoint_every: Iterations from one checkpoint to the next; ``None``: at the end only.
        resume: Whether to go on from the checkpoint.
        processes: Number P of processes that the layers are divided among.
        node_shards: Number R of parts of the rows; the processes form stages × R.
        balance: Number of layers of each stage, as ``"4,3,3"`` or a sequence; ``None`` divides by cost.
        timeout: Seconds after which a wait for another process gives up.
        trace: Directory for a Chrome trace of each process.
    """

    dataset: str = "digits-knn"
    root: str | None = None
    split_seed: int | None = None
    algorithm: str = "pdadmm-g"
    operator: str | None = None
    hops: int | tuple[int, ...] | None = None
    alpha: float | None = None
    t: float | None = None
    normalize_features: bool | None = None
    layers: int | None = None
    hidden: int | None = None
    activation: str | None = None
    init: str | None = None
    iterations: int | None = None
    grow: str | tuple[int, ...] | None = None
    patience: int | None = None
    evaluate_every: int | None = None
    loss: str | None = None
    class_weight: str | None = None
    rho: float | None = None
    nu: float | None = None
    mu: float | None = None
    solver: str | None = None
    schedule: str | None = None
    tau: float | None = None
    lr: float | None = None
    weight_decay: float | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    checkpoint: str | None = None
    checkpoint_every: int | None = None
    resume: bool = False
    processes: int = 1
    node_shards: int = 1
    balance: tuple[int, ...] | None = None
    timeout: float = 300.0
    trace: str | None = None

    def resolve(self) -> Experiment:
        """Return the experiment with every option as used; ``None`` remains where an option does not apply.

        Raises:
            InputError: An option is wrong or does not apply.
        """
        self._check()
        given = {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}
        values = {**DEFAULTS, **self._recipe(given), **given}
        grow = _depths(values["grow"])
        if "grow" in given and grow and "layers" not in given:
            values["layers"] = grow[-1]
        baseline = self.algorithm in OPTIMIZERS
        if values["grow"] == "auto" and not baseline and values["layers"] >= 5:
            grow = (*(d for d in GROWTH if d < values["layers"]), values["layers"])
        depths(grow, values["layers"])
        values |= {"grow": grow or "none", **_augmentation(values, given)}
        if not baseline:
            values |= {"rho": values.get("rho", values.get("nu")), "nu": values.get("nu", values.get("rho"))}
        chosen = replace(self, **values)
        used = chosen.trainer()
        settings: dict[str, Any] = {name: getattr(used, name, None) for name in SETTINGS}
        settings["class_weight"] = chosen.class_weight
        if baseline and settings["lr"] is None:
            settings["lr"] = OPTIMIZERS[self.algorithm][1]
        return replace(chosen, **settings)

    def trainer(self) -> Trainer:
        """Return the trainer with this experiment's settings."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        settings["class_weight"] = None if self.class_weight == "none" else self.class_weight
        return trainer(self.algorithm, **settings)

    def transform(self) -> AugmentFeatures:
        """Return the transform that makes the model's features."""
        options = {name: v for name in AUGMENTATION if (v := getattr(self, name)) is not None}
        if self.operator == "none":
            options |= {"operator": "sym", "hops": 0}
        return AugmentFeatures(**options, dtype=DTYPES[self.dtype])

    def _check(self) -> None:
        counts = ("layers", "hidden", "iterations", "evaluate_every", "threads", "checkpoint_every")
        for name in (*counts, "processes", "node_shards"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be a positive integer, not {value}")
        for name in ("patience", "seed", "split_seed"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 2**63:
                raise InputError(f"{name} must be an integer from 0 to 2^63 - 1, not {value}")
        if self.processes > 1 and self.algorithm in OPTIMIZERS:
            raise InputError(f"processes {self.processes}: {self.algorithm} runs in one process")
        if self.processes % self.node_shards:
            raise InputError(
                f"node_shards {self.node_shards} does not divide the number of processes, {self.processes}"
            )
        if not self.timeout > 0:
            raise InputError(f"timeout must be a positive number of seconds, not {self.timeout}")
        names = {
            "device": DEVICES,
            "dtype": DTYPES,
            "init": INITS,
            "activation": ACTIVATIONS,
            "loss": RISKS,
            "class_weight": CLASS_WEIGHTS,
        }
        for name, allowed in names.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise unknown(name.replace("_", " "), value, allowed)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device 'cuda': torch finds no CUDA device here; allowed: cpu")
        if (self.resume or self.checkpoint_every) and self.checkpoint is None:
            raise InputError("resume and checkpoint_every need checkpoint, a directory")

    def _recipe(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return what applies of the data set's recipe."""
        recipe = {} if self.dataset.startswith("pyg:") else dict(dataset_info(self.dataset).recipe)
        allowed = BASELINE_RECIPE if self.algorithm in OPTIMIZERS else RECIPE
        dropped: set[str] = set()
        if given.get("operator", recipe.get("operator")) != recipe.get("operator"):
            dropped |= {"hops", "alpha", "t"}
        if given.keys() & {"rho", "nu"}:
            dropped |= {"rho", "nu"}
        if "layers" in given:
            dropped |= {"grow"}
        kept = {name: value for name, value in recipe.items() if name in allowed - dropped}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}


def _depths(grow: str | Sequence[int]) -> tuple[int, ...]:
    """Return the depths that ``grow`` lists; none for ``auto`` and ``none``."""
    if grow in ("auto", "none"):
        return ()
    try:
        return tuple(int(d) for d in (grow.split(",") if isinstance(grow, str) else grow))
    except ValueError:
        raise InputError(f"grow {grow!r}: allowed: auto, none, or rising depths such as 2,5,10") from None


def _augmentation(values: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return hops, alpha and t as used, ``None`` where the operator does not take them."""
    operator = values["operator"]
    if operator not in (*OPERATORS, "none"):
        raise unknown("operator", operator, (*OPERATORS, "none"))
    takers = {"hops": OPERATORS, "alpha": ("ppr",), "t": ("heat",)}
    taken = [name for name, operators in takers.items() if operator in operators]
    for name in takers.keys() & given.keys() - {*taken}:
        raise InputError(f"{name} does not apply to operator {operator}; it is for {', '.join(takers[name])}")
    if operator == "none":
        return dict.fromkeys(takers)
    used = AugmentFeatures(operator=operator, **{name: values[name] for name in taken if name in values})
    return {name: getattr(used, name) if name in taken else None for name in takers}


# --- running ------------------------------------------------------------------------------------------------


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
        data = used.transform()(loaded.data)
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
        callbacks: Called after each evaluated iteration (:class:`gamlp_admm.training.Progress`).
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
            )
        model.to(used.device if first else "meta", DTYPES[used.dtype])
        result = used.trainer().fit(
            model,
            prepared.data,
            used.iterations or DEFAULTS["iterations"],
            seed=used.seed,
            grow=_depths(used.grow or "none"),
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
        total = prepared.load_seconds + prepared.augment_seconds + time.perf_counter() - start
        seconds = {"augment": prepared.augment_seconds, "train": result.seconds, "total": total}
        return Run(used, model, _report(used, model, result, seconds))


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
    summary: dict[str, float | None] = {}
    for selected, prefix in (("best", ""), ("last", "last_")):
        for key in ("test_accuracy", "val_accuracy"):
            values = [run.report[selected][key] for run in runs]
            known = None not in values
            deviation = statistics.stdev(values) if known and len(values) > 1 else 0.0
            summary[f"{prefix}{key}_mean"] = statistics.fmean(values) if known else None
            summary[f"{prefix}{key}_std"] = deviation if known else None
    return {"runs": [run.report for run in runs], "summary": summary}


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


# --- predicting ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prediction:
    """What a saved model says of the nodes of a data set.

    Attributes:
        dataset: Name of the data set.
        classes: Predicted class of each node, ``[N]``.
        probabilities: Class probabilities, ``[N, C]``.
        rows: Node numbers of each split, and of ``all``.
        accuracy: Accuracy over the labelled nodes of each split; ``None`` where there are none.
    """

    dataset: str
    classes: torch.Tensor
    probabilities: torch.Tensor
    rows: dict[str, torch.Tensor]
    accuracy: dict[str, float | None]


@torch.no_grad()
def predict(path: str | Path, dataset: str | None = None, root: str | None = None) -> Prediction:
    """Apply a model that :meth:`Run.save` wrote to a data set, augmented as the model expects.

    Args:
        path: The model's file.
        dataset: Name of the data set; ``None`` for the one that the model was trained on.
        root: Data root.

    Raises:
        InputError: The file is not a model, or the data set cannot be loaded or does not fit the model.
    """
    model, metadata = GAMLP.load(path)
    options = metadata.get("experiment", {})
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    options |= {"root": root, "dtype": str(next(model.parameters()).dtype).removeprefix("torch.")}
    if dataset is not None:
        options["dataset"] = dataset
    if "dataset" not in options:
        raise InputError(f"{path} does not say what data set it was trained on; dataset must be given")
    experiment = Experiment(**options)
    data, width = prepare(experiment).data, model.config["in_channels"]
    if data.num_features != width:
        have = f"{experiment.dataset} has {data.num_features} features a node after augmentation"
        raise InputError(f"{have}; {path} takes {width}")
    z = model(data.x)
    classes, probabilities = z.argmax(-1), risk(experiment.loss or DEFAULTS["loss"]).probabilities(z)
    rows = {split: data[f"{split}_mask"].nonzero()[:, 0] for split in SPLITS} | {"all": torch.arange(len(z))}
    accuracy: dict[str, float | None] = {}
    for split, nodes in rows.items():
        known = nodes[data.y[nodes] >= 0]
        accuracy[split] = float((classes[known] == data.y[known]).double().mean()) if len(known) else None
    return Prediction(experiment.dataset, classes, probabilities, rows, accuracy)

"""Applying a saved model to a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment import source
from gamlp_admm.experiment.features import width
from gamlp_admm.experiment.options import renamed
from gamlp_admm.experiment.outcome import saved_options
from gamlp_admm.experiment.recipe import checked
from gamlp_admm.experiment.resolve import Experiment
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.nn.losses import risk
from gamlp_admm.training.rows import SPLITS
from gamlp_admm.transforms.correct_and_smooth import CorrectAndSmooth


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

    Where the model was saved with Correct and Smooth, that is applied with the data set's training labels and edges.

    Args:
        path: The model's file.
        dataset: Name of the data set; ``None`` for the one that the model was trained on.
        root: Data root.

    Raises:
        InputError: The file is not a model, or the data set cannot be loaded or does not fit the model.

    Example:
        >>> import io
        >>> from gamlp_admm.experiment import Experiment, predict, run
        >>> done = run(Experiment(dataset="karate", operator="sym", hidden=8, iterations=5))
        >>> done.save(file := io.BytesIO())  # or a file's name
        >>> prediction = predict(io.BytesIO(file.getvalue()))
        >>> prediction.probabilities.shape, prediction.accuracy["test"] == done.report["best"]["test_accuracy"]
        (torch.Size([34, 4]), True)
    """
    model, metadata = GAMLP.load(path)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise InputError(f"{path} has weights that are NaN or infinite")
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    options = _options(path, metadata.get("experiment", {})) | {"root": root, "dtype": dtype}
    if dataset is not None:
        options["dataset"] = dataset
    if "dataset" not in options:
        raise InputError(f"{path} does not say what data set it was trained on; dataset must be given")
    used, smooth = Experiment.of(options).resolve(), _correct_and_smooth(path, metadata)
    loaded = source.load(used)
    makes, takes = width(used, loaded.data.num_features, loaded.info.classes), model.config["in_channels"]
    if makes != takes:
        raise InputError(f"{used.dataset} has {makes} features a node after augmentation; {path} takes {takes}")
    data = used.transform(loaded.info.classes)(loaded.data)
    z = model(data.x)
    classes, probabilities = z.argmax(-1), risk(used.loss).probabilities(z)
    if smooth is not None:
        probabilities = smooth(probabilities, data)
        classes = probabilities.argmax(-1)
    rows = {split: data[f"{split}_mask"].nonzero()[:, 0] for split in SPLITS} | {"all": torch.arange(len(z))}
    accuracy: dict[str, float | None] = {}
    for split, nodes in rows.items():
        known = nodes[data.y[nodes] >= 0]
        accuracy[split] = float((classes[known] == data.y[known]).double().mean()) if len(known) else None
    return Prediction(used.dataset, classes, probabilities, rows, accuracy)


def _options(path: str | Path, saved: Any) -> dict[str, Any]:
    """Return the options that are saved with a model: those that a prediction depends on, and no others.

    Raises:
        InputError: There is something else.
    """
    if not isinstance(saved, dict):
        raise InputError(f"{path}: its options are no table, but {saved!r}")
    given = {name: value for name, value in renamed(saved).items() if value is not None}
    for name in given.keys() - {*saved_options()}:
        raise unknown(f"option in {path}:", name, sorted(saved_options()))
    return checked(given, str(path))


def _correct_and_smooth(path: str | Path, metadata: Mapping[str, Any]) -> CorrectAndSmooth | None:
    """Return what a model was saved with.

    Raises:
        InputError: It is something else.
    """
    way = metadata.get("correct_and_smooth")
    try:
        return CorrectAndSmooth(**way) if way else None
    except (TypeError, InputError) as error:
        raise InputError(f"{path}: its correct_and_smooth is not usable ({error})") from None

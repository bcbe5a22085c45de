"""Applying a saved model to a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from gamlp_admm.errors import InputError
from gamlp_admm.experiment.resolve import Experiment
from gamlp_admm.experiment.runner import prepare
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
    """
    model, metadata = GAMLP.load(path)
    options = metadata.get("experiment", {})
    options |= {"root": root, "dtype": str(next(model.parameters()).dtype).removeprefix("torch.")}
    if dataset is not None:
        options["dataset"] = dataset
    if "dataset" not in options:
        raise InputError(f"{path} does not say what data set it was trained on; dataset must be given")
    used = Experiment.of(options).resolve()
    data, width = prepare(used).data, model.config["in_channels"]
    if data.num_features != width:
        have = f"{used.dataset} has {data.num_features} features a node after augmentation"
        raise InputError(f"{have}; {path} takes {width}")
    z = model(data.x)
    classes, probabilities = z.argmax(-1), risk(used.loss).probabilities(z)
    if way := metadata.get("correct_and_smooth"):
        probabilities = CorrectAndSmooth(**way)(probabilities, data)
        classes = probabilities.argmax(-1)
    rows = {split: data[f"{split}_mask"].nonzero()[:, 0] for split in SPLITS} | {"all": torch.arange(len(z))}
    accuracy: dict[str, float | None] = {}
    for split, nodes in rows.items():
        known = nodes[data.y[nodes] >= 0]
        accuracy[split] = float((classes[known] == data.y[known]).double().mean()) if len(known) else None
    return Prediction(used.dataset, classes, probabilities, rows, accuracy)

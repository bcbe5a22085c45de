"""Applying a saved model to a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gamlp_admm.datasets import LoadedDataset
from gamlp_admm.datasets.splits import CAME
from gamlp_admm.datasets.stored import store_at
from gamlp_admm.datasets.targets import known_rows, target_kind
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import source
from gamlp_admm.experiment.options import OF_GRAPHS
from gamlp_admm.experiment.predictor import NodePrediction, Predictor, load_predictor
from gamlp_admm.experiment.resolve import Experiment
from gamlp_admm.nn.losses import risk
from gamlp_admm.training.metrics import metric_of
from gamlp_admm.training.rows import SPLITS


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction(NodePrediction):
    """What a saved model says of the nodes of a data set.

    Attributes:
        dataset: Name of the data set.
        rows: Node numbers of each split, and of ``all``.
        accuracy: Accuracy over the labelled nodes of each split, of real targets R²; ``None`` where there are none.
        node_ids: Names of the nodes, where they have some; of stored features of a part of them their numbers.
    """

    dataset: str
    rows: dict[str, torch.Tensor]
    accuracy: dict[str, float | None]
    node_ids: tuple[str, ...] | None = None


def predict(
    path: str | Path,
    dataset: str | None = None,
    root: str | None = None,
    data: str | Path | None = None,
    cache: str = "auto",
    **reading: Any,
) -> Prediction:
    """Apply a saved model to a data set or a file (:func:`gamlp_admm.load_predictor` applies it to a graph in memory).

    Labels are not needed. Those of training nodes are read where the model takes them as features or was saved with
    Correct and Smooth: the nodes of the data set's split, and of a graph of one's own that comes without one all that
    have a label. What a graph's columns mean is as it was for training.

    Args:
        path: The model's file.
        dataset: Name of the data set; ``None`` for the one that the model was trained on.
        root: Data root.
        data: A graph of one's own instead (:func:`gamlp_admm.datasets.load_graph`), or stored features.
        cache: Which propagated features are taken from the cache and kept there: ``auto``, ``all`` or ``none``.
        reading: Options that say how it is read, where they are others than in training: ``label``, ``features``,
            ``id``, ``weight``, ``split``, ``split_seed``, ``split_index``.

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
    predictor = load_predictor(path, cache=cache)
    loaded = _loaded(predictor, dataset, root, data, {k: v for k, v in reading.items() if v is not None})
    graph = loaded.data
    rows = {split: graph[f"{split}_mask"].nonzero()[:, 0] for split in SPLITS} | {"all": torch.arange(len(graph.y))}
    if predictor.takes_labels and not any(len(rows[split]) for split in SPLITS):
        graph.train_mask = known_rows(graph.y) >= 0
    made = predictor(loaded)
    accuracy: dict[str, float | None] = {}
    kind, told = target_kind(graph.y), risk(predictor.loss)
    for split, nodes in rows.items():
        known = nodes[known_rows(graph.y)[nodes] >= 0]
        if kind == "classes":
            accuracy[split] = float((made.classes[known] == graph.y[known]).double().mean()) if len(known) else None
        else:
            accuracy[split] = metric_of("accuracy", kind).of(made.outputs[known], graph.y[known], told, kind)
    ids = graph.n_id.tolist() if "n_id" in graph and loaded.node_ids is None else loaded.node_ids
    ids = None if ids is None else tuple(map(str, ids))
    return Prediction(**vars(made), dataset=loaded.info.name, rows=rows, accuracy=accuracy, node_ids=ids)


def _loaded(
    predictor: Predictor, dataset: str | None, root: str | None, data: str | Path | None, reading: dict[str, Any]
) -> LoadedDataset:
    options = {name: value for name, value in predictor.options.items() if name in ("dataset", *OF_GRAPHS)}
    if dataset is not None and data is not None:
        raise InputError("dataset and data exclude each other; give one of them")
    if data is None:
        if dataset is not None:
            options["dataset"] = dataset
        if "dataset" not in options:
            raise InputError(f"{predictor.name} names no data set that it was trained on; allowed: dataset, or data")
        return source.load(Experiment.of({**options, **reading, "root": root}).resolve())
    if store_at(data):  # of which nothing has to be said
        used = Experiment.of({**reading, "data": str(data)}).resolve()
        return source.load(used, predictor.class_names or predictor.model.config["out_channels"])
    options.pop("dataset", None)
    if options.get("split", "").partition(":")[0] not in CAME:  # another graph's nodes are not divided anew
        options = {name: value for name, value in options.items() if name not in ("split", "split_seed")}
    used = Experiment.of({**options, **reading, "data": str(data)}).resolve()
    columns = None if "features" in reading else predictor.feature_names
    return source.load(used, predictor.class_names or predictor.model.config["out_channels"], columns)

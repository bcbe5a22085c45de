"""A saved model with all that it needs to predict on a graph: any graph whose nodes have the same features."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.datasets import LoadedDataset
from gamlp_admm.datasets.stored import stored
from gamlp_admm.datasets.targets import KINDS, known_rows
from gamlp_admm.errors import InputError, InputWarning, unknown
from gamlp_admm.experiment import source
from gamlp_admm.experiment.beyond import beyond
from gamlp_admm.experiment.options import renamed
from gamlp_admm.experiment.outcome import saved_options
from gamlp_admm.experiment.recipe import checked
from gamlp_admm.experiment.resolve import Experiment
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.nn.losses import risk
from gamlp_admm.propagation import dense_features
from gamlp_admm.propagation.store import caching
from gamlp_admm.propagation.store.cache import check_mode
from gamlp_admm.training.models import outputs
from gamlp_admm.transforms.augment_labels import AugmentLabels
from gamlp_admm.transforms.correct_and_smooth import CorrectAndSmooth
from gamlp_admm.transforms.recipe import Transform, from_recipe, input_columns, steps_of


@dataclass(frozen=True, eq=False)
class NodePrediction:
    """What a model says of the nodes of a graph.

    Attributes:
        classes: Number of the likeliest class of each node, ``[N]``; means nothing of real targets.
        probabilities: ``[N, C]``. Of a model that was trained by ``binary_cross_entropy`` each is of a label by itself;
            they mean nothing of real targets, which ``outputs`` are.
        outputs: What the network gives, ``[N, C]``: logits, or predicted targets of a regression.
        class_names: Names of the classes, where they have some.
        kind: What is predicted: ``classes``, one a node; ``labels``, several a node; or real ``values``.

    Example:
        >>> import torch
        >>> from gamlp_admm.experiment import NodePrediction
        >>> z = torch.tensor([[0.0, 2.0]])
        >>> NodePrediction(z.argmax(-1), z.softmax(-1), z, ("no", "yes")).names
        ['yes']
    """

    classes: Tensor
    probabilities: Tensor
    outputs: Tensor
    class_names: tuple[str, ...] | None = None
    kind: str = "classes"

    @property
    def names(self) -> list[str]:
        """Name of the likeliest class of each node; its number where classes have no names."""
        names = self.class_names
        return [str(c) if names is None else names[c] for c in self.classes.tolist()]


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model that takes a graph; :func:`load_predictor` reads one from a file.

    Attributes:
        model: The network, which takes features that are made already.
        features: The transform that makes them of a graph.
        loss: The risk that the model was trained by, which says what its outputs mean.
        class_names: Names of the classes.
        feature_names: Names of the columns of ``data.x``.
        weight_attr: The attribute of the graph that holds the weights of the edges; ``None`` for ``edge_weight``.
        correct_and_smooth: What is done to probabilities, with the labels of the graph's training nodes.
        metadata: What else was saved.
        name: What messages call the model.
        kind: What is predicted (:class:`NodePrediction`).
        cache: Which propagated features are taken from the cache and kept there: ``auto``, ``all`` or ``none``.

    Example:
        >>> import io
        >>> from gamlp_admm import GAMLP, AugmentFeatures, load_dataset, load_predictor
        >>> graph = load_dataset("karate").data
        >>> GAMLP(3 * 34, 8, 4, num_layers=2).save(file := io.BytesIO(), features=AugmentFeatures(2))
        >>> predictor = load_predictor(io.BytesIO(file.getvalue()))  # or a file's name
        >>> predictor.num_features, predictor.takes_labels
        (34, False)
    """

    model: GAMLP
    features: Transform
    loss: str = "cross_entropy"
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    weight_attr: str | None = None
    correct_and_smooth: CorrectAndSmooth | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    name: str = "the model"
    kind: str = "classes"
    cache: str = "auto"

    @property
    def num_features(self) -> int:
        """Features that each node of a graph must have."""
        takes = self.model.config["in_channels"]
        if (width := input_columns(self.features, takes)) is None:
            raise InputError(f"{self.name}: its transforms never make {takes} columns, which the model takes")
        return width

    @property
    def takes_labels(self) -> bool:
        """Whether labels of training nodes are needed, as features or by Correct and Smooth."""
        as_features = any(isinstance(step, AugmentLabels) for step in steps_of(self.features))
        return as_features or self.correct_and_smooth is not None

    @property
    def options(self) -> dict[str, Any]:
        """Options of the run that trained the model: its data set, its split, and what its features depend on.

        Raises:
            InputError: What was saved is something else.
        """
        with _named(self.name):
            return _options(self.metadata)

    @torch.no_grad()
    def __call__(self, graph: Data | LoadedDataset) -> NodePrediction:
        """Predict the class of each node.

        The graph may be the one that the model was trained on, that with more nodes or edges, or another one. Bits are
        those of ``model(features(graph).x)``, of many nodes taken in parts. Labels are read only of training nodes, and
        only where the model takes them as features, or by Correct and Smooth.

        Args:
            graph: PyG ``Data`` with ``x`` ``[N, F]`` and edges, or what :func:`~gamlp_admm.datasets.load_graph`
                returns; not modified. Where both have names of features, columns are taken by name, and where both
                have names of classes, labels are. Of stored features those that the model's transforms made.

        Returns:
            The prediction, on the graph's device.

        Raises:
            InputError: The graph lacks something, or its features are others.
        """
        data, features = self._checked(graph)
        with caching(self.cache):
            x = features(data).x
        x = x if stored(data) else dense_features(x)[0]  # whatever the type: stored ones may be larger than memory
        z = outputs(self.model, x).to(x.device)
        probabilities = risk(self.loss).probabilities(z)
        classes = z.argmax(-1)
        if self.correct_and_smooth is not None:
            probabilities = self.correct_and_smooth(probabilities, data)
            classes = probabilities.argmax(-1)
        return NodePrediction(classes, probabilities, z, self.class_names, self.kind)

    def _checked(self, graph: Data | LoadedDataset) -> tuple[Data, Transform]:
        """Return a graph with its columns and classes in the model's order, and the transform that is still to come."""
        data, name = (graph.data, graph.info.name) if isinstance(graph, LoadedDataset) else (graph, "the graph")
        if not isinstance(data, Data):
            allowed = "a torch_geometric.data.Data, or what load_graph returns"
            raise InputError(f"a graph is {allowed}, not {type(data).__name__}")
        if self.takes_labels:
            why = "as features, or for Correct and Smooth"
            if missing := [key for key in ("y", "train_mask") if getattr(data, key, None) is None]:
                raise InputError(f"{self.name} takes training labels {why}: {name} has no {' and no '.join(missing)}")
        x = getattr(data, "x", None)
        if not isinstance(x, Tensor) or x.dim() != 2:
            given = f"of shape {[*x.shape]}" if isinstance(x, Tensor) else "missing"
            raise InputError(f"{name}: data.x is {given}; allowed: a tensor [nodes, {self.num_features}]")
        data, features = copy.copy(data), self.features
        if (store := stored(data)) is not None:
            features = beyond(self.features, self.model.config["in_channels"], store, name, self.name)
            names = getattr(data, "feature_names", None)
            if self.feature_names is not None and names is not None and tuple(names) != self.feature_names:
                raise InputError(f"{name} has stored features of other columns than {self.name} takes, or other order")
            if self.correct_and_smooth is not None:
                raise InputError(f"{self.name} corrects and smooths over a graph; {name} has stored features alone")
        else:
            _take_named(data, self.feature_names, name)
            if data.x.shape[1] != self.num_features:
                raise InputError(f"{name} has {data.x.shape[1]} features a node; {self.name} takes {self.num_features}")
        _number_classes(data, self.class_names)
        if self.correct_and_smooth is None and self.takes_labels and not _knows_labels(data):  # it says so itself
            message = f"{self.name} takes training labels as features: {name} has none, and their columns are 0"
            warnings.warn(message, InputWarning, stacklevel=4)
        if store is None and (self.weight_attr in data or "edge_weight" not in data):  # as load_graph leaves it
            data = source.weighted(data, self.weight_attr)
        return data, features


def _take_named(data: Data, wanted: tuple[str, ...] | None, what: str) -> None:
    names = getattr(data, "feature_names", None)
    if wanted is None or names is None or tuple(names) == wanted or len(names) != data.x.shape[1]:
        return
    column = {name: i for i, name in enumerate(names)}
    for name in wanted:
        if name not in column:
            raise unknown(f"feature of the model in {what}:", name, names)
    data.x = data.x.index_select(1, torch.tensor([column[name] for name in wanted], device=data.x.device))
    data.feature_names = [*wanted]


def _knows_labels(data: Data) -> bool:
    """Return whether the label of a training node is known; what is wrong with them the transform says."""
    y, train = data.y, data.train_mask
    if not isinstance(y, Tensor) or not isinstance(train, Tensor) or train.shape != y.shape[:1]:
        return True
    return bool((known_rows(y[train.to(y.device).bool()]) >= 0).any())


def _number_classes(data: Data, wanted: tuple[str, ...] | None) -> None:
    names, y = getattr(data, "class_names", None), getattr(data, "y", None)
    if wanted is None or names is None or tuple(names) == wanted or not isinstance(y, Tensor) or y.is_floating_point():
        return
    if other := [name for name in names if name not in wanted]:
        message = f"class {other[0]!r} is none of the model's: its nodes count as not labelled"
        warnings.warn(message, InputWarning, stacklevel=5)
    number = {name: i for i, name in enumerate(wanted)}
    numbers = torch.tensor([*(number.get(name, -1) for name in names), -1], device=y.device)
    data.y = numbers[y.clamp(min=-1)]  # the last: not known
    data.class_names = [*wanted]


def load_predictor(
    path: str | Path | IO[bytes], device: str | torch.device = "cpu", *, cache: str = "auto"
) -> Predictor:
    """Read a model that takes a graph.

    Args:
        path: A file that ``gamlp-admm train --save``, :meth:`gamlp_admm.experiment.Run.save` or :meth:`GAMLP.save
            <gamlp_admm.GAMLP.save>` with ``features`` wrote.
        device: Where the network computes.
        cache: Which propagated features are taken from the cache and kept there: ``auto`` for those that are some
            work to make, as of the graph that the model was trained on; ``all``; or ``none``, as where each graph comes
            once.

    Returns:
        The predictor. Of files of version 0.1.0, components and centres of features are those of the graph that it is
        given; newer ones keep those of the graph that the model was trained on.

    Raises:
        InputError: The file is no such model.

    Example:
        >>> import io
        >>> import torch
        >>> from gamlp_admm import GAMLP, AugmentFeatures, PdADMMG, load_dataset, load_predictor
        >>> graph, features = load_dataset("karate").data, AugmentFeatures(hops=2)
        >>> data = features(graph)
        >>> model = GAMLP(data.num_features, hidden_channels=8, out_channels=4, num_layers=2)
        >>> result = PdADMMG().fit(model, data, iterations=5, seed=0)
        >>> file = io.BytesIO()  # or a path
        >>> model.save(file, features=features, class_names=["Mr Hi", "officer", "north", "south"])
        >>> _ = file.seek(0)
        >>> prediction = load_predictor(file)(graph)
        >>> torch.equal(prediction.outputs, model(data.x)), len(prediction.names), prediction.probabilities.shape
        (True, 34, torch.Size([34, 4]))
    """
    check_mode(cache)
    name = str(path) if isinstance(path, str | Path) else "the model"
    model, metadata = GAMLP.load(path)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise InputError(f"{name} has weights that are NaN or infinite")
    with _named(name):
        kept = _kept(model, metadata) | {"correct_and_smooth": _correct_and_smooth(metadata)}
    return Predictor(model.to(device).eval(), **kept, metadata=metadata, name=name, cache=cache)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say of wrong input what file has it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _kept(model: GAMLP, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file says of a model's features and outputs, checked."""
    if "features" not in metadata and "experiment" not in metadata:
        raise InputError("it does not say what features it takes: GAMLP.save(path, features=…) keeps their transform")
    if "features" not in metadata:  # of version 0.1.0
        dtype = str(model.linears[0].weight.dtype).removeprefix("torch.")
        used = Experiment.of({**_options(metadata), "dtype": dtype}).resolve()
        features = used.transform(model.config["out_channels"])
        return {"features": features, "loss": used.loss or "cross_entropy", "weight_attr": used.weight}
    features = from_recipe(metadata["features"], model.config["in_channels"])
    loss, weight_attr = metadata.get("loss", "cross_entropy"), metadata.get("weight_attr")
    if not isinstance(weight_attr, str | None):
        raise InputError(f"weight_attr must be a text, not {weight_attr!r}")
    names = _names(metadata, "class_names", model.config["out_channels"])
    columns = _names(metadata, "feature_names", input_columns(features, model.config["in_channels"]))
    shared = {"features": features, "weight_attr": weight_attr, "class_names": names, "feature_names": columns}
    if (kind := metadata.get("kind", "classes")) not in KINDS:
        raise unknown("kind", str(kind), KINDS)
    return {**shared, "loss": risk(str(loss)).name, "kind": kind}


def _names(metadata: Mapping[str, Any], key: str, count: int | None) -> tuple[str, ...] | None:
    names = metadata.get(key)
    if names is None:
        return None
    if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise InputError(f"{key} must be a list of {count} texts")
    return tuple(names)


def _options(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are saved with a model, and no others."""
    saved = metadata.get("experiment", {})
    if not isinstance(saved, dict):
        raise InputError(f"its options are no table, but {saved!r}")
    given = {name: value for name, value in renamed(saved).items() if value is not None}
    for name in given.keys() - {*saved_options()}:
        raise unknown("option", name, sorted(saved_options()))
    return checked(given, "its options")


def _correct_and_smooth(metadata: Mapping[str, Any]) -> CorrectAndSmooth | None:
    way = metadata.get("correct_and_smooth")
    try:
        return CorrectAndSmooth(**way) if way else None
    except (TypeError, InputError) as error:
        raise InputError(f"its correct_and_smooth is not usable ({error})") from None

"""From the options that are given to those that are used, once a run: recipe, defaults, and what does not apply."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch

from gamlp_admm.algorithms import registry
from gamlp_admm.datasets.info import dataset_info
from gamlp_admm.datasets.splits import CAME, USUAL, check_rule
from gamlp_admm.errors import InputError, byte_count
from gamlp_admm.experiment import features
from gamlp_admm.experiment.declaration import ANY, FEATURES
from gamlp_admm.experiment.options import (
    IN_MEMORY,
    Options,
    declared,
    described,
    names_where,
    recipe_names,
)
from gamlp_admm.experiment.recipe import checked, read_recipe
from gamlp_admm.experiment.training_options import MOST_LAYERS
from gamlp_admm.system import torchrun
from gamlp_admm.training.growth import depths
from gamlp_admm.training.metrics import KINDS, metric_of
from gamlp_admm.training.trainer import Trainer
from gamlp_admm.transforms.recipe import Transform

TUNED_FOR = ("pdadmm-g", "pdadmm-g-q", "pdadmm")
"""The algorithms that recipes are tuned for."""

SUITED = {"classes": "cross_entropy", "labels": "binary_cross_entropy", "values": "squared_error"}
"""The risk of each kind of targets, where none was asked for."""

MOST_SECONDS = 1e9
"""What clocks can count to."""

R = TypeVar("R", bound="Resolved")


@dataclass(frozen=True, kw_only=True, repr=False)
class Experiment(Options):
    """The options of one training run, as they are given; ``None`` stands for the recipe, else for a default.

    Example:
        >>> from gamlp_admm.experiment import Experiment
        >>> Experiment(dataset="karate", layers=3)
        Experiment(dataset='karate', layers=3)
        >>> used = Experiment(dataset="karate", layers=3, nu=0.1).resolve()
        >>> used.rho, used.mu, used.trainer
        (0.1, 0.01, PdADMMG(rho=0.1, nu=0.1, mu=0.01, codec='fp32'))
    """

    def resolve(self) -> Resolved:
        """Return the options as they are used.

        Raises:
            InputError: An option is wrong or does not apply.
        """
        return _resolve(self)


@dataclass(frozen=True, kw_only=True, repr=False)
class Resolved(Options):
    """The options of one training run, as they are used; ``None`` where an option does not apply.

    Made by :meth:`Experiment.resolve`. No default is applied after it.
    """

    def resolve(self: R) -> R:
        """Return these options: they are resolved."""
        return self

    @cached_property
    def trainer(self) -> Trainer:
        """The trainer with these settings."""
        return registry.trainer(self.algorithm, **_arguments(self.values()))

    @cached_property
    def _features(self) -> Transform:
        return features.transform(self, self.torch_dtype)

    def settled(self: R, kind: str) -> R:
        """Return the options with the risk that suits the data's targets, where it was left open, and the metric.

        Args:
            kind: What the targets are (:func:`gamlp_admm.datasets.targets.target_kind`).

        Raises:
            InputError: What is asked for does not go with such targets.
        """
        if kind != "classes" and self.correct_and_smooth:
            raise InputError(f"correct_and_smooth is for one class a node; {self.dataset} has {KINDS[kind]}")
        made = self.changed({"loss": self.loss or SUITED[kind], "metric": metric_of(self.metric, kind).name})
        if made.loss == self.trainer.loss:  # what was made of these options serves
            made.__dict__.update(trainer=self.trainer, _features=self._features)
        return made

    def transform(self, num_classes: int | None = None) -> Callable[[Any], Any]:
        """Return the transform that makes the model's features.

        Args:
            num_classes: Classes of the data set; ``None`` for those that training nodes have.
        """
        return features.with_labels(self._features, self, num_classes)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type of the weights and features."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    @property
    def stages(self) -> tuple[int, ...] | None:
        """The depths of the stages of growth; ``None`` where the network is trained at full depth."""
        return None if isinstance(self.grow, str) else self.grow


def check_kind(experiment: object) -> None:
    """Check that something is an experiment.

    Raises:
        InputError: It is a name, say.
    """
    if not isinstance(experiment, Experiment | Resolved):
        what, allowed = type(experiment).__name__, "an Experiment, such as Experiment(dataset='cora')"
        raise InputError(f"the experiment is a {what}; allowed: {allowed}")


described(Experiment)
described(Resolved)


def _resolve(experiment: Experiment) -> Resolved:
    plain = {f.name: f.default for f in fields(Experiment)}  # which stands for None where it is no recipe's to set
    values = {name: plain.get(name) if value is None else value for name, value in experiment.values().items()}
    given = {name: declared()[name].check(value) for name, value in values.items() if value is not None}
    _check(given)
    given |= _named(given)
    recipe = _recipe(given)
    defaults = {name: each.option.default for name, each in declared().items()}
    values = {**defaults, **recipe, **given, **features.of_store(given)}
    values |= _left_open(values, given, recipe)
    values |= _depths(values, given)
    values |= features.resolved(values, given)
    values |= _settings(values)
    values |= {"device": _device(given)}
    used = Resolved.of(values)
    # What is wrong with them is said now, before data are loaded; both serve the run.
    _ = used.trainer, used._features
    return used


def _check(given: Mapping[str, Any]) -> None:
    if given["split"] != USUAL and given["split"].partition(":")[0] not in CAME:
        check_rule(given["split"])
        if "split_index" in given:
            raise InputError(f"split_index does not apply to the split {given['split']}, which is drawn")
    if "memory" in given:
        byte_count("memory", given["memory"])
    processes, shards = given["processes"], given["node_shards"]
    if processes > 1 and not registry.is_admm(given["algorithm"]):
        raise InputError(f"processes {processes}: {given['algorithm']} runs in one process")
    if processes % shards:
        raise InputError(f"node_shards {shards} does not divide the number of processes, {processes}")
    if not 0 < given["timeout"] <= MOST_SECONDS:
        raise InputError(f"timeout must be a positive number of seconds up to {MOST_SECONDS:g}, not {given['timeout']}")
    if given["device"] == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': torch finds no CUDA device here; allowed: auto, cpu")
    if (given["resume"] or "checkpoint_every" in given) and "checkpoint" not in given:
        raise InputError("resume and checkpoint_every need checkpoint, a directory")
    if given["resume"] and given["overwrite"]:
        raise InputError("resume and overwrite exclude each other; give one of them")


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a graph of one's own is called: as its file."""
    path, dataset, usual = given.get("data"), given["dataset"], declared()["dataset"].option.default
    if path is None:
        for name in ("label", "features", "id"):
            if name in given:
                raise InputError(f"{name} {given[name]!r} is of a graph of one's own, and needs data, a file or folder")
        if given["split"].partition(":")[0] in CAME:
            raise InputError(f"split {given['split']!r} is for a graph of one's own; allowed: usual, 60/20/20 and such")
        return {}
    name = dataset if path == IN_MEMORY else Path(os.path.abspath(os.path.expanduser(path))).name
    if dataset not in (usual, name):
        raise InputError(f"dataset {dataset!r} and data {path!r} exclude each other; give one of them")
    return {"dataset": name}


def _left_open(values: Mapping[str, Any], given: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the start, the patience, and whether data decide on features and width: ``auto`` all or none."""
    algorithm = values["algorithm"]
    init = values["init"] or ("ridge" if registry.is_admm(algorithm) else "kaiming")
    said = {*given, *recipe} & {*names_where(group=FEATURES), "scale", "hidden"}
    chooses = values["auto"] == "all" and not said and init == "ridge" and algorithm in TUNED_FOR
    patience = (10 if chooses else 0) if values["patience"] is None else values["patience"]
    return {"init": init, "auto": "all" if chooses else "none", "patience": patience}


def _recipe(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what applies of the data set's recipe."""
    dataset = given["dataset"]
    if "recipe" in given:
        recipe = read_recipe(given["recipe"])
    elif "data" in given or given["split"] != USUAL or dataset.startswith("pyg:"):
        recipe = {}
    else:
        recipe = checked(dataset_info(dataset).recipe, f"recipe of {dataset}")
    allowed = recipe_names() if given["algorithm"] in TUNED_FOR else recipe_names(ANY)
    dropped: set[str] = set()
    if given.get("operator", recipe.get("operator")) != recipe.get("operator"):
        dropped |= {"hops", "alpha", "t"}
    if given.keys() & {"rho", "nu", "scale"}:
        dropped |= {"rho", "nu", "mu"}
    if "layers" in given:
        dropped |= {"grow"}
    at_once = {"codec", "anderson"} & given.keys() or given.get("staleness")
    if "batch_size" not in registry.taken_by(given["algorithm"]) or at_once:
        dropped |= {"batch_size"}  # these see all rows at once
    return {name: value for name, value in recipe.items() if name in allowed - dropped}


def _depths(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the number of layers, and the depths of the stages of growth or ``none``."""
    if depth := registry.trainer_class(values["algorithm"]).depth:
        for name, only in (("layers", depth), ("grow", "none")):
            if given.get(name, only) not in (only, "auto"):
                raise InputError(f"{name} {given[name]}: {values['algorithm']} trains networks of {depth} layer alone")
        return {"layers": depth, "grow": "none"}
    layers, grow = values["layers"], growth_depths(values["grow"])
    if "grow" in given and grow and "layers" not in given:
        layers = grow[-1]
    if values["grow"] == "auto" and values["init"] != "ridge" and registry.is_admm(values["algorithm"]):
        stages = depths("auto", layers)
    else:
        stages = depths(grow, layers)
    return {"layers": layers, "grow": tuple(stages) if len(stages) > 1 else "none"}


def growth_depths(grow: str | tuple[int, ...]) -> tuple[int, ...]:
    """Return the depths that ``grow`` lists; none for ``auto`` and ``none``.

    Raises:
        InputError: It does not list depths.
    """
    if grow in ("auto", "none"):
        return ()
    try:
        listed = tuple(int(d) for d in (grow.split(",") if isinstance(grow, str) else grow))
    except ValueError:
        raise InputError(f"grow {grow!r}: allowed: auto, none, or rising depths such as 2,5,10") from None
    return tuple(declared()["layers"].check(depth) if depth > MOST_LAYERS else depth for depth in listed)


def _device(given: Mapping[str, Any]) -> str:
    """Return the device; ``auto`` is CUDA where there is one for each of the run's processes on this machine."""
    if given["device"] != "auto":
        return str(given["device"])
    here = torchrun.local_world_size() if torchrun.is_worker() else given["processes"]
    return "cuda" if here is not None and torch.cuda.is_available() and here <= torch.cuda.device_count() else "cpu"


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the trainer as they are used, ``None`` for those that it does not take."""
    used = registry.defaults(values["algorithm"], _arguments(values))
    used = {name: used.get(name) for name in names_where(setting=True)}
    if used["codec"] == "full":
        used["codec"] = {"float32": "fp32", "float64": "fp64"}[values["dtype"]]
    return used


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the trainer among options; those that are ``None`` have the trainer's default."""
    arguments = {name: values[name] for name in (*names_where(setting=True), "loss", "class_weight")}
    if arguments["class_weight"] == "none":
        arguments["class_weight"] = None
    return {name: value for name, value in arguments.items() if value is not None}

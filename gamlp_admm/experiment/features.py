"""What features a model takes: the options that decide it, and the transform that makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gamlp_admm.datasets.ogb_figures import ogb_names
from gamlp_admm.datasets.stored import ONE_S_OWN, refuse, store_at
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment.declaration import FEATURES
from gamlp_admm.experiment.options import Options, names_where
from gamlp_admm.propagation import OPERATORS
from gamlp_admm.transforms import AugmentFeatures, AugmentLabels, CombineFeatures, ScaleComponents
from gamlp_admm.transforms.recipe import Transform, chain, fit_features, steps_of
from gamlp_admm.transforms.wanted import MASKS

OF_OPERATOR = ("hops", "alpha", "t")
"""Options that belong to an operator."""


NEED_GRAPH = ("operator", *OF_OPERATOR, "normalize_features", "label_operator", "correct_and_smooth")
"""Options that take a graph, or features that were not propagated yet."""


def augmentation() -> tuple[str, ...]:
    """Return the names of the options that decide what features the model takes."""
    return tuple(name for name in names_where(group=FEATURES) if name != "correct_and_smooth")


def taken_by(operator: str) -> set[str]:
    """Return what of :data:`OF_OPERATOR` an operator takes."""
    return set() if operator == "none" else {"hops", OPERATORS[operator].parameter or "hops"}


def resolved(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the features as used, ``None`` where the operator does not take them.

    Args:
        values: All options, with defaults and recipe.
        given: Those that the user gave.

    Raises:
        InputError: An option is wrong or does not apply.
    """
    scaled = None if not values["component_power"] else values["components"]
    return {"components": scaled} | _operator(values, given) | _labels(values, given)


def _operator(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    operator = values["operator"]
    if "/" in operator:
        said = (*OF_OPERATOR, "normalize_features")
        for name in said:
            if name in given:
                raise InputError(f"{name} does not apply to operator {operator}, which says it itself")
        return dict.fromkeys(said)
    if operator not in (*OPERATORS, "none"):
        raise unknown("operator", operator, (*OPERATORS, "none"))
    taken = taken_by(operator)
    for name in OF_OPERATOR:
        if name in given and name not in taken:
            takers = [other for other in OPERATORS if name in taken_by(other)]
            raise InputError(f"{name} does not apply to operator {operator}; it is for {', '.join(takers)}")
    used = {name: values[name] if name in taken else None for name in OF_OPERATOR}
    if "hops" in taken and used["hops"] is None:
        used["hops"] = OPERATORS[operator].hops
    return used


def _labels(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    operator = values["label_operator"]
    if operator not in (*OPERATORS, "none"):
        raise unknown("label operator", operator, (*OPERATORS, "none"))
    names = ("label_hops", "label_scale")
    if operator == "none":
        for name in names:
            if name in given:
                raise InputError(f"{name} does not apply without label_operator")
        return dict.fromkeys(names)
    hops = OPERATORS[operator].hops if values["label_hops"] is None else values["label_hops"]
    return {"label_hops": hops, "label_scale": values["label_scale"]}


def of_store(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that follow where the data are stored features: they are not propagated.

    Args:
        given: The options that the user gave.

    Raises:
        InputError: One of them does not apply to stored features.
    """
    if (path := store_at(given.get("data"))) is None:
        return {}
    asked = {name: value for name, value in given.items() if value not in ("none", False)}
    refuse(path, asked, (*ONE_S_OWN, *NEED_GRAPH))
    return {"operator": "none", "label_operator": "none"}


def transform(used: Options, dtype: torch.dtype) -> Transform:
    """Return the transform that propagates features and scales them; :func:`with_labels` adds labels.

    Args:
        used: Options, resolved.
        dtype: Type of the features.
    """
    first, then = propagation(used, dtype), scaling(used)
    return first if then is None else chain(first, then)


def scaling(used: Options) -> Transform | None:
    """Return what is done to propagated features before labels are added; ``None`` where nothing is."""
    if not used.component_power and not used.unit_rows:
        return None
    kept = {} if used.components is None else {"components": used.components}
    return ScaleComponents(used.component_power, unit_rows=used.unit_rows, **kept)


def propagation(used: Options, dtype: torch.dtype) -> Transform:
    """Return the transform that propagates features, of stored ones none; arguments as :func:`transform`."""
    if store_at(used.data):
        return chain()
    if "/" in used.operator:
        return CombineFeatures.parse(used.operator, dtype)
    normalize = bool(used.normalize_features)
    if used.operator == "none":
        return AugmentFeatures(0, normalize_features=normalize, dtype=dtype)
    options = {name: value for name in OF_OPERATOR if (value := getattr(used, name)) is not None}
    return AugmentFeatures(operator=used.operator, normalize_features=normalize, dtype=dtype, **options)


FEW, MANY = 2, 2**26
"""Nodes for each of the split, and numbers of all features, 256 MiB, from which on the split's are made alone."""


def propagated(used: Options, made: Transform, data: Any, split_only: bool = False) -> Any:
    """Return a data set with propagated features.

    Args:
        used: Options, resolved.
        made: What propagates them, from :func:`propagation`.
        data: The data set as it was loaded.
        split_only: Whether nodes that are in no part of the split may be left out. They are where that saves much, and
            the result has ``whole`` then (:meth:`AugmentFeatures.of_split`); the bits are the same.
    """
    if split_only and isinstance(made, AugmentFeatures) and made.states != (0,) and not used.correct_and_smooth:
        x, masks = data.x, [data.get(name) for name in MASKS]
        known = all(isinstance(mask, torch.Tensor) and mask.dim() == 1 for mask in masks)
        large = x.layout is torch.strided and x.numel() * len(made.states) > MANY
        if (
            known
            and large
            and used.dataset not in ogb_names()
            and sum(int(mask.sum()) for mask in masks) * FEW <= len(x)
        ):
            return made.of_split(data)
    return made(data)


def fitted(used: Any, data: Any, num_classes: int, split_only: bool = False) -> tuple[Transform, Any]:
    """Return the transform that makes a model's features, fitted, and the data set with them; arguments as above."""
    made = used.transform(num_classes)
    kinds = [type(step) for step in steps_of(made)]
    if kinds not in ([AugmentFeatures], [AugmentFeatures, AugmentLabels]):
        return fit_features(made, data)  # what scales them measures all nodes
    first, *rest = steps_of(made)
    after, data = fit_features(chain(*rest), propagated(used, first, data, split_only))
    return chain(first, after), data


def with_labels(features: Transform | None, used: Options, num_classes: int | None) -> Transform:
    """Return a transform that appends training labels to features, where options ask for it.

    Args:
        features: The transform that makes the features; ``None`` where they are there.
        used: Options, resolved.
        num_classes: Classes of the data set; ``None`` for those that training nodes have.
    """
    operator, steps = used.label_operator, [] if features is None else [features]
    if operator == "none":
        return chain(*steps)
    parameter = OPERATORS[operator].parameter
    shared = {parameter: getattr(used, parameter)} if parameter and operator == used.operator else {}
    assert used.label_scale is not None
    labels = AugmentLabels(used.label_hops, operator, scale=used.label_scale, num_classes=num_classes, **shared)
    return chain(*steps, labels)

"""What features a model takes: the options that decide it, and the transform that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch_geometric.transforms import Compose

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.transforms.augment_features import OPERATORS, AugmentFeatures
from gamlp_admm.transforms.augment_labels import AugmentLabels
from gamlp_admm.transforms.combine_features import CombineFeatures
from gamlp_admm.transforms.scale_components import ScaleComponents

FEATURES = ("operator", "hops", "alpha", "t", "normalize_features")
COMPONENTS = ("component_power", "components", "unit_rows")
LABELS = ("label_operator", "label_hops", "label_scale")
AUGMENTATION = (*FEATURES, *COMPONENTS, *LABELS)
"""Options of :class:`gamlp_admm.experiment.Experiment` that decide what features the model takes."""

TAKERS = {"hops": OPERATORS, "alpha": ("ppr",), "t": ("heat",)}
"""The operators that take an option."""


def resolved(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the features as used, ``None`` where the operator does not take them.

    Args:
        values: All options, with defaults and recipe.
        given: Those that the user gave.

    Raises:
        InputError: An option is wrong or does not apply.
    """
    operator, labels = values["operator"], values["label_operator"]
    if labels not in (*OPERATORS, "none"):
        raise unknown("label operator", labels, (*OPERATORS, "none"))
    for name in LABELS[1:]:
        if labels == "none" and name in given:
            raise InputError(f"{name} does not apply without label_operator")
    scaling = _scaling(values)
    components = {"components": scaling.components if scaling and scaling.power else None}
    if "/" in operator:
        said = (*TAKERS, "normalize_features")
        for name in {*said} & given.keys():
            raise InputError(f"{name} does not apply to operator {operator}, which says it itself")
        CombineFeatures.parse(operator)
        return dict.fromkeys(said) | components
    if operator not in (*OPERATORS, "none"):
        raise unknown("operator", operator, (*OPERATORS, "none"))
    taken = [name for name, operators in TAKERS.items() if operator in operators]
    for name in TAKERS.keys() & given.keys() - {*taken}:
        raise InputError(f"{name} does not apply to operator {operator}; it is for {', '.join(TAKERS[name])}")
    if operator == "none":
        return dict.fromkeys(TAKERS) | components
    used = AugmentFeatures(operator=operator, **{name: values[name] for name in taken if name in values})
    return {name: getattr(used, name) if name in taken else None for name in TAKERS} | components


def transform(options: Mapping[str, Any], num_classes: int | None, dtype: torch.dtype) -> Callable[[Any], Any]:
    """Return the transform that makes the features.

    Args:
        options: Those of :data:`AUGMENTATION`, resolved.
        num_classes: Classes of the data set; ``None`` for those that training nodes have.
        dtype: Type of the features.
    """
    made: list[Callable[[Any], Any]] = [_features(options, dtype)]
    if scaling := _scaling(options):
        made.append(scaling)
    if options["label_operator"] not in (None, "none"):
        made.append(_labels(options, num_classes))
    composed: Callable[[Any], Any] = Compose(made)
    return composed


def _labels(options: Mapping[str, Any], num_classes: int | None) -> AugmentLabels:
    operator, labels = options["operator"], options["label_operator"]
    shared = {name: options[name] for name in ("alpha", "t") if labels == operator and options[name] is not None}
    own = {name: options[f"label_{name}"] for name in ("hops", "scale") if options[f"label_{name}"] is not None}
    return AugmentLabels(operator=labels, **shared, **own, num_classes=num_classes)


def _scaling(options: Mapping[str, Any]) -> ScaleComponents | None:
    power, unit_rows = options["component_power"], options["unit_rows"]
    if not power and not unit_rows:
        return None
    kept = {} if options.get("components") is None else {"components": options["components"]}
    return ScaleComponents(power or 0.0, unit_rows=bool(unit_rows), **kept)


def _features(options: Mapping[str, Any], dtype: torch.dtype) -> AugmentFeatures | CombineFeatures:
    operator = options["operator"]
    if "/" in operator:
        return CombineFeatures.parse(operator, dtype)
    given = {name: options[name] for name in FEATURES if options[name] is not None}
    if operator == "none":
        given |= {"operator": "sym", "hops": 0}
    return AugmentFeatures(**given, dtype=dtype)

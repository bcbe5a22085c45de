"""What a model's transforms still have to do with features that some of them made already."""

from __future__ import annotations

import json

from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.propagation import StoredFeatures
from gamlp_admm.transforms.feature_transform import FeatureTransform
from gamlp_admm.transforms.recipe import Transform, chain, from_recipe, input_columns, steps_of
from gamlp_admm.transforms.scale_components import ScaleComponents


def beyond(features: Transform, width: int, store: StoredFeatures, what: str, model: str) -> Transform:
    """Return what is left of a chain of transforms when its first steps made stored features.

    Args:
        features: The chain.
        width: Columns that it makes in all.
        store: The stored features.
        what: What messages call them.
        model: What messages call the model that takes what the chain makes.

    Raises:
        InputError: They were made by others, or what is left needs their graph.
    """
    steps = steps_of(features)
    made = steps_of(from_recipe(store.recipe, store.x.shape[1])) if store.recipe else []
    rest = steps[len(made) :]
    same = len(steps) >= len(made) and all(map(_same, made, steps))
    if not same or not all(isinstance(step, ScaleComponents) for step in rest):
        said = ", then ".join(map(repr, made)) or "no transform that is known"
        wanted = ", then ".join(map(repr, steps)) or "features as they are"
        raise InputError(f"{what} has stored features of {said}; {model} takes {wanted}")
    if (columns := input_columns(chain(*rest), width)) != store.x.shape[1]:
        raise InputError(f"{what} has {store.x.shape[1]} stored features a node; {model} takes {columns}")
    return chain(*rest)


NEAR = 5e-3
"""How far spreads may differ that were measured in types of different digits, as a share."""


def _same(a: FeatureTransform, b: FeatureTransform) -> bool:
    """Tell whether transforms make the same, whatever the type of what they make."""
    return _compared(a) == _compared(b) and all(
        isinstance(y := (b.fitted or {}).get(name), Tensor) and x.double().allclose(y.double().cpu(), rtol=NEAR)
        for name, x in (a.fitted or {}).items()
    )


def _compared(step: FeatureTransform) -> str:
    parts = [_compared(part) for part in getattr(step, "parts", ())]
    told = {**step.recipe(), "dtype": None, "keep_original": False, "fitted": None, "parts": parts}
    return json.dumps(told, sort_keys=True, default=str)

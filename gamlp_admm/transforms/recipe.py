"""Chains of transforms: fitted to a graph, and read back from what a model's file says of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch_geometric.transforms import Compose

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.transforms.augment_features import AugmentFeatures
from gamlp_admm.transforms.augment_labels import AugmentLabels
from gamlp_admm.transforms.combine_features import CombineFeatures
from gamlp_admm.transforms.feature_transform import FeatureTransform
from gamlp_admm.transforms.scale_components import ScaleComponents

Transform: TypeAlias = Callable[[Any], Any]

KINDS: dict[str, type[FeatureTransform]] = {
    kind.__name__: kind for kind in (AugmentFeatures, AugmentLabels, CombineFeatures, ScaleComponents)
}
"""What files keep."""

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in FLOATS}
UNSAID: dict[str, tuple[type, ...]] = {"num_classes": (int,), "folds": (int,), "weight_attr": (str,), "dtype": (str,)}
"""Types of the parameters whose default is ``None``, but for ``hops``, which its transform checks."""


def steps_of(transform: Transform) -> list[Any]:
    """Return the steps of a chain; of anything else itself."""
    if not isinstance(transform, Compose):
        return [transform]
    return [step for each in transform.transforms for step in steps_of(each)]


def chain(*transforms: Transform) -> Transform:
    """Return transforms one after another, chains among them as their steps: PyG's ``Compose``."""
    made: Transform = Compose([step for each in transforms for step in steps_of(each)])
    return made


def fit_features(transform: Transform, data: Any) -> tuple[Transform, Any]:
    """Fit a chain of transforms to a graph.

    Applied to another graph, :class:`ScaleComponents` and :class:`CombineFeatures` measure that graph anew, and its
    features are then not in the units, or not along the components, that a model was trained on. The chain returned
    keeps the mean, the components and the spreads of this graph, and for :class:`AugmentLabels` the number of classes.

    Args:
        transform: One of this package's transforms, or several in a :class:`torch_geometric.transforms.Compose`.
        data: The graph that a model is to be trained on; not modified.

    Returns:
        The chain, fitted, and the graph transformed, the same bits as ``transform(data)``.

    Example:
        >>> import io
        >>> import torch_geometric.transforms as T
        >>> from gamlp_admm import GAMLP, AugmentFeatures, load_dataset
        >>> from gamlp_admm.transforms import ScaleComponents, fit_features
        >>> graph = load_dataset("karate").data
        >>> features, data = fit_features(T.Compose([AugmentFeatures(10, "ppr"), ScaleComponents(0.5)]), graph)
        >>> GAMLP(data.num_features, 8, 4, num_layers=2).save(io.BytesIO(), features=features)  # or a file's name
    """
    fitted = []
    for step in steps_of(transform):
        if isinstance(step, FeatureTransform):
            step, data = step.fit(data)
        else:
            data = step(data)
        fitted.append(step)
    return chain(*fitted), data


def input_columns(transform: Transform, num_columns: int) -> int | None:
    """Return how many features of a node a chain makes some columns of; ``None`` where it never makes as many.

    Args:
        transform: One or a chain of this package's transforms.
        num_columns: Columns of its output.
    """
    none, one = (_columns(steps_of(transform), width) for width in (0, 1))  # all are affine
    width, rest = divmod(num_columns - none, one - none)
    return width if width > 0 and not rest else None


def _columns(steps: list[Any], width: int) -> int:
    for step in steps:
        width = step.columns(width)
    return width


def from_recipe(recipe: Any, num_columns: int) -> Transform:
    """Return the chain that a recipe stands for (:meth:`FeatureTransform.recipe`), checked before anything is made.

    Args:
        recipe: JSON values and tensors, which may be anything.
        num_columns: Columns that the chain must make, those of a model's input.

    Raises:
        InputError: It is no recipe, or one of other columns.

    Example:
        >>> from gamlp_admm import AugmentFeatures
        >>> from gamlp_admm.transforms import from_recipe
        >>> from_recipe([AugmentFeatures(2).recipe()], num_columns=3 * 34)
        Compose([
          AugmentFeatures(hops=2, operator='sym')
        ])
    """
    try:
        steps = [_step(each) for each in _flat(recipe)]
        features = chain(*steps)
        width = input_columns(features, num_columns)
        if width is None:
            raise InputError(f"its transforms never make {num_columns} columns, which the model takes")
        for step in steps:
            _check_fitted(step, width)
            width = step.columns(width)
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"its features are not usable ({error})") from None
    return features


def _flat(recipe: Any) -> list[Any]:
    return [step for each in recipe for step in _flat(each)] if isinstance(recipe, list) else [recipe]


def _step(recipe: Any) -> FeatureTransform:
    if not isinstance(recipe, Mapping):
        raise InputError(f"a transform must be a table, not {type(recipe).__name__}")
    options = {**recipe}
    name, fitted = options.pop("transform", None), options.pop("fitted", None)
    if name not in KINDS:
        raise unknown("transform", name, KINDS)
    known = inspect.signature(KINDS[name]).parameters
    for option, value in options.items():
        if option not in known:
            raise unknown(f"option of {name}", option, known)
        _check_type(option, value, known[option].default)
    if name == CombineFeatures.__name__:
        options["parts"] = [_part(part) for part in options.get("parts", ())]
        if isinstance(fitted, Mapping) and isinstance(spread := fitted.get("spread"), list):  # of a directory's JSON
            fitted = {**fitted, "spread": torch.tensor(spread, dtype=torch.float64)}
    if options.get("dtype") is not None:
        if options["dtype"] not in DTYPES:
            raise unknown("dtype", options["dtype"], DTYPES)
        options["dtype"] = DTYPES[options["dtype"]]
    made = KINDS[name](**options)
    made.fitted = fitted
    return made


def _part(recipe: Any) -> AugmentFeatures:
    part = _step(recipe)
    if not isinstance(part, AugmentFeatures):
        raise InputError(f"CombineFeatures takes AugmentFeatures, not {type(part).__name__}")
    return part


def _check_type(name: str, value: Any, default: Any) -> None:
    if name == "hops" or (value is None and default is None) or default is inspect.Parameter.empty:
        return
    kinds = UNSAID.get(name, (int, float) if isinstance(default, float) else (type(default),))
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InputError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, not {value!r}")


def _check_fitted(step: FeatureTransform, num_features: int) -> None:
    """Check that a transform has what it was fitted to, in the right shapes, and that these are numbers."""
    name, wanted, found = type(step).__name__, step.fitted_shapes(num_features), step.fitted or {}
    if not isinstance(found, Mapping) or found.keys() != wanted.keys():
        raise InputError(f"{name} was fitted to {[*found]}; needed: {[*wanted]}")
    sizes: set[int] = set()
    for key, shape in wanted.items():
        tensor = found[key]
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.dim() != len(shape):
            raise InputError(f"{key} of {name} is no tensor of real numbers in {len(shape)} dimensions")
        free = {size for size, fixed in zip(tensor.shape, shape, strict=True) if fixed is None}
        sizes |= free
        if any(fixed not in (None, size) for size, fixed in zip(tensor.shape, shape, strict=True)):
            raise InputError(f"{key} of {name} has shape {[*tensor.shape]}, not {[*shape]}")
        if not tensor.isfinite().all():
            raise InputError(f"{key} of {name} has NaN or infinite values")
    if len(sizes) > 1:
        raise InputError(f"{name} has different numbers of components: {sorted(sizes)}")

"""Labels of nodes as numbers from 0 on, and the names of the classes that these numbers stand for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamlp_admm.datasets.tables import WHOLE
from gamlp_admm.errors import InputError, InputWarning

MANY = 20
"""Classes from which on one that each node has for itself is no class."""


def numbered(y: Any, classes: Sequence[str] | int | None = None) -> tuple[Tensor, list[str] | None]:
    """Return labels as numbers, -1 where they are not known, and the names of the classes where they have some.

    Args:
        y: Numbers, as a tensor or an array, which stay as they are; or texts and other values, ``None``, NaN and empty
            where they are not known. Where all of these are whole numbers, negative ones are not known, either.
        classes: Names of the classes, or their number, of a model that is there already: other labels are not known.

    Raises:
        InputError: Every node has a class of its own.
    """
    names = _names(classes)
    if not hasattr(y, "__iter__") or isinstance(y, str):
        raise InputError(f"labels must be one a node, [N], not {y!r}")
    if isinstance(y, Tensor) or (isinstance(y, np.ndarray) and y.dtype.kind in "iufb"):
        return torch.as_tensor(y), names
    texts = [None if value is None or value != value or value == "" else str(value).strip() for value in y]
    given = [text for text in texts if text is not None]
    if whole := all(WHOLE.fullmatch(text) for text in given):
        texts = [_whole(text) for text in texts]
    elif classes is None and all(_is_number(text) for text in given) and any(float(text) % 1 for text in given):
        return torch.tensor([float("nan") if text is None else float(text) for text in texts]), None
    found = {text for text in texts if text is not None}
    if isinstance(classes, int):
        numbers = {text: int(text) for text in found if whole and int(text) < classes}
    else:
        ordered = sorted(found, key=_natural) if names is None else names
        numbers, names = {name: i for i, name in enumerate(ordered)}, ordered
    if classes is None and len(found) == len(given) > MANY:
        raise InputError("each node has a label of its own; label must name the column of the classes")
    if other := sorted(found - numbers.keys()):
        message = f"{len(other)} classes of the graph, such as {other[0]!r}, are none of the model's"
        warnings.warn(f"{message}; they count as not known", InputWarning, stacklevel=4)
    return torch.tensor([numbers.get(text, -1) if text is not None else -1 for text in texts]), names


def _names(classes: Any) -> list[str] | None:
    if classes is None or (isinstance(classes, int) and classes > 0):
        return None
    if isinstance(classes, str | int) or not all(isinstance(name, str) for name in classes):
        raise InputError(f"classes {classes!r}: allowed: a list of names, or a number from 1 on")
    return list(classes)


def _whole(text: str | None) -> str | None:
    if text is None or (found := WHOLE.fullmatch(text)) is None:
        return None
    return None if found[1].startswith("-") else found[1]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _natural(name: str) -> tuple[int, float, str]:
    return (0, float(name), name) if _is_number(name) else (1, 0.0, name)

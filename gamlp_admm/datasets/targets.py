"""What is known of nodes to learn from: one class, several labels, or real values; and of which nodes it is known."""

from __future__ import annotations

import torch
from torch import Tensor

from gamlp_admm.errors import InputError

KINDS = ("classes", "labels", "values")
"""What there can be of a node: its class, which labels it has, or real values."""


def target_kind(y: Tensor) -> str:
    """Return what targets are: ``classes``, one a node; ``labels``, several a node, yes or no; or real ``values``.

    Args:
        y: Classes [N], as :func:`known_labels` returns them; labels [N, T], 0 or 1, negative or NaN where not known;
            other numbers are values, and floats [N] too.
    """
    if not has_many_labels(y):
        return "values" if y.is_floating_point() else "classes"
    return "labels" if bool(((y == 0) | (y == 1) | (y == -1) | y.isnan()).all()) else "values"


def has_many_labels(y: Tensor) -> bool:
    """Return whether labels are several a node, each yes or no: ``[N, T]`` with T > 1."""
    return y.dim() == 2 and y.shape[1] > 1


def known_labels(y: Tensor, classes: int | None = None) -> Tensor:
    """Return the classes of the nodes, [N] int64, -1 where it is not known: negative, NaN, infinite or too large.

    Args:
        y: One label a node, integers or whole numbers, of N elements.
        classes: The number of classes; None if no label is too large.

    Raises:
        InputError: A label is a fraction.
    """
    flat = y.reshape(-1)
    known = flat >= 0  # NaN is not
    if flat.is_floating_point():
        known &= flat.isfinite()
        if (flat[known] != flat[known].round()).any():
            raise InputError("data.y has fractions; allowed: one class a node, integers, NaN where it is not known")
    if classes is not None:
        known &= flat < classes
    labels = torch.full(flat.shape, -1, dtype=torch.long, device=flat.device)
    labels[known] = flat[known].long()
    return labels


def known_targets(y: Tensor, classes: int | None = None) -> Tensor:
    """Return targets as training takes them: classes as :func:`known_labels` does, labels or real values as floats.

    Args:
        y: One label a node, of N elements; or labels or values [N, T]. Labels are 0 or 1, NaN or -1 where not known.
            Fractions make values of numbers.
        classes: The number of classes where there are some.
    """
    if has_many_labels(y):
        y = y if y.is_floating_point() else y.float()
        unknown = (y == -1) & (target_kind(y) == "labels")
        return torch.where(unknown, torch.nan, y) if unknown.any() else y
    flat = y.reshape(-1)
    fractions = flat.is_floating_point() and classes is None and bool((flat.isfinite() & (flat != flat.round())).any())
    return flat if fractions else known_labels(y, classes)


def known_rows(y: Tensor, classes: int | None = None) -> Tensor:
    """Return what splits need of targets, ``[N]``: the classes; of others 0 where they are known, else -1.

    Of labels one that is known is enough. Arguments are those of :func:`known_targets`.
    """
    y = known_targets(y, classes)
    if (kind := target_kind(y)) == "classes":
        return y
    known = y.reshape(len(y), -1).isfinite()
    return (known.any(1) if kind == "labels" else known.all(1)).long() - 1

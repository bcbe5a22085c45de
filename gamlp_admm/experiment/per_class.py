"""How well a model tells one class from another: precision, recall and F1 of each class, and the confusion matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gamlp_admm.nn import GAMLP
from gamlp_admm.training.rows import features

MOST_CLASSES = 50
"""Of more classes no confusion matrix is reported: it grows with their square, and nobody reads it."""

CHUNK = 65536  # rows of one forward pass


@torch.no_grad()
def per_class(model: GAMLP, data: Any) -> dict[str, Any]:
    """Return what a report says of single classes, on validation and on test nodes whose class is known.

    Args:
        model: The trained model, ``C`` outputs.
        data: PyG ``Data``; its ``class_names``, where it has them, name the classes, which are numbers otherwise.

    Returns:
        ``per_class``: by split, a row a class with its name, its number of ``nodes``, and ``precision``, ``recall``
        and ``f1`` (``None`` where there is nothing to divide by). ``confusion``: the names of the classes, and by
        split the counts, a row a true class and a column a predicted one; left out above :data:`MOST_CLASSES`.
        Nothing where a node has several labels, or a number to regress.
    """
    y = data.y
    if y.ndim != 1 or y.is_floating_point() or y.is_complex():
        return {}
    count = model.config["out_channels"]
    given = data.get("class_names") or ()
    names = [str(name) for name in (given if len(given) == count else range(count))]
    counts = {split: _confusion(model, data, data[f"{split}_mask"] & (y >= 0), count) for split in ("val", "test")}
    rows = {split: _scores(names, confusion) for split, confusion in counts.items()}
    if count > MOST_CLASSES:
        return {"per_class": rows}
    return {"per_class": rows, "confusion": {"classes": names} | {split: c.tolist() for split, c in counts.items()}}


def _confusion(model: GAMLP, data: Any, mask: Tensor, count: int) -> Tensor:
    """Return how many nodes of each class (rows) are taken for each (columns), ``[C, C]``."""
    x, like = features(data), next(model.parameters())
    nodes = mask.nonzero()[:, 0]
    predicted = [model(x[part.to(x.device)].to(like)).argmax(-1).to(nodes.device) for part in torch.split(nodes, CHUNK)]
    pairs = data.y[nodes] * count + torch.cat([nodes[:0], *predicted])
    return torch.bincount(pairs, minlength=count * count).reshape(count, count)


def _scores(names: list[str], confusion: Tensor) -> list[dict[str, Any]]:
    hits, true, taken = confusion.diagonal().tolist(), confusion.sum(1).tolist(), confusion.sum(0).tolist()
    return [
        {"class": name, "nodes": t, "precision": _ratio(h, p), "recall": _ratio(h, t), "f1": _ratio(2 * h, t + p)}
        for name, h, t, p in zip(names, hits, true, taken, strict=True)
    ]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None

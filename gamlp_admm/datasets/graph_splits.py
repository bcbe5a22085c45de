"""How the nodes of a graph of one's own are divided: by what comes with it, else at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.datasets.splits import CAME, USUAL, default_rule, told_split, warn_of_empty
from gamlp_admm.datasets.targets import has_many_labels, known_rows, known_targets, target_kind
from gamlp_admm.errors import InputError, unknown

SHARES = "60/20/20"
"""How nodes are divided where neither the graph nor the caller says it."""

PARTS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


def set_masks(data: Data, split: Any, needed: bool = True) -> None:
    """Set masks from numbers of nodes, wherever these are: given, as OGB's dictionary, or one by one.

    Args:
        data: Receives them.
        split: What is asked for; a mapping has the numbers.
        needed: Whether what should come with the graph must.

    Raises:
        InputError: They are no numbers of nodes, or no split comes with the graph, and one is asked for.
    """
    given = split if isinstance(split, Mapping) else data.get("split_idx")
    parts = {part: data[f"{part}_idx"] for part in PARTS if f"{part}_idx" in data}
    for name, nodes in (given if isinstance(given, Mapping) else parts).items():
        if name not in PARTS:
            raise unknown("part of a split", name, list(PARTS))
        data[f"{PARTS[name]}_mask"] = _mask(name, nodes, int(data.num_nodes))
    asked = needed and isinstance(split, str) and split.partition(":")[0] in CAME
    if asked and not any(f"{part}_mask" in data for part in PARTS):
        what = "masks, nor numbers of nodes" if split == "masks" else "column that says train, val or test of a node"
        raise InputError(f"split {split!r}: the graph comes with no {what}; allowed: such as {SHARES}")


def _mask(name: str, nodes: Any, count: int) -> Tensor:
    try:
        numbers = torch.as_tensor(nodes).reshape(-1)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"the split's {name} must have numbers of nodes, not {nodes!r}") from None
    if numbers.dtype == torch.bool and len(numbers) == count:
        return numbers
    if numbers.numel() and (numbers.is_floating_point() or numbers.min() < 0 or numbers.max() >= count):
        raise InputError(f"the split's {name} must have numbers of nodes, from 0 to {count - 1}")
    mask = torch.zeros(count, dtype=torch.bool)
    mask[numbers.long()] = True
    return mask


def divided(data: Data, split: str | None, seed: int | None, classes: Any) -> tuple[str, str]:
    """Set labels and masks by a rule; return its name, and where the masks come from.

    Args:
        data: The graph; masks that came with it are set.
        split: The rule; ``None`` for what came, or for predictions nothing else.
        seed: Seed of random draws.
        classes: The classes of a model that is there.
    """
    count = count_of(data, classes)
    if classes is not None and (split is None or split.partition(":")[0] in CAME):
        data.y = known_targets(data.y, count)
        for part in ("train", "val", "test"):
            data[f"{part}_mask"] = data.get(f"{part}_mask", torch.zeros(len(data.y), dtype=torch.bool))
        return "none", "what came with the data"
    y = known_targets(data.y, count)
    data.y = known_rows(y, count)
    rule = split
    if (kind := target_kind(y)) != "classes" and split is not None and split.startswith("per-class"):
        raise InputError(f"split {split!r} needs one class a node; data.y has {kind}")
    if split is None or split == USUAL or split.partition(":")[0] in CAME:
        warn_of_empty(data, seed)
        rule = default_rule(data, seed, count)
        rule = SHARES if rule == "per-class" else rule
    assert rule is not None
    masks, text = told_split(rule, data, seed, count)
    data.y = y
    data.update({f"{part}_mask": mask for part, mask in masks._asdict().items()})
    return rule, text


def count_of(data: Data, classes: Any) -> int | None:
    """Return the number of classes, ``None`` where only the labels say it."""
    names: Sequence[str] = data.get("class_names") or ()
    if has_many_labels(data.y):
        return int(data.y.shape[1])
    return classes if isinstance(classes, int) else len(names) or None

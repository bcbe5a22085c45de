"""What is chosen on validation where neither the user nor a recipe says it: features, their units, the width.

Each candidate is judged by the start that it would have (:mod:`gamlp_admm.algorithms.start`), a matter of seconds. The
candidates are tried one after another, and one is taken only where it beats what is taken so far by more than one
standard error of the validation score: what is chosen among few by chance is not better. Test nodes are never looked
at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gamlp_admm.errors import InputError
from gamlp_admm.experiment.resolve import Resolved
from gamlp_admm.nn.gamlp import GAMLP

MEMORY = 1_250_000_000
"""Bytes of propagated features up to which another hop is taken, beyond the first."""

MOST_HOPS = 4
LABEL_HOPS = 3
PATIENCE = 10


def width(num_train: int, num_classes: int) -> int:
    """Return the neurons of a hidden layer: more for more rows, and at least four for each class."""
    return max(100, min(256, num_train // 8), 4 * num_classes)


def hops(num_nodes: int, num_features: int) -> int:
    """Return how many hops are taken: as many as fit into :data:`MEMORY`, from 1 to :data:`MOST_HOPS`."""
    return min(max(MEMORY // max(4 * num_nodes * num_features, 1) - 1, 1), MOST_HOPS)


@dataclass(frozen=True)
class Candidate:
    """Features that were tried.

    Attributes:
        changes: Options that make them.
        data: The data with them.
        score: Validation score of their start.
    """

    changes: Mapping[str, Any]
    data: Any
    score: float


@dataclass(frozen=True)
class Chosen:
    """What was chosen.

    Attributes:
        changes: Options that stand for those that were left open.
        data: The data with the features chosen.
        about: The candidates, their scores, and which were taken; JSON values.
    """

    changes: dict[str, Any]
    data: Any
    about: list[dict[str, Any]]


def choose(used: Resolved, data: Any, num_classes: int) -> Chosen:
    """Choose features, their units and the width.

    Args:
        used: The options.
        data: The data set as it was loaded.
        num_classes: Its classes.
    """
    changes: dict[str, Any] = {"hidden": width(int(data.train_mask.sum()), num_classes), "auto": "none"}
    if not bool(data.val_mask.any()):  # nothing to choose by
        return Chosen(changes, used.transform(num_classes)(data), [])
    about: list[dict[str, Any]] = []
    taken: Candidate | None = None
    for make in (_propagated, _personalised, _labels, _unit_rows, _columns):
        tried = make(used.changed(taken.changes) if taken else used, data)
        if tried is None:
            continue
        tried = {**(taken.changes if taken else {}), **tried}
        candidate = _candidate(used, tried, data, num_classes, changes["hidden"])
        better = taken is None or candidate.score > taken.score + _standard_error(taken.score, data)
        about.append({"options": dict(tried), "score": candidate.score, "taken": better})
        taken = candidate if better or taken is None else taken
    assert taken is not None
    return Chosen({**changes, **taken.changes}, taken.data, about)


def _standard_error(score: float, data: Any) -> float:
    share = min(max(score, 0.0), 1.0)
    return math.sqrt(share * (1 - share) / max(int(data.val_mask.sum()), 1))


def _candidate(used: Resolved, tried: Mapping[str, Any], data: Any, num_classes: int, hidden: int) -> Candidate:
    changed = used.changed(tried)
    made = changed.transform(num_classes)(data)
    model = GAMLP(made.num_features, hidden, num_classes, 2, activation=used.activation, init="ridge")
    try:
        opening = changed.trainer.foresee(model.to(used.torch_dtype), made, used.seed)
    except InputError:
        raise
    assert opening is not None
    return Candidate(tried, made, float(opening.about.get("score", opening.about["linear"])))


Make = Callable[[Resolved, Any], "Mapping[str, Any] | None"]
"""From the options taken so far and the data to those of a candidate; ``None`` where it makes no sense."""


def _propagated(used: Resolved, data: Any) -> Mapping[str, Any] | None:
    if not data.edge_index.numel():
        return {"operator": "none", "hops": None}
    return {"operator": "sym", "hops": hops(*data.x.shape)}


def _personalised(used: Resolved, data: Any) -> Mapping[str, Any] | None:
    return {"operator": "ppr", "hops": 10, "alpha": 0.1} if used.operator == "sym" else None


def _labels(used: Resolved, data: Any) -> Mapping[str, Any] | None:
    if used.operator == "none" or data.y.dim() > 1:
        return None
    return {"label_operator": "sym", "label_hops": LABEL_HOPS, "label_scale": 1.0}


def _unit_rows(used: Resolved, data: Any) -> Mapping[str, Any] | None:
    return {"unit_rows": True}


def _columns(used: Resolved, data: Any) -> Mapping[str, Any] | None:
    return None if used.unit_rows else {"scale": "columns"}

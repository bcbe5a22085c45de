"""What is chosen on validation where neither the user nor a recipe says it: features, units, width, batches.

Each candidate is judged by the start that it would have (:mod:`gamlp_admm.algorithms.start`), a matter of seconds. The
candidates are tried one after another, and one is taken only where it beats what is taken so far by more than half a
standard error of the validation score: what is chosen among few by chance is not better. Of words that are too many to
be solved for, what would fill their sparse rows is not tried: it takes ten times as long. Test nodes are never looked
at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamlp_admm.admm.thin import compressible
from gamlp_admm.datasets.stored import stored
from gamlp_admm.datasets.targets import target_kind
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import features
from gamlp_admm.experiment.resolve import Resolved
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.transforms.recipe import Transform, chain, fit_features

COLUMNS = 12_000
"""Columns of propagated features up to which another hop is taken, beyond the first."""

MOST_HOPS = 2

MOST_MEASURED = 1_000
"""Features up to which units by column are tried: more are words or the like, of one unit."""

MOST_COPIED = 2**26
"""Numbers of stored features, 256 MiB, up to which units by row are tried: they are a copy in memory."""

MANY_ROWS, ROWS_A_COLUMN = 16_384, 4
"""Training rows, and rows for each column, from which on they come in batches: one step over all of them is then much
work for what it teaches (measured: docs/algorithms.md)."""

BATCH = 512
LABEL_HOPS = 3
PATIENCE = 10


def width(num_train: int, num_classes: int) -> int:
    """Return the neurons of a hidden layer: more for more rows, and at least four for each class."""
    return max(100, min(256, num_train // 8), 4 * num_classes)


def hops(num_features: int) -> int:
    """Return how many hops are taken: as many as fit into :data:`COLUMNS`, from 1 to :data:`MOST_HOPS`."""
    return min(max(COLUMNS // max(num_features, 1) - 1, 1), MOST_HOPS)


@dataclass(frozen=True)
class FeatureCandidate:
    """Features that were tried.

    Attributes:
        changes: Options that make them.
        data: The data with them.
        rest: What makes them of propagated features, fitted.
        score: Validation score of their start.
        sketched: Whether the start is of features that are too many and too wide to be solved.
    """

    changes: Mapping[str, Any]
    data: Any
    rest: Transform
    score: float
    sketched: bool


@dataclass(frozen=True)
class ChosenFeatures:
    """What was chosen.

    Attributes:
        changes: Options that stand for those that were left open.
        data: The data with the features chosen.
        about: The candidates, their scores, and which were taken; JSON values.
        features: The transform that makes them of the data set, fitted.
    """

    changes: dict[str, Any]
    data: Any
    about: list[dict[str, Any]]
    features: Transform


def choose(used: Resolved, data: Any, num_classes: int, split_only: bool = False) -> ChosenFeatures:
    """Choose features, their units and the width.

    Args:
        used: The options.
        data: The data set as it was loaded.
        num_classes: Its classes.
        split_only: Whether nodes that are in no part of the split may be left out.
    """
    changes: dict[str, Any] = {"hidden": width(int(data.train_mask.sum()), num_classes), "auto": "none"}
    if not bool(data.val_mask.any()):  # nothing to choose by
        fitted, made = features.fitted(used, data, num_classes, split_only)
        return ChosenFeatures(changes, made, [], fitted)
    first = _propagated(data)
    propagated = features.propagated(
        used, features.propagation(used.changed(first), used.torch_dtype), data, split_only
    )
    taken = _candidate(used, first, propagated, num_classes, changes["hidden"])
    about = [{"options": dict(first), "score": taken.score, "taken": True}]
    thin = taken.sketched and compressible(propagated.x[propagated.train_mask])
    if "whole" in propagated and not thin:
        return choose(used, data, num_classes)  # units of rows are measured on all nodes
    for make in (_labels,) if thin else (_personalised, _labels, _unit_rows, _columns):  # the others fill sparse rows
        more = make(used.changed(taken.changes), data)
        if more is None:
            continue
        tried = {**taken.changes, **more}
        base = features.propagation(used.changed(tried), used.torch_dtype)(data) if "operator" in more else propagated
        candidate = _candidate(used, tried, base, num_classes, changes["hidden"])
        better = candidate.score > taken.score + _standard_error(taken.score, data) / 2
        about.append({"options": dict(more), "score": candidate.score, "taken": better})
        taken, propagated = (candidate, base) if better else (taken, propagated)
    chosen = {**changes, **taken.changes}
    if batches := _batches(used.changed(chosen), taken.data):
        about.append({"options": batches, "score": taken.score, "taken": True})
    made = chain(features.propagation(used.changed(chosen), used.torch_dtype), taken.rest)
    return ChosenFeatures({**chosen, **batches}, taken.data, about, made)


def _batches(used: Resolved, data: Any) -> dict[str, Any]:
    rows, columns = int(data.train_mask.sum()), data.num_features
    if used.batch_size is not None or rows < max(MANY_ROWS, ROWS_A_COLUMN * columns):
        return {}
    try:
        _ = used.changed({"batch_size": BATCH}).trainer
    except InputError:  # the algorithm, or how its layers talk, takes all rows at once
        return {}
    return {"batch_size": BATCH}


def _standard_error(score: float, data: Any) -> float:
    share = min(max(score, 0.0), 1.0)
    return math.sqrt(share * (1 - share) / max(int(data.val_mask.sum()), 1))


def _candidate(
    used: Resolved, tried: Mapping[str, Any], propagated: Any, num_classes: int, hidden: int
) -> FeatureCandidate:
    changed = used.changed(tried)
    rest, made = fit_features(features.with_labels(features.scaling(changed), changed, num_classes), propagated)
    model = GAMLP(made.num_features, hidden, num_classes, 2, activation=used.activation, init="ridge")
    opening = changed.trainer.foresee(model.to(used.torch_dtype), made, used.seed, used.memory, used.scratch)
    assert opening is not None
    about = opening.about
    score = float(about.get("score", about["linear"]))
    return FeatureCandidate(tried, made, rest, score, about["views"][0]["sketched"])


# From the options taken so far and the data to those of a candidate; None where it makes no sense.


def _propagated(data: Any) -> Mapping[str, Any]:
    if not data.edge_index.numel():
        return {"operator": "none", "hops": None}
    return {"operator": "sym", "hops": hops(data.x.shape[1])}


def _personalised(used: Resolved, data: Any) -> Mapping[str, Any] | None:
    return {"operator": "ppr", "hops": 10, "alpha": 0.1} if used.operator == "sym" else None


def _labels(used: Resolved, data: Any) -> Mapping[str, Any] | None:
    if used.operator == "none" or target_kind(data.y) != "classes":
        return None
    return {"label_operator": "sym", "label_hops": LABEL_HOPS, "label_scale": 1.0}


def _unit_rows(used: Resolved, data: Any) -> Mapping[str, Any] | None:
    large = stored(data) is not None and data.x.numel() > MOST_COPIED
    return None if large else {"unit_rows": True}


def _columns(used: Resolved, data: Any) -> Mapping[str, Any] | None:
    return None if used.unit_rows or data.x.shape[1] > MOST_MEASURED else {"scale": "columns"}

"""OGB's own figure for its data sets: what leaderboards take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.datasets.info import dataset_names
from gamlp_admm.datasets.ogb import PARTS
from gamlp_admm.datasets.targets import has_many_labels
from gamlp_admm.errors import InputError, unknown

PREFIX = "ogbn-"


def ogb_names() -> list[str]:
    """Return the names of the data sets that OGB evaluates."""
    return [name for name in dataset_names() if name.startswith(PREFIX)]


def has_ogb() -> bool:
    """Return whether the package ``ogb`` is installed."""
    return find_spec("ogb") is not None


def ogb_evaluator(name: str) -> Any:
    """Return OGB's ``Evaluator`` of a data set.

    Args:
        name: ``"ogbn-arxiv"`` or another name of OGB's node-property data sets.

    Raises:
        InputError: It is no such data set, or ``ogb`` is not installed.

    Example:
        >>> from gamlp_admm.datasets import ogb_evaluator
        >>> ogb_evaluator("ogbn-proteins").eval_metric
        'rocauc'
    """
    if name not in ogb_names():
        raise unknown("data set of OGB", name, ogb_names())
    if not has_ogb():
        raise InputError(f"OGB's evaluator of {name} needs the package ogb: pip install 'gamlp-admm[ogb]'")
    with _asking_nobody():
        from ogb.nodeproppred import Evaluator
    return Evaluator(name)


def ogb_scores(name: str, outputs: Tensor, data: Data) -> dict[str, Any]:
    """Return what OGB's evaluator says of a network's outputs.

    Args:
        name: Name of the data set.
        outputs: ``[N, C]``, larger where a class is likelier; of several labels a node ``[N, T]``.
        data: Has ``y`` [N] or [N, T] and the three masks [N].

    Returns:
        ``metric``, ``"acc"`` or ``"rocauc"``; ``train``, ``valid`` and ``test``, the figures, ``None`` for a part
        that has none: no nodes, or no label that is 0 at some and 1 at others; and ``version``, that of ``ogb``.

    Raises:
        InputError: It is no data set of OGB, or ``ogb`` is not installed.

    Example:
        >>> import torch
        >>> from gamlp_admm import load_dataset
        >>> from gamlp_admm.datasets import ogb_scores
        >>> data = load_dataset("karate").data  # in place of a data set of OGB
        >>> scores = ogb_scores("ogbn-arxiv", torch.nn.functional.one_hot(data.y).float(), data)
        >>> scores["metric"], scores["test"]
        ('acc', 1.0)
    """
    evaluator = ogb_evaluator(name)
    scores: dict[str, Any] = {"metric": evaluator.eval_metric, "version": version("ogb")}
    many = has_many_labels(data.y)
    for part, theirs in PARTS.items():
        nodes = data[f"{part}_mask"]
        y, z = data.y[nodes], outputs[nodes.to(outputs.device)]
        given = {"y_true": y if many else y.reshape(-1, 1), "y_pred": z if many else z.argmax(1, keepdim=True)}
        both = len(y) > 0 and (not many or bool(((y == 0).any(0) & (y == 1).any(0)).any()))
        scores[theirs] = float(evaluator.eval(given)[evaluator.eval_metric]) if both else None
    return scores


@contextmanager
def _asking_nobody() -> Iterator[None]:
    """Import ``ogb`` in the block without the package ``outdated``.

    With it a thread asks the network for ``ogb``'s newest version, and without a network a program that is done waits
    for it to give up.
    """
    absent = object()
    before = sys.modules.get("outdated", absent)
    sys.modules["outdated"] = None  # type: ignore[assignment]  # imports of it fail, for which ogb is prepared
    try:
        yield
    finally:
        if before is absent:
            del sys.modules["outdated"]
        else:
            sys.modules["outdated"] = before  # type: ignore[assignment]

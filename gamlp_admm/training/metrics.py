"""Metrics: what is reported of predictions beside accuracy and loss, and what models are selected by.

All are unweighted, of the predictions of all rows of a split. Accuracy and, of real targets, R² are sums over rows,
which processes add up (:meth:`gamlp_admm.nn.losses.Risk.score`); all are equal to scikit-learn's, which some are and is
imported then. Of several labels a node each is the mean over the labels of its figure on the nodes where the label is
known, as of OGB's evaluators.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gamlp_admm.errors import InputError, InputWarning, unknown
from gamlp_admm.nn.losses import Risk, risk
from gamlp_admm.parallel.team import Team
from gamlp_admm.training.rows import SPLITS, NodeData
from gamlp_admm.training.schedules import Record

Array: TypeAlias = NDArray[Any]
Figure: TypeAlias = Callable[[Array, Array], float]
"""From true classes ``[N]`` (or labels, or values ``[N, C]``) and probabilities (or values) ``[N, C]`` to a number."""

KINDS = {"classes": "one class a node", "labels": "several labels a node", "values": "real targets"}
"""What targets may be (:attr:`gamlp_admm.training.rows.NodeData.kind`), and what messages call them."""


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    Attributes:
        name: Its name; histories have it as ``train_<name>``, ``val_<name>`` and ``test_<name>``.
        figure: The figure of predictions; ``None`` where sums over rows are enough, or of the loss.
        kinds: The targets that it is defined for.
        lower: Whether lower is better.
    """

    name: str
    figure: Figure | None = None
    kinds: tuple[str, ...] = ("classes", "labels")
    lower: bool = False

    @property
    def summed(self) -> bool:
        """Whether it is the score of the risk, which is a quotient of sums over rows."""
        return self.name in ("accuracy", "r2")

    def better(self, record: Record) -> tuple[str, float | None]:
        """Return by which metric a record is selected on validation, and by how much; more is better.

        Where this one is not defined on validation rows, that is accuracy (of real targets R²), weighted where
        validation rows have weights; ``None`` without validation rows.
        """
        value = None if self.summed else record.get(f"val_{self.name}")
        if value is not None:
            return self.name, -value if self.lower else value
        own = self.name if self.summed else "r2" if "val_r2" in record else "accuracy"
        return own, record.get("val_score", record["val_accuracy"])

    def of(self, z: Tensor, y: Tensor, the_risk: Risk, kind: str) -> float | None:
        """Return the figure of some rows, ``None`` where it is not defined for them: no rows, or of one class alone.

        Args:
            z: The network's outputs, ``[N, C]``.
            y: Targets in the risk's form, ``[N, C]``.
            the_risk: The risk; gives the probabilities.
            kind: What the targets are, one of :data:`KINDS`.
        """
        if not len(z) or not torch.isfinite(z).all():
            return None
        z, y = z.double().cpu(), y.double().cpu()
        if self.name == "loss":
            return float(the_risk.rows(z, y).mean())
        if self.summed:
            scoring = the_risk.scoring(kind)
            return scoring.score(scoring.score_sums(z, y))
        assert self.figure is not None
        told = z if kind == "values" else the_risk.probabilities(z)
        true = y.argmax(1) if kind == "classes" else y
        value = float(self.figure(true.numpy(), told.numpy()))
        return value if math.isfinite(value) else None

    def of_probabilities(self, p: Tensor, y: Tensor) -> float | None:
        """Return the figure of class probabilities ``[N, C]`` and classes ``[N]``; the loss is then the log-loss.

        It is ``None`` as for :meth:`of`.
        """
        logits = p.double().clamp(min=torch.finfo(torch.float64).tiny).log()
        return self.of(logits, F.one_hot(y, p.shape[1]), risk("cross_entropy"), "classes")


def metric_of(metric: str | Figure | Metric, kind: str | None = None) -> Metric:
    """Return a metric.

    Args:
        metric: A name of :data:`METRICS`; ``accuracy`` stands for R² where targets are real. Or a function of true
            classes ``[N]`` (labels or values ``[N, C]``) and probabilities (values) ``[N, C]``, arrays, to a number of
            which more is better; it has the function's name.
        kind: What the targets are, one of :data:`KINDS`; ``None`` if that is not known.

    Raises:
        InputError: There is no such metric, or it is not defined for such targets.
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        name = getattr(metric, "__name__", "")
        name = name if name.isidentifier() and name not in METRICS else "metric"
        return Metric(name, metric, tuple(KINDS))
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    found = METRICS["r2" if (metric, kind) == ("accuracy", "values") else metric]
    if kind is not None and kind not in found.kinds:
        allowed = ", ".join(name for name, each in METRICS.items() if kind in each.kinds)
        raise InputError(f"metric {metric} is not defined for {KINDS[kind]}, as data.y has them; allowed: {allowed}")
    return found


def warn_of_undefined(metric: Metric, record: Record) -> None:
    """Warn of the splits for which a metric is not defined, though they have rows, and of what then selects."""
    if metric.summed:
        return
    there = [split for split in SPLITS if record[f"{split}_accuracy"] is not None]
    missing = [split for split in there if record[f"{split}_{metric.name}"] is None]
    if missing:
        selects = f"; {metric.better(record)[0]} selects" if "val" in missing else ""
        warnings.warn(
            f"{metric.name} is not defined on the {' and '.join(missing)} nodes, which are of one class alone{selects}",
            InputWarning,
            stacklevel=2,
        )


def figures(metric: Metric, z: Tensor | None, data: NodeData, the_risk: Risk, team: Team) -> Tensor:
    """Return a metric of each split, float64 ``[3]``, NaN where it is not defined; add up over processes.

    Called in all processes. Those that have the outputs of a shard of the rows give theirs to the first of them, which
    has the figures; the others have zeros.

    Args:
        metric: The metric.
        z: Outputs of this process's rows ``[N, C]``, ``None`` where they are not.
        data: This process's rows.
        the_risk: The risk.
        team: The processes.
    """
    result = torch.zeros(len(SPLITS), dtype=torch.float64)
    if z is None:
        return result
    sizes, own = _sizes(data, team)
    whole = [_whole(t, sizes, own, team) for t in (z, data.y)]
    if team.shard == 0:
        parts = zip(*(torch.split(t, [int(n) for n in sizes.sum(0)]) for t in whole), strict=True)
        values = [metric.of(part_z, part_y, the_risk, data.kind) for part_z, part_y in parts]
        result += torch.tensor([math.nan if value is None else value for value in values], dtype=torch.float64)
    return result


def _sizes(data: NodeData, team: Team) -> tuple[Tensor, int]:
    # Rows of each split in each shard, [R, 3], and the number of this process's shard.
    sizes = torch.zeros(team.num_shards, len(SPLITS), dtype=torch.float64, device=data.y.device)
    sizes[team.shard] = torch.tensor(data.sizes, dtype=torch.float64)
    return team.row_sum(sizes).long().cpu(), team.shard


def _whole(t: Tensor, sizes: Tensor, shard: int, team: Team) -> Tensor:
    # What all shards have of t [N, C], in the order of the rows: split by split, and in each shard by shard.
    if team.num_shards == 1:
        return t
    whole = t.new_zeros(int(sizes.sum()), t.shape[1])
    ends = sizes.T.reshape(-1).cumsum(0).reshape(sizes.T.shape)
    low = 0
    for end, count in zip(ends[:, shard].tolist(), sizes[shard].tolist(), strict=True):
        whole[end - count : end] = t[low : low + count]
        low += count
    return team.row_sum(whole)


# Of one class a node, or several labels.


def _by_label(y: Array, p: Array) -> Iterator[tuple[Array, Array]]:
    # Of each label whether its nodes have it, as far as that is known, and their probabilities; of two classes the
    # second is what is found.
    if y.ndim == 1:
        y, p = (y[:, None] == 1, p[:, 1:]) if p.shape[1] == 2 else (np.eye(p.shape[1], dtype=bool)[y], p)
    known, there = np.ascontiguousarray((y == y).T), np.ascontiguousarray((y > 0.5).T)  # NaN is neither
    for each, has, told in zip(known, there, np.ascontiguousarray(p.T), strict=True):
        yield (has, told) if each.all() else (has[each], told[each])


def _mean_of_labels(figure: Figure) -> Figure:
    # The mean of a figure of one label over labels; NaN where it is defined for none.
    def mean(y: Array, p: Array) -> float:
        each = [figure(has, told) for has, told in _by_label(y, p)]
        defined = [value for value in each if not math.isnan(value)]
        return sum(defined) / len(defined) if defined else math.nan

    return mean


def _ranking(figure: Figure) -> Figure:
    # A figure of the sorted probabilities of who has a label, and of who has it not: scikit-learn's to the last digits
    # (it sorts nodes, not numbers, which takes ten times as long).
    def ranked(has: Array, told: Array) -> float:
        pro, contra = np.sort(told[has]), np.sort(told[~has])
        return figure(pro, contra) if len(pro) and len(contra) else math.nan

    return _mean_of_labels(ranked)


@_ranking
def _roc_auc(pro: Array, contra: Array) -> float:
    # The share of pairs of which who has the label is told it more; of equals a half (Mann and Whitney).
    less, not_more = (np.searchsorted(contra, pro, side).sum(dtype=np.int64) for side in ("left", "right"))
    return float(less + not_more) / (2 * len(pro) * len(contra))


@_ranking
def _average_precision(pro: Array, contra: Array) -> float:
    # The mean over those who have the label of the precision at a threshold that just includes each.
    hits, false = (len(told) - np.searchsorted(told, pro) for told in (pro, contra))
    return float((hits / (hits + false)).mean())


def _of_decisions(score: Figure) -> Figure:
    # A figure of decisions: of classes the likeliest, of labels those above one half, label by label.
    by_label = _mean_of_labels(lambda has, told: score(has, told > 0.5) if len(has) else math.nan)

    def decided(y: Array, p: Array) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that are predicted and nobody has
            return score(y, p.argmax(1)) if y.ndim == 1 else by_label(y, p)

    return decided


def _balanced_accuracy(y: Array, told: Array) -> float:
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(y, told))


def _f1_macro(y: Array, told: Array) -> float:
    from sklearn.metrics import f1_score

    one_label = told.dtype == bool
    return float(f1_score(y, told, average="binary" if one_label else "macro", zero_division=0))


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy"),
        Metric("balanced_accuracy", _of_decisions(_balanced_accuracy)),
        Metric("f1_macro", _of_decisions(_f1_macro)),
        Metric("roc_auc", _roc_auc),
        Metric("average_precision", _average_precision),
        Metric("loss", kinds=tuple(KINDS), lower=True),
        Metric("r2", kinds=("values",)),
    )
}
"""The metrics by name."""

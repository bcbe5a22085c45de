"""Correct and Smooth: any model's class probabilities, improved by the training labels and the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamlp_admm import propagation
from gamlp_admm.errors import InputError, flag, integer, number
from gamlp_admm.transforms.propagating import edges_of


@dataclass(frozen=True)
class CorrectAndSmooth:
    """Post-processing of class probabilities; reads training labels and edges, and no other labels.

    Correcting spreads the errors of the training nodes over the graph and adds them to all predictions. Smoothing then
    spreads the predictions themselves, with the true labels at the training nodes. Each repeats
    ``E ← α S E + (1 - α) E_0``, with ``S = D^-1/2 A D^-1/2``: without self-loops other than those of the graph, and
    with directed edges made undirected, the larger weight counting where there are two. Repeated edges and repeated
    self-loops add up.

    Args:
        num_correction_layers: Steps of the correction; 0 for none.
        correction_alpha: Its α, from 0 to 1.
        num_smoothing_layers: Steps of the smoothing; 0 for none.
        smoothing_alpha: Its α, from 0 to 1.
        autoscale: Whether each node's correction is scaled to the mean error of the training nodes. If not, the errors
            of the training nodes stay fixed while they spread, and ``scale`` multiplies what arrives.
        scale: Factor of the correction where ``autoscale`` is off; positive.

    Raises:
        InputError: An option is not allowed.

    Source:
        Huang et al., Combining Label Propagation and Simple Models Out-performs Graph Neural Networks, ICLR 2021,
        arXiv 2010.13993; the computation is that of :class:`torch_geometric.nn.models.CorrectAndSmooth`.

    Example:
        >>> import torch
        >>> from gamlp_admm import load_dataset
        >>> from gamlp_admm.transforms import CorrectAndSmooth
        >>> data = load_dataset("karate").data
        >>> unsure = torch.full((34, 4), 0.25)  # of a model, softmax(model(data.x))
        >>> smoothed = CorrectAndSmooth(num_correction_layers=0)(unsure, data)
        >>> train = data.train_mask
        >>> torch.equal(smoothed.argmax(1)[train], data.y[train]), smoothed.sum(1).allclose(torch.ones(34))
        (True, True)
    """

    num_correction_layers: int = 50
    correction_alpha: float = 0.9
    num_smoothing_layers: int = 50
    smoothing_alpha: float = 0.8
    autoscale: bool = True
    scale: float = 1.0

    def __post_init__(self) -> None:
        for stage in ("correction", "smoothing"):
            layers, alpha = getattr(self, f"num_{stage}_layers"), getattr(self, f"{stage}_alpha")
            if integer(f"num_{stage}_layers", layers) < 0:
                raise InputError(f"num_{stage}_layers is {layers}: it must be an integer, 0 or more")
            if layers > propagation.MOST_STEPS:
                raise InputError(f"num_{stage}_layers is {layers}: it must be at most {propagation.MOST_STEPS}")
            if not 0 <= number(f"{stage}_alpha", alpha) <= 1:
                raise InputError(f"{stage}_alpha is {alpha}: it must be from 0 to 1")
        flag("autoscale", self.autoscale)
        if not (number("scale", self.scale) > 0 and math.isfinite(self.scale)):
            raise InputError(f"scale is {self.scale}: it must be positive and finite")

    def __call__(self, probabilities: Tensor, data: Any) -> Tensor:
        """Return better probabilities, it is hoped.

        Args:
            probabilities: ``[N, C]``, not negative; those of a softmax, say.
            data: Has ``y`` ``[N]`` (classes; negative where unknown), ``train_mask``, and ``edge_index``, optionally
                with ``edge_weight``, or ``adj_t``. An ``edge_attr`` of one column without ``edge_weight`` gives a
                warning.

        Returns:
            ``[N, C]``, a new tensor whose rows sum to 1.

        Raises:
            InputError: The probabilities or the data are not as above.
        """
        return self._apply(_problem(probabilities, data))

    def _apply(self, problem: _Problem) -> Tensor:
        from torch_geometric.nn import models  # half a second to import, and needed here only

        process = models.CorrectAndSmooth(
            self.num_correction_layers,
            self.correction_alpha,
            self.num_smoothing_layers,
            self.smoothing_alpha,
            self.autoscale,
            self.scale,
        )
        S = problem.matrix
        known = (problem.labels, problem.train, S, S.values())  # given the weights, PyG takes S as it is
        result = problem.probabilities
        if self.num_correction_layers and problem.has_errors:
            result = process.correct(result, *known)
        if self.num_smoothing_layers:
            result = process.smooth(result, *known)
        result = result.clamp(min=0)
        total = result.sum(1, keepdim=True)
        return torch.where(total > 0, result / total, problem.probabilities)


GRID = (
    *(CorrectAndSmooth(0, smoothing_alpha=s) for s in (0.5, 0.8, 0.95)),
    *(CorrectAndSmooth(50, 0.8, num_smoothing_layers=0, autoscale=auto) for auto in (False, True)),
    *(CorrectAndSmooth(50, 0.8, 50, s, autoscale=False) for s in (0.5, 0.8)),
    *(CorrectAndSmooth(50, c, 50, s) for c in (0.5, 0.8, 0.95) for s in (0.5, 0.8, 0.95)),
)
"""What :func:`chosen` tries: smoothing alone, correction alone, then both, without and with autoscale."""


@dataclass(frozen=True)
class Chosen:
    """The candidate that is best on validation, and what it gives.

    Attributes:
        candidate: ``None`` for the probabilities as they were.
        probabilities: ``[N, C]``.
        val_accuracy: Accuracy over the validation nodes whose class is known.
        val_score: What it was chosen by.
    """

    candidate: CorrectAndSmooth | None
    probabilities: Tensor
    val_accuracy: float
    val_score: float


def accuracy(probabilities: Tensor, labels: Tensor) -> float:
    """Return how many of some nodes have their class as the likeliest, as a share."""
    return float((probabilities.argmax(1) == labels).double().mean())


def chosen(
    probabilities: Tensor,
    data: Any,
    candidates: Sequence[CorrectAndSmooth] = GRID,
    score: Callable[[Tensor, Tensor], float] = accuracy,
) -> Chosen:
    """Return the candidate with the best validation score; labels of test nodes are not read.

    The best of many on few validation nodes is partly luck: a gain of a point on 500 nodes may be a loss elsewhere.

    Args:
        probabilities: ``[N, C]``, as for :class:`CorrectAndSmooth`.
        data: As there, with ``val_mask``.
        candidates: What to try besides leaving the probabilities as they are. Of equals, these come first as they are,
            then the earlier candidate.
        score: From probabilities ``[n, C]`` and classes ``[n]`` of validation nodes to a number; more is better.

    Raises:
        InputError: The probabilities or the data are not allowed, or no validation node has a label.
    """
    problem = _problem(probabilities, data)
    nodes, labels = _labelled(data, "val", probabilities)
    if not len(nodes):
        raise InputError("data.val_mask selects no node with a label: a choice needs validation nodes")

    def told(candidate: CorrectAndSmooth | None, result: Tensor) -> Chosen:
        return Chosen(candidate, result, accuracy(result[nodes], labels), score(result[nodes], labels))

    best = told(None, probabilities)
    for candidate in candidates:
        made = told(candidate, candidate._apply(problem))
        best = made if made.val_score > best.val_score else best
    return best


@dataclass(frozen=True)
class _Problem:
    """What every candidate starts from: ``train`` are the labelled training nodes, ``matrix`` is S."""

    probabilities: Tensor
    train: Tensor
    labels: Tensor
    matrix: Tensor

    @property
    def has_errors(self) -> bool:
        """Whether a training node's probabilities are wrong at all; PyG's scaling divides zero by zero if not."""
        return bool((self.probabilities[self.train, self.labels] < 1).any())


def _problem(probabilities: Tensor, data: Any) -> _Problem:
    if not isinstance(probabilities, Tensor) or probabilities.dim() != 2 or not probabilities.is_floating_point():
        given = list(probabilities.shape) if isinstance(probabilities, Tensor) else type(probabilities).__name__
        raise InputError(f"probabilities must be a floating-point tensor [nodes, classes], got {given}")
    probabilities = probabilities.detach()
    if not (probabilities.isfinite() & (probabilities >= 0)).all():
        raise InputError("probabilities must be finite and not negative: apply softmax to a model's outputs")
    train, labels = _labelled(data, "train", probabilities)
    if not len(train):
        raise InputError("data.train_mask selects no node with a label: Correct and Smooth needs training labels")
    edge_index, edge_weight = edges_of(data)
    if edge_index is None:
        raise InputError("data.edge_index is missing: Correct and Smooth needs edges")
    A = propagation.adjacency(edge_index, edge_weight, len(probabilities), sum_loops=True)
    S = propagation.to_torch(propagation.normalized(A), probabilities.dtype, probabilities.device)
    return _Problem(probabilities, train, labels, S)


def _labelled(data: Any, split: str, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers and the classes of a split's nodes whose class is known; reads no other label."""
    N, C = like.shape
    mask, y = getattr(data, f"{split}_mask", None), getattr(data, "y", None)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (N,):
        given = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"data.{split}_mask must be a bool tensor [{N}], a row of probabilities each, got {given}")
    if not isinstance(y, Tensor) or y.is_floating_point() or y.numel() != N or len(y) != N:
        given = f"{y.dtype} {list(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise InputError(f"data.y must hold one class for each of the {N} rows of probabilities, got {given}")
    nodes = mask.to(y.device).nonzero()[:, 0]
    labels = y.view(-1)[nodes].long()
    nodes, labels = nodes[labels >= 0], labels[labels >= 0]
    if (labels >= C).any():
        raise InputError(f"a node of data.{split}_mask has label {int(labels.max())}: allowed: 0 to {C - 1}")
    return nodes.to(like.device), labels.to(like.device)

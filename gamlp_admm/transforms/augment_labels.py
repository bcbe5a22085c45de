"""The PyTorch Geometric transform that appends propagated training labels to the node features."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm import propagation
from gamlp_admm.errors import InputError, integer, number
from gamlp_admm.transforms.propagating import PropagatingTransform, blocks_of

EXACT = 2000
"""Training nodes up to which ``folds=None`` is exact."""

_BUDGET = 2**25  # numbers of a batch of unit columns in work: 128 MiB in float32


class AugmentLabels(PropagatingTransform):
    r"""Append propagated training labels to ``data.x``, such that no node is told its own label.

    With Y the one-hot labels of the training nodes ``[N, C]``, zero in all other rows, and T_k what k steps of
    :class:`~gamlp_admm.transforms.AugmentFeatures` with the same options apply to the features, a node that does not
    train gets ``(T_k Y)_i`` for each step k. A training node gets the labels of *other* training nodes only: with its
    own, which is what the model is to predict, training would learn to copy that column and nothing else.

    - **Exactly**, where there are at most :data:`EXACT` training nodes: ``Σ_{j≠i} (T_k)_ij Y_j``, that is
      ``(T_k Y)_i - (T_k)_ii Y_i``. It takes a propagation of one column for each training node.
    - **In folds**: the training nodes are divided at random, and those of a fold get the labels of the other folds. It
      takes a propagation of C columns for each fold.

    Either way a training node's label has no influence at all on its own row. This holds for the features of this
    transform alone, so **it comes last**: an ``AugmentFeatures`` after it would carry each label to the neighbours and
    back. Labels of nodes that do not train are never read.

    Args:
        hops: K, for the states 1…K, with ``"ppr"`` and ``"heat"`` for state K alone; or the increasing steps to keep,
            from 1. ``None`` for 4, with ``"ppr"`` and ``"heat"`` 10. There is no state 0: it is a node's own label.
        operator: As of ``AugmentFeatures``: ``"sym"``, ``"row"``, ``"ppr"``, ``"heat"``, a callable or a matrix.
        alpha: The teleport probability of ``"ppr"``, in (0, 1].
        t: The diffusion time of ``"heat"``, positive.
        direction: How a directed edge is used: ``"both"``, ``"along"`` or ``"against"``.
        scale: Factor of the new columns; the larger, the less weight decay holds them back.
        num_classes: C; ``None`` for the largest class of a training node plus one.
        folds: The number of folds, 2 or more; ``None`` for the exact way with up to :data:`EXACT` training nodes,
            10 folds with more.
        seed: Seed of the division into folds.
        weight_attr: Name of the attribute of ``data`` that holds the edges' weights, as of ``AugmentFeatures``.

    Raises:
        InputError: An option is not allowed.

    Source:
        Label reuse: Wang et al., Bag of Tricks, arXiv 2103.13355; propagated labels as features of an MLP: SAGN with
        SLE, arXiv 2104.09376; Graph Attention MLP, arXiv 2108.10097.

    Example:
        >>> import torch_geometric.transforms as T
        >>> from gamlp_admm import AugmentFeatures, load_dataset
        >>> from gamlp_admm.transforms import AugmentLabels
        >>> graph = load_dataset("karate").data
        >>> data = T.Compose([AugmentFeatures(10, "ppr"), AugmentLabels(10, "ppr", num_classes=4)])(graph)
        >>> data.x.shape == (34, graph.num_features + 4)
        True
    """

    def __init__(
        self,
        hops: int | Iterable[int] | None = None,
        operator: propagation.Operator = "sym",
        *,
        alpha: float = 0.1,
        t: float = 3.0,
        direction: str = "both",
        scale: float = 1.0,
        num_classes: int | None = None,
        folds: int | None = None,
        seed: int = 0,
        weight_attr: str | None = None,
    ) -> None:
        if not math.isfinite(number("scale", scale)):
            raise InputError(f"scale is {scale}: it must be finite")
        for name, value, least in (("num_classes", num_classes, 1), ("folds", folds, 2), ("seed", seed, 0)):
            if value is not None and integer(name, value) < least:
                raise InputError(f"{name} is {value}: it must be an integer, {least} or more")
        scheme = propagation.Scheme(hops, operator, alpha=alpha, t=t, direction=direction, first=1)
        super().__init__(scheme, weight_attr)
        self.scale = scale
        self.num_classes = num_classes
        self.folds = folds
        self.seed = seed

    def forward(self, data: Data) -> Data:
        """Append to ``data.x`` in place; calling the transform itself works on a shallow copy.

        Args:
            data: A graph with ``x`` ``[N, F]``, dense or sparse, ``edge_index`` ``[2, E]``, ``train_mask`` and ``y``:
                classes ``[N]``, negative where unknown, or labels ``[N, C]``, of which negative and NaN entries are
                unknown and others are taken as they are.

        Returns:
            ``data``, whose ``x`` is a new dense tensor ``[N, F + len(states)·C]`` on the device of the old one.

        Raises:
            InputError: The features, the edges, the labels or the mask are missing or not allowed.
        """
        return super().forward(data)

    def columns(self, num_features: int) -> int:
        if self.num_classes is None:
            raise InputError("AugmentLabels has no num_classes: give it, or fit_features(features, graph)")
        return num_features + len(self.states) * self.num_classes

    def _keep(self, found: dict[str, Tensor]) -> None:
        self.num_classes = int(found["num_classes"])

    def recipe(self) -> dict[str, Any]:
        self.columns(0)
        return super().recipe()

    def _transform(self, data: Data) -> dict[str, Tensor]:
        self._check_graph(data)
        features, dtype = propagation.dense_features(data.x)
        graph = data.whole if "whole" in data else data  # where data are some nodes of it (AugmentFeatures.of_split)
        train = _training_nodes(graph, len(graph.x)).to(features.device)
        Y = _training_labels(graph.y, train, len(graph.x), self.num_classes).to(features)
        folds = 10 if self.folds is None and len(train) > EXACT else self.folds
        columns = Y.shape[1] * (1 + (folds or 0)) + (0 if folds else len(train))
        of = (Y[train], train, folds, self.seed)
        labels = self._kept(graph, of, Y, columns, lambda: self._propagated(self._matrix(graph, Y), Y, train, folds))
        labels = labels if graph is data else labels[data.n_id.to(labels.device)]
        data.feature_blocks = (*blocks_of(data), *(Y.shape[1],) * len(self.states))
        data.x = torch.cat([features, labels.mul_(self.scale)], dim=1).to(dtype)
        return {"num_classes": torch.tensor(Y.shape[1])}

    def _propagated(self, matrix: propagation.Matrix, Y: Tensor, train: Tensor, folds: int | None) -> Tensor:
        """Return the states of the labels, ``[N, len(states)·C]``, without its own at each training node."""
        labels = propagation.propagate(self._scheme, matrix, Y)
        if folds is None:
            labels[train] = self._leaving_one_out(matrix, Y, train)
            return labels
        division = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.seed))
        for fold in division.to(train.device).tensor_split(folds):
            nodes = train[fold]
            labels[nodes] = propagation.propagate(self._scheme, matrix, Y.index_fill(0, nodes, 0))[nodes]
        return labels

    def _leaving_one_out(self, matrix: propagation.Matrix, Y: Tensor, train: Tensor) -> Tensor:
        """Return ``Σ_{j≠i} (T_k)_ij Y_j`` of the training nodes i, ``[n, len(states)·C]``.

        Subtracting a node's own share from the whole sum would leave a trace of its label in the rounding. So T_k
        itself is made, a batch of columns at a time, and its diagonal set to zero.
        """
        n, S = len(train), len(self.states)
        labels = Y.new_zeros(n, S, Y.shape[1])
        size = max(1, _BUDGET // (len(Y) * (S + 2)))
        for batch in torch.split(torch.arange(n, device=train.device), size):
            column = torch.arange(len(batch), device=train.device)
            unit = Y.new_zeros(len(Y), len(batch))
            unit[train[batch], column] = 1
            T = propagation.propagate(self._scheme, matrix, unit)[train].view(n, S, len(batch))
            T[batch, :, column] = 0
            labels += T @ Y[train[batch]]
        return labels.flatten(1)


def _training_nodes(data: Data, num_nodes: int) -> Tensor:
    mask = getattr(data, "train_mask", None)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (num_nodes,):
        given = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"data.train_mask must be a bool tensor [{num_nodes}], got {given}")
    return mask.nonzero()[:, 0]


def _training_labels(y: Any, train: Tensor, num_nodes: int, num_classes: int | None) -> Tensor:
    """Return Y ``[N, C]``; reads ``y`` in the rows of the training nodes alone."""
    if not isinstance(y, Tensor) or y.dim() not in (1, 2) or len(y) != num_nodes or y.is_complex():
        given = f"{y.dtype} {list(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise InputError(f"data.y must be a tensor [{num_nodes}] or [{num_nodes}, C], got {given}")
    if y.dim() == 2 and y.shape[1] == 1 and not y.is_floating_point():
        y = y[:, 0]
    known = y[train.to(y.device)]
    if y.dim() == 2:
        if num_classes not in (None, y.shape[1]):
            raise InputError(f"data.y has {y.shape[1]} columns: num_classes is {num_classes}")
        known = torch.where(known >= 0, known, 0)  # NaN is not >= 0
        if known.isinf().any():
            raise InputError("data.y has infinite values at training nodes: labels must be finite")
    else:
        known = _one_hot(known, num_classes)
    return known.new_zeros(num_nodes, known.shape[1]).index_copy_(0, train.to(y.device), known)


def _one_hot(labels: Tensor, num_classes: int | None) -> Tensor:
    if labels.is_floating_point():
        raise InputError("data.y has real values: AugmentLabels takes one class a node, integers [N], or labels [N, C]")
    largest = int(labels.max()) if len(labels) else -1
    if num_classes is None:
        if largest < 0:
            raise InputError("no training node has a label: num_classes must be given")
        num_classes = largest + 1
    if largest >= num_classes:
        raise InputError(f"a training node has label {largest}: allowed: 0 to {num_classes - 1}")
    return F.one_hot(labels.long().clamp(min=-1) + 1, num_classes + 1)[:, 1:]  # the first column: unknown

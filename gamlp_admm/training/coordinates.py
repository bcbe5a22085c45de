r"""The coordinates of the first layer while a run goes on: units of the features, and a basis of their row space.

**Units** (:mod:`gamlp_admm.training.units`), so that penalties mean the same whatever the data's. The solver sees
:math:`\tilde x = (x - m)/s`, and its first layer is the model's in other coordinates, :math:`\tilde W x̃ + \tilde b =
W x + b` with :math:`\tilde W = s W` and :math:`\tilde b = b + W m`, so the model that comes out takes the features as
they are. Features times a constant, plus a constant, give the same x̃ and so the same run. Where N rows have
:math:`\|\tilde X\|_F^2 = N`, weight decay μ is to ν as the ridge of a regression on rows of unit length is to 1,
whatever the number of columns.

**Compression**, where there are fewer training rows than columns (Cora: 140 rows, 7,165 columns): it changes no
iterate, since all gradients of the first layer lie in the row space of X.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.nn.network import Weights
from gamlp_admm.training.room import IN_MEMORY, Room
from gamlp_admm.training.rows import NodeData
from gamlp_admm.training.units import ShardSum, Sizes, Units


@dataclass(frozen=True)
class Features:
    """Features of a run, training rows for the solver and evaluated rows for the forward pass, used as they are.

    Attributes:
        train: Features of the training rows that the solver sees, ``[N, n_in]``.
        evaluated: Features of all rows that are evaluated, ``[N_all, d]``.
    """

    train: Tensor
    evaluated: Tensor

    def enter(self, W: Tensor) -> Tensor:
        """Return the first layer's weights ``[h, d]`` in the solver's coordinates, ``[h, n_in]``."""
        return W

    def leave(self, W: Tensor) -> Tensor:
        """Return the first layer's weights ``[h, d]`` from the solver's coordinates."""
        return W

    def products(self, W: Tensor, low: int, high: int) -> Tensor:
        """Return evaluated rows low…high−1 times the first layer's weights (in the solver's coordinates)."""
        return self.evaluated[low:high] @ W.T

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint must keep beside the weights."""
        return {}


@dataclass(frozen=True)
class CompressedFeatures(Features):
    r"""Features in an orthonormal basis of their row space, :math:`X = \tilde X V^T`.

    With :math:`W = \tilde W V^T + \operatorname{diag}(c)\,W_⊥`, :math:`W_⊥` the unit rows of what lies outside, the
    gradient of every block objective is :math:`\tilde G V^T + μ \operatorname{diag}(c) W_⊥`: the outside part is only
    ever scaled. So the solver carries c as one more column of W̃, beside a column of zeros in X̃. Products, norms and
    step lengths are then those of the uncompressed run, without any change to the block updates.

    Attributes:
        basis: V, ``[d, r]``.
        outside: W_⊥, ``[h, d]``.
        offset: Evaluated rows times W_⊥ᵀ, ``[N_all, h]``.
    """

    basis: Tensor
    outside: Tensor
    offset: Tensor

    def enter(self, W: Tensor) -> Tensor:
        """See :meth:`Features.enter`; ``W`` must have the outside part that the compression was made for."""
        inside = W @ self.basis
        outside = W - inside @ self.basis.T
        return torch.cat([inside, (outside * self.outside).sum(1, keepdim=True)], 1)

    def leave(self, W: Tensor) -> Tensor:
        """See :meth:`Features.leave`."""
        return torch.addmm(W[:, -1:] * self.outside, W[:, :-1], self.basis.T)

    def products(self, W: Tensor, low: int, high: int) -> Tensor:
        """See :meth:`Features.products`."""
        return (self.offset[low:high] * W[:, -1]).addmm_(self.evaluated[low:high], W[:, :-1].T)

    def state(self) -> dict[str, Tensor]:
        """See :meth:`Features.state`."""
        return {"outside": self.outside}


MOST_ROWS = 5_000  # the basis costs 4 N² d operations, once


def compressed_width(num_rows: int, num_columns: int) -> int:
    """Return the number of columns that :func:`compress` leaves of N × d training features."""
    return num_rows + 1 if 0 < num_rows + 1 < num_columns and num_rows <= MOST_ROWS else num_columns


def compress(train: Tensor, evaluated: Tensor, W: Tensor, unit: bool = False, room: Room = IN_MEMORY) -> Features:
    """Compress features if that makes them narrower.

    Args:
        train: Training rows, ``[N, d]``.
        evaluated: All rows that are evaluated, ``[N_all, d]``.
        W: The first layer's weights when training starts, ``[h, d]``.
        unit: Whether ``W`` is W_⊥ already, as a checkpoint kept it.
        room: Where matrices of many rows or columns come to lie.

    Returns:
        :class:`CompressedFeatures` if N + 1 < d and N is at most 5,000, else :class:`Features`.
    """
    N, d = train.shape
    if compressed_width(N, d) == d:
        return Features(train, evaluated)
    V, L = _row_space(train, room)
    inside = torch.cat([L, train.new_zeros(N, 1)], 1)
    outside = W if unit else torch.nn.functional.normalize(W - (W @ V) @ V.T)

    def products(right: Tensor) -> Tensor:
        return torch.mm(evaluated, right, out=room.empty(len(evaluated), right.shape[1], evaluated))

    return CompressedFeatures(inside, products(V), V, outside, products(outside.T))


def _row_space(train: Tensor, room: Room) -> tuple[Tensor, Tensor]:
    # V and L of X = L Vᵀ, by Cholesky of XXᵀ in float64: a fraction of the operations of a QR decomposition. What
    # rounding may take from a singular XXᵀ is added to it; V then falls short of unit columns where X̃ is next to 0.
    X = room.empty(len(train), train.shape[1], train.new_empty(0, dtype=torch.float64)).copy_(train)
    K = X @ X.T
    largest = K.diagonal().amax().clamp(min=torch.finfo(K.dtype).tiny)
    K.diagonal().add_(len(K) * torch.finfo(K.dtype).eps * largest)
    L = torch.linalg.cholesky(K)
    V = torch.linalg.solve_triangular(L, X, upper=False).T
    return V.to(train.dtype), L.to(train.dtype)


def chosen_units(
    train: Tensor, scale: str, rows_of_one: bool, total: float, row_sum: ShardSum, weight: Tensor | None = None
) -> tuple[Units | None, str]:
    """Return the units of a run, ``None`` for features as they are, and what they are in words.

    Args:
        train: Training rows that this process has, ``[N, d]``.
        scale: One of :data:`gamlp_admm.training.units.SCALES`.
        rows_of_one: Whether ``auto`` measures features in one unit where columns do not differ, else takes them as
            they are, unless they are very large or small, or far from 0.
        total: Weights of the training rows over all shards, summed; their number where they have none.
        row_sum: Sum over the shards of the rows.
        weight: Weights of the training rows, ``[N]``.

    Raises:
        InputError: The features are too large or too small for their dtype.
    """
    if scale == "none":
        return None, "features as they are"
    sizes = Sizes.of(train, row_sum, weight)
    if scale == "auto" and sizes.differ:
        units, words = sizes.units(rows_of_one), "a unit for each column: they differ by orders of magnitude"
    elif scale == "auto" and not rows_of_one and sizes.usual:
        return None, "features as they are"
    elif scale == "auto" and not rows_of_one:
        units, words = sizes.units(rows_of_one, by_column=False), "one unit: features are far from usual sizes"
    elif scale == "columns":
        units, words = Units.of(train, total, row_sum, True, weight), "a unit for each column"
    elif sizes.measurable(train.dtype):
        units, words = Units.of(train, total, row_sum, weight=weight), "one unit"
    else:
        units, words = sizes.unit, "one unit"
    info = torch.finfo(train.dtype)
    least, most = info.tiny * 2**20, info.max / 2**20
    if not bool(((units.length > least) & (units.length < most)).all()):
        raise InputError(
            f"data.x: features differ by {float(units.length.min()):.3g}, of which {train.dtype} has no reciprocal to "
            f"train with; allowed: from {least:.3g} to {most:.3g}"
        )
    return units, words


class Coordinates:
    """The coordinates of one run, in one process; where the first layer is not owned, there is nothing to change.

    Args:
        nodes: This process's rows; their features are measured in place.
        scale: One of :data:`gamlp_admm.training.units.SCALES`.
        rows_of_one: What ``auto`` does (:func:`chosen_units`).
        compressible: Whether features may be compressed.
        row_sum: Sum over the shards of the rows.

    Attributes:
        features: Features in these coordinates, once weights have entered them.
        words: What the units are.

    Raises:
        InputError: The features are too large or too small for their dtype.
    """

    def __init__(self, nodes: NodeData, scale: str, rows_of_one: bool, compressible: bool, row_sum: ShardSum) -> None:
        self.nodes, self.compressible = nodes, compressible
        self.units: Units | None = None
        self.features: Features | None = None
        self.words = ""
        if nodes.x is not None:
            train = nodes.x[: nodes.num_train]
            weighed = nodes.total_weight, row_sum, nodes.weight
            self.units, self.words = chosen_units(train, scale, rows_of_one, *weighed)
            if self.units is not None:
                self.units.measure_(nodes.x)

    def width(self, num_columns: int) -> int:
        """Return the number of columns of features in these coordinates."""
        return compressed_width(self.nodes.num_train, num_columns) if self.compressible else num_columns

    def fix(self, W: Tensor, unit: bool = False) -> Features:
        """Choose the basis where the first layer is owned; arguments as those of :func:`compress`."""
        x = self.nodes.x
        assert x is not None
        train = x[: self.nodes.num_train]
        self.features = compress(train, x, W, unit, self.nodes.room) if self.compressible else Features(train, x)
        return self.features

    def enter(self, weights: Weights, measured: bool) -> Weights:
        """Return a run's first weights in these coordinates, which they fix.

        Args:
            weights: (W, b) of the layers owned.
            measured: Whether the first layer's are for features in their units already, as those that are drawn.
        """
        if self.nodes.x is None:
            return weights
        (W, b), *rest = weights
        if self.units is not None and not measured:
            W, b = self.units.enter(W, b)
        return [(self.fix(W).enter(W), b), *rest]

    def leave(self, weights: Weights) -> Weights:
        """Return weights as the model has them."""
        if self.features is None:
            return weights
        (W, b), *rest = weights
        W = self.features.leave(W)
        return [(W, b) if self.units is None else self.units.leave(W, b), *rest]

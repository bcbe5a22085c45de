"""The features a run works on: training rows for the solver, evaluated rows for the forward pass.

Where there are fewer training rows than columns (Cora: 140 rows, 7,165 columns), the first layer is compressed
without changing any iterate: all its gradients lie in the row space of X.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Features used as they are.

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
        return torch.addmm(self.offset[low:high] * W[:, -1], self.evaluated[low:high], W[:, :-1].T)

    def state(self) -> dict[str, Tensor]:
        """See :meth:`Features.state`."""
        return {"outside": self.outside}


MOST_ROWS = 5_000  # the basis costs 4 N² d operations, once


def compressed_width(num_rows: int, num_columns: int) -> int:
    """Return the number of columns that :func:`compress` leaves of N × d training features."""
    return num_rows + 1 if 0 < num_rows + 1 < num_columns and num_rows <= MOST_ROWS else num_columns


def compress(train: Tensor, evaluated: Tensor, W: Tensor, unit: bool = False) -> Features:
    """Compress features if that makes them narrower.

    Args:
        train: Training rows, ``[N, d]``.
        evaluated: All rows that are evaluated, ``[N_all, d]``.
        W: The first layer's weights when training starts, ``[h, d]``.
        unit: Whether ``W`` is W_⊥ already, as a checkpoint kept it.

    Returns:
        :class:`CompressedFeatures` if N + 1 < d and N is at most 5,000, else :class:`Features`.
    """
    N, d = train.shape
    if compressed_width(N, d) == d:
        return Features(train, evaluated)
    V, R = torch.linalg.qr(train.T.double())
    V = V.to(train.dtype)
    inside = torch.cat([R.T.to(train.dtype), train.new_zeros(N, 1)], 1)
    outside = W if unit else torch.nn.functional.normalize(W - (W @ V) @ V.T)
    return CompressedFeatures(inside, evaluated @ V, V, outside, evaluated @ outside.T)

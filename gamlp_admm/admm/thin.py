"""Rows that are too many and too wide for a Gram matrix: thin products with them, and a majoriser of few directions."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.admm.nystrom import leading
from gamlp_admm.admm.stacked import RowSum, all_rows_here

SPARSE = 0.15
"""Share of entries up to which rows are kept compressed."""

RANK = 128
"""Directions of a sketch."""


def compressible(X: Tensor) -> bool:
    """Return whether most entries of each column of X ``[N, n]`` are its smallest, as those of bags of words are."""
    if X.is_cuda or not len(X):
        return False
    return float((X[:: max(len(X) // 256, 1)] != X.amin(0)).float().mean()) < SPARSE


class ThinRows:
    """Centred rows of a matrix that meets thin ones only: products with them are bound by reading it.

    Where most entries of each column are its smallest, even after centring (:func:`compressible`), what differs from it
    is kept in compressed rows, a tenth to read.

    Args:
        X: Features, ``[N, n]``.
        center: What is taken from every row, ``[n]``.

    Attributes:
        factors: What columns are multiplied by, ``[n]``, or ``None``.
    """

    factors: Tensor | None = None

    def __init__(self, X: Tensor, center: Tensor) -> None:
        self.X, self.center, self.shift = X, center, center
        self.kept: Any = None
        if compressible(X):
            from scipy.sparse import csr_matrix, vstack

            base = X.amin(0)
            self.kept = vstack([csr_matrix((rows - base).numpy()) for rows in torch.split(X, 1024)], format="csr")
            self.shift = center - base

    def scaled(self, factors: Tensor) -> ThinRows:
        """Return the same rows with columns multiplied by factors ``[n]``."""
        made = copy(self)
        made.factors = factors
        return made

    def entered(self, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return W ``[k, n]`` and b ``[k]`` for rows of X as they are."""
        W = W if self.factors is None else W * self.factors
        return W, b - W @ self.center

    def squares(self, weight: Tensor, row_sum: RowSum = all_rows_here) -> Tensor:
        """Return the weighted sum of squares of each column, ``[n]``, of rows that are not scaled.

        Args:
            weight: Weights of the rows, ``[N, 1]``.
            row_sum: Sum over the shards of the rows.
        """
        parts = zip(torch.split(self.X, 1024), torch.split(weight, 1024), strict=True)
        made = [((rows - self.center).square_() * s).sum(0) for rows, s in parts]
        total: Tensor = row_sum(torch.stack(made).sum(0) if made else torch.zeros_like(self.center))
        return total

    def times(self, V: Tensor) -> Tensor:
        """Return A V, ``[N, k]``, of a V ``[n, k]``."""
        V = V if self.factors is None else V * self.factors[:, None]
        return (self.X @ V if self.kept is None else torch.from_numpy(self.kept @ V.numpy())) - self.shift @ V

    def transposed(self, S: Tensor) -> Tensor:
        """Return Aᵀ S, ``[n, k]``, of an S ``[N, k]``."""
        XtS = self.X.T @ S if self.kept is None else torch.from_numpy(self.kept.T @ S.numpy())
        product = XtS - torch.outer(self.shift, S.sum(0))
        return product if self.factors is None else product * self.factors[:, None]


class Sketch:
    r"""A majoriser of AᵀA from few of its directions, for rows whose Gram matrix would take too long.

    The randomised range of AᵀA gives its leading eigenvectors U and values λ (Nyström); τ, the largest value of the
    rest, is estimated by its powers. A step against :math:`H (U \operatorname{diag}(λ + τ) U^T + τ (I - U U^T)) + c I`
    costs no more than a product with U.

    Source: Frangella, Tropp, Udell, SIAM J. Matrix Analysis and Applications 2023.

    Args:
        A: The rows.
        weight: Their weights s, ``[N, 1]``: what is majorised is AᵀSA.
        rank: Number of directions, at most.
        row_sum: Sum over the shards of the rows.
    """

    def __init__(self, A: ThinRows, weight: Tensor, rank: int = RANK, row_sum: RowSum = all_rows_here) -> None:
        like, n = A.X, A.X.shape[1]

        def product(V: Tensor) -> Tensor:
            return row_sum(A.transposed(A.times(V) * weight))

        generator = torch.Generator().manual_seed(0)
        normal = torch.randn(n, min(rank, n), generator=generator, dtype=torch.float64)
        test = torch.linalg.qr(product(torch.linalg.qr(normal).Q.to(like))).Q  # a power, which sharpens the directions
        self.U, self.values = leading(product, test)
        # What the directions leave of AᵀA is found by its powers.
        V = test[:, :8]
        for _ in range(3):
            V = torch.linalg.qr(V).Q
            V = product(V) - self.U @ (self.values[:, None] * (self.U.T @ V))
        self.rest = torch.maximum(1.2 * torch.linalg.matrix_norm(V, 2), self.values[-1])

    def step(self, gradient: Tensor, H: float, c: float) -> Tensor:
        """Return the gradient ``[C, n]`` times the inverse of the majoriser."""
        low = H * self.rest + c
        inside = gradient @ self.U
        step: Tensor = (gradient + (inside * (low / (H * (self.values + self.rest) + c) - 1)) @ self.U.T) / low
        return step

r"""Least squares with rows P that never change, solved through the normal equations of the smaller side.

.. math:: W = \arg\min_W \|D^{1/2}(P W^T - T)\|^2 + c\,\|W\|^2, \qquad P \in R^{N \times n},\; T \in R^{N \times k}

with D = diag(s) the weights of the rows. In the primal form, for N ≥ n, and in the dual form,

.. math::
    W = T^T D P\,(P^T D P + cI)^{-1} = \big[D^{1/2}(D^{1/2} P P^T D^{1/2} + cI)^{-1} D^{1/2} T\big]^T P .

The matrix and its Cholesky factors are made when they are first needed, always in float64, which costs about as much as
a few iterations; a factor serves every T as long as c stays the same. How precisely a factor is *applied* depends on
what rounding may do (:func:`coarse`). No ridge is added but where c is below the rounding of float64.

From some W, the primal form takes Newton's step W − G (PᵀDP + cI)⁻¹, G half the gradient at W. A step whose inverse has
a relative error δ leaves δ² of what the objective was above its minimum, so that a run, which starts every step from
the last one's W, refines its solutions as it goes. The residual itself needs no more than the precision of T: its
rounding is a perturbation of T, which least squares never amplify; what they do amplify is the rounding of Pᵀ times it.

Source: Saunders, Gammerman, Vovk, ICML 1998 (dual form); Higham, Accuracy and Stability of Numerical Algorithms, 2002,
chapters 10 and 12.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from gamlp_admm.admm.stacked import RowSum, all_rows_here

LOST = 1e-2
"""How much of a step rounding may spoil at worst. Of what an objective is above its minimum, less than the square of it
is then left, and as rounding goes in all directions, a thousandth of that where most eigenvalues are small."""

NOISE = 4e-7
"""What the rounding of a gradient may leave, of the sum of squares."""

KEPT = 2
"""Factors kept, of as many ratios c."""

COLUMN_BLOCKS = 8
"""Blocks of columns of a Gram matrix: 9/16 of the products of a full one are left."""

ENTRIES = 1 << 22
"""Entries of the rows of which a float64 copy is made at a time."""


def coarse(scale: float, c: float, dtype: torch.dtype) -> bool:
    """Whether ``dtype`` is too coarse to apply (H + cI)⁻¹ in, H of norm ``scale`` at most.

    Entries of the rounded inverse are wrong by ε/c, so that a step is wrong by ε ‖H‖/c of itself.
    """
    return not torch.finfo(dtype).eps * scale < LOST * c


def coarse_gradient(trace: float, c: float, dtype: torch.dtype) -> bool:
    """Whether ``dtype`` is too coarse to compute rᵀP in, ``trace`` = ‖P‖²_F.

    Rounding of ε ‖r‖ ‖P‖ is lifted by (H + cI)⁻¹, at most 1/c, and so by ε² ‖P‖²/c of ‖r‖² in the objective.
    """
    return not torch.finfo(dtype).eps ** 2 * trace < NOISE * c


def rounding(scale: float, size: int) -> float:
    """Return what float64 may add to the eigenvalues of a Gram matrix of a norm and a size: where none, any will do."""
    limits = torch.finfo(torch.float64)
    return max(4 * size * limits.eps * scale, math.sqrt(limits.tiny))


def gram_matrix(P: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return PᵀDP in float64, ``[n, n]``, by blocks of rows and columns of the lower triangle.

    BLAS has a routine for it that is a tenth faster, but torch does not offer it and SciPy's has threads of its own.

    Args:
        P: Rows, ``[N, n]``.
        weight: Weights of the rows, ``[N]``, or ``None`` for ones.
    """
    N, n = P.shape
    rows, columns = max(ENTRIES // max(n, 1), 1024), max(-(-n // COLUMN_BLOCKS), 64)
    H = torch.zeros(n, n, dtype=torch.float64, device=P.device)
    for i in range(0, N, rows):
        part = P[i : i + rows].double()
        left = part if weight is None else part * weight[i : i + rows, None]
        for j in range(0, n, columns):
            H[j:, j : j + columns].addmm_(left[:, j:].T, part[:, j : j + columns])
    for j in range(0, n, columns):
        block = H[j : j + columns, j : j + columns]
        block.copy_(block.tril() + block.tril(-1).T)
        H[j : j + columns, j + columns :] = H[j + columns :, j : j + columns].T
    return H


def cholesky(H: Tensor, c: float, scale: float | Tensor) -> Tensor:
    """Return the Cholesky factor of H + cI, or NaN where there is none, so that a run ends as one that is not finite.

    Args:
        H: A Gram matrix in float64, ``[n, n]``.
        c: The ridge; where it is below what rounding adds to H, that is taken instead.
        scale: Norm of H, or more; as a scalar tensor where the host does not know it.
    """
    H = H.clone()
    if isinstance(scale, Tensor):
        noise = scale.double() * rounding(1.0, len(H))
        H.diagonal().add_(noise.clamp(min=max(c, rounding(0.0, len(H)))))
    else:
        H.diagonal().add_(max(c, rounding(scale, len(H))))
    L, info = torch.linalg.cholesky_ex(H)
    return torch.where(info == 0, L, torch.nan)


@dataclass(frozen=True)
class Factor:
    """(H + cI)⁻¹ of a symmetric matrix H, ready to be applied.

    Attributes:
        L: The Cholesky factor in float64, where what is solved for is solved in float64.
        inverse: The inverse in the precision of the rows, where that is enough: as many operations in one product,
            which takes half of the time of two triangular solves.
    """

    L: Tensor | None = None
    inverse: Tensor | None = None

    @classmethod
    def of(cls, H: Tensor, c: float, scale: float, dtype: torch.dtype) -> Factor:
        """Factor H + cI for rows of a precision; arguments as :func:`cholesky`."""
        L = cholesky(H, c, scale)
        return cls(L) if coarse(scale, c, dtype) else cls(inverse=torch.cholesky_inverse(L).to(dtype))

    def apply(self, B: Tensor) -> Tensor:
        """Return (H + cI)⁻¹ B for ``B`` ``[n, k]``, in float64 if that is needed."""
        if self.inverse is not None:
            return torch.mm(self.inverse, B.to(self.inverse.dtype))
        assert self.L is not None
        return torch.cholesky_solve(B.double(), self.L)


class NormalEquations(ABC):
    """The normal equations of rows.

    Args:
        P: Rows, ``[N, n]``; not copied.
        weight: Weights of the rows, ``[N]``, or ``None`` for ones.
        row_sum: Sum over the shards of the rows.
    """

    def __init__(self, P: Tensor, weight: Tensor | None = None, row_sum: RowSum = all_rows_here) -> None:
        self.P, self.weight, self.row_sum = P, weight, row_sum

    @abstractmethod
    def fit(self, T: Tensor, c: float) -> Tensor:
        """Return W ``[k, n]``, the minimiser of ‖D^½(P Wᵀ − T)‖² + c ‖W‖² for ``T`` ``[N, k]``.

        Without c, one of the minimisers, near the shortest.
        """

    @abstractmethod
    def update(self, W: Tensor, M: Tensor, T: Tensor, c: float) -> tuple[Tensor, Tensor]:
        """Return the minimiser that is reached from some W, and its product with P.

        Without c, what rows do not see of W stays as it is.

        Args:
            W: Where it starts, ``[k, n]``.
            M: The product ``P Wᵀ``, ``[N, k]``.
            T: Targets, ``[N, k]``.
            c: The ridge, at least 0.
        """

    def _weighted(self, r: Tensor) -> Tensor:
        return r if self.weight is None else r * self.weight[:, None]


class Factored(NormalEquations):
    """Normal equations that are factored: a matrix of size m = min(n, N) and factors of it.

    They take at most 8(2 + KEPT)m² bytes: the matrix, the factors kept, and what is there while one is made. The matrix
    alone is at most twice as large as P in float32.
    """

    def __init__(self, P: Tensor, weight: Tensor | None = None, row_sum: RowSum = all_rows_here) -> None:
        super().__init__(P, weight, row_sum)
        self._matrix: Tensor | None = None
        self._factors: OrderedDict[float, Factor] = OrderedDict()
        self.scale = self.trace = 0.0

    @abstractmethod
    def _make(self) -> Tensor:
        """Return the matrix, in float64."""

    def tensors(self) -> list[Tensor]:
        """Return what is held beside P."""
        factors = [t for f in self._factors.values() for t in (f.L, f.inverse)]
        return [t for t in (self._matrix, *factors) if t is not None]

    def factor(self, c: float) -> Factor:
        """Return the factor for a ratio c, a new one if it is none of the last."""
        if self._matrix is None:
            self._matrix = self._make()
            self.trace = float(self._matrix.diagonal().sum())
            self.scale = min(float(torch.linalg.matrix_norm(self._matrix)), self.trace)
        if c in self._factors:
            self._factors.move_to_end(c)
            return self._factors[c]
        while len(self._factors) >= KEPT:
            self._factors.popitem(last=False)
        self._factors[c] = Factor.of(self._matrix, c, self.scale, self.P.dtype)
        return self._factors[c]


class Primal(Factored):
    """Columns × columns, for N ≥ n, and for any rows that are divided into shards, which sum their matrices."""

    def _make(self) -> Tensor:
        return self.row_sum(gram_matrix(self.P, self.weight))

    def fit(self, T: Tensor, c: float) -> Tensor:
        """See :meth:`NormalEquations.fit`."""
        return self._newton(None, -T, c)

    def update(self, W: Tensor, M: Tensor, T: Tensor, c: float) -> tuple[Tensor, Tensor]:
        """See :meth:`NormalEquations.update`."""
        W = self._newton(W, M - T, c)
        return W, self.P @ W.T

    def _newton(self, W: Tensor | None, r: Tensor, c: float) -> Tensor:
        factor, r = self.factor(c), self._weighted(r)
        if coarse_gradient(self.trace, c, self.P.dtype):
            G = r.new_zeros(r.shape[1], self.P.shape[1], dtype=torch.float64)
            rows = max(ENTRIES // self.P.shape[1], 1024)
            for i in range(0, len(r), rows):
                G.addmm_(r[i : i + rows].double().T, self.P[i : i + rows].double())
        else:
            G = r.T @ self.P
        G = self.row_sum(G)
        if W is None:
            return factor.apply(G.T).T.neg().to(self.P.dtype)
        return W.sub(factor.apply(G.add_(W, alpha=c).T).T).to(self.P.dtype)


class Dual(Factored):
    """Rows × rows, for N < n where a process has all of them.

    The minimiser is (αᵀ)P, whatever W was, without any difference of large numbers.
    """

    def _make(self) -> Tensor:
        K = gram_matrix(self.P.T)
        if self.weight is not None:
            root = self.weight.double().sqrt()
            K *= root[:, None] * root
        return K

    def _multipliers(self, T: Tensor, c: float) -> Tensor:
        # α = D^½(K + cI)⁻¹D^½T in float64, [N, k].
        factor = self.factor(c)
        if self.weight is None:
            return factor.apply(T)
        root = self.weight.sqrt()[:, None]
        return factor.apply(T * root) * root

    def _combine(self, alpha: Tensor) -> Tensor:
        # αᵀP in the precision of α, [k, n].
        if alpha.dtype == self.P.dtype:
            return alpha.T @ self.P
        return torch.cat([alpha.T @ part.to(alpha.dtype) for part in self._columns()], 1)

    def _columns(self) -> tuple[Tensor, ...]:
        return torch.split(self.P, max(ENTRIES // len(self.P), 64), 1)

    def fit(self, T: Tensor, c: float) -> Tensor:
        """See :meth:`NormalEquations.fit`."""
        return self._combine(self._multipliers(T, c)).to(self.P.dtype)

    def update(self, W: Tensor, M: Tensor, T: Tensor, c: float) -> tuple[Tensor, Tensor]:
        """See :meth:`NormalEquations.update`."""
        W = self.fit(T, c) if c > 0 else W + self.fit(T - M, c)
        return W, self.P @ W.T

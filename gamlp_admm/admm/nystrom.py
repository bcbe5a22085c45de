r"""Normal equations that are too large to factor: conjugate gradients, preconditioned by a randomised Nyström sketch.

With a sketch Y = HΩ of H = PᵀDP, Ω random ``[n, ℓ]``, the matrix Ĥ = Y(ΩᵀY)⁻¹Yᵀ = UΛUᵀ has about the ℓ largest
eigenvalues of H. Conjugate gradients on what

.. math:: U(\hat Λ + cI)^{-1}U^T(\hat λ_ℓ + c) + (I - UU^T)

preconditions see those eigenvalues as nearly one, and the rest of a spectrum between c and λ̂_ℓ + c. One sketch serves
every c. All k targets share the products, and each has step lengths of its own. They start from the last iteration's W,
a descent that is never undone, so that a few steps an iteration are enough.

Source: Frangella, Tropp, Udell, Randomized Nyström preconditioning, SIAM J. Matrix Analysis 2023, arXiv 2110.02820.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gamlp_admm.admm.normal import NormalEquations
from gamlp_admm.admm.stacked import RowSum, all_rows_here, squared_columns

RANK = 256
"""Columns ℓ of the sketch, at most."""

STEPS = 1
"""Steps of an update, each as many operations as a line search: 4Nnk, and little for the sketch."""

MOST_STEPS = 100
"""Steps of a fit from nothing, at most."""

PRECISION = 1e-4
"""How small a fit from nothing makes its gradient, in the norm of the preconditioner, beside the first one."""

SEED = 2_110_028


def leading(product: Callable[[Tensor], Tensor], omega: Tensor) -> tuple[Tensor, Tensor]:
    """Return about the leading eigenvectors U ``[n, ℓ]`` of H, and its eigenvalues ``[ℓ]``, largest first.

    Args:
        product: From V ``[n, ℓ]`` to HV.
        omega: Ω, orthonormal columns ``[n, ℓ]``.
    """
    limits = torch.finfo(omega.dtype)
    Y = product(omega).double()
    shift = len(omega) ** 0.5 * limits.eps * Y.norm().clamp(min=limits.tiny**0.25)
    Y = Y + shift * omega.double()
    core = omega.double().T @ Y
    L = torch.linalg.cholesky((core + core.T) / 2)
    Q, B = torch.linalg.qr(torch.linalg.solve_triangular(L, Y.T, upper=False).T)
    V, s, _ = torch.linalg.svd(B)
    # Of lower ones the vectors are noise, too, which would be divided by as much.
    values = torch.maximum(s.square() - shift, torch.maximum(limits.eps**0.5 * s[0].square(), shift))
    return (Q @ V).to(omega.dtype), values.to(omega.dtype)


class Iterative(NormalEquations):
    """Normal equations that are only ever multiplied with: whatever N and n, at 4n(RANK + 4k) + 8Nk bytes in float32.

    Args:
        P: Rows, ``[N, n]``; not copied.
        weight: Weights of the rows, ``[N]``, or ``None`` for ones.
        row_sum: Sum over the shards of the rows.
        rank: Columns of the sketch.
        steps: Steps of an update.
    """

    def __init__(
        self,
        P: Tensor,
        weight: Tensor | None = None,
        row_sum: RowSum = all_rows_here,
        rank: int = RANK,
        steps: int = STEPS,
    ) -> None:
        super().__init__(P, weight, row_sum)
        self.rank, self.steps = min(rank, P.shape[1]), steps
        self._sketch: tuple[Tensor, Tensor] | None = None
        self._scale: float | None = None

    def tensors(self) -> list[Tensor]:
        """Return what is held beside P."""
        return list(self._sketch or ())

    def fit(self, T: Tensor, c: float) -> Tensor:
        """See :meth:`NormalEquations.fit`; to :data:`PRECISION`."""
        W = T.new_zeros(T.shape[1], self.P.shape[1])
        return self._descend(self._gradient(-T), c, MOST_STEPS, PRECISION, W)[0]

    def update(self, W: Tensor, M: Tensor, T: Tensor, c: float) -> tuple[Tensor, Tensor]:
        """See :meth:`NormalEquations.update`: some steps towards it, none of which raises the objective."""
        G = self._gradient(M - T).add_(W, alpha=c)
        D, PDt = self._descend(G, c, self.steps, 0.0, torch.zeros_like(W), M)
        return W + D, PDt

    def _gradient(self, r: Tensor) -> Tensor:
        # rᵀDP, [k, n].
        return self.row_sum(self._weighted(r).T @ self.P)

    def _descend(
        self, G: Tensor, c: float, steps: int, precision: float, D: Tensor, M: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        # D ≈ −G (H + cI)⁻¹ by steps from D = 0, and M + P Dᵀ if there is an M. Below its rounding no curvature can be
        # told from noise: there the steps are those of a proximal point, which do not raise the objective either.
        c = max(c, torch.finfo(self.P.dtype).eps * self._largest())
        M = self.P.new_zeros(0) if M is None else M.clone()
        R, S = -G, self._precondition(-G, c)
        direction, rho = S, (R * S).sum(1)
        enough = precision**2 * rho
        for i in range(steps):
            image = self.P @ direction.T
            curvature = self.row_sum(self._curvature(image)).add_(direction.square().sum(1), alpha=c)
            length = torch.where(curvature > 0, (direction * R).sum(1) / curvature, 0)
            D = torch.addcmul(D, direction, length[:, None])
            if len(M):
                M.addcmul_(image, length)
            if i + 1 == steps:
                break
            R = torch.addcmul(R, self._gradient(image).add_(direction, alpha=c), length[:, None], value=-1)
            S = self._precondition(R, c)
            rho, before = (R * S).sum(1), rho
            if precision and bool((rho <= enough).all()):
                break
            direction = torch.addcmul(S, direction, torch.where(before > 0, rho / before, 0)[:, None])
        return D, M

    def _curvature(self, image: Tensor) -> Tensor:
        if self.weight is not None:
            image = image * self.weight.sqrt()[:, None]
        return squared_columns(image[None])[0]

    def _precondition(self, R: Tensor, c: float) -> Tensor:
        # R times the preconditioner: R − (R U) diag(1 − (λ_ℓ + c)/(λ + c)) Uᵀ.
        U, values = self.sketch()
        return R - (R @ U) * (1 - (values[-1] + c) / (values + c)) @ U.T

    def _largest(self) -> float:
        # λ̂_1, read once: a GPU is not waited for in every update.
        if self._scale is None:
            self._scale = float(self.sketch()[1][0])
        return self._scale

    def sketch(self) -> tuple[Tensor, Tensor]:
        """Return U ``[n, ℓ]`` and λ̂ ``[ℓ]``, largest first; the same whoever asks."""
        if self._sketch is None:
            n, l = self.P.shape[1], self.rank
            omega = torch.randn(n, l, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
            omega = torch.linalg.qr(omega)[0].to(self.P)
            self._sketch = leading(lambda V: self._gradient(self.P @ V).T, omega)
        return self._sketch

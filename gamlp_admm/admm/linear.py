r"""Linear models in closed form: ridge regression for every c at once, and any risk by majorisation.

Ridge regression of targets T on rows X with weights s has a bias b that is not held back,

.. math:: \min_{W,b} \; \tfrac12 \sum_i s_i \|W x_i + b - t_i\|^2 + \tfrac c2 \|W\|^2,

so features and targets are centred by their weighted means. With the rows :math:`\sqrt{s_i}(x_i - \bar x)` as A, and
:math:`\sqrt{s_i}(t_i - \bar t)` as B, one Gram matrix on the smaller side of A serves all c:

.. math:: W^T = (A^T A + cI)^{-1} A^T B = A^T (A A^T + cI)^{-1} B

and the leverage :math:`h_i = a_i^T (A^T A + cI)^{-1} a_i + s_i / \sum_j s_j` gives, without fitting N times, what the
model that is fitted to all other rows predicts of a row, :math:`t_i - (t_i - W x_i - b)/(1 - h_i)`.

Any other risk R with H-Lipschitz gradient lies below :math:`\tfrac H2 \|z - (z_0 - ∇R(z_0)/H)\|^2` up to a constant,
so the same factors minimise it step by step, with Nesterov's extrapolation.

Sources: Hoerl, Kennard, Technometrics 1970; the dual form: Saunders, Gammerman, Vovk, ICML 1998; leaving one out:
Allen, Technometrics 1974; the majoriser: Böhning, Ann. Inst. Stat. Math. 1992; restarts: O'Donoghue, Candès, Found.
Comput. Math. 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gamlp_admm.admm.stacked import RowSum, all_rows_here
from gamlp_admm.nn.losses import Risk

EIGEN = 1_000
"""Side of a Gram matrix up to which it is decomposed, which serves every c; a larger one is factored for each c."""

PROBES = 256
"""Random projections of which leverages are made: their relative error is about √(2/256) = 9 %."""

LEAST_SLACK, LEAST_ROUGH_SLACK = 1e-7, 0.05
"""Least 1 − h that is divided by: where it is known sharply, and where not."""


Empty = Callable[[int, int, Tensor], Tensor]
"""Makes a matrix of so many rows and columns to be written to, of the dtype and on the device of a tensor."""


def in_memory(rows: int, columns: int, like: Tensor) -> Tensor:
    """Make a matrix in memory (:data:`Empty`)."""
    return like.new_empty(rows, columns)


def gram(A: Tensor, wide: bool) -> Tensor:
    """Return AAᵀ where ``wide``, else AᵀA; of its entries only those on and below the diagonal are to be used."""
    if A.is_cuda or A.dtype not in (torch.float32, torch.float64):
        return A @ A.T if wide else A.T @ A
    from scipy.linalg.blas import dsyrk, ssyrk  # here, because scipy takes long to import

    syrk = ssyrk if A.dtype == torch.float32 else dsyrk  # half of the operations
    return torch.from_numpy(syrk(1.0, A.contiguous().numpy().T, trans=int(wide), lower=1))


def completed(T: Tensor, weight: Tensor | None = None, row_sum: RowSum = all_rows_here) -> Tensor:
    """Return targets ``[N, C]`` in which what is not known (NaN) stands at the mean of what is known of its column.

    Args:
        T: Targets of the rows that this process has.
        weight: The rows' weights, ``[N]``, or ``None`` for ones.
        row_sum: Sum over the shards of the rows.
    """
    unknown = T.isnan()
    if not row_sum(unknown.sum()):
        return T
    s = torch.ones_like(T[:, 0]) if weight is None else weight
    mean = row_sum(s @ T.nan_to_num(0)) / row_sum(s @ (~unknown).to(T)).clamp(min=torch.finfo(T.dtype).tiny)
    return torch.where(unknown, mean, T)


@dataclass(frozen=True)
class Centred:
    """Rows and targets about their weighted means, times the roots of the weights.

    Attributes:
        A: Rows, ``[N, n]``.
        B: Targets, ``[N, C]``.
        center: Mean of the features, ``[n]``.
        target: Mean of the targets, ``[C]``.
        share: s_i / Σ s, ``[N]``.
        even: Whether all rows weigh 1.
    """

    A: Tensor
    B: Tensor
    center: Tensor
    target: Tensor
    share: Tensor
    even: bool = True

    @classmethod
    def of(
        cls,
        X: Tensor,
        T: Tensor,
        weight: Tensor | None = None,
        row_sum: RowSum = all_rows_here,
        empty: Empty = in_memory,
    ) -> Centred:
        """Centre rows.

        Args:
            X: Features of the rows that this process has, ``[N, n]``.
            T: Their targets, ``[N, C]``.
            weight: Their weights s, ``[N]``, or ``None`` for ones.
            row_sum: Sum over the shards of the rows.
            empty: Makes the matrix in which A comes to lie.
        """
        s = torch.ones_like(T[:, 0]) if weight is None else weight
        share = s / row_sum(s.sum())
        center, target = row_sum(share @ X), row_sum(share @ T)
        A, B = torch.sub(X, center, out=empty(len(X), X.shape[1], X)), T - target
        if weight is not None:
            root = weight.sqrt()[:, None]
            A, B = A.mul_(root), B * root
        return cls(A, B, center, target, share, weight is None)

    def scaled_(self, factors: Tensor) -> Centred:
        """Return rows whose columns are multiplied by factors ``[n]``; these are overwritten."""
        return replace(self, A=self.A.mul_(factors), center=self.center * factors)

    def columns(self, low: int, high: int) -> Centred:
        """Return the same of some of the columns."""
        return replace(self, A=self.A[:, low:high], center=self.center[low:high])


class RidgePath:
    """The ridge regressions of centred rows, for any c > 0.

    Args:
        rows: The rows.
        H: Their :func:`gram`, where it is there already.
        row_sum: Sum over the shards of the rows; with shards the Gram matrix is that of the columns.
        divided: Whether there are shards.
        empty: Makes the matrix in which what leverages need comes to lie.
    """

    def __init__(
        self,
        rows: Centred,
        H: Tensor | None = None,
        row_sum: RowSum = all_rows_here,
        divided: bool = False,
        empty: Empty = in_memory,
    ) -> None:
        A, self.rows, self.empty = rows.A, rows, empty
        self.wide = A.shape[0] < A.shape[1] and not divided
        H = row_sum(gram(A, self.wide)) if H is None else H
        self.AtB = row_sum(A.T @ rows.B)
        self.factor: tuple[float, Tensor] | None = None
        self.squares: Tensor | None = None
        self.H, self.eigen = H, None
        if len(H) <= EIGEN:
            values, Q = torch.linalg.eigh(H.double())
            right = Q.T @ (rows.B if self.wide else self.AtB).double()
            self.eigen = values.clamp(min=0), Q, right

    def _factor(self, c: float) -> Tensor:
        # Cholesky factor of H + cI; NaN where rounding leaves it indefinite.
        if self.factor is None or self.factor[0] != c:
            H = self.H.clone(memory_format=torch.preserve_format)
            H.diagonal().add_(c)
            L, info = torch.linalg.cholesky_ex(H)
            self.factor = c, L if int(info) == 0 else torch.full_like(L, torch.nan)
        return self.factor[1]

    def solve(self, c: float) -> tuple[Tensor, Tensor]:
        """Return W ``[C, n]`` and b ``[C]`` for a c > 0."""
        A, B = self.rows.A, self.rows.B
        if self.eigen is not None:
            values, Q, right = self.eigen
            X = (Q @ (right / (values + c)[:, None])).to(A)
        else:
            X = torch.cholesky_solve(B if self.wide else self.AtB, self._factor(c))
        W = (A.T @ X if self.wide else X).T
        return W, self.rows.target - W @ self.rows.center

    def _turned(self, Q: Tensor) -> Tensor:
        A = self.rows.A
        return torch.mm(A, Q, out=self.empty(len(A), Q.shape[1], A))

    @property
    def leverage_is_sharp(self) -> bool:
        """Whether 1 − h, what :meth:`left_out` divides by, is known to a few per cent however near h is to 1."""
        return self.eigen is not None or self.wide

    def slack(self, c: float) -> Tensor:
        """Return 1 − h of each row, ``[N]``; where the Gram matrix was factored, from :data:`PROBES` projections.

        With L its factor, h is ‖L⁻¹a‖² + s/Σs, and 1 − h in the dual form c‖L⁻¹e‖² − s/Σs, which does not cancel where
        rows are fitted exactly; random projections keep norms.
        """
        A, share = self.rows.A, self.rows.share
        if self.eigen is not None:
            values, Q, _ = self.eigen
            if self.squares is None:
                self.squares = Q.square() if self.wide else self._turned(Q.to(A)).square_()
            if self.wide:
                exact: Tensor = self.squares @ (c / (values + c)) - share.double()
                return exact.to(A)
            slack: Tensor = 1 - self.squares @ (1 / (values + c)).to(A)
        else:
            L = self._factor(c)
            probes = torch.randn(len(L), PROBES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            spread = torch.linalg.solve_triangular(L.mT, probes.to(L) / PROBES**0.5, upper=True)
            slack = c * spread.square().sum(1) if self.wide else 1 - (A @ spread).square().sum(1)
        return slack - share

    def left_out(self, c: float, scores: Tensor, T: Tensor) -> Tensor:
        """Return what each row is predicted by the regression of the others, ``[N, C]``.

        Args:
            c: The c.
            scores: What the regression of all rows predicts, ``[N, C]``.
            T: The targets, ``[N, C]``.
        """
        missed = T - scores
        if self.eigen is not None and self.wide and self.rows.even:
            # Of rows that are fitted exactly, rounding would be left of the difference.
            values, Q, right = self.eigen
            missed = (Q @ (right * (c / (values + c))[:, None])).to(T)
        least = LEAST_SLACK if self.leverage_is_sharp else LEAST_ROUGH_SLACK
        honest: Tensor = T - missed / self.slack(c).clamp(min=least)[:, None]
        return honest


def extrapolated(
    step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    W: Tensor,
    b: Tensor,
    steps: int,
    seen: Callable[[Tensor, Tensor], bool] = lambda W, b: False,
) -> tuple[Tensor, Tensor]:
    """Iterate a step with Nesterov's extrapolation, which starts anew where it turns back.

    Args:
        step: From W ``[C, n]`` and b ``[C]`` to their next values.
        W: Where to begin.
        b: Where to begin.
        steps: Number of steps, at most.
        seen: Is shown each W and b, and says whether to stop.
    """
    Y, y, t = W, b, 1.0
    for _ in range(steps):
        W_new, b_new = step(Y, y)
        back = ((Y - W_new) * (W_new - W)).sum() + ((y - b_new) * (b_new - b)).sum() > 0
        t_new = 1.0 if back else (1 + (1 + 4 * t * t) ** 0.5) / 2
        momentum = 0.0 if back else (t - 1) / t_new
        Y, y = torch.lerp(W, W_new, 1 + momentum), torch.lerp(b, b_new, 1 + momentum)
        W, b, t = W_new, b_new, t_new
        if seen(W, b):
            break
    return W, b


class LastLayer:
    """A last layer on hidden outputs, for any risk: argmin Σ s R(W x + b, y) + c H/2 ‖W‖² by majorisation.

    Args:
        X: Hidden outputs, ``[N, h]``; they are measured in a unit of their own: centred rows of mean square 1.
        y: Targets in the risk's form, ``[N, C]``.
        risk: The risk.
        weight: Weights of the rows, ``[N]``, or ``None``.
        row_sum: Sum over the shards of the rows.
    """

    def __init__(self, X: Tensor, y: Tensor, risk: Risk, weight: Tensor | None, row_sum: RowSum) -> None:
        self.y, self.risk, self.row_sum = y, risk, row_sum
        self.weight = torch.ones_like(y[:, :1]) if weight is None else weight[:, None]
        self.total = row_sum(self.weight.sum())
        self.center = row_sum(self.weight.T @ X)[0] / self.total
        self.X = X - self.center
        spread = (row_sum(self.X.square().mul_(self.weight).sum()) / self.total).sqrt()
        self.unit = torch.where(spread > 0, spread, 1)
        self.X.div_(self.unit)
        self.H = row_sum((self.X * self.weight).T @ self.X).double()
        self.T = completed(risk.regressed(y), weight, row_sum)
        self.constant = row_sum((self.weight * self.T).sum(0)) / self.total

    def factor(self, c: float) -> Tensor:
        """Return the Cholesky factor of the weighted Gram matrix plus c."""
        L: Tensor = torch.linalg.cholesky(self.H + c * torch.eye(len(self.H), dtype=self.H.dtype, device=self.H.device))
        return L

    def ridge(self, L: Tensor) -> tuple[Tensor, Tensor]:
        """Return W and b of the regression on what the risk would have regressed, for a factor."""
        T = self.T - self.constant
        XtT = self.row_sum(self.X.T @ (T * self.weight))
        return torch.cholesky_solve(XtT.double(), L).T.to(XtT), self.constant

    def risk_step(self, L: Tensor, c: float, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next W and b of the majorised risk, for a factor of c."""
        slope = self.risk.slope(torch.addmm(b, self.X, W.T), self.y).mul_(self.weight).div_(self.risk.smoothness)
        gradient = self.row_sum(torch.cat([slope.T @ self.X, slope.sum(0)[:, None]], 1))
        step = torch.cholesky_solve((gradient[:, :-1] + c * W).T.double(), L).T
        return W - step.to(W), b - gradient[:, -1] / self.total

    def entered(self, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return W and b for hidden outputs as they are."""
        W = W / self.unit
        return W, b - W @ self.center

r"""Risks R(z, y) of the last layer: value, score of a prediction, and prox.

The last z-block of every ADMM variant is, row by row (pdADMM-G, TNNLS 2022, eq. 9),

.. math:: \operatorname{prox}(m) = \operatorname{argmin}_z \; R(z, y) + \nu/2\,\|z - m\|^2

whatever the row weighs: its weight is a factor of both terms. Risks are sums over rows, as in the papers, so that ν and
ρ keep their scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from gamlp_admm.errors import unknown
from gamlp_admm.nn import passes
from gamlp_admm.nn.constants import constant
from gamlp_admm.nn.descent import sigmoid_prox, softmax_prox
from gamlp_admm.nn.native import native


class Risk(ABC):
    """A separable risk R(z, y), convex in each row of z.

    Attributes:
        name: The name by which :func:`risk` finds it.
        smoothness: Lipschitz constant H of the gradient of a row's risk (dlADMM converges for ρ > 2H).
        matrix: What a target matrix ``[N, C]`` may hold: ``labels`` (0 to 1), ``values`` (any), or ``None`` where the
            risk takes classes ``[N]`` only.
        row_by_row: Whether its prox gives a row the same bits whatever other rows are there.
    """

    name: str
    smoothness: float
    matrix: str | None = None
    row_by_row: bool = False

    @abstractmethod
    def target(self, y: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        """Return classes ``y`` ``[N]`` (or a matrix ``[N, C]``) as the other methods take them: ``[N, C]`` floats."""

    @abstractmethod
    def rows(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the risk of each row, ``[N]``, of outputs ``z`` ``[N, C]`` and targets ``y`` ``[N, C]``."""

    @abstractmethod
    def prox(self, m: Tensor, y: Tensor, nu: float, start: Tensor) -> Tensor:
        """Return argmin_z R(z, y) + ν/2 ‖z − m‖², row by row.

        Args:
            m: Centre, ``[N, C]``.
            y: Targets, ``[N, C]``.
            nu: Penalty ν > 0.
            start: Where an iterative prox begins, ``[N, C]`` (the previous z).
        """

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the gradient of each row's risk in its outputs, ``[N, C]``."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.rows(z, y).sum(), z)
        return gradient

    def regressed(self, y: Tensor) -> Tensor:
        """Return what a linear regression is to give for targets ``y``, in the scale of the outputs, ``[N, C]``."""
        return y

    def value(self, z: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the weighted sum of the rows' risks, a scalar."""
        rows = self.rows(z, y)
        return rows.sum() if weight is None else rows @ weight

    def scoring(self, kind: str) -> Risk:
        """Return the risk as it scores targets of a kind: ``classes``, one a row, ``labels`` or ``values``."""
        return self

    def score_sums(self, z: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return what :meth:`score` needs, as float64 sums over rows, which add up over parts of the rows.

        The second is how much there is that counts: without any there is no score.

        Args:
            z: Outputs, ``[N, C]``.
            y: Targets, ``[N, C]``.
            weight: How often each row counts, ``[N]``; ``None`` for once.
        """
        return _sums(weight, z.argmax(-1) == y.argmax(-1), _ones(z))

    def score(self, sums: Tensor) -> float:
        """Return how well outputs predict targets, 1 is perfect: accuracy unless the risk says otherwise.

        Metrics other than accuracy and R² are in :mod:`gamlp_admm.training.metrics`.

        Args:
            sums: What :meth:`score_sums` returned.
        """
        return float(sums[0] / sums[1])

    def probabilities(self, z: Tensor) -> Tensor:
        """Return class probabilities ``[N, C]`` for outputs ``z``."""
        return torch.softmax(z, -1)

    def __repr__(self) -> str:
        return f"risk({self.name!r})"


def _ones(z: Tensor) -> Tensor:
    return z.new_ones(len(z), dtype=torch.bool)


def _sums(weight: Tensor | None, *terms: Tensor) -> Tensor:
    # Sums over rows of terms [N], as often as each counts, in float64.
    if weight is None:
        return torch.stack([term.sum().double() for term in terms])
    return torch.stack([term.double() @ weight.double() for term in terms])


class CrossEntropy(Risk):
    """Softmax cross-entropy. Its prox is Newton's method a row, with the Hessian inverted by Sherman–Morrison.

    The papers run up to 50 FISTA steps here. The Hessian diag π − ππᵀ + νI is diagonal minus rank one, so a
    Newton step costs no more than a gradient step; halving the step until the value falls makes it safe for
    any ν, and a handful of steps reach rounding error.
    """

    name = "cross_entropy"
    smoothness = 0.5
    row_by_row = True
    steps = 50

    def target(self, y: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        return one_hot(y, num_classes, dtype)

    def rows(self, z: Tensor, y: Tensor) -> Tensor:
        return -(torch.log_softmax(z, -1) * y).sum(-1)  # logsumexp(z) − z·y would cancel

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.softmax(z, -1).sub_(y)

    def regressed(self, y: Tensor) -> Tensor:
        """Four times the one-hot rows, centred: logits whose softmax is steep enough to be told from noise."""
        return 4 * (y - 1 / y.shape[-1])

    def prox(self, m: Tensor, y: Tensor, nu: float, start: Tensor) -> Tensor:
        if not m.numel():
            return m
        if m.is_cuda:
            return softmax_prox(self.rows, m, y, nu, start)

        def value(z: Tensor, away: Tensor) -> Tensor:  # away = z − m
            return _penalized(torch.log_softmax(z, -1), y, away, nu / 2)

        tenth, two, noise = (constant(x, m) for x in (0.1, 2.0, 4 * torch.finfo(m.dtype).eps))
        z, away = start, start - m
        v = value(z, away)
        for _ in range(self.steps):
            step, decrease, open_rows = _newton(torch.softmax(z, -1), y, away, v, nu)
            if not open_rows.any():
                return z - step  # one full step from within rounding of the minimum squares what error is left
            for _ in range(self.steps):
                z_new = z - step
                away = z_new - m
                v_new = value(z_new, away)
                settled = v_new <= (v - decrease * tenth).add_(v.abs() * noise)
                short = open_rows > settled  # open and not settled
                if not short.any():
                    break
                step = torch.where(short[:, None], step / two, step)
                decrease = torch.where(short, decrease / two, decrease)
            z = torch.where(open_rows[:, None], z_new, z)
            v, away = torch.where(open_rows, v_new, v), z - m
        return z


@native(passes.penalized)
def _penalized(log_pi: Tensor, y: Tensor, away: Tensor, half: float) -> Tensor:
    # −y · log π + ν/2 ‖away‖² of each row, [N].
    return (log_pi * y).sum(-1).neg().add_(away.square().sum(-1).mul_(constant(half, away)))


@native(passes.newton)
def _newton(pi: Tensor, y: Tensor, away: Tensor, v: Tensor, nu: float) -> tuple[Tensor, Tensor, Tensor]:
    # Newton's step, its decrement (twice the expected decrease), and whether it is above rounding, of rows at value v.
    penalty, one, limit = (constant(x, pi) for x in (nu, 1.0, 8 * torch.finfo(pi.dtype).eps))
    gradient = (pi - y).add_(away * penalty)
    d = pi + penalty
    a, c = gradient / d, pi / d
    # The denominator 1 − π·c of Sherman–Morrison is ν Σc, which does not cancel.
    pull = (pi * a).sum(-1, keepdim=True).div_(c.sum(-1, keepdim=True).mul_(penalty))
    step = c.mul_(pull).add_(a)
    decrease = gradient.mul_(step).sum(-1)
    return step, decrease, decrease > (v.abs() + one).mul_(limit)


class SquaredError(Risk):
    """½ ‖z − y‖², for regression (``y`` ``[N, C]``) or one-hot classes."""

    name = "squared_error"
    smoothness = 1.0
    row_by_row = True
    matrix = "values"

    def target(self, y: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        if y.ndim == 1:
            return one_hot(y, num_classes, dtype)
        return y.to(dtype)

    def rows(self, z: Tensor, y: Tensor) -> Tensor:
        return (z - y).square().sum(-1) / 2

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        return z - y

    def prox(self, m: Tensor, y: Tensor, nu: float, start: Tensor) -> Tensor:
        return (y + nu * m) / (1 + nu)

    def score_sums(self, z: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """See :meth:`Risk.score_sums`: hits, rows, one-hot rows, squared error, Σy² and the columns' Σy."""
        z, y = z.double(), y.double()
        hits = z.argmax(-1) == y.argmax(-1)
        squares = (z - y).square(), y.square()
        if weight is None:
            counts = _sums(None, hits, _ones(z), one_hot_rows(y))
            return torch.cat([counts, torch.stack([each.sum() for each in squares]), y.sum(0)])
        sums = _sums(weight, hits, _ones(z), one_hot_rows(y), *(each.sum(-1) for each in squares))
        return torch.cat([sums, weight.double() @ y])

    def score(self, sums: Tensor) -> float:
        """Accuracy for one-hot targets, else the coefficient of determination R² (of constant targets 1 or 0).

        Of several columns R² is of all their squares, that of scikit-learn with ``multioutput="variance_weighted"``.
        """
        hits, rows, one_hot, error, squares = sums[:5].tolist()
        if rows == one_hot:
            return float(hits / rows)
        spread = squares - float(sums[5:].square().sum()) / rows
        return 1 - error / spread if spread > 0 else float(error == 0)

    def probabilities(self, z: Tensor) -> Tensor:
        clipped = z.clamp(min=0)
        total = clipped.sum(-1, keepdim=True)
        return torch.where(total > 0, clipped / total, torch.full_like(z, 1 / z.shape[-1]))


class BinaryCrossEntropy(Risk):
    """Sigmoid cross-entropy summed over labels, for multi-label targets ``[N, C]`` of zeros and ones, NaN if unknown.

    What is not known has no part in the risk: its prox is the centre, its slope 0.
    """

    name = "binary_cross_entropy"
    smoothness = 0.25
    matrix = "labels"
    steps = 100

    def target(self, y: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        if y.ndim == 1:
            return one_hot(y, num_classes, dtype)
        return y.to(dtype)

    def rows(self, z: Tensor, y: Tensor) -> Tensor:
        return -torch.where(y.isnan(), 0, _log_likelihood(z, y.nan_to_num(0.5))).sum(-1)

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.where(y.isnan(), 0, torch.sigmoid(z).sub_(y))

    def regressed(self, y: Tensor) -> Tensor:
        """The logits of which σ, linear around 0, is y."""
        return 4 * y - 2

    def prox(self, m: Tensor, y: Tensor, nu: float, start: Tensor) -> Tensor:
        if not m.numel():
            return m
        # The minimiser solves σ(z) − y + ν(z − m) = 0, whose left side rises in z: Newton within a bracket.
        unknown, y = y.isnan(), y.nan_to_num(0.5)
        if m.is_cuda:
            return torch.where(unknown, m, sigmoid_prox(lambda z, y: -_log_likelihood(z, y), m, y, nu, start))
        low, high = m - (1 - y) / nu, m + y / nu
        z = start.clamp(low, high)
        eps = torch.finfo(m.dtype).eps
        for _ in range(self.steps):
            s = torch.sigmoid(z)
            slope = (s - y) + nu * (z - m)
            low, high = torch.where(slope < 0, z, low), torch.where(slope < 0, high, z)
            newton = z - slope / (s * (1 - s) + nu)
            # z is one end of the bracket. Where σ is flat Newton leaps to the other end and back: bisect instead.
            usable = (newton - z).abs() < (high - low) / 2
            z_new = torch.where(usable, newton, (low + high) / 2)
            moved = ((z_new - z).abs() / (1 + z.abs())).amax()
            z = z_new
            if moved <= 4 * eps:
                break
        return torch.where(unknown, m, z)

    def scoring(self, kind: str) -> Risk:
        """See :meth:`Risk.scoring`; of one class a row the largest output counts."""
        return OneAgainstTheRest() if kind == "classes" else self

    def score_sums(self, z: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Count labels that are known, over all nodes and classes, on the right side of one half."""
        known = ~y.isnan()
        hits = ((z > 0) == (y > 0.5)) & known
        return _sums(weight, hits.sum(-1), known.sum(-1))

    def probabilities(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z)


def _log_likelihood(z: Tensor, y: Tensor) -> Tensor:
    # Of labels y. softplus(z) − zy would cancel (torch's own loss does), and F.softplus drops what lies below e^-20.
    return torch.lerp(F.logsigmoid(-z), F.logsigmoid(z), y)


class OneAgainstTheRest(BinaryCrossEntropy):
    """Sigmoid cross-entropy of one class a row against the rest, scored as all risks of classes are."""

    score_sums = Risk.score_sums


class SquaredHinge(Risk):
    """Σ_j max(0, 1 − t_j z_j)², t = ±1: one against the rest, with a closed-form prox."""

    name = "squared_hinge"
    smoothness = 2.0
    row_by_row = True

    def target(self, y: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        return one_hot(y, num_classes, dtype) * 2 - 1

    def rows(self, z: Tensor, y: Tensor) -> Tensor:
        return (1 - y * z).clamp(min=0).square().sum(-1)

    def slope(self, z: Tensor, y: Tensor) -> Tensor:
        return -2 * y * (1 - y * z).clamp_(min=0)

    def prox(self, m: Tensor, y: Tensor, nu: float, start: Tensor) -> Tensor:
        return torch.where(y * m >= 1, m, (2 * y + nu * m) / (2 + nu))


def one_hot(y: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Return the one-hot rows ``[N, C]`` of classes ``[N]``: torch's own come in 64 bits, whatever is asked for."""
    return torch.zeros(len(y), num_classes, dtype=dtype, device=y.device).scatter_(1, y[:, None], 1)


def one_hot_rows(y: Tensor) -> Tensor:
    """Return which rows of targets ``[N, C]`` have a 1 in one of several columns and 0 in the others, ``[N]``."""
    return ((y == 0) | (y == 1)).all(-1) & (y.sum(-1) == 1) & (y.shape[-1] > 1)


RISKS: dict[str, Risk] = {r.name: r for r in (CrossEntropy(), SquaredError(), BinaryCrossEntropy(), SquaredHinge())}


def risk(name: str | Risk) -> Risk:
    """Return the risk of that name.

    Args:
        name: One of ``cross_entropy``, ``squared_error``, ``binary_cross_entropy``, ``squared_hinge``.

    Raises:
        InputError: The name is not known.

    Example:
        >>> import torch
        >>> from gamlp_admm.nn import risk
        >>> R, z = risk("cross_entropy"), torch.randn(6, 3)
        >>> y = R.target(torch.tensor([0, 1, 2, 0, 1, 2]), 3, z.dtype)
        >>> near = R.prox(z, y, 2.0, z)  # minimises R(x, y) + 2.0/2 ‖x − z‖²
        >>> bool(R.value(near, y) < R.value(z, y))
        True
    """
    if isinstance(name, Risk):
        return name
    if name not in RISKS:
        raise unknown("loss", name, RISKS)
    return RISKS[name]

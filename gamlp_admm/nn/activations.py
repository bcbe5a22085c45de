r"""Activation functions f and the z-block of a hidden layer.

Every ADMM variant of the papers asks the same scalar question of f, entry by entry:

.. math:: \operatorname{argmin}_z \; a\,(z - c)^2 + (f(z) - q)^2

pdADMM-G (TNNLS 2022, eq. 8) has :math:`a = 2,\; c = (m + z^k)/2`; dlADMM (KDD 2019, eq. 6) has
:math:`a = 1,\; c = m`. Piecewise-linear f have a closed form, smooth f a safeguarded Newton iteration;
both return the global minimiser.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.nn.constants import constant


class Activation(ABC):
    """An activation f and the exact minimiser of the hidden z-block.

    Attributes:
        name: The name by which :func:`activation` finds it.
        lipschitz: Lipschitz constant S of f (enters the convergence condition on ρ and ν).
        inverse: Inverse of f within its range; ``None`` where f is not monotone.
        limits: Infimum and supremum of f.
    """

    name: str
    lipschitz: float
    inverse: Callable[[Tensor], Tensor] | None = None
    limits: tuple[float, float] = (-math.inf, math.inf)

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """Return f(z), entry by entry."""

    @abstractmethod
    def argmin(self, c: Tensor, q: Tensor, a: float) -> Tensor:
        """Return the global minimiser of a (z − c)² + (f(z) − q)², entry by entry.

        Args:
            c: Centre of the quadratic term, any shape.
            q: Value that f(z) should have, same shape.
            a: Weight of the quadratic term, positive.
        """

    def preimage(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return the interval of z in which low ≤ f(z) ≤ high, for a monotone f.

        Bounds that lie on the wrong side of all that f can be are taken for the nearest that it can.

        Args:
            low: Lower bounds of f(z), any shape.
            high: Upper bounds, same shape.

        Raises:
            InputError: f is not monotone, so that the set is no interval.
        """
        if self.inverse is None:
            monotone = ", ".join(f.name for f in ACTIVATIONS.values() if f.inverse is not None)
            raise InputError(f"activation {self.name} is not monotone; allowed: {monotone}")
        least, most = self.limits
        z_low = torch.where(low > least, self.inverse(low.clamp(max=most)), -math.inf)
        z_high = torch.where(high < most, self.inverse(high.clamp(min=least)), math.inf)
        return z_low, z_high

    def __repr__(self) -> str:
        return f"activation({self.name!r})"


@dataclass(frozen=True, repr=False)
class PiecewiseLinear(Activation):
    """f made of linear pieces: on [low, high], f(z) = slope·z + offset. One candidate a piece, clipped to it."""

    name: str
    function: Callable[[Tensor], Tensor]
    pieces: tuple[tuple[float, float, float, float], ...]  # (low, high, slope, offset)
    inverse: Callable[[Tensor], Tensor] | None = None
    limits: tuple[float, float] = (-math.inf, math.inf)

    @property
    def lipschitz(self) -> float:  # type: ignore[override]
        """The steepest slope."""
        return max(abs(slope) for _, _, slope, _ in self.pieces)

    def __call__(self, z: Tensor) -> Tensor:
        return self.function(z)

    def argmin(self, c: Tensor, q: Tensor, a: float) -> Tensor:
        best = best_value = None
        for low, high, slope, offset in self.pieces:
            z = ((a * c + slope * (q - offset)) / (a + slope**2)).clamp_(low, high)
            value = a * (z - c).square_() + (slope * z + offset - q).square_()
            if best is None or best_value is None:
                best, best_value = z, value
            else:
                better = value < best_value
                best, best_value = torch.where(better, z, best), torch.where(better, value, best_value)
        assert best is not None
        return best


def _same(x: Tensor) -> Tensor:
    return x


class ReLU(PiecewiseLinear):
    """ReLU: comparing the values of its two candidates comes down to the sign of a weighted mean of c and q."""

    def __init__(self) -> None:
        pieces = ((-math.inf, 0.0, 0.0, 0.0), (0.0, math.inf, 1.0, 0.0))
        super().__init__("relu", torch.relu, pieces, inverse=_same, limits=(0.0, math.inf))

    def argmin(self, c: Tensor, q: Tensor, a: float) -> Tensor:
        # z⁺ = max((a c + q)/(a + 1), 0) beats z⁻ = min(c, 0) where κ(q − c) < q, κ = √(a/(a+1)): for c ≤ 0
        # this compares the two values a/(a+1)·(q − c)² and q²; for c > 0 both candidates agree where it fails.
        kappa = math.sqrt(a / (a + 1))
        # Chosen by a weight of 1 or 0, which is exact: torch.where costs ten times as much on the CPU.
        passive = torch.lerp(c, q, 1 - kappa).le_(constant(0.0, c))
        return torch.lerp(c, q, 1 / (a + 1)).clamp_min_(0).lerp_(c.clamp_max(0), passive)


@dataclass(frozen=True, repr=False)
class Smooth(Activation):
    """A twice differentiable f. The minimiser is bracketed, sampled, then polished by safeguarded Newton.

    ``derivatives(z)`` returns (f, f′, f″). The minimiser z* of a (z − c)² + (f(z) − q)² satisfies
    |z* − c| ≤ |f(c) − q|/√a, because its value cannot exceed the one at c. The problem may have several
    local minima (f saturates), so the best of some samples in that bracket decides where Newton starts.
    """

    name: str
    derivatives: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    function: Callable[[Tensor], Tensor]
    lipschitz: float
    bend: float = 5.0  # f is all but piecewise linear outside [−bend, bend]
    samples: int = 24
    steps: int = 30
    inverse: Callable[[Tensor], Tensor] | None = None
    limits: tuple[float, float] = (-math.inf, math.inf)

    def __call__(self, z: Tensor) -> Tensor:
        return self.function(z)

    def argmin(self, c: Tensor, q: Tensor, a: float) -> Tensor:
        def value(z: Tensor) -> Tensor:
            return a * (z - c).square() + (self.function(z) - q).square()

        radius = (self.function(c) - q).abs() / math.sqrt(a)
        low, high = c - radius, c + radius
        bend_low, bend_high = low.clamp(-self.bend, self.bend), high.clamp(-self.bend, self.bend)
        z, best, step = c, value(c), (bend_high - bend_low) / self.samples
        for i in range(self.samples + 1):
            sample = bend_high if i == self.samples else bend_low + i * step
            f, d1, d2 = self.derivatives(sample)
            slope, curvature = _slope(sample, c, q, a, f, d1), _curvature(q, a, f, d1, d2)
            # One Newton step tells apart minima that samples alone would confuse. From the ends it may leave the
            # bend, where f is straight, so f″ (which a distant q would magnify) is left out.
            at_end = i in (0, self.samples)
            straight = 2 * a + 2 * d1.square()
            newton = sample - slope / (straight if at_end else torch.where(curvature > 0, curvature, straight))
            newton = newton.clamp(low, high) if at_end else newton.clamp(sample - step, sample + step)
            for candidate in (sample, newton):
                sampled = value(candidate)
                better = sampled < best
                z, best = torch.where(better, candidate, z), torch.where(better, sampled, best)
        # Within the bend the samples bracket the minimum; outside it f is flat or straight and one bracket does.
        inside = (z > -self.bend) & (z < self.bend)
        low = torch.where(inside, torch.maximum(low, z - step), low)
        high = torch.where(inside, torch.minimum(high, z + step), high)

        # Each entry ends by itself, so that its bits do not depend on which others are solved beside it.
        start, done = z, torch.zeros_like(z, dtype=torch.bool)
        for _ in range(self.steps):
            f, d1, d2 = self.derivatives(z)
            slope, curvature = _slope(z, c, q, a, f, d1), _curvature(q, a, f, d1, d2)
            low, high = torch.where(slope < 0, z, low), torch.where(slope < 0, high, z)
            newton = z - slope / curvature
            usable = (curvature > 0) & (newton >= low) & (newton <= high)
            z_new = torch.where(done, z, torch.where(usable, newton, (low + high) / 2))
            done |= (z_new - z).abs() <= 4 * torch.finfo(z.dtype).eps * (1 + z_new.abs())
            z = z_new
            if not z.is_cuda and bool(done.all()):  # a GPU is not waited for
                break
        return torch.where(value(z) <= best, z, start)


def _slope(z: Tensor, c: Tensor, q: Tensor, a: float, f: Tensor, d1: Tensor) -> Tensor:
    return 2 * a * (z - c) + 2 * (f - q) * d1


def _curvature(q: Tensor, a: float, f: Tensor, d1: Tensor, d2: Tensor) -> Tensor:
    return 2 * a + 2 * d1.square() + 2 * (f - q) * d2


# torch.sigmoid, F.silu, F.gelu and torch.atanh round the last few entries of a tensor otherwise than whole vectors, so
# that what an entry becomes would depend on how many lie beside it: on the process that holds it, or the thread. Of
# exp, ndtr, log1p and tanh every entry is rounded alike.
def sigmoid(z: Tensor) -> Tensor:
    """Return 1 / (1 + exp(−z)), each entry by itself."""
    most = -math.log(torch.finfo(z.dtype).max) + 1  # whose exponential is finite, which its derivative needs
    return torch.exp(-z.clamp(min=most)).add(1).reciprocal()


def silu(z: Tensor) -> Tensor:
    """Return z / (1 + exp(−z)), each entry by itself."""
    return z * sigmoid(z)


def gelu(z: Tensor) -> Tensor:
    """Return z Φ(z), Φ the normal distribution function, each entry by itself."""
    normal: Tensor = torch.special.ndtr(z)
    return z * normal


def _tanh(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    f = torch.tanh(z)
    d1 = 1 - f.square()
    return f, d1, -2 * f * d1


def _sigmoid(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    f = sigmoid(z)
    d1 = f * (1 - f)
    return f, d1, d1 * (1 - 2 * f)


def _gelu(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    cdf = torch.special.ndtr(z)
    pdf = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return z * cdf, cdf + z * pdf, (2 - z.square()) * pdf


def _silu(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s = sigmoid(z)
    d1 = s * (1 - s)
    return z * s, s + z * d1, d1 * (2 + z * (1 - 2 * s))


def _inside(x: Tensor, low: float, high: float) -> Tensor:
    # Off the ends of (low, high), where an inverse is infinite.
    margin = 4 * torch.finfo(x.dtype).eps
    return x.clamp(low + margin, high - margin)


def _leaky_inverse(x: Tensor) -> Tensor:
    return torch.minimum(x, 100 * x)


def _tanh_inverse(x: Tensor) -> Tensor:
    x = _inside(x, -1, 1)
    return (torch.log1p(x) - torch.log1p(-x)) / 2


def _sigmoid_inverse(x: Tensor) -> Tensor:
    return torch.logit(_inside(x, 0, 1))


_INF = math.inf
ACTIVATIONS: dict[str, Activation] = {
    f.name: f
    for f in (
        ReLU(),
        PiecewiseLinear(
            "leaky_relu",
            F.leaky_relu,
            ((-_INF, 0.0, 0.01, 0.0), (0.0, _INF, 1.0, 0.0)),
            inverse=_leaky_inverse,
        ),
        PiecewiseLinear(
            "hardtanh",
            F.hardtanh,
            ((-_INF, -1.0, 0.0, -1.0), (-1.0, 1.0, 1.0, 0.0), (1.0, _INF, 0.0, 1.0)),
            inverse=_same,
            limits=(-1.0, 1.0),
        ),
        Smooth("tanh", _tanh, torch.tanh, lipschitz=1.0, inverse=_tanh_inverse, limits=(-1.0, 1.0)),
        Smooth("sigmoid", _sigmoid, sigmoid, lipschitz=0.25, bend=10.0, inverse=_sigmoid_inverse, limits=(0.0, 1.0)),
        Smooth("gelu", _gelu, gelu, lipschitz=1.13),
        Smooth("silu", _silu, silu, lipschitz=1.1, bend=10.0),
    )
}


def activation(name: str | Activation) -> Activation:
    """Return the activation of that name.

    Args:
        name: One of ``relu``, ``leaky_relu``, ``hardtanh``, ``tanh``, ``sigmoid``, ``gelu``, ``silu``.

    Raises:
        InputError: The name is not known.

    Example:
        >>> import torch
        >>> from gamlp_admm.nn import activation
        >>> activation("relu")(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
        >>> activation("tanh").lipschitz
        1.0
    """
    if isinstance(name, Activation):
        return name
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]

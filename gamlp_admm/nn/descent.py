r"""Proxes of convex risks in a fixed number of steps, which never ask the host whether they are done.

A GPU computes on while the host sends it what comes next; a loop that ends on what it finds makes both wait for each
other, and cannot be captured in a CUDA graph. So there is no such loop here. Each step is a Newton step, or, if that is
better, a damped one. With s the Newton step and d bounding the third derivative along it,
:math:`|φ'''(t)| \le d\,φ''(t)` for φ(t) = F(z − ts), the length

.. math:: t = \ln(1 + d)/d

minimises an upper bound of φ, so that F never rises, wherever the steps start. A prox that is not at rest after the
last step goes on from there in the next iteration.

Source: Sun, Tran-Dinh, Generalized self-concordant functions, Math. Programming 2019, arXiv 1703.04599 (ν = 2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 10
"""Newton steps of a prox. From the last iteration's z, 3 to 5 reach rounding error as a rule."""

Map = Callable[[Tensor], Tensor]


def descend(z: Tensor, newton: Map, value: Map, bound: Map, steps: int = STEPS) -> Tensor:
    """Return z after damped Newton steps on separable convex functions.

    Args:
        z: Where they start, ``[N, C]``.
        newton: From z to the step s that a Newton iteration takes off it.
        value: From z to the functions' values, of a row ``[N, 1]`` or of an entry ``[N, C]``.
        bound: From s to d, of the values' shape.
        steps: Their number.
    """
    for _ in range(steps):
        step = newton(z)
        d = bound(step)
        damped, full = z - torch.where(d > 0, d.log1p() / d, 1) * step, z - step
        z = torch.where(value(full) <= value(damped), full, damped)
    return z


def softmax_prox(rows: Callable[[Tensor, Tensor], Tensor], m: Tensor, y: Tensor, nu: float, start: Tensor) -> Tensor:
    """Return argmin_z R(z, y) + ν/2 ‖z − m‖² of softmax cross-entropy, row by row.

    Args:
        rows: R of each row, ``[N]``.
        m: Centre, ``[N, C]``.
        y: Targets, ``[N, C]``.
        nu: Penalty ν > 0.
        start: Where the steps begin, ``[N, C]``.
    """

    def newton(z: Tensor) -> Tensor:  # by Sherman–Morrison, as in CrossEntropy.prox
        pi = torch.softmax(z, -1)
        d = pi + nu
        a, c = ((pi - y) + nu * (z - m)) / d, pi / d
        return a + c * ((pi * a).sum(-1, keepdim=True) / (nu * c.sum(-1, keepdim=True)))

    def value(z: Tensor) -> Tensor:
        return (rows(z, y) + nu / 2 * (z - m).square().sum(-1))[:, None]

    def bound(step: Tensor) -> Tensor:  # the third derivative is a third moment, of deviations up to the range
        return step.amax(-1, keepdim=True) - step.amin(-1, keepdim=True)

    return descend(start, newton, value, bound)


def sigmoid_prox(entries: Callable[[Tensor, Tensor], Tensor], m: Tensor, y: Tensor, nu: float, start: Tensor) -> Tensor:
    """Return the same of sigmoid cross-entropy, entry by entry, of which ``entries`` gives R ``[N, C]``."""

    def newton(z: Tensor) -> Tensor:
        s = torch.sigmoid(z)
        return ((s - y) + nu * (z - m)) / (s * (1 - s) + nu)

    def value(z: Tensor) -> Tensor:
        return entries(z, y) + nu / 2 * (z - m).square()

    return descend(start, newton, value, torch.abs)

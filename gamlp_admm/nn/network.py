"""The forward pass, which the model, its evaluation, gradients and the start of an ADMM run have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gamlp_admm.nn.activations import Activation

Weights = list[tuple[Tensor, Tensor]]
"""(W ``[n_out, n_in]``, b ``[n_out]``) of each layer, first to last."""

Linear = Callable[[Tensor], Tensor]
"""From a layer's input ``[N, n_in]`` to its pre-activations z = a Wᵀ + b, ``[N, n_out]``."""


@dataclass(frozen=True)
class Network:
    """What a network is, whatever its weights and depth.

    Attributes:
        f: The activation.
        residual: Whether hidden layers between equal widths, all but the first, add their input to their output.

    Example:
        >>> import torch
        >>> from gamlp_admm.nn import Network, activation
        >>> linear = torch.nn.Linear(3, 3)
        >>> x = torch.randn(5, 3)
        >>> torch.equal(Network(activation("relu"), residual=False).forward(x, [linear]), linear(x))
        True
    """

    f: Activation
    residual: bool = False

    def output(self, z: Tensor, a: Tensor | None) -> Tensor:
        """Return what a hidden layer hands on: f(z), or with a residual connection f(z) + a.

        Args:
            z: Pre-activations, ``[…, N, n_out]``.
            a: The layer's input, ``[…, N, n_in]``; ``None`` for the network's first layer.
        """
        if not self.residual or a is None or a.shape[-1] != z.shape[-1]:
            return self.f(z)
        return self.f(z) + a

    def forward(self, x: Tensor, layers: Sequence[Linear], first: int = 0, last: bool = True) -> Tensor:
        """Return what consecutive layers make of their input.

        Args:
            x: Input of the first of them, ``[N, n_in]``.
            layers: At least one.
            first: Number of the first of them in the network, from 0.
            last: Whether the last of them is the network's last, whose z is the network's output.

        Returns:
            z of the last layer, ``[N, n_out]``, or its :meth:`output` if others follow.
        """
        *hidden, end = layers
        for l, linear in enumerate(hidden, first):
            x = self.output(linear(x), x if l > 0 else None)
        z = end(x)
        return z if last else self.output(z, x if first + len(hidden) > 0 else None)


def linears(weights: Weights) -> list[Linear]:
    """Return the linear maps of layers."""
    return [partial(F.linear, weight=W, bias=b) for W, b in weights]


def finite(weights: Weights, dtype: torch.dtype | None = None) -> bool:
    """Return whether weights are finite numbers, in a dtype if one is given."""
    return all(bool(torch.isfinite(t if dtype is None else t.to(dtype)).all()) for pair in weights for t in pair)

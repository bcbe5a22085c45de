"""What an algorithm minimises: targets, risk, activation, penalties and the solving rule."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from gamlp_admm.admm.blocks import Gram, Rule
from gamlp_admm.admm.stacked import RowSum, all_rows_here
from gamlp_admm.codecs.plan import Codecs
from gamlp_admm.nn.activations import Activation
from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.network import Network


@dataclass(frozen=True)
class Problem:
    """The constants of a run's iterations. ρ and ν may change between iterations, by a schedule.

    Attributes:
        y: Targets of the training rows in the risk's form, ``[N, C]``.
        risk: R(z, y).
        network: The network: its activation, and whether it has residual connections, q = f(z) + p.
        rho: Penalty ρ of ``p_{l+1} = q_l``.
        nu: Penalty ν of ``z = p Wᵀ + b`` and ``q = f(z)``.
        mu: Weight μ of the regulariser.
        rule: How the p and W blocks are solved.
        weight: Weights of the rows in the risk, ``[N]``, or ``None`` for ones.
        gram: Decomposition of the first layer's Gram matrix; needed by ``exact`` only.
        num_rows: Rows over all shards.
        row_sum: Sum over the shards of the rows.
        codecs: How p and q are sent from layer to layer, and which of them live on grids.
        counts_weights: Whether this shard of the rows counts the regulariser in the objective, as one of them must.
        regularizer: ``l2`` for μ/2 ‖W − W⁰‖², ``l1`` for μ ‖W‖₁.
        decay_to: W⁰ of hidden layers between equal widths: ``zero`` or ``identity``; zero in all other layers.
        epsilon: How far mDLAM lets inputs be from the activations of the layer below.
        momentum: Nesterov's ω of mDLAM.
    """

    y: Tensor
    risk: Risk
    network: Network
    rho: float
    nu: float
    mu: float
    rule: Rule
    weight: Tensor | None = None
    gram: Gram | None = field(default=None, repr=False)
    num_rows: int = 0
    row_sum: RowSum = all_rows_here
    codecs: Codecs = field(default_factory=Codecs)
    counts_weights: bool = True
    regularizer: str = "l2"
    decay_to: str = "zero"
    epsilon: float = math.inf
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if not self.num_rows:
            object.__setattr__(self, "num_rows", len(self.y))

    @property
    def f(self) -> Activation:
        """The activation."""
        return self.network.f

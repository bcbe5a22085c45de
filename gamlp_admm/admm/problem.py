"""What an algorithm minimises: targets, risk, network, penalties, regulariser and the solving rule."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from gamlp_admm.admm.blocks import Rule
from gamlp_admm.admm.memory import Stream
from gamlp_admm.admm.normal import NormalEquations
from gamlp_admm.admm.stacked import RowSum, all_rows_here
from gamlp_admm.codecs.plan import Codecs
from gamlp_admm.nn.activations import Activation
from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.network import Network


@dataclass(frozen=True)
class Problem:
    """The constants of a run's iterations that all algorithms have. ρ and ν may change between them, by a schedule.

    Attributes:
        y: Targets of the training rows in the risk's form, ``[N, C]``.
        risk: R(z, y).
        network: The network: its activation, and whether it has residual connections, q = f(z) + p.
        rho: Penalty ρ of what has a multiplier, or the only one.
        nu: Penalty ν of ``z = p Wᵀ + b`` and ``q = f(z)``.
        mu: Weight μ of the regulariser Ω(W).
        rule: How the p and W blocks are solved.
        weight: Weights of the rows, ``[N]``, or ``None`` for ones: a row's risk, penalties and multipliers count so
            often.
        normal: Normal equations of the features, where the first layer is solved by them.
        gram: PᵀDP of the features, ``[1, n_in, n_in]``, for an ℓ1 that is solved.
        stream: What is known of the other rows, where these are a batch of them; ``None`` where they are all.
        total: Weights of the rows over all shards, summed; the number of rows where they have none.
        row_sum: Sum over the shards of the rows.
        codecs: How p and q are sent from layer to layer, and which of them live on grids.
        counts_weights: Whether this shard of the rows counts the regulariser in the objective, as one of them must.
        regularizer: Ω: ``l2`` for μ/2 ‖W‖², ``l1`` for μ ‖W‖₁, or ``identity`` for μ/2 ‖W − I‖² in hidden layers
            between equal widths and μ/2 ‖W‖² in all others.
    """

    y: Tensor
    risk: Risk
    network: Network
    rho: float
    nu: float
    mu: float
    rule: Rule
    weight: Tensor | None = None
    normal: NormalEquations | None = field(default=None, repr=False)
    gram: Tensor | None = field(default=None, repr=False)
    stream: Stream | None = field(default=None, repr=False)
    total: float = 0
    row_sum: RowSum = all_rows_here
    codecs: Codecs = field(default_factory=Codecs)
    counts_weights: bool = True
    regularizer: str = "l2"

    def __post_init__(self) -> None:
        if not self.total:
            total = len(self.y) if self.weight is None else float(self.weight.double().sum())
            object.__setattr__(self, "total", total)

    @property
    def f(self) -> Activation:
        """The activation."""
        return self.network.f

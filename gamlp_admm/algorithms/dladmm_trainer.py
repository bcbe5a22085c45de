"""dlADMM: sweeps backward and forward over the layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import dladmm
from gamlp_admm.algorithms.base import ADMM
from gamlp_admm.nn.activations import Activation
from gamlp_admm.nn.losses import risk


@dataclass(frozen=True, kw_only=True)
class DlADMM(ADMM):
    """dlADMM: an MLP trained by backward and forward sweeps over its layers, without backpropagation.

    Source: Wang, Yu, Chen, Zhao, KDD 2019, arXiv 1905.13611.

    Args:
        rho: Penalty ρ > 0 of the last layer, ``z_L = W_L a_{L-1} + b_L``, which has a multiplier.
        nu: Penalty ν > 0 of ``z = W a + b`` and ``a = f(z)`` in the layers below.
        mu: Weight μ ≥ 0 of the regulariser.
        regularizer: ``l2`` for μ/2 ‖W‖², ``l1`` for μ ‖W‖₁.
        solver: How the quadratic a and W blocks are solved: ``exact``, ``linesearch`` or ``backtracking``.
        tau: First step denominator that ``backtracking`` tries.
        schedule: How ρ and ν change: ``constant``, ``every:ITERATIONS:FACTOR:LIMIT``,
            ``stall:PATIENCE:FACTOR:LIMIT``, or a callable (:mod:`gamlp_admm.training.schedules`).
        loss: Risk of the last layer.
        class_weight: Weight of each class in the risk, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: A penalty is not positive, or a name is not known.
    """

    rho: float = 0.1
    nu: float = 0.1
    mu: float = 0.1
    solver: str = "exact"
    regularizer: str = "l2"

    phases: ClassVar = dladmm.PHASES
    settle: ClassVar = dladmm.SETTLE
    terms: ClassVar = staticmethod(dladmm.layer_terms)

    @property
    def algorithm(self) -> str:
        """The algorithm's name on the command line."""
        return "dladmm"

    @property
    def residual(self) -> bool:
        """See :attr:`Trainer.residual`."""
        return False

    def converges(self, f: Activation) -> bool | None:
        """Whether ρ > 2H (:func:`gamlp_admm.algorithms.dladmm.converges`), for rows of weight 1."""
        return dladmm.converges(self.rho, risk(self.loss).smoothness)

    def enter(self, block: Block) -> Block:
        """See :meth:`ADMM.enter`."""
        return dladmm.start(block)

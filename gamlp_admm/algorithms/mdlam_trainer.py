"""mDLAM: forward sweeps with Nesterov's extrapolation, layers held together by inequalities."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import mdlam
from gamlp_admm.algorithms.base import ADMM, ADMMSession
from gamlp_admm.errors import InputError
from gamlp_admm.nn.activations import Activation
from gamlp_admm.parallel.channel import LocalChannel
from gamlp_admm.training.session import Task


class MDLAMSession(ADMMSession):
    """mDLAM at work: ε shrinks and the momentum grows with the iterations since the session's start."""

    def __init__(self, trainer: MDLAM, problem: Problem, state: list[Block], channel: LocalChannel) -> None:
        super().__init__(trainer.phases, trainer.terms, trainer.settle, problem, state, channel)
        self.trainer, self.count = trainer, 0

    def problem_at(self, iteration: int, scale: float) -> Problem:
        """See :meth:`ADMMSession.problem_at`."""
        k = self.count
        self.count += 1
        return replace(
            super().problem_at(iteration, scale),
            epsilon=max(self.trainer.epsilon * self.trainer.epsilon_decay**k, self.trainer.epsilon_min),
            momentum=mdlam.nesterov(k) if self.trainer.nesterov else 0.0,
        )

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        return {**super().tensors(), "count": torch.tensor(self.count)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        self.count = int(tensors["count"])
        super().restore({name: t for name, t in tensors.items() if name != "count"})


@dataclass(frozen=True, kw_only=True)
class MDLAM(ADMM):
    """mDLAM: an MLP trained by forward sweeps that never raise the objective while ε is fixed.

    Source: Wang, Li, Zhao, Neurocomputing 2022, arXiv 1811.04187.

    Args:
        rho: Penalty ρ > 0 of ``z = W a + b``.
        mu: Weight μ ≥ 0 of the regulariser.
        regularizer: ``l2`` for μ/2 ‖W‖², ``l1`` for μ ‖W‖₁.
        epsilon: ε of the first iteration, in ``f(z) - ε ≤ a ≤ f(z) + ε``.
        epsilon_decay: Factor of ε from one iteration to the next.
        epsilon_min: Smallest ε.
        nesterov: Whether steps of W and a start from extrapolated points.
        solver: How W is solved: ``linesearch``, ``backtracking``, or ``exact``, which extrapolation does not touch.
        tau: First step denominator that ``backtracking`` tries.
        schedule: How ρ changes: ``constant``, ``every:ITERATIONS:FACTOR:LIMIT``, ``stall:PATIENCE:FACTOR:LIMIT``, or a
            callable (:mod:`gamlp_admm.training.schedules`).
        loss: Risk of the last layer.
        class_weight: Weight of each class in the risk, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: A number is out of range, or a name is not known.
    """

    rho: float = 5e-3
    mu: float = 0.1
    regularizer: str = "l2"
    epsilon: float = 100.0
    epsilon_decay: float = 0.5
    epsilon_min: float = 1e-3
    nesterov: bool = True

    phases: ClassVar = mdlam.PHASES
    settle: ClassVar = mdlam.SETTLE
    terms: ClassVar = staticmethod(mdlam.layer_terms)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epsilon", "epsilon_min"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 < self.epsilon_decay <= 1:
            raise InputError(f"epsilon_decay {self.epsilon_decay}: allowed: above 0, up to 1")

    @property
    def algorithm(self) -> str:
        """The algorithm's name on the command line."""
        return "mdlam"

    @property
    def residual(self) -> bool:
        """See :attr:`Trainer.residual`."""
        return False

    def converges(self, f: Activation) -> bool | None:
        """F never rises while ε is fixed, for any ρ (Neurocomputing 2022, Theorem 1)."""
        return True

    def enter(self, block: Block) -> Block:
        """See :meth:`ADMM.enter`."""
        return mdlam.start(block)

    def start(self, task: Task) -> ADMMSession:
        """See :meth:`Trainer.start`.

        Raises:
            InputError: The activation is not monotone.
        """
        nothing = torch.empty(0)
        task.network.f.preimage(nothing, nothing)
        return super().start(task)

    def session(self, problem: Problem, state: list[Block], channel: LocalChannel) -> MDLAMSession:
        """See :meth:`ADMM.session`."""
        return MDLAMSession(self, problem, state, channel)

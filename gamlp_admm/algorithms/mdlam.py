r"""mDLAM: forward sweeps with Nesterov's extrapolation; layers are held together by inequalities.

With a_l = p_{l+1} the output of layer l and a_0 = X, the problem is

.. math::
    \min\; F = R(Z_L, Y) + \sum_l Ω(W_l) + \tfrac ρ2 \sum_l \|Z_l - A_{l-1} W_l^T - 1 b_l^T\|^2
    \quad\text{subject to}\quad f(Z_l) - ε \le A_l \le f(Z_l) + ε

Every block is convex, since f is monotone. W and a start their steps from a point extrapolated by ω; where F would
rise, the step is repeated from where the block was, so that F never rises while ε is fixed. z and b are solved exactly,
which leaves extrapolation nothing to do.

A layer keeps its input a_{l−1} as ``p`` and sends it back; it keeps f(z_l) as ``q`` and sends it forward.

Source: mDLAM, Neurocomputing 2022, arXiv 1811.04187, Algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.admm import blocks, proximal, state
from gamlp_admm.admm.engine import Phase
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.stacked import by_slices, products, squared_norms
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms.base import ADMMSession, check_positive
from gamlp_admm.algorithms.common import Sweep, by_layer, keep, output, regularizer_terms, rule_of, update_W
from gamlp_admm.errors import InputError, number
from gamlp_admm.nn.activations import Activation
from gamlp_admm.system.records import replace
from gamlp_admm.training.session import Stage


@dataclass(frozen=True)
class MDLAMProblem(Problem):
    """What an iteration of mDLAM minimises, with ρ as its only penalty.

    Attributes:
        epsilon: How far inputs may be from the activations of the layer below.
        momentum: Nesterov's ω.
    """

    epsilon: float = math.inf
    momentum: float = 0.0


@dataclass(frozen=True)
class MomentumBlock(Block):
    """A layer that remembers where W and p were an iteration ago.

    Attributes:
        W_before: W of the iteration before, ``[1, n_out, n_in]``.
        p_before: ``p`` of the iteration before, ``[1, N, n_in]``; ``None`` for the features, which never change.
    """

    W_before: Tensor | None = None
    p_before: Tensor | None = None


def start(block: Block) -> MomentumBlock:
    """Return a block of :func:`gamlp_admm.admm.state.initial_blocks` as mDLAM has it: without multipliers, at rest."""
    kept = {field.name: getattr(block, field.name) for field in fields(block)} | {"u": None, "u_prev": None}
    return MomentumBlock(**kept, W_before=block.W, p_before=None if block.is_first else block.p)


def nesterov(k: int) -> float:
    """Return the extrapolation ω_k = (s_k − 1)/s_{k+1} of iteration k, counted from 0.

    s_0 = 0 and s_{k+1} = (1 + √(1 + 4s_k²))/2; ω_0 is 0, since there is nothing to extrapolate yet.
    """
    value: float = next(islice(momenta(), k, None))
    return value


def momenta() -> Iterator[float]:
    """Yield ω_0, ω_1, … of :func:`nesterov`."""
    s, s_next = 0.0, 1.0
    while True:
        yield max(s - 1, 0.0) / s_next
        s, s_next = s_next, (1 + math.sqrt(1 + 4 * s_next**2)) / 2


Descent = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From a point and its product M to another."""


def monotone(
    old: tuple[Tensor, Tensor], extrapolated: tuple[Tensor, Tensor] | None, step: Descent, value: Callable[..., Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the step from the extrapolated point, or from the old one where the former raises the value.

    A GPU, which is not waited for, makes both.
    """
    if extrapolated is None:
        return step(*old)
    new = step(*extrapolated)
    descends = (value(*new) <= value(*old)).all()
    if descends.is_cuda:
        X, M = (torch.where(descends, a, b) for a, b in zip(new, step(*old), strict=True))
        return X, M
    return new if bool(descends) else step(*old)


def update_a(block: MomentumBlock, problem: MDLAMProblem) -> MomentumBlock:
    """Update the layer's input within [f(z) − ε, f(z) + ε], z of the layer below, unless it is the features."""
    s, rho, row_sum, weight, matmul = block, problem.rho, problem.row_sum, problem.weight, problem.rule.matmul
    if s.q_prev is None or s.p_before is None:
        return block
    epsilon, omega = problem.epsilon, problem.momentum
    low, high = (by_slices(lambda q, out, e=e: torch.add(q, e, out=out), s.q_prev) for e in (-epsilon, epsilon))
    P = by_slices(torch.clamp, s.p, low, high)  # which changes p only where ε has shrunk
    unmoved = not P.is_cuda and torch.equal(P, s.p)
    old = (s.p, s.M) if unmoved else (P, products(P, s.W))

    def step(P: Tensor, M: Tensor) -> tuple[Tensor, Tensor]:
        g = matmul.bmm(blocks.residual(M, s.b, s.z), s.W).mul_(rho)
        return proximal.p_in_box(g, P, s.W, M, rho, low, high, row_sum, weight, matmul)

    def value(P: Tensor, M: Tensor) -> Tensor:
        return row_sum(blocks.fit_terms(M, s.b, s.z, rho, weight))

    def further(P: Tensor, before: Tensor, low: Tensor, high: Tensor, out: Tensor | None) -> Tensor:
        return torch.add(P, P - before, alpha=omega, out=out).clamp_(low, high)

    extrapolated = None
    if omega:
        P = by_slices(further, P, s.p_before, low, high)
        extrapolated = P, products(P, s.W)
    p, M = monotone(old, extrapolated, step, value)
    return replace(block, p=p, M=M, p_before=s.p)


def update_weights(block: MomentumBlock, problem: MDLAMProblem) -> MomentumBlock:
    """Update W."""
    s, rho, omega = block, problem.rho, problem.momentum

    def step(W: Tensor, M: Tensor) -> tuple[Tensor, Tensor]:
        return update_W(s, W, M, s.z, rho, problem)

    def value(W: Tensor, M: Tensor) -> Tensor:
        fit = problem.row_sum(blocks.fit_terms(M, s.b, s.z, rho, problem.weight))
        return fit + regularizer_terms(s, W, problem)

    extrapolated = None
    if omega and s.W_before is not None and rule_of("W", s, problem).name != "exact":
        D = s.W - s.W_before
        extrapolated = torch.add(s.W, D, alpha=omega), torch.add(s.M, PDt := products(s.p, D), alpha=omega, out=PDt)
    W, M = monotone((s.W, s.M), extrapolated, step, value)
    return replace(block, W=W, M=M, W_before=s.W)


def update_b_z(block: MomentumBlock, problem: MDLAMProblem) -> MomentumBlock:
    """Update b and z, both exactly."""
    s = block
    b = blocks.b_update(s.M, s.z, problem.total, problem.row_sum, problem.weight)
    if s.is_last:
        z = blocks.z_last(s.M, b, s.z, problem.y, problem.risk, problem.rho)
        return replace(block, b=b, z=z)
    assert s.p_next is not None
    z = blocks.z_within(s.M, b, s.p_next, problem.f, problem.epsilon)
    return replace(block, b=b, z=z, q=state.output(problem.network, z, None))


def forward(block: Block, problem: Problem) -> Block:
    """Update the input, now that the layer below has its z, then W, b, z."""
    assert isinstance(block, MomentumBlock)
    assert isinstance(problem, MDLAMProblem)
    return update_b_z(update_weights(update_a(block, problem), problem), problem)


PHASES = (
    Phase(forward, needs="q_prev", sends=("q",), order="forward"),
    Phase(keep, sends=("p",)),
    Phase(keep, needs="p_next"),
)


def return_to_box(block: Block, problem: Problem) -> Block:
    """Clip an input that came from outside to [f(z) − ε, f(z) + ε], z of the layer below."""
    assert isinstance(problem, MDLAMProblem)
    if block.q_prev is None:
        return block
    p = block.p.clamp(block.q_prev - problem.epsilon, block.q_prev + problem.epsilon)
    return replace(block, p=p, M=products(p, block.W))


SETTLE = (
    Phase(output, sends=("q",)),
    Phase(return_to_box, needs="q_prev", sends=("p",)),
    Phase(keep, needs="p_next"),
)


@by_layer(2)
def layer_terms(before: Block, after: Block, problem: Problem) -> tuple[Tensor, ...]:
    """Return the terms of F and of the primal residual Σ ‖A_l − f(Z_l)‖².

    Args:
        before: The block before an iteration.
        after: The block after it.
        problem: What is minimised.
    """
    s = after
    objective = blocks.fit_terms(s.M, s.b, s.z, problem.rho, problem.weight)
    primal = torch.zeros_like(objective)
    if s.q_prev is not None:
        primal = squared_norms(s.p - s.q_prev, problem.weight)
    if problem.counts_weights:
        objective = objective + regularizer_terms(s, s.W, problem)
    if s.is_last:
        objective = objective + problem.risk.value(s.z[0], problem.y, problem.weight)
    return objective, primal


# --- the trainer ----------------------------------------------------------------------------------------------


class MDLAMSession(ADMMSession):
    """mDLAM at work: ε shrinks and the momentum grows with the iterations since the session's start."""

    trainer: MDLAM
    count = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.momenta = momenta()

    def problem_at(self, iteration: int, factor: float) -> MDLAMProblem:
        """See :meth:`ADMMSession.problem_at`."""
        k, problem = self.count, super().problem_at(iteration, factor)
        assert isinstance(problem, MDLAMProblem)
        self.count += 1
        epsilon = max(self.trainer.epsilon * self.trainer.epsilon_decay**k, self.trainer.epsilon_min)
        return replace(problem, epsilon=epsilon, momentum=next(self.momenta) if self.trainer.nesterov else 0.0)

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        return {**super().tensors(), "all.count": torch.tensor(self.count)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        super().restore(tensors)
        self.count = int(tensors["all.count"])
        self.momenta = islice(momenta(), self.count, None)


@dataclass(frozen=True, kw_only=True, repr=False)
class MDLAM(Sweep):
    """mDLAM: an MLP trained by forward sweeps that never raise the objective while ε is fixed.

    Source: Wang, Li, Zhao, Neurocomputing 2022, arXiv 1811.04187.

    Args:
        rho: Penalty ρ > 0 of ``z = W a + b``.
        mu: Weight μ ≥ 0 of the regulariser.
        scale: ``auto``: features are taken as they are, unless they are very large or small or far from 0, or columns
            differ by orders of magnitude: then each column, or all, are centred and measured in units of their
            own while training (:mod:`gamlp_admm.training.units`); ``unit``, ``columns``, ``none``: see there.
        regularizer: ``l2`` for μ/2 ‖W‖², ``l1`` for μ ‖W‖₁.
        epsilon: ε of the first iteration, in ``f(z) - ε ≤ a ≤ f(z) + ε``.
        epsilon_decay: Factor of ε from one iteration to the next.
        epsilon_min: Smallest ε.
        nesterov: Whether steps of W and a start from extrapolated points.
        solver: How W is solved: ``auto`` (:class:`gamlp_admm.PdADMM`), ``linesearch``, ``backtracking``, or ``exact``,
            which extrapolation does not touch.
        tau: First step denominator that ``backtracking`` tries.
        matmul: How precisely the products of steps are taken: ``fp32``, or on hardware that has fast ones ``tf32`` or
            ``bf16`` (:mod:`gamlp_admm.admm.matmul`); what is solved exactly stays in float32.
        schedule: How ρ changes: ``constant``, ``every:ITERATIONS:FACTOR:LIMIT``, ``stall:PATIENCE:FACTOR:LIMIT``, or a
            callable (:mod:`gamlp_admm.training.schedules`).
        loss: Risk of the last layer.
        class_weight: Weight of each class's rows, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: A number is out of range, or a name is not known.

    Example:
        >>> from gamlp_admm import GAMLP, MDLAM, AugmentFeatures, load_dataset
        >>> data = AugmentFeatures(hops=2)(load_dataset("karate").data)
        >>> model = GAMLP(data.num_features, hidden_channels=16, out_channels=4, num_layers=2, init="kaiming")
        >>> result = MDLAM(epsilon=1.0, epsilon_decay=1.0).fit(model, data, iterations=10, seed=0)
        >>> result.converges  # ε is fixed, so that the objective never rises
        True
        >>> objective = [record["objective"] for record in result.history]
        >>> objective == sorted(objective, reverse=True)
        True
    """

    rho: float = 5e-3
    mu: float = 0.1
    epsilon: float = 100.0
    epsilon_decay: float = 0.5
    epsilon_min: float = 1e-3
    nesterov: bool = True

    algorithm = "mdlam"
    phases = PHASES
    settle = SETTLE
    terms = staticmethod(layer_terms)
    compared = ()
    session = MDLAMSession
    problem_type = MDLAMProblem

    def __post_init__(self) -> None:
        check_positive(epsilon=self.epsilon, epsilon_min=self.epsilon_min)
        if not 0 < number("epsilon_decay", self.epsilon_decay) <= 1:
            raise InputError(f"epsilon_decay {self.epsilon_decay}: allowed: above 0, up to 1")
        super().__post_init__()

    def converges(self, f: Activation) -> bool | None:
        """Whether ε and ρ stay as they are: then F never rises, whatever ρ is (Neurocomputing 2022, Theorem 1)."""
        return not self.shrinking and not self.changing

    @property
    def shrinking(self) -> bool:
        """Whether ε shrinks, and with it what a may be: F then rises where a is drawn back."""
        return self.epsilon_decay < 1 and self.epsilon > self.epsilon_min

    def condition(self, holds: bool) -> str:
        """See :meth:`Algorithm.condition`."""
        if self.changing:
            return self.changing
        if self.shrinking:
            return f"epsilon shrinks from {self.epsilon:g} to {self.epsilon_min:g}, so"
        return f"epsilon = {max(self.epsilon, self.epsilon_min):g}, fixed, any rho:"

    def enter(self, block: Block) -> Block:
        """See :meth:`ADMM.enter`."""
        return start(block)

    def problem(self, **shared: Any) -> Problem:
        """See :meth:`ADMM.problem`."""
        return super().problem(rho=self.rho, nu=self.rho, mu=self.mu, **shared)

    def start(self, stage: Stage) -> ADMMSession:
        """See :meth:`Algorithm.start`.

        Raises:
            InputError: The activation is not monotone.
        """
        nothing = torch.empty(0)
        stage.network.f.preimage(nothing, nothing)
        return super().start(stage)

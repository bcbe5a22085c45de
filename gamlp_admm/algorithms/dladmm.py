r"""dlADMM: sweeps over the layers, backward and forward; one multiplier, at the last layer.

With a_l = p_{l+1} the output of layer l, the augmented Lagrangian is

.. math::
    L_ρ = R(Z_L, Y) + \sum_l Ω(W_l)
        + \tfrac ν2 \sum_{l<L} \big[ \|Z_l - A_{l-1} W_l^T - 1 b_l^T\|^2 + \|A_l - f(Z_l)\|^2 \big]
        + \langle U, Z_L - M_L \rangle + \tfrac ρ2 \|Z_L - M_L\|^2, \qquad M_L = A_{L-1} W_L^T + 1 b_L^T

The last layer's two terms are ρ/2 ‖Z_L + U/ρ − M_L‖² up to a constant. So W, b and a meet the same least-squares fit in
every layer, of T_l = Z_l with weight ν, and of T_L = Z_L + U/ρ with weight ρ.

A layer keeps its input a_{l−1} as ``p`` and sends it back; it keeps f(z_l) as ``q`` and sends it forward.

Source: dlADMM, KDD 2019, arXiv 1905.13611, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.admm import blocks
from gamlp_admm.admm.engine import Phase
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.stacked import squared_norms, weighed
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms.base import check_positive
from gamlp_admm.algorithms.captured import CapturedSession
from gamlp_admm.algorithms.common import (
    Sweep,
    by_layer,
    keep,
    output,
    regularizer_terms,
    rule_of,
    step_weights,
    update_W,
)
from gamlp_admm.algorithms.streaming import Streamed
from gamlp_admm.errors import InputError
from gamlp_admm.nn.activations import Activation
from gamlp_admm.nn.losses import risk
from gamlp_admm.system.records import replace


def fitted(block: Block, problem: Problem) -> tuple[Tensor, float]:
    """Return what a layer's linear part is fitted to, T_l ``[1, N, n_out]``, and the weight of the fit."""
    if block.u is None:
        return block.z, problem.nu
    return torch.add(block.z, block.u, alpha=1 / problem.rho), problem.rho


def update_a(block: Block, problem: Problem) -> Block:
    """Update the layer's input, a of the layer below, unless it is the features."""
    if block.is_first:
        return block
    s, nu, (T, penalty) = block, problem.nu, fitted(block, problem)
    rule = rule_of("p", block, problem)
    g = blocks.p_gradient(blocks.residual(s.M, s.b, T), s.W, s.p, s.below("q"), None, penalty, nu, rule.matmul)
    if rule.name == "exact":
        p, M = blocks.p_exact(g, s.p, s.W, penalty, nu)
    else:
        p, M = blocks.p_step(g, s.p, s.W, s.M, penalty, nu, rule, problem.row_sum, problem.weight)
    return replace(block, p=p, M=M)


def update_weights(block: Block, problem: Problem) -> Block:
    """Update W."""
    T, penalty = fitted(block, problem)
    W, M = update_W(block, block.W, block.M, T, penalty, problem)
    return replace(block, W=W, M=M)


def update_b(block: Block, problem: Problem) -> Block:
    """Update b."""
    T, _ = fitted(block, problem)
    return replace(block, b=blocks.b_update(block.M, T, problem.total, problem.row_sum, problem.weight))


def update_z(block: Block, problem: Problem) -> Block:
    """Update z, to lie between what the layer computes and, unless it is the last, what the layer above takes."""
    s = block
    if s.u is None:
        assert s.p_next is not None
        z = blocks.z_free(s.M, s.b, s.p_next, problem.f)
    else:
        z = blocks.z_last(s.M, s.b, s.z, problem.y, problem.risk, problem.rho, s.u)
    return replace(block, z=z)


def backward(block: Block, problem: Problem) -> Block:
    """Update z, b, W, and then the input, for which the layer below waits."""
    for update in (update_z, update_b, update_weights, update_a):
        block = update(block, problem)
    return block


def backward_states(block: Block, problem: Problem) -> Block:
    """Update z, and then the input, for which the layer below waits."""
    return update_a(update_z(block, problem), problem)


def update_weights_of_batch(block: Block, problem: Problem) -> Block:
    """Update W and b of a batch."""
    return step_weights(block, *fitted(block, problem), problem)


def forward(block: Block, problem: Problem) -> Block:
    """Update the input, now that the layer below has its z, then W, b, z."""
    for update in (update_a, update_weights, update_b, update_z):
        block = update(block, problem)
    return output(block, problem)


def update_u(block: Block, problem: Problem) -> Block:
    """Update the multiplier of the last layer, U + ρ (Z_L − M_L)."""
    if block.u is None:
        return block
    return replace(block, u=torch.sub(block.u, blocks.residual(block.M, block.b, block.z), alpha=problem.rho))


PHASES = (
    Phase(backward, needs="p_next", sends=("p",), order="backward"),
    Phase(forward, needs="q_prev", sends=("q",), order="forward"),
    Phase(update_u),
)


BATCH = (
    Phase(backward_states, needs="p_next", sends=("p",), order="backward"),
    Phase(update_weights_of_batch),
)
"""What a batch goes through."""

SETTLE = (Phase(output, sends=("q",)), Phase(keep, needs="q_prev"))


def start(block: Block) -> Block:
    """Return a block of :func:`gamlp_admm.admm.state.initial_blocks` as dlADMM has it: U in the last layer alone."""
    u = torch.zeros_like(block.z) if block.is_last else None
    return replace(block, u=u, u_prev=None)


@by_layer(3)
def layer_terms(before: Block, after: Block, problem: Problem) -> tuple[Tensor, ...]:
    """Return the terms of L_ρ, of the primal residual ‖Z_L − M_L‖², and of the dual one's square, ρ² ‖ΔZ_L‖².

    Args:
        before: The block before an iteration.
        after: The block after it.
        problem: What is minimised.
    """
    s, weight = after, problem.weight
    gap = squared_norms(blocks.residual(s.M, s.b, s.z), weight)
    primal = dual = torch.zeros_like(gap)
    if s.u is None:
        objective = problem.nu / 2 * gap
    else:
        inner = -weighed(s.u.double() * blocks.residual(s.M, s.b, s.z).double(), weight).sum((1, 2))
        objective = inner + problem.rho / 2 * gap + problem.risk.value(s.z[0], problem.y, weight)
        primal, dual = gap, problem.rho**2 * squared_norms(s.z - before.z, weight)
    if s.q_prev is not None:
        objective = objective + blocks.activation_terms(s.p, s.q_prev, problem.nu, weight)
    if problem.counts_weights:
        objective = objective + regularizer_terms(s, s.W, problem)
    return objective, primal, dual


def converges(rho: float, smoothness: float) -> bool:
    """Whether ρ > 2H, the condition under which L_ρ never increases (KDD 2019, Theorem 1).

    Args:
        rho: Penalty ρ.
        smoothness: Lipschitz constant H of the gradient of a row's risk.
    """
    return rho > 2 * smoothness


@dataclass(frozen=True, kw_only=True, repr=False)
class DlADMM(Streamed, Sweep):
    """dlADMM: an MLP trained by backward and forward sweeps over its layers, without backpropagation.

    Source: Wang, Yu, Chen, Zhao, KDD 2019, arXiv 1905.13611.

    Args:
        rho: Penalty ρ > 0 of the last layer, ``z_L = W_L a_{L-1} + b_L``, which has a multiplier.
        nu: Penalty ν > 0 of ``z = W a + b`` and ``a = f(z)`` in the layers below.
        mu: Weight μ ≥ 0 of the regulariser.
        scale: ``auto``: features are taken as they are, unless they are very large or small or far from 0, or columns
            differ by orders of magnitude: then each column, or all, are centred and measured in units of their
            own while training (:mod:`gamlp_admm.training.units`); ``unit``, ``columns``, ``none``: see there.
        regularizer: ``l2`` for μ/2 ‖W‖², ``l1`` for μ ‖W‖₁.
        solver: How the quadratic a and W blocks are solved: ``exact``, ``linesearch``, ``backtracking`` or ``auto``
            (:class:`gamlp_admm.PdADMM`).
        tau: First step denominator that ``backtracking`` tries.
        matmul: How precisely the products of steps are taken: ``fp32``, or on hardware that has fast ones ``tf32`` or
            ``bf16`` (:mod:`gamlp_admm.admm.matmul`); what is solved exactly stays in float32.
        schedule: How ρ and ν change: ``constant``, ``every:ITERATIONS:FACTOR:LIMIT``,
            ``stall:PATIENCE:FACTOR:LIMIT``, or a callable (:mod:`gamlp_admm.training.schedules`).
        batch_size: Rows of a batch, at most; an iteration is then a pass over all rows
            (:mod:`gamlp_admm.algorithms.streaming`). ``None``: an iteration sees all rows at once.
        loss: Risk of the last layer.
        class_weight: Weight of each class's rows, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: A penalty is not positive, or a name is not known.

    Example:
        >>> from gamlp_admm import GAMLP, AugmentFeatures, DlADMM, load_dataset
        >>> data = AugmentFeatures(hops=2)(load_dataset("karate").data)
        >>> model = GAMLP(data.num_features, hidden_channels=16, out_channels=4, num_layers=2, init="kaiming")
        >>> result = DlADMM(rho=0.1, nu=1.0).fit(model, data, iterations=10, seed=0)
        >>> len(result.history), model(data.x).shape
        (10, torch.Size([34, 4]))
    """

    rho: float = 0.1
    nu: float = 0.1
    mu: float = 0.1
    solver: str = "exact"

    algorithm = "dladmm"
    phases = PHASES
    session = CapturedSession
    settle = SETTLE
    terms = staticmethod(layer_terms)
    compared = ("z",)

    def __post_init__(self) -> None:
        check_positive(nu=self.nu)
        super().__post_init__()
        if self.batch_size is not None and self.regularizer != "l2":
            raise InputError(f"batch_size: W and b make steps, and regularizer {self.regularizer} is not smooth")

    def batch_phases(self, num_layers: int) -> Sequence[Phase]:
        """See :meth:`Streamed.batch_phases`."""
        return BATCH

    def converges(self, f: Activation) -> bool | None:
        """Whether ρ > 2H (:func:`converges`), and ρ and ν stay as they are; of batches it says nothing: ``None``."""
        if self.batch_size is not None:
            return None
        return converges(self.rho, risk(self.loss).smoothness) and not self.changing

    def condition(self, holds: bool) -> str:
        """See :meth:`Algorithm.condition`."""
        return self.changing or f"rho = {self.rho:g}: rho {'>' if holds else '<='} 2 H, so"

    def enter(self, block: Block) -> Block:
        """See :meth:`ADMM.enter`."""
        return start(block)

    def problem(self, **shared: Any) -> Problem:
        """See :meth:`ADMM.problem`."""
        return super().problem(rho=self.rho, nu=self.nu, mu=self.mu, **shared)

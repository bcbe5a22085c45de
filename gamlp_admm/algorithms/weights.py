"""The W-block, which all algorithms share: a least-squares fit of a target, plus a regulariser."""

from __future__ import annotations

import torch
from torch import Tensor

from gamlp_admm.admm import blocks, proximal
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block


def update_W(
    block: Block, W: Tensor, M: Tensor, target: Tensor, penalty: float, problem: Problem
) -> tuple[Tensor, Tensor]:
    """Return a step from W towards argmin_W penalty/2 ‖T − P Wᵀ − 1bᵀ‖² + Ω(W), and the product P Wᵀ that follows.

    Args:
        block: Layers with inputs ``p`` and biases ``b``.
        W: Where the step starts, ``[S, n_out, n_in]``.
        M: The product ``P Wᵀ``, ``[S, N, n_out]``.
        target: T, ``[S, N, n_out]``.
        penalty: Weight of the fit.
        problem: Gives μ, the regulariser Ω and the solving rule.
    """
    P, mu, row_sum = block.p, problem.mu, problem.row_sum
    r = blocks.residual(M, block.b, target)
    gram = problem.gram if block.is_first else None
    if problem.regularizer == "l1":
        G = blocks.W_gradient(r, P, W, penalty, 0.0, row_sum)
        if problem.rule.name == "exact":
            return proximal.W_l1_exact(G, P, W, penalty, mu, gram, row_sum)
        return proximal.W_l1_step(G, P, W, M, penalty, mu, row_sum)
    G = blocks.W_gradient(r, P, decaying(block, W, problem), penalty, mu, row_sum)
    if problem.rule.name == "exact":
        return blocks.W_exact(G, P, W, penalty, mu, gram, row_sum)
    return blocks.W_step(G, P, W, M, penalty, mu, problem.rule, row_sum)


def decaying(block: Block, W: Tensor, problem: Problem) -> Tensor:
    """Return W − W⁰, what weight decay draws to zero, ``[S, n_out, n_in]``.

    Decay to the identity leaves a layer that learns nothing as what it is when a network grows: a layer that passes its
    input on. Decay to zero would shrink the input by every such layer; with residual connections it does not.
    """
    if problem.decay_to == "zero" or problem.network.residual or not block.between_equals:
        return W
    return W - torch.eye(W.shape[1], dtype=W.dtype, device=W.device)


def regularizer_terms(block: Block, W: Tensor, problem: Problem) -> Tensor:
    """Return Ω(W) of each layer, ``[S]``, for weights ``W`` of the block's layers."""
    if problem.regularizer == "l1":
        return proximal.l1_terms(W, problem.mu)
    return blocks.decay_terms(decaying(block, W, problem), problem.mu)

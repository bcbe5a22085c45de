"""What algorithms share: the W-block, how measures of layers come together, and sweeps over the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.admm import blocks, proximal, state
from gamlp_admm.admm.blocks import Rule
from gamlp_admm.admm.memory import stream_step
from gamlp_admm.admm.normal import gram_matrix
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms.base import ADMM, LayerTerms, row_sum
from gamlp_admm.errors import unknown
from gamlp_admm.system.records import replace
from gamlp_admm.training.session import Stage

# --- the W-block: a least-squares fit of a target, plus a regulariser -----------------------------------------


def rule_of(kind: str, block: Block, problem: Problem) -> Rule:
    """Return how a block is solved: what was asked for, or what ``auto`` takes.

    ``auto`` solves the first layer's W exactly where that was found to pay (:func:`gamlp_admm.admm.solving.plan`), and
    steps elsewhere: exact hidden blocks let deep networks with small penalties come apart.

    Args:
        kind: ``p`` or ``W``.
        block: The layers.
        problem: What is minimised.
    """
    rule = problem.rule
    if rule.name != "auto":
        return rule
    solved = kind == "W" and block.is_first and problem.normal is not None
    return replace(rule, name="exact" if solved else "linesearch")


def update_W(
    block: Block, W: Tensor, M: Tensor, target: Tensor, penalty: float, problem: Problem
) -> tuple[Tensor, Tensor]:
    """Return a step from W towards argmin_W penalty/2 ‖D^½(T − P Wᵀ − 1bᵀ)‖² + Ω(W), and the product P Wᵀ that follows.

    Args:
        block: Layers with inputs ``p`` and biases ``b``.
        W: Where the step starts, ``[S, n_out, n_in]``.
        M: The product ``P Wᵀ``, ``[S, N, n_out]``.
        target: T, ``[S, N, n_out]``.
        penalty: Weight of the fit.
        problem: Gives μ, the regulariser Ω and the solving rule.
    """
    P, mu, rows = block.p, problem.mu, (problem.row_sum, problem.weight)
    rule = rule_of("W", block, problem)
    if rule.name == "exact" and block.is_first and problem.normal is not None and problem.regularizer != "l1":
        T = target[0] - block.b
        W, M = problem.normal.update(W[0], M[0], T, mu / penalty)
        return W[None], M[None]
    r = blocks.residual(M, block.b, target)
    if problem.regularizer == "l1":
        G = blocks.W_gradient(r, P, W, penalty, 0.0, *rows, rule.matmul)
        if rule.name == "exact":
            return proximal.W_l1_exact(G, P, W, penalty, mu, problem.gram if block.is_first else None, *rows)
        return proximal.W_l1_step(G, P, W, M, penalty, mu, *rows, rule.matmul)
    decayed = decaying(block, W, problem)
    if rule.name == "exact":
        return blocks.W_exact(r, P, W, decayed, penalty, mu, *rows)
    G = blocks.W_gradient(r, P, decayed, penalty, mu, *rows, rule.matmul)
    return blocks.W_step(G, P, W, M, penalty, mu, rule, *rows)


def step_weights(block: Block, target: Tensor, penalty: float, problem: Problem) -> Block:
    """Move W and b of a batch towards a target, held back by what earlier batches left behind.

    They come last in a batch: the product P Wᵀ is left as it was.

    Args:
        block: Layers with inputs ``p``.
        target: T, ``[S, B, n_out]``.
        penalty: Weight of the fit.
        problem: That of the batch.
    """
    stream, layers = problem.stream, range(block.num_layers)
    assert stream is not None
    r, drawn = blocks.residual(block.M, block.b, target), decaying(block, block.W, problem)
    ratio = problem.mu / (penalty * stream.total)
    held = stream.damping, problem.total, problem.row_sum, problem.weight
    steps = [stream_step(r[s], block.p[s], drawn[s], ratio, stream.memories[block.first + s], *held) for s in layers]
    of_W, of_b = map(torch.stack, zip(*steps, strict=True))
    return replace(block, W=block.W - of_W, b=block.b - of_b)


def decaying(block: Block, W: Tensor, problem: Problem) -> Tensor:
    """Return what weight decay draws to zero: W, or W − I, ``[S, n_out, n_in]``.

    Decay to the identity leaves a layer that learns nothing as what it is when a network grows: a layer that passes its
    input on. Decay to zero would shrink the input by every such layer; with residual connections it does not.
    """
    return blocks.decayed(W, decay_shift(block, problem))


def decay_shift(block: Block, problem: Problem) -> float:
    """Return 1 where weight decay draws to the identity, 0 where to zero."""
    return float(problem.regularizer == "identity" and not problem.network.residual and block.between_equals)


def regularizer_terms(block: Block, W: Tensor, problem: Problem) -> Tensor:
    """Return Ω(W) of each layer, ``[S]``, for weights ``W`` of the block's layers."""
    if problem.regularizer == "l1":
        return proximal.l1_terms(W, problem.mu)
    return blocks.decay_terms(decaying(block, W, problem), problem.mu)


# --- what is measured -----------------------------------------------------------------------------------------

BlockTerms = Callable[[Block, Block, Problem], Sequence[Tensor]]
"""From a block before and after an iteration to what is measured of its layers, each ``[S]``."""


def by_layer(rows: int) -> Callable[[BlockTerms], LayerTerms]:
    """Return a decorator that puts what is measured of blocks side by side.

    Args:
        rows: Number of measures; their sums over the layers are, in this order, the objective, the primal residual and
            the square of the dual residual.

    Returns:
        From a function of one block to one of consecutive blocks, whose result is ``[rows, layers]``, in float64.
    """

    def decorate(measure: BlockTerms) -> LayerTerms:
        def layer_terms(before: Sequence[Block], after: Sequence[Block], problem: Problem, /) -> Tensor:
            columns = [torch.zeros(rows, 0, dtype=torch.float64)]
            for pair in zip(before, after, strict=True):
                columns.append(torch.stack(list(measure(*pair, problem))).double().cpu())
            return torch.cat(columns, 1)

        layer_terms.__doc__ = measure.__doc__
        return layer_terms

    return decorate


# --- sweeps: a layer sends its output f(z) forward and its input back -----------------------------------------


def output(block: Block, problem: Problem) -> Block:
    """Compute the layer's output f(z), which the next layer takes as its ``q_prev``."""
    return block if block.is_last else replace(block, q=state.output(problem.network, block.z, None))


def keep(block: Block, problem: Problem) -> Block:
    """Change nothing: fields only travel."""
    return block


REGULARIZERS = ("l2", "l1")


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep(ADMM):
    """What the trainers that sweep over the layers share. They train networks without residual connections.

    Attributes:
        regularizer: ``l2`` for μ/2 ‖W‖², ``l1`` for μ ‖W‖₁.
    """

    regularizer: str = "l2"

    residual = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.regularizer not in REGULARIZERS:
            raise unknown("regularizer", self.regularizer, REGULARIZERS)

    @property
    def compressible(self) -> bool:
        """See :attr:`Algorithm.compressible`: ‖W‖₁ depends on the coordinates."""
        return self.regularizer == "l2"

    def first_layer(self, stage: Stage) -> dict[str, Any]:
        """See :meth:`ADMM.first_layer`; ℓ1 takes PᵀDP."""
        if self.regularizer == "l2":
            return super().first_layer(stage)
        if self.solver != "exact" or stage.features is None:
            return {}
        P = stage.features.train
        return {"gram": row_sum(stage.team)(gram_matrix(P, stage.data.weight))[None].to(P.dtype)}

    def problem(self, **shared: Any) -> Problem:
        """See :meth:`ADMM.problem`."""
        return super().problem(regularizer=self.regularizer, **shared)

"""pdADMM, pdADMM-G and pdADMM-G-Q: every layer updates at the same time; neighbours exchange p and q.

Source: pdADMM, ICDM 2020, arXiv 2009.02868, Algorithm 1; pdADMM-G and pdADMM-G-Q, TNNLS 2022, arXiv 2105.09837,
Algorithms 1 and 2. The first two are the same algorithm, on plain and on graph-augmented features; in the third p (or
q, or both) lives on a finite grid Δ, which differs in where the update of p or q puts it.

What a layer computes of its neighbours it computes with what was sent: both ends of a boundary hold the same p̂ and q̂,
and so the same u = u + ρ(p̂ − q̂). Without a lossy codec these are p and q.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gamlp_admm.admm import blocks
from gamlp_admm.admm.engine import Phase
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.proximal import p_on_grid
from gamlp_admm.admm.stacked import squared_norms
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms.weights import regularizer_terms, update_W


def skipped(block: Block, problem: Problem) -> Tensor | None:
    """Return p, which a residual connection adds to a layer's output: q = f(z) + p; ``None`` where there is none.

    Then ν/2 ‖Q − f(Z)‖² is ν/2 ‖Q − f(Z) − P‖² in L_ρ, a term of the p-block too.
    """
    return block.p if problem.network.residual and block.between_equals else None


def update_p(block: Block, problem: Problem) -> Block:
    """Update the inputs p of all layers but the first."""
    if block.is_first:
        return block
    s, nu, rho = block, problem.nu, problem.rho
    r = blocks.residual(s.M, s.b, s.z)
    g = blocks.p_gradient(r, s.W, s.p, s.below("q"), s.below("u"), nu, rho)
    if s.q is not None and (a := skipped(s, problem)) is not None:  # one more term, ν/2 ‖P − (Q − f(Z))‖²
        g = g.add(a - s.q + problem.f(s.z), alpha=nu)
        rho = rho + nu
    if problem.codecs.on_grid("p"):
        boundaries = range(s.first - 1, s.first - 1 + s.num_layers)
        p, M = p_on_grid(g, s.p, s.W, s.M, nu, rho, lambda x: problem.codecs.land("p", boundaries, x), problem.row_sum)
    elif problem.rule.name == "exact":
        p, M = blocks.p_exact(g, s.p, s.W, nu, rho)
    else:
        p, M = blocks.p_step(g, s.p, s.W, s.M, nu, rho, problem.rule, problem.row_sum)
    return replace(block, p=p, M=M)


def update_W_b_z(block: Block, problem: Problem) -> Block:
    """Update weights, biases and pre-activations, for which a layer needs no neighbour."""
    s, nu = block, problem.nu
    W, M = update_W(s, s.W, s.M, s.z, nu, problem)
    b = blocks.b_update(M, s.z, problem.num_rows, problem.row_sum)
    if s.q is None:
        z = problem.risk.prox((M + b[:, None])[0], problem.y, nu, problem.weight, s.z[0])[None]
    else:
        a = skipped(s, problem)
        z = blocks.z_hidden(M, b, s.z, s.q if a is None else s.q - a, problem.f)
    return replace(block, W=W, M=M, b=b, z=z)


def update_q(block: Block, problem: Problem) -> Block:
    """Update outputs q of all layers but the last, once the next layer's p is here."""
    s = block
    if s.q is None or s.u is None:
        return block
    q = blocks.q_update(s.above("p"), s.z, s.u, problem.f, problem.nu, problem.rho, skipped(s, problem))
    return replace(block, q=problem.codecs.land("q", range(s.first, s.first + s.num_layers), q))


def update_u(block: Block, problem: Problem) -> Block:
    """Update the multipliers u; also those of the layer below, as it does itself, so that they need not travel."""
    s, u, u_prev = block, block.u, block.u_prev
    if u is not None:
        u = blocks.u_update(u, s.above("p"), s.sent("q"), problem.rho)
    if u_prev is not None and s.q_prev is not None:
        u_prev = blocks.u_update(u_prev, s.sent("p")[:1], s.q_prev, problem.rho)
    return replace(block, u=u, u_prev=u_prev)


PHASES = (
    Phase(update_p, sends="p", to="previous"),
    Phase(update_W_b_z),
    Phase(update_q, needs="p_next", sends="q", to="next"),
    Phase(update_u, needs="q_prev"),
)


def layer_terms(before: Sequence[Block], after: Sequence[Block], problem: Problem) -> Tensor:
    """Return what L_ρ and the residuals are made of, layer by layer, in float64.

    Args:
        before: Consecutive blocks before an iteration.
        after: The same blocks after it.
        problem: What is minimised.

    Returns:
        ``[3, number of layers]``, whose rows sum to L_ρ, to the primal residual Σ ‖p_{l+1} − q_l‖² (p and q as sent),
        and to the square of the dual residual ρ ‖q^{k+1} − q^k‖.
    """
    columns = [torch.zeros(3, 0, dtype=torch.float64)]
    for s, t in zip(after, before, strict=True):
        objective = blocks.fit_terms(s.M, s.b, s.z, problem.nu)
        primal = dual = torch.zeros_like(objective)
        if problem.counts_weights:
            objective = objective + regularizer_terms(s, s.W, problem)
        if s.q is None or s.u is None or t.q is None:
            objective = objective + problem.risk.value(s.z[0], problem.y, problem.weight)
        else:
            output = problem.network.output(s.z, skipped(s, problem))
            coupling, primal = blocks.coupling_terms(s.above("p"), s.sent("q"), s.u, problem.rho)
            objective = objective + blocks.activation_terms(s.q, output, problem.nu) + coupling
            dual = problem.rho**2 * squared_norms(s.sent("q") - t.sent("q"))
        columns.append(torch.stack([objective, primal, dual]).double().cpu())
    return torch.cat(columns, 1)


def lagrangian(state: Sequence[Block], problem: Problem) -> float:
    """Return the augmented Lagrangian L_ρ of a whole network's blocks."""
    return float(layer_terms(state, state, problem)[0].sum())


def converges(rho: float, nu: float, lipschitz: float) -> bool:
    """Whether ρ > max(4νS², (√17 + 1)/2·ν), the condition under which L_ρ never increases (TNNLS 2022, Theorem 1).

    Args:
        rho: Penalty ρ.
        nu: Penalty ν.
        lipschitz: Lipschitz constant S of the activation.
    """
    return rho > max(4 * nu * lipschitz**2, (17**0.5 + 1) / 2 * nu)

r"""The block updates: pure functions on tensors, in the papers' letters, each equation written once.

Layers of equal shape are stacked: ``P`` is ``[S, N, n_in]``, ``W`` ``[S, n_out, n_in]``, ``b`` ``[S, n_out]``,
``Z``, ``Q``, ``U``, ``M`` are ``[S, N, n_out]``; S = 1 for a single layer. ``M = P Wᵀ`` is kept up to date instead
of recomputed, and the residual is ``r = M + 1bᵀ − Z``. Rows are nodes. No tensor given is modified.

The augmented Lagrangian (pdADMM-G, TNNLS 2022, Problem 2; the papers write the transpose) is

.. math::
    L_ρ = R(Z_L, Y) + \tfrac μ2 \sum_l \|W_l\|^2 + \tfrac ν2 \sum_l \|Z_l - P_l W_l^T - 1 b_l^T\|^2
        + \tfrac ν2 \sum_{l<L} \|Q_l - f(Z_l)\|^2
        + \sum_{l<L} \big[ \langle U_l, P_{l+1} - Q_l \rangle + \tfrac ρ2 \|P_{l+1} - Q_l\|^2 \big]

With weights s of the rows (``weight`` ``[N]``), ‖X‖² is Σ_i s_i ‖x_i‖² = ‖D^½X‖², D = diag(s), inner products and R
likewise: a row has its part of L_ρ s times, as if it were there so often. In what belongs to a row (p, z, q, u), s is a
factor and drops out; W, b and step lengths, which all rows share, are those of weighted least squares.

``p`` and ``W`` are quadratic blocks φ. Their gradient step g/τ needs τ with φ(new) ≤ majoriser, i.e.
τ ≥ τ* = ⟨g, ∇²φ g⟩/‖g‖², the Rayleigh quotient along g. Three rules are offered:

- ``linesearch``: τ = τ*, the best step along g. No loop and no start value. For W each neuron has a τ* of its own.
- ``backtracking``: the papers' rule: a start value, doubled until the condition holds. Since φ is quadratic the
  condition is τ ≥ τ*, so the number of doublings is known without trying them.
- ``exact``: the minimiser of the whole block, by Cholesky; for the features, which never change, by a factor that
  serves all iterations (:mod:`gamlp_admm.admm.solving`).

``auto`` chooses among the first and the last of them (:func:`gamlp_admm.algorithms.common.rule_of`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gamlp_admm.admm.matmul import FULL, Matmul
from gamlp_admm.admm.normal import cholesky, coarse, coarse_gradient, gram_matrix
from gamlp_admm.admm.stacked import (
    SLICE,
    Layers,
    RowSum,
    all_rows_here,
    by_slices,
    empty,
    inner_products,
    products,
    room,
    squared_columns,
    squared_norms,
    squared_norms_of,
    weighed,
)
from gamlp_admm.nn import passes
from gamlp_admm.nn.activations import Activation, ReLU
from gamlp_admm.nn.constants import constant
from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.native import native


@native(passes.residual)
def residual(M: Tensor, b: Tensor, Z: Tensor) -> Tensor:
    """Return r = P Wᵀ + 1bᵀ − Z, ``[S, N, n_out]``."""
    return by_slices(lambda M, Z, b, out: torch.add(M, b, out=out).sub_(Z), M, Z, b[:, None])


@native(passes.scaled_gap)
def _scaled_gap(A: Tensor | Layers, B: Tensor | Layers, C: Tensor | Layers, factor: float) -> Tensor:
    # factor (A − B) + C, one of which is whole
    return by_slices(lambda A, B, C, out: torch.sub(A, B, out=out).mul_(constant(factor, A)).add_(C), A, B, C)


# --- the step length of the quadratic blocks ----------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """How the quadratic blocks p and W are solved.

    Attributes:
        name: ``auto``, ``linesearch``, ``backtracking`` or ``exact``.
        start: First τ that ``backtracking`` tries (the released code: 20).
        matmul: How precisely the products of a step are taken.
    """

    name: str = "linesearch"
    start: float = 20.0
    matmul: Matmul = FULL

    def step(self, curvature: Tensor) -> Tensor:
        """Return 1/τ, ``[S, k, 1]``, for Rayleigh quotients τ* ``[S, k]`` (0 where τ* = 0: there the gradient is 0)."""
        if self.name == "backtracking":
            doublings = torch.log2(curvature / self.start).ceil().clamp(min=0)
            return torch.where(curvature > 0, 1 / (self.start * torch.exp2(doublings)), 0)[..., None]
        return curvature.reciprocal().nan_to_num_(0.0, 0.0, 0.0).unsqueeze(-1)


RULES = ("auto", "linesearch", "backtracking", "exact")


BEST = Rule()
RELU = ReLU()


def rayleigh(base: float, nu: float, gradient: Tensor, image: Tensor) -> Tensor:
    """Return τ* = base + ν ‖image‖²/‖gradient‖², from squared norms of any equal shape (``base`` if both are 0)."""
    quotient = (image / gradient).nan_to_num_(0.0, math.inf)
    return quotient.mul_(constant(nu, quotient)).add_(constant(base, quotient))


# --- p: argmin_P ν/2 ‖Z − P Wᵀ − 1bᵀ‖² + ⟨U₋, P⟩ + ρ/2 ‖P − Q₋‖²   (U₋, Q₋ of the layer below) ------- eq. 4


def p_gradient(
    r: Tensor, W: Tensor, P: Tensor, Q: Layers, U: Layers | None, nu: float, rho: float, matmul: Matmul = FULL
) -> Tensor:
    """Return g = ν r W + U₋ + ρ (P − Q₋), ``[S, N, n_in]``; without U₋ where it is ``None``."""
    if U is None:
        coupling = by_slices(lambda P, Q, out: torch.sub(P, Q, out=out).mul_(constant(rho, P)), P, Q)
    else:
        coupling = _scaled_gap(P, Q, U, rho)
    return matmul.baddbmm_(coupling, r, W, nu)


def p_step(
    g: Tensor,
    P: Tensor,
    W: Tensor,
    M: Tensor,
    nu: float,
    rho: float,
    rule: Rule,
    row_sum: RowSum = all_rows_here,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return P − g/τ and its product with Wᵀ, M − (g Wᵀ)/τ; g is the gradient over the weights."""
    gWt = rule.matmul.bmm(g, W.mT)
    norms = row_sum(squared_norms_of((g, gWt), weight))
    step = rule.step(rayleigh(rho, nu, *norms.unsqueeze(-1)))
    return torch.addcmul(P, g, step, value=-1, out=room(P.shape, P)), torch.addcmul(M, gWt, step, value=-1, out=gWt)


@native(passes.p_update)
def p_update(
    M: Tensor, b: Tensor, Z: Tensor, P: Tensor, W: Tensor, Q: Layers, U: Layers, nu: float, rho: float
) -> tuple[Tensor, Tensor]:
    """Return :func:`p_step` by ``linesearch`` along :func:`p_gradient`, where one process has all rows, each once."""
    return p_step(p_gradient(residual(M, b, Z), W, P, Q, U, nu, rho), P, W, M, nu, rho, BEST)


def p_exact(g: Tensor, P: Tensor, W: Tensor, nu: float, rho: float) -> tuple[Tensor, Tensor]:
    """Return the minimiser P − g (ν WᵀW + ρI)⁻¹ and its product with Wᵀ. One small SPD matrix serves all rows.

    The matrix is inverted in float64, which costs little beside the product with all rows, and multiplied by in float64
    where rounding would spoil the step; on a GPU, which is not waited for to tell, always.
    """
    n = W.shape[-1]
    H = torch.bmm(W.mT.double(), W.double()).mul_(nu).add_(rho * torch.eye(n, dtype=torch.float64, device=W.device))
    # Over many rows a product with the inverse is twice as fast as triangular solves.
    inverse = torch.cholesky_inverse(_cholesky(H))
    if W.is_cuda:
        P = torch.sub(P, torch.bmm(g.double(), inverse)).to(P.dtype)
    elif not any(coarse(nu * scale, rho, W.dtype) for scale in squared_norms(W).tolist()):
        P = torch.baddbmm(P, g, inverse.to(W.dtype), alpha=-1, out=room(P.shape, P))
    else:
        one = [slice(s, s + 1) for s in range(len(W))]
        P = torch.cat([_newton_p(g[s], P[s], W[s], inverse[s], nu, rho) for s in one])
    return P, products(P, W)


def _newton_p(g: Tensor, P: Tensor, W: Tensor, inverse: Tensor, nu: float, rho: float) -> Tensor:
    if not coarse(nu * float(squared_norms(W)), rho, W.dtype):
        return torch.baddbmm(P, g, inverse.to(W.dtype), alpha=-1)
    return torch.sub(P, torch.bmm(g.double(), inverse)).to(P.dtype)


def _cholesky(H: Tensor) -> Tensor:
    # Factors of a stack; NaN where there is none, so that such a run ends like any that is no longer finite.
    L, info = torch.linalg.cholesky_ex(H)
    return torch.where(info[:, None, None] == 0, L, torch.nan)


# --- W: argmin_W ν/2 ‖Z − P Wᵀ − 1bᵀ‖² + μ/2 ‖W‖² ------------------------------------------------- eq. 5


def W_gradient(
    r: Tensor,
    P: Tensor,
    W: Tensor,
    nu: float,
    mu: float,
    row_sum: RowSum = all_rows_here,
    weight: Tensor | None = None,
    matmul: Matmul = FULL,
) -> Tensor:
    """Return G = ν rᵀ D P + μ W, ``[S, n_out, n_in]``."""
    return row_sum(matmul.bmm(weighed(r, weight).mT, P)).mul_(constant(nu, r)).add_(W, alpha=mu)


def W_step(
    G: Tensor,
    P: Tensor,
    W: Tensor,
    M: Tensor,
    nu: float,
    mu: float,
    rule: Rule,
    row_sum: RowSum = all_rows_here,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return W − G/θ and the product P Wᵀ that follows, M − (P Gᵀ)/θ.

    φ is a sum over neurons, the rows of W: ``linesearch`` takes the best step of each. The papers' rule has one θ.
    """
    PGt = rule.matmul.bmm(P, G.mT)
    gradient, image = G.square().sum(-1), row_sum(squared_columns(PGt, weight))
    if rule.name == "backtracking":
        gradient, image = gradient.sum(-1, keepdim=True), image.sum(-1, keepdim=True)
    step = rule.step(rayleigh(mu, nu, gradient, image))
    return torch.addcmul(W, G, step, value=-1), torch.addcmul(M, PGt, step.mT, value=-1, out=PGt)


@native(passes.W_b_update)
def W_b_update(
    P: Tensor, W: Tensor, M: Tensor, b: Tensor, Z: Tensor, nu: float, mu: float, total: float, shift: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return :func:`W_step` by ``linesearch`` along :func:`W_gradient`, and b.

    One process has all rows, each once; weight decay draws to ``shift`` I.
    """
    G = W_gradient(residual(M, b, Z), P, decayed(W, shift), nu, mu)
    W, M = W_step(G, P, W, M, nu, mu, BEST)
    return W, M, b_update(M, Z, total)


def decayed(W: Tensor, shift: float) -> Tensor:
    """Return what weight decay to ``shift`` I draws to zero, W − ``shift`` I, ``[S, n_out, n_in]``."""
    if not shift:
        return W
    moved = W.clone()
    moved.diagonal(dim1=1, dim2=2).sub_(constant(shift, W))
    return moved


def W_exact(
    r: Tensor,
    P: Tensor,
    W: Tensor,
    decaying: Tensor,
    nu: float,
    mu: float,
    row_sum: RowSum = all_rows_here,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the minimiser W − G (PᵀDP + μ/ν I)⁻¹/ν, G of :func:`W_gradient`, and the product P Wᵀ that follows.

    In float64 where rounding would spoil the step; on a GPU, which is not waited for to tell, always. Layer by layer,
    so that the bits do not depend on how layers are stacked. Inputs that never change are served by
    :mod:`gamlp_admm.admm.normal` instead.

    Args:
        r: Residual at ``W``, ``[S, N, n_out]``.
        P: Layer inputs, ``[S, N, n_in]``.
        W: Weights, ``[S, n_out, n_in]``.
        decaying: What weight decay draws to zero, W or W less a constant, ``[S, n_out, n_in]``.
        nu: Penalty ν.
        mu: Weight decay μ.
        row_sum: Sum over the shards of the rows.
        weight: Weights of the rows, ``[N]``, or ``None`` for ones.
    """
    norms = row_sum(squared_norms(P, weight))
    scales = list(norms) if P.is_cuda else norms.tolist()
    one = [slice(s, s + 1) for s in range(len(W))]
    steps = [_newton_W(scales[s.start], r[s], P[s], decaying[s], nu, mu, row_sum, weight) for s in one]
    W = torch.cat([torch.sub(W[s], step).to(W.dtype) for s, step in zip(one, steps, strict=True)])
    return W, products(P, W)


def _newton_W(
    scale: float | Tensor,
    r: Tensor,
    P: Tensor,
    decaying: Tensor,
    nu: float,
    mu: float,
    row_sum: RowSum,
    weight: Tensor | None,
) -> Tensor:
    # G (PᵀDP + μ/ν I)⁻¹/ν of one layer, ‖D^½P‖² = scale.
    c = mu / nu
    if not isinstance(scale, Tensor) and not coarse(scale, c, P.dtype):
        G = W_gradient(r, P, decaying, nu, mu, row_sum, weight)
        H = row_sum(torch.bmm(weighed(P, weight).mT, P))
        H.diagonal(dim1=1, dim2=2).add_(c)
        return torch.cholesky_solve(G.mT, _cholesky(H)).mT / nu
    H = row_sum(gram_matrix(P[0], weight))
    if isinstance(scale, Tensor) or coarse_gradient(scale, c, P.dtype):
        P, r, decaying = P.double(), r.double(), decaying.double()
    G = W_gradient(r, P, decaying, nu, mu, row_sum, weight)
    return torch.cholesky_solve(G.mT.double(), cholesky(H, c, scale)[None]).mT / nu


# --- b, z, q, u ---------------------------------------------------------------------------------------------


def b_update(
    M: Tensor, Z: Tensor, total: float, row_sum: RowSum = all_rows_here, weight: Tensor | None = None
) -> Tensor:
    """Return argmin_b ν/2 ‖Z − P Wᵀ − 1bᵀ‖², the mean over rows of Z − P Wᵀ, ``[S, n_out]`` (eq. 6).

    The papers step with the summed gradient over ν, which overshoots: its Lipschitz constant is νN.

    Args:
        M: The product ``P Wᵀ``, ``[S, N, n_out]``.
        Z: Pre-activations, ``[S, N, n_out]``.
        total: Weights of the rows over all shards, summed: their number N where they have none.
        row_sum: Sum over the shards of the rows.
        weight: Weights of the rows, ``[N]``, or ``None`` for ones.
    """
    if row_sum is all_rows_here and weight is None:
        return _column_means(Z, M, total)
    return row_sum(weighed(by_slices(torch.sub, Z, M), weight).sum(1)).div_(constant(total, M))


@native(passes.column_means)
def _column_means(Z: Tensor, M: Tensor, total: float) -> Tensor:
    return by_slices(torch.sub, Z, M).sum(1).div_(constant(total, M))


def z_hidden(M: Tensor, b: Tensor, Z: Tensor, Q: Tensor, f: Activation) -> Tensor:
    """Return argmin_z ν/2 [(z − m)² + (q − f(z))² + (z − z_old)²], m = M + 1bᵀ, entry by entry (eq. 7–8)."""
    return _relu_z(M, b, Z, Q) if isinstance(f, ReLU) else _z_hidden(M, b, Z, Q, f)


def _z_hidden(M: Tensor, b: Tensor, Z: Tensor, Q: Tensor, f: Activation) -> Tensor:
    def argmin(M: Tensor, Z: Tensor, Q: Tensor, b: Tensor, out: Tensor | None) -> Tensor:
        return f.argmin((M + b).add_(Z).mul_(constant(0.5, Z)), Q, 2.0)

    return by_slices(argmin, M, Z, Q, b[:, None])


@native(passes.relu_z)
def _relu_z(M: Tensor, b: Tensor, Z: Tensor, Q: Tensor) -> Tensor:
    return _z_hidden(M, b, Z, Q, RELU)


def z_free(M: Tensor, b: Tensor, A: Tensor, f: Activation) -> Tensor:
    """Return argmin_z ν/2 [(z − m)² + (a − f(z))²], m = M + 1bᵀ, entry by entry (KDD 2019, eq. 6)."""
    return by_slices(lambda M, A, b, out: f.argmin(M + b, A, 1.0), M, A, b[:, None])


def z_within(M: Tensor, b: Tensor, A: Tensor, f: Activation, epsilon: float) -> Tensor:
    """Return argmin_z (z − m)² subject to a − ε ≤ f(z) ≤ a + ε, m = M + 1bᵀ (Neurocomputing 2022, eq. 5).

    f is monotone, so that the constraint is an interval and the minimiser is m, clipped to it.
    """

    def argmin(M: Tensor, A: Tensor, b: Tensor, out: Tensor | None) -> Tensor:
        low, high = f.preimage(A - epsilon, A + epsilon)
        return torch.add(M, b, out=out).clamp_(low, high)

    return by_slices(argmin, M, A, b[:, None])


def z_last(M: Tensor, b: Tensor, Z: Tensor, Y: Tensor, risk: Risk, nu: float, U: Tensor | None = None) -> Tensor:
    """Return argmin_z R(z, y) + ν/2 ‖z − m‖², m = M + 1bᵀ − U/ν, row by row (eq. 9).

    On the CPU slice of rows by slice of rows, where the risk gives a row the same bits whatever others are beside it.

    Args:
        M: The product ``P Wᵀ`` of the last layer, ``[1, N, C]``.
        b: Its biases, ``[1, C]``.
        Z: The previous z, ``[1, N, C]``.
        Y: Targets, ``[N, C]``.
        risk: R.
        nu: Penalty ν.
        U: Multipliers of ``z = m``, ``[1, N, C]``, or ``None``.
    """

    def argmin(M: Tensor, Z: Tensor, Y: Tensor, U: Tensor | None = None) -> Tensor:
        m = M + b if U is None else torch.sub(M + b, U, alpha=1 / nu)
        return risk.prox(m, Y, nu, Z)

    N, C = Y.shape
    operands, rows = (M[0], Z[0], Y, *(() if U is None else U)), max(SLICE // C, 1)
    if M.is_cuda or rows >= N or not risk.row_by_row:
        return argmin(*operands)[None]
    made = empty(M.shape, M)
    for out, *x in zip(*(torch.split(t, rows) for t in (made[0], *operands)), strict=True):
        out.copy_(argmin(*x))
    return made


def q_update(
    P_next: Layers,
    Z: Tensor,
    U: Tensor,
    f: Activation,
    nu: float,
    rho: float,
    A: Tensor | None = None,
    before: Tensor | None = None,
) -> Tensor:
    """Return argmin_Q ν/2 ‖Q − f(Z)‖² + ρ/2 ‖P₊ − Q‖² − ⟨U, Q⟩ = (ρ P₊ + U + ν f(Z))/(ρ + ν) (eq. 10).

    With a residual connection ``A``, f(Z) + A stands for f(Z). With ``before`` ρ/2 ‖Q − before‖² is added.
    """
    if A is None and before is None and isinstance(f, ReLU):
        return _relu_q(P_next, Z, U, nu, rho)
    return _q_mean(P_next, Z, U, f, nu, rho, A, before)


@native(passes.relu_q)
def _relu_q(P_next: Tensor | Layers, Z: Tensor, U: Tensor, nu: float, rho: float) -> Tensor:
    return _q_mean(P_next, Z, U, RELU, nu, rho, None, None)


def _q_mean(
    P_next: Tensor | Layers,
    Z: Tensor,
    U: Tensor,
    f: Activation,
    nu: float,
    rho: float,
    A: Tensor | None,
    before: Tensor | None,
) -> Tensor:
    total = rho + nu if before is None else 2 * rho + nu

    def argmin(P_next: Tensor, Z: Tensor, U: Tensor, *more: Tensor, out: Tensor | None) -> Tensor:
        fZ = f(Z) if A is None else torch.add(f(Z), more[0], out=out)
        scaled = torch.mul(fZ, constant(nu, Z), out=out).add_(P_next, alpha=rho)
        if before is not None:
            scaled.add_(more[-1], alpha=rho)
        return scaled.add_(U).div_(constant(total, Z))

    return by_slices(argmin, P_next, Z, U, *(x for x in (A, before) if x is not None))


def u_update(U: Tensor, P_next: Layers | Tensor, Q: Tensor, rho: float) -> Tensor:
    """Return U + ρ (P₊ − Q) (eq. 11). Both ends of a boundary compute it, so U never travels."""
    return _scaled_gap(P_next, Q, U, rho)


# --- what is measured, a layer: terms of L_ρ and the residuals ----------------------------------------------


def decay_terms(W: Tensor, mu: float) -> Tensor:
    """Return μ/2 ‖W‖², ``[S]``."""
    return squared_norms(W).mul_(constant(mu / 2, W))


def fit_terms(M: Tensor, b: Tensor, Z: Tensor, nu: float, weight: Tensor | None = None) -> Tensor:
    """Return ν/2 ‖Z − P Wᵀ − 1bᵀ‖², ``[S]``."""
    return squared_norms(residual(M, b, Z), weight).mul_(constant(nu / 2, Z))


def activation_terms(Q: Tensor, fZ: Tensor, nu: float, weight: Tensor | None = None) -> Tensor:
    """Return ν/2 ‖Q − f(Z)‖², ``[S]``."""
    return squared_norms(by_slices(torch.sub, Q, fZ), weight).mul_(constant(nu / 2, Q))


def coupling_terms(
    P_next: Layers, Q: Tensor, U: Tensor, rho: float, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return ⟨U, P₊ − Q⟩ + ρ/2 ‖P₊ − Q‖² and the primal residual ‖P₊ − Q‖², each ``[S]``."""
    gap = by_slices(torch.sub, P_next, Q)
    primal = squared_norms(gap, weight)
    return inner_products(U, gap, weight).add_(primal * constant(rho / 2, Q)), primal

r"""Blocks p and W whose objective has a part that is not smooth: a grid, a box, or μ‖W‖₁.

Notation as in :mod:`gamlp_admm.admm.blocks`. Such a block is φ + ψ with φ quadratic and ψ the rest. A step goes from X
to prox(X − g/τ), which decides the direction, and no Rayleigh quotient along g tells whether τ majorises φ along it.
For convex ψ the step is therefore followed by a line search: along D = prox(X − g/τ) − X

.. math::
    (φ + ψ)(X + tD) \le (φ + ψ)(X) + t\,(\langle g, D\rangle + ψ(X + D) - ψ(X)) + \tfrac{t^2}2 ν\|D W^T\|^2,

whose minimiser over [0, 1] costs one product. It is 1 wherever τ majorises along D, and never lets φ + ψ rise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gamlp_admm.admm.blocks import rayleigh
from gamlp_admm.admm.matmul import FULL, Matmul
from gamlp_admm.admm.stacked import (
    RowSum,
    all_rows_here,
    inner_products,
    products,
    room,
    squared_columns,
    squared_distances,
    squared_norms,
    weighed,
)

SAMPLE = 256
"""Rows on which the τ of a step of p is estimated, at least."""


def _sample(N: int, weight: Tensor | None) -> tuple[Tensor | slice, Tensor | None]:
    # Some of N rows, and their weights: evenly spaced, where a row of weight 2 takes the place of two.
    every = slice(None, None, max(N // SAMPLE, 1))
    if weight is None or weight.is_cuda:  # a GPU is not waited for to tell how many rows there would be
        return every, None if weight is None else weight[every]
    ends = weight.double().cumsum(0)
    if not N or (total := float(ends[-1])) < 2 * SAMPLE:
        return slice(None), weight
    places = torch.arange(0, total, total // SAMPLE, dtype=ends.dtype, device=ends.device)
    return torch.searchsorted(ends, places, right=True).clamp_(max=N - 1), None


def _tau(g: Tensor, W: Tensor, nu: float, rho: float, row_sum: RowSum, weight: Tensor | None) -> Tensor:
    # 1.1 times the Rayleigh quotient along g, of some rows, [S].
    rows, weight = _sample(g.shape[1], weight)
    some = g[:, rows].contiguous()
    norms = row_sum(torch.stack([squared_norms(some, weight), squared_norms(products(some, W), weight)]))
    return 1.1 * rayleigh(rho, nu, norms[0], norms[1])


def _reciprocal(tau: Tensor) -> Tensor:
    # 1/τ, [S, k, 1]; 0 where τ = 0: there the gradient is 0.
    return torch.where(tau > 0, 1 / tau, 0)[..., None]


def _length(slope: Tensor, curvature: Tensor) -> Tensor:
    # argmin over [0, 1] of t · slope + t²/2 · curvature, [S, k, 1].
    return torch.where(curvature > 0, -slope / curvature, 1).clamp(0, 1)[..., None]


# --- p: argmin_P ν/2 ‖Z − P Wᵀ − 1bᵀ‖² + ρ/2 ‖P − Q₋‖² + ⟨U₋, P⟩ subject to P ∈ Δ, or to a box ---------------


def p_on_grid(
    g: Tensor,
    P: Tensor,
    W: Tensor,
    M: Tensor,
    nu: float,
    rho: float,
    project: Callable[[Tensor], Tensor],
    row_sum: RowSum = all_rows_here,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the projection of P − g/τ onto the grid Δ and its product with Wᵀ (TNNLS 2022, Problem 3).

    The projection decides where P goes, so that τ must majorise φ along that step, not along g. τ is tried at 1.1 times
    the Rayleigh quotient along g, which some rows suffice to estimate; then the quotient along the step itself, which
    costs no product, is looked at, and where it is larger, the step is repeated with 1.1 times that. τ = ρ + ν‖W‖_F²
    majorises in every direction and so ends the search. Since P lies on the grid, φ never rises. A GPU is not waited
    for: there the second try has that τ, and is made in any case.
    """
    tau = _tau(g, W, nu, rho, row_sum, weight)
    enough = rho + nu * squared_norms(W)
    while True:
        P_new = project(torch.addcmul(P, g, _reciprocal(tau[:, None]), value=-1, out=room(P.shape, P)))
        M_new = products(P_new, W)
        norms = row_sum(torch.stack([squared_distances(P_new, P, weight), squared_distances(M_new, M, weight)]))
        along = rayleigh(rho, nu, norms[0], norms[1])
        failed = (along > tau) & (tau < enough)
        if g.is_cuda:
            P = project(torch.addcmul(P, g, _reciprocal(enough[:, None]), value=-1))
            failed = failed[:, None, None]
            return torch.where(failed, P, P_new), torch.where(failed, products(P, W), M_new)
        if not bool(failed.any()):
            return P_new, M_new
        tau = torch.where(failed, torch.maximum(1.1 * along, 1.1 * tau), tau)


def p_in_box(
    g: Tensor,
    P: Tensor,
    W: Tensor,
    M: Tensor,
    nu: float,
    low: Tensor,
    high: Tensor,
    row_sum: RowSum = all_rows_here,
    weight: Tensor | None = None,
    matmul: Matmul = FULL,
) -> tuple[Tensor, Tensor]:
    """Return a step of P, which lies in the box, within it, and its product with Wᵀ (Neurocomputing 2022, eq. 7).

    Args:
        g: Gradient of ν/2 ‖Z − P Wᵀ − 1bᵀ‖² at P, over the weights, ``[S, N, n_in]``.
        P: Layer inputs, ``[S, N, n_in]``.
        W: Weights, ``[S, n_out, n_in]``.
        M: ``P Wᵀ``.
        nu: Penalty ν.
        low: Lower bounds, ``[S, N, n_in]``.
        high: Upper bounds, ``[S, N, n_in]``.
        row_sum: Sum over the shards of the rows.
        weight: Weights of the rows, ``[N]``, or ``None`` for ones.
        matmul: How precisely the product is taken.
    """
    step = _reciprocal(_tau(g, W, nu, 0.0, row_sum, weight)[:, None])
    D = torch.addcmul(P, g, step, value=-1, out=room(P.shape, P)).clamp_(low, high).sub_(P)
    DWt = matmul.bmm(D, W.mT)
    slope, image = row_sum(torch.stack([inner_products(g, D, weight), squared_norms(DWt, weight)]))
    t = _length(slope[:, None], nu * image[:, None])
    return torch.addcmul(P, D, t, out=D), torch.addcmul(M, DWt, t, out=DWt)


# --- W: argmin_W ν/2 ‖Z − P Wᵀ − 1bᵀ‖² + μ ‖W‖₁ ---------------------------------------------------------------


def soft(X: Tensor, threshold: Tensor) -> Tensor:
    """Return the prox of ``threshold`` · ‖·‖₁ at X: every entry moved towards 0 by ``threshold``."""
    return X.sign() * (X.abs() - threshold).clamp_(min=0)


def W_l1_step(
    G: Tensor,
    P: Tensor,
    W: Tensor,
    M: Tensor,
    nu: float,
    mu: float,
    row_sum: RowSum = all_rows_here,
    weight: Tensor | None = None,
    matmul: Matmul = FULL,
) -> tuple[Tensor, Tensor]:
    """Return the soft-thresholded W − G/θ, after a line search a neuron, and the product P Wᵀ that follows.

    Args:
        G: Gradient of ν/2 ‖Z − P Wᵀ − 1bᵀ‖² at W, ``[S, n_out, n_in]``.
        P: Layer inputs, ``[S, N, n_in]``.
        W: Weights, ``[S, n_out, n_in]``.
        M: ``P Wᵀ``.
        nu: Penalty ν.
        mu: Weight μ of ‖W‖₁.
        row_sum: Sum over the shards of the rows.
        weight: Weights of the rows, ``[N]``, or ``None`` for ones.
        matmul: How precisely products are taken.
    """
    # The curvature along the least subgradient. Along G it would be that of rounding where Z = P Wᵀ + 1bᵀ and G is 0.
    S = torch.where(W == 0, soft(G, W.new_full((), mu)), torch.add(G, W.sign(), alpha=mu))
    image = row_sum(squared_columns(matmul.bmm(P, S.mT), weight))
    step = _reciprocal(1.1 * rayleigh(0.0, nu, S.square().sum(-1), image))
    D = soft(torch.addcmul(W, G, step, value=-1), mu * step) - W
    PDt = matmul.bmm(P, D.mT)
    slope = (G * D + mu * ((W + D).abs() - W.abs())).sum(-1)
    t = _length(slope, nu * row_sum(squared_columns(PDt, weight)))
    return torch.addcmul(W, D, t), torch.addcmul(M, PDt, t.mT)


LASSO_STEPS = 1_000
"""Steps after which a lasso that has not come to rest is left as it is."""

STEPS_UNASKED = 100
"""Steps on a GPU, which is not asked whether it has; the next iteration goes on from there."""


def W_l1_exact(
    G: Tensor,
    P: Tensor,
    W: Tensor,
    nu: float,
    mu: float,
    gram: Tensor | None = None,
    row_sum: RowSum = all_rows_here,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the minimiser over W, by FISTA on the Gram matrix until rounding, and the product P Wᵀ that follows.

    A step costs n_out · n_in² whatever the number of rows. Momentum starts anew whenever it points uphill. Arguments as
    :func:`W_l1_step`, and ``gram`` is PᵀDP ``[S, n_in, n_in]`` where P never changes.

    Source: Beck, Teboulle, SIAM J. Imaging Sciences 2009; restarts: O'Donoghue, Candès, Found. Comput. Math. 2015.
    """
    H = (row_sum(torch.bmm(weighed(P, weight).mT, P)) if gram is None else gram) * nu
    step = 1 / _largest_eigenvalues(H).clamp(min=torch.finfo(H.dtype).tiny)[:, None, None]
    X = Y = W
    s = W.new_ones(len(W), 1, 1)
    rest, done = 8 * torch.finfo(W.dtype).eps, torch.zeros_like(s, dtype=torch.bool)
    steps = STEPS_UNASKED if W.is_cuda else LASSO_STEPS
    for _ in range(steps):  # each layer by itself, whatever others are in the stack
        gradient = torch.baddbmm(G, Y - W, H)
        X_new = soft(torch.addcmul(Y, gradient, step, value=-1), mu * step)
        moved = X_new - X
        change = torch.maximum(_largest(moved), _largest(X_new - Y))
        done |= change <= rest * _largest(X_new)
        if not W.is_cuda and bool(done.all()):
            break
        s_new = (1 + (1 + 4 * s * s).sqrt()) / 2
        uphill = ((Y - X_new) * moved).sum((1, 2), keepdim=True) > 0
        Y = torch.where(done, Y, torch.where(uphill, X_new, X_new + (s - 1) / s_new * moved))
        X, s = torch.where(done, X, X_new), torch.where(uphill, 1, s_new)
    return X, products(P, X)


def _largest_eigenvalues(H: Tensor) -> Tensor:
    # [S]; on a GPU, where torch waits to learn whether they were found, a bound: the largest row sum.
    return H.abs().sum(-1).amax(-1) if H.is_cuda else torch.linalg.eigvalsh(H)[:, -1]


def _largest(X: Tensor) -> Tensor:
    return X.abs().amax((1, 2), keepdim=True)


def l1_terms(W: Tensor, mu: float) -> Tensor:
    """Return μ ‖W‖₁, ``[S]``."""
    return mu * W.abs().sum((1, 2))

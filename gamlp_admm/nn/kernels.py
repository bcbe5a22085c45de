"""Updates of small stacks in few passes over them, for :mod:`gamlp_admm.nn.native`; compiled, not run as they stand.

Stacks are ``[S, N, n]``, biases ``[S, n]``. Each kernel rounds where the torch operators that it stands for round: a
sum with a factor, ``addcmul`` and ``lerp`` once (:func:`fma`), sums in torch's order, all else after every operation.
Constants are float32, because Python's own numbers would make float64 of everything.
"""

from __future__ import annotations

import math

import numpy as np

from gamlp_admm.system.compiled import Flags, Float, Floats, Size, at, dot, fma, gemm
from gamlp_admm.system.sums import column_sums, row_sum

ZERO, HALF, ONE, INF = (np.float32(x) for x in (0, 0.5, 1, math.inf))
LARGEST = np.finfo(np.float32).max
KAPPA, THIRD = np.float32(1 - math.sqrt(2 / 3)), np.float32(1 / 3)


def _length(image: Float, gradient: Float, base: Float, nu: Float) -> Float:
    # 1/τ*, τ* = base + ν image/gradient; 0 where that is not finite.
    quotient = image / gradient
    quotient = ZERO if quotient != quotient else quotient
    quotient = -LARGEST if quotient == -INF else quotient
    length = ONE / (quotient * nu + base)
    return length if abs(length) < INF else ZERO


# --- products, by the BLAS that torch uses ------------------------------------------------------------------------


def _product(
    gemm_: Size,
    A: Floats,
    turned_A: Size,
    B: Floats,
    turned_B: Size,
    C: Floats,
    m: Size,
    k: Size,
    n: Size,
    alpha: Float,
    beta: Float,
) -> None:
    # C = α A B + β C of matrices by rows, A [m, k] and B [k, n] or their transposes: by columns, Cᵀ = α Bᵀ Aᵀ + β Cᵀ.
    ldb, tb = (k, ord("T")) if turned_B else (n, ord("N"))
    lda, ta = (m, ord("T")) if turned_A else (k, ord("N"))
    gemm(gemm_, tb, ta, n, m, k, alpha, B, ldb, A, lda, beta, C, n)


# --- the blocks, gamlp_admm.admm.blocks --------------------------------------------------------------------------


def residual(M: Floats, b: Floats, Z: Floats, out: Floats, S: Size, N: Size, n: Size) -> None:
    """M + 1bᵀ − Z."""
    for s in range(S):
        for i in range(s * N, s * N + N):
            for j in range(n):
                out[i * n + j] = M[i * n + j] + b[s * n + j] - Z[i * n + j]


def scaled_gap(A: Floats, B: Floats, C: Floats, out: Floats, factor: Float, size: Size) -> None:
    """Factor (A − B) + C."""
    for i in range(size):
        out[i] = (A[i] - B[i]) * factor + C[i]


def _W_best(
    G: Floats,
    W: Floats,
    M: Floats,
    PGt: Floats,
    out: Floats,
    room: Floats,
    sums: Floats,
    steps: Floats,
    nu: Float,
    mu: Float,
    S: Size,
    N: Size,
    n: Size,
    inputs: Size,
) -> None:
    """W − G/θ, and into PGt M − PGt/θ, θ of a neuron from the norms of its row of G and column of PGt."""
    for s in range(S):
        for i in range(N * n):
            x = PGt[s * N * n + i]
            room[i] = x * x
        column_sums(room, steps, s * n, N, n, sums)
        for k in range(s * n, s * n + n):
            for j in range(inputs):
                x = G[k * inputs + j]
                room[j] = x * x
            step = steps[k] = _length(steps[k], row_sum(room, 0, inputs, sums), mu, nu)
            for j in range(k * inputs, (k + 1) * inputs):
                out[j] = fma(-G[j], step, W[j])
        for i in range(s * N, s * N + N):
            for j in range(n):
                PGt[i * n + j] = fma(-PGt[i * n + j], steps[s * n + j], M[i * n + j])


def column_means(
    Z: Floats, M: Floats, out: Floats, room: Floats, sums: Floats, total: Float, S: Size, N: Size, n: Size
) -> None:
    """Sum Z − M over rows, over ``total``."""
    for s in range(S):
        for i in range(N * n):
            room[i] = Z[s * N * n + i] - M[s * N * n + i]
        column_sums(room, out, s * n, N, n, sums)
        for j in range(s * n, s * n + n):
            out[j] = out[j] / total


def p_update(
    M: Floats,
    b: Floats,
    Z: Floats,
    P: Floats,
    W: Floats,
    Q: Floats,
    U: Floats,
    P_new: Floats,
    M_new: Floats,
    r: Floats,
    g: Floats,
    gemm_: Size,
    dot_: Size,
    nu: Float,
    rho: Float,
    S: Size,
    N: Size,
    n: Size,
    inputs: Size,
) -> None:
    """The p-block by the best step, layer by layer, with room for r and g of one."""
    for s in range(S):
        x, z = s * N * inputs, s * N * n
        residual(at(M, z), at(b, s * n), at(Z, z), r, 1, N, n)
        scaled_gap(at(P, x), at(Q, x), at(U, x), g, rho, N * inputs)
        _product(gemm_, r, 0, at(W, s * n * inputs), 0, g, N, n, inputs, nu, ONE)
        _product(gemm_, g, 0, at(W, s * n * inputs), 1, at(M_new, z), N, inputs, n, ONE, ZERO)
        gradient = dot(dot_, N * inputs, g, g)
        step = _length(dot(dot_, N * n, at(M_new, z), at(M_new, z)), gradient, rho, nu)
        for i in range(N * inputs):
            P_new[x + i] = fma(-g[i], step, P[x + i])
        for i in range(z, z + N * n):
            M_new[i] = fma(-M_new[i], step, M[i])


def W_b_update(
    P: Floats,
    W: Floats,
    M: Floats,
    b: Floats,
    Z: Floats,
    W_new: Floats,
    M_new: Floats,
    b_new: Floats,
    r: Floats,
    G: Floats,
    sums: Floats,
    gemm_: Size,
    nu: Float,
    mu: Float,
    total: Float,
    shift: Float,
    S: Size,
    N: Size,
    n: Size,
    inputs: Size,
) -> None:
    """W by the best step of each neuron, drawn to ``shift`` I, and b; layer by layer, with room for r and G of one."""
    for s in range(S):
        w, z = s * n * inputs, s * N * n
        residual(at(M, z), at(b, s * n), at(Z, z), r, 1, N, n)
        _product(gemm_, r, 1, at(P, s * N * inputs), 0, G, n, N, inputs, ONE, ZERO)
        for k in range(n):
            diagonal = G[k * inputs + k] if k < inputs else ZERO
            for j in range(k * inputs, (k + 1) * inputs):
                G[j] = fma(W[w + j], mu, G[j] * nu)
            if k < inputs:
                G[k * inputs + k] = fma(W[w + k * inputs + k] - shift, mu, diagonal * nu)
        _product(gemm_, at(P, s * N * inputs), 0, G, 1, at(M_new, z), N, inputs, n, ONE, ZERO)
        _W_best(G, at(W, w), at(M, z), at(M_new, z), at(W_new, w), r, sums, at(b_new, s * n), nu, mu, 1, N, n, inputs)
        column_means(at(Z, z), at(M_new, z), at(b_new, s * n), r, sums, total, 1, N, n)


def relu_z(M: Floats, b: Floats, Z: Floats, Q: Floats, out: Floats, S: Size, N: Size, n: Size) -> None:
    """:meth:`gamlp_admm.nn.activations.ReLU.argmin` of (M + 1bᵀ + Z)/2, Q and 2."""
    for s in range(S):
        for i in range(s * N, s * N + N):
            for j in range(n):
                c = (M[i * n + j] + b[s * n + j] + Z[i * n + j]) * HALF
                pull = Q[i * n + j] - c
                active, passive = fma(THIRD, pull, c), c
                active = ZERO if active < ZERO else active
                passive = ZERO if passive > ZERO else passive
                chosen = passive if fma(KAPPA, pull, c) <= ZERO else active
                out[i * n + j] = fma(ZERO, passive - active, chosen)


def relu_q(P: Floats, Z: Floats, U: Floats, out: Floats, nu: Float, rho: Float, total: Float, size: Size) -> None:
    """(ρ P + U + ν max(Z, 0))/total."""
    for i in range(size):
        z = ZERO if Z[i] < ZERO else Z[i]
        out[i] = (fma(P[i], rho, z * nu) + U[i]) / total


# --- the prox of cross-entropy, gamlp_admm.nn.losses -------------------------------------------------------------


def penalized(
    log_pi: Floats, y: Floats, away: Floats, out: Floats, room: Floats, sums: Floats, half: Float, N: Size, C: Size
) -> None:
    """−y · log π + ν/2 ‖away‖² of each row."""
    for i in range(N):
        for j in range(C):
            room[j] = log_pi[i * C + j] * y[i * C + j]
        risk = -row_sum(room, 0, C, sums)
        for j in range(C):
            room[j] = away[i * C + j] * away[i * C + j]
        out[i] = risk + row_sum(room, 0, C, sums) * half


def newton(
    pi: Floats,
    y: Floats,
    away: Floats,
    v: Floats,
    step: Floats,
    decrease: Floats,
    open_rows: Flags,
    room: Floats,
    sums: Floats,
    nu: Float,
    limit: Float,
    N: Size,
    C: Size,
) -> None:
    """Newton's step of each row, its decrement, and whether that is above rounding."""
    for i in range(N):
        for j in range(C):
            p = pi[i * C + j]
            step[i * C + j] = (p - y[i * C + j] + away[i * C + j] * nu) / (p + nu)
            room[j] = p * step[i * C + j]
            room[C + j] = p / (p + nu)
        pull = row_sum(room, 0, C, sums) / (row_sum(room, C, C, sums) * nu)
        for j in range(C):
            step[i * C + j] += room[C + j] * pull
            room[j] = (pi[i * C + j] - y[i * C + j] + away[i * C + j] * nu) * step[i * C + j]
        decrease[i] = row_sum(room, 0, C, sums)
        open_rows[i] = 1 if decrease[i] > (abs(v[i]) + ONE) * limit else 0

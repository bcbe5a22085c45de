"""Sums and norms in torch's order, and so with its bits, for compiled functions (:mod:`gamlp_admm.system.compiled`)."""

from __future__ import annotations

import numpy as np

from gamlp_admm.system.compiled import Float, Floats, Size, sqrt, squares

ZERO = np.float32(0)

LEVELS, CHAINS, LANES = 4, 4, 8
"""How torch sums: in a tree of so many levels, in so many chains at a time, by vectors of so many numbers."""

# --- at::native::cascade_sum --------------------------------------------------------------------------------------


def cascade(X: Floats, start: Size, stride: Size, size: Size, width: Size, sums: Floats) -> None:
    """sums[j] = Σ_i X[start + i stride + j] for j < width, with room for LEVELS times as many."""
    bits = 0
    while size - 1 >> bits > 0:
        bits += 1
    power = max(4, bits // LEVELS)
    levels = LEVELS if size >> power else 1
    for j in range(levels * width):
        sums[j] = ZERO
    i = 0
    while i + (1 << power) <= size:
        for _ in range(1 << power):
            for j in range(width):
                sums[j] += X[start + i * stride + j]
            i += 1
        level = 1
        while level < LEVELS:
            for j in range(width):
                sums[level * width + j] += sums[(level - 1) * width + j]
                sums[(level - 1) * width + j] = ZERO
            if i & (((1 << power) - 1) << (level * power)):
                break
            level += 1
    while i < size:
        for j in range(width):
            sums[j] += X[start + i * stride + j]
        i += 1
    for level in range(1, levels):
        for j in range(width):
            sums[j] += sums[level * width + j]


def column_sums(X: Floats, out: Floats, at: Size, N: Size, n: Size, sums: Floats) -> None:
    """out[at + j] = Σ_i X[i, j] of X [N, n], with room for 4 n numbers."""
    group = CHAINS * LANES if n >= LANES else CHAINS
    whole = n - n % group
    cascade(X, 0, n, N, whole, sums)
    for j in range(whole):
        out[at + j] = sums[j]
    rest = n - whole
    for chain in range(CHAINS):
        cascade(X, chain * n + whole, CHAINS * n, N // CHAINS, rest, sums)
        if chain == 0:
            for j in range(rest):
                total = sums[j]
                for i in range(N - N % CHAINS, N):
                    total += X[i * n + whole + j]
                out[at + whole + j] = total
        else:
            for j in range(rest):
                out[at + whole + j] += sums[j]


def row_sum(X: Floats, start: Size, n: Size, sums: Floats) -> Float:
    """Return Σ_j X[start + j], with room for 128 numbers."""
    lanes = LANES if n >= LANES else 1
    vectors = n // lanes
    cascade(X, start, CHAINS * lanes, vectors // CHAINS, CHAINS * lanes, sums)
    for i in range(vectors - vectors % CHAINS, vectors):
        for j in range(lanes):
            sums[j] += X[start + i * lanes + j]
    for chain in range(1, CHAINS):
        for j in range(lanes):
            sums[j] += sums[chain * lanes + j]
    total = ZERO
    for j in range(vectors * lanes, n):
        total += X[start + j]
    for j in range(lanes):
        total += sums[j]
    return total


# --- torch.linalg.vector_norm -------------------------------------------------------------------------------------


def row_norm(X: Floats, start: Size, n: Size) -> Float:
    """Return (Σ_j X[start + j]²)^½."""
    whole = start + n - n % LANES
    total = squares(X, start, whole)
    for j in range(whole, start + n):
        total += X[j] * X[j]
    return sqrt(total)

"""Parts of updates by kernels (:func:`gamlp_admm.nn.native.native`); what they compute is said with their operators.

Shapes are those of :mod:`gamlp_admm.admm.blocks` and :mod:`gamlp_admm.nn.losses`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gamlp_admm.nn.native import loaded

_Parts = tuple[Tensor, ...]  # of a stack, along the layers

FLOAT, ROOM = 4, 128  # bytes; entries that the sum of a row takes


def _spans(like: Tensor, *stacks: Tensor | _Parts) -> list[tuple[list[int], int]]:
    # Addresses of stacks, and the number of entries, of consecutive layers in which none is in parts.
    parts = next((x for x in stacks if isinstance(x, tuple)), ())
    if len(parts) < 2:
        return [([x[0].data_ptr() if isinstance(x, tuple) else x.data_ptr() for x in stacks], like.numel())]
    S, found, first = like.shape[0], [], 0
    for i, part in enumerate(parts):
        places = [
            x[i].data_ptr() if isinstance(x, tuple) else x.data_ptr() + first * (x.numel() // S) * FLOAT for x in stacks
        ]
        found.append((places, part.shape[0] * (like.numel() // S)))
        first += part.shape[0]
    return found


def _padded(size: int) -> int:
    # So many entries or more, after which the next are at a multiple of 64 bytes.
    return -(-size * FLOAT // 64) * 64 // FLOAT


def _aligned(S: int, *sizes: int) -> bool:
    # Whether layers of S are at multiples of 64 bytes, as tensors of their own are: BLAS rounds by alignment.
    return S == 1 or all(size == _padded(size) for size in sizes)


def residual(M: Tensor, b: Tensor, Z: Tensor) -> Tensor:
    """See ``admm.blocks``."""
    out = torch.empty_like(M)
    loaded().residual(M.data_ptr(), b.data_ptr(), Z.data_ptr(), out.data_ptr(), *M.shape)
    return out


def scaled_gap(A: Tensor | _Parts, B: Tensor | _Parts, C: Tensor | _Parts, factor: float) -> Tensor:
    """See ``admm.blocks``."""
    like = next(x for x in (A, B, C) if isinstance(x, Tensor))
    out = torch.empty_like(like)
    for places, size in _spans(like, A, B, C, out):
        loaded().scaled_gap(*places, factor, size)
    return out


def column_means(Z: Tensor, M: Tensor, total: float) -> Tensor:
    """See ``admm.blocks``."""
    S, N, n = Z.shape
    out, room = Z.new_empty(S, n), Z.new_empty(N * n + 4 * n + 16)
    at = room.data_ptr()
    loaded().column_means(Z.data_ptr(), M.data_ptr(), out.data_ptr(), at, at + FLOAT * N * n, total, S, N, n)
    return out


def relu_z(M: Tensor, b: Tensor, Z: Tensor, Q: Tensor) -> Tensor:
    """See ``admm.blocks``."""
    out = torch.empty_like(Z)
    loaded().relu_z(M.data_ptr(), b.data_ptr(), Z.data_ptr(), Q.data_ptr(), out.data_ptr(), *Z.shape)
    return out


def relu_q(P_next: Tensor | _Parts, Z: Tensor, U: Tensor, nu: float, rho: float) -> Tensor:
    """See ``admm.blocks``."""
    out = torch.empty_like(Z)
    for places, size in _spans(Z, P_next, Z, U, out):
        loaded().relu_q(*places, nu, rho, rho + nu, size)
    return out


def penalized(log_pi: Tensor, y: Tensor, away: Tensor, half: float) -> Tensor:
    """See ``nn.losses``."""
    N, C = away.shape
    out, room = away.new_empty(N), away.new_empty(C + ROOM)
    places = [x.data_ptr() for x in (log_pi, y, away, out, room)]
    loaded().penalized(*places, places[-1] + FLOAT * C, half, N, C)
    return out


def newton(pi: Tensor, y: Tensor, away: Tensor, v: Tensor, nu: float) -> tuple[Tensor, Tensor, Tensor]:
    """See ``nn.losses``."""
    N, C = pi.shape
    step, decrease, open_rows = torch.empty_like(pi), torch.empty_like(v), v.new_empty(N, dtype=torch.bool)
    room = pi.new_empty(2 * C + ROOM)
    places = [x.data_ptr() for x in (pi, y, away, v, step, decrease, open_rows, room)]
    loaded().newton(*places, places[-1] + 2 * FLOAT * C, nu, 8 * torch.finfo(pi.dtype).eps, N, C)
    return step, decrease, open_rows


def p_update(
    M: Tensor, b: Tensor, Z: Tensor, P: Tensor, W: Tensor, Q: Tensor | _Parts, U: Tensor | _Parts, nu: float, rho: float
) -> tuple[Tensor, Tensor] | None:
    """See ``admm.blocks``."""
    kernels, (S, N, n), inputs = loaded(), M.shape, P.shape[2]
    if not kernels.gemm or not kernels.dot or not _aligned(S, N * n, N * inputs, n * inputs):
        return None
    size_r = _padded(N * n)
    P_new, M_new, room = torch.empty_like(P), torch.empty_like(M), M.new_empty(size_r + N * inputs)
    r = room.data_ptr()
    routines = r, r + FLOAT * size_r, kernels.gemm, kernels.dot
    for places, size in _spans(P, M, b, Z, P, W, Q, U, P_new, M_new):
        kernels.p_update(*places, *routines, nu, rho, size // (N * inputs), N, n, inputs)
    return P_new, M_new


def W_b_update(
    P: Tensor, W: Tensor, M: Tensor, b: Tensor, Z: Tensor, nu: float, mu: float, total: float, shift: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    """See ``admm.blocks``."""
    kernels, (S, N, n), inputs = loaded(), M.shape, P.shape[2]
    if not kernels.gemm or not _aligned(S, N * n, N * inputs, n * inputs):
        return None
    W_new, M_new, b_new = torch.empty_like(W), torch.empty_like(M), torch.empty_like(b)
    sizes = _padded(max(N * n, inputs)), _padded(n * inputs), 4 * n + ROOM
    room = M.new_empty(sum(sizes))
    r = room.data_ptr()
    G = r + FLOAT * sizes[0]
    places = [x.data_ptr() for x in (P, W, M, b, Z, W_new, M_new, b_new)]
    numbers = nu, mu, total, shift
    kernels.W_b_update(*places, r, G, G + FLOAT * sizes[1], kernels.gemm, *numbers, S, N, n, inputs)
    return W_new, M_new, b_new

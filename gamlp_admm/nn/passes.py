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
    found, first = [], 0
    for i, part in enumerate(parts):
        places = [x[i].data_ptr() if isinstance(x, tuple) else x.data_ptr() + first * FLOAT for x in stacks]
        found.append((places, part.numel()))
        first += part.numel()
    return found


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


def p_best(P: Tensor, g: Tensor, M: Tensor, gWt: Tensor, norms: Tensor, rho: float, nu: float) -> tuple[Tensor, Tensor]:
    """See ``admm.blocks``."""
    out = torch.empty_like(P)
    places = [x.data_ptr() for x in (P, g, M, gWt, norms, out)]
    S, N, n = P.shape
    loaded().p_best(*places, rho, nu, S, N * n, N * M.shape[2])
    return out, gWt


def combined_(G: Tensor, W: Tensor, nu: float, mu: float) -> Tensor:
    """See ``admm.blocks``."""
    loaded().combined_(G.data_ptr(), W.data_ptr(), nu, mu, G.numel())
    return G


def W_best(G: Tensor, W: Tensor, M: Tensor, PGt: Tensor, nu: float, mu: float) -> tuple[Tensor, Tensor]:
    """See ``admm.blocks``."""
    S, N, n = M.shape
    inputs = W.shape[2]
    out, room = torch.empty_like(W), M.new_empty(max(N * n, inputs) + 4 * n + ROOM + S * n)
    at = room.data_ptr()
    sums = at + FLOAT * max(N * n, inputs)
    places = [x.data_ptr() for x in (G, W, M, PGt, out)]
    loaded().W_best(*places, at, sums, sums + FLOAT * (4 * n + ROOM), mu, nu, S, N, n, inputs)
    return out, PGt


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

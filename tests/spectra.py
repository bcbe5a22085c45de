"""Rows whose Gram matrices have known spectra, and their least-squares fits by singular values in float64."""

from __future__ import annotations

import torch
from problems import F64, randn
from torch import Tensor

SHAPES = {"tall": (60, 20), "wide": (20, 60), "square": (40, 40), "one row": (1, 30), "one column": (30, 1)}


def rows(kind: str, decades: int = 4, seed: int = 0, rank: int | None = None) -> Tensor:
    """Return rows whose Gram matrix has its largest eigenvalue at 900, and all others over so many decades below."""
    N, n = SHAPES[kind]
    m = min(N, n)
    U, V = torch.linalg.qr(randn(N, m, seed=seed))[0], torch.linalg.qr(randn(n, m, seed=seed + 1))[0]
    values = 30 * torch.logspace(0, -decades / 2, m, dtype=F64)
    values[m if rank is None else rank :] = 0
    return U * values @ V.T


def objective(P: Tensor, W: Tensor, T: Tensor, c: float, weight: Tensor | None = None) -> Tensor:
    squares = (P.double() @ W.double().T - T.double()).square().sum(1)
    return (squares if weight is None else squares * weight.double()).sum() + c * W.double().square().sum()


def minimiser(P: Tensor, T: Tensor, c: float, weight: Tensor | None = None) -> Tensor:
    """Return the shortest minimiser; without c, of what is not the rounding of P."""
    root = torch.ones(len(P), 1, dtype=F64) if weight is None else weight.double().sqrt()[:, None]
    U, s, Vt = torch.linalg.svd(root * P.double(), full_matrices=False)
    noise = 0.0 if c else 4 * torch.finfo(P.dtype).eps * float(s[0])
    filtered = torch.where(s > noise, s / (s.square() + c), 0)
    return ((U.T @ (root * T.double())).T * filtered) @ Vt


def gap(P: Tensor, W: Tensor, T: Tensor, c: float, weight: Tensor | None = None) -> float:
    """Return by how much the objective at W is above its minimum, beside the one at 0."""
    best = objective(P, minimiser(P, T, c, weight), T, c, weight)
    return float((objective(P, W, T, c, weight) - best) / T.double().square().sum())

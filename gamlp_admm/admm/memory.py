r"""What the batches of a stream leave behind in a layer: the directions in which its inputs are large.

A batch knows little of the rows that came before it. Its W-block is therefore not solved but stepped,

.. math::
    [W, b] \leftarrow [W, b] - G\,(κ H + λ \bar d\, I)^{-1}, \qquad
    G = \tfrac 1B\, r^T D [P, 1] + \tfrac{μ}{νN} [W, 0]

with r = P Wᵀ + 1bᵀ − T the residual of the B rows of the batch, D = diag(s) their weights (where they have weights, B
and N count a row as its mean weight), H the mean of :math:`[p, 1]^T [p, 1]` over the rows
of the last pass, accumulated as they come by, and d̄ the mean of its diagonal: the minimiser of the batch's fit to first
order, held back by what earlier rows were fitted to. Where inputs are large (their mean, a hop that swamps the others)
steps are short, and long where they are small; without H a step of this length diverges. A few leading directions of H
say all that matters, so no Gram matrix is made: a pass costs a product with as many columns.

Sources: Choromanska et al., Beyond Backprop: Online Alternating Minimization with Auxiliary Variables, ICML 2019,
arXiv 1806.09077 (batches with accumulated Gram matrices); Benzing, Gradient Descent on Neurons, ICML 2022,
arXiv 2201.12250 (steps against the Gram matrix of the inputs alone).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gamlp_admm.admm.nystrom import leading
from gamlp_admm.admm.stacked import RowSum, weighed

RANK = 32
"""Directions that are kept, at most."""

KEPT = 0.2
"""κ/λ: by how much what earlier rows were fitted to holds back a step, beside what holds back any step."""


@dataclass(frozen=True)
class Memory:
    """H of one layer, as its leading directions.

    Attributes:
        directions: U, orthonormal columns, ``[n_in + 1, k]``.
        values: Their eigenvalues, ``[k]``.
        mean: d̄, a scalar.
    """

    directions: Tensor
    values: Tensor
    mean: Tensor

    @classmethod
    def blank(cls, width: int, like: Tensor) -> Memory:
        """Return that of a layer with so many inputs, of which no row has been seen."""
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(width + 1, min(RANK, width + 1), generator=generator, dtype=torch.float64)
        U = torch.linalg.qr(drawn).Q.to(like)
        return cls(U, like.new_zeros(U.shape[1]), like.new_ones(()))

    def step(self, G: Tensor, damping: float) -> Tensor:
        """Return G (κH + λd̄I)⁻¹ for ``G`` ``[n_out, n_in + 1]`` and a damping λ."""
        low, kept = damping * self.mean, damping * KEPT * self.values
        taken = (G @ self.directions) * (kept / (kept + low))
        return torch.addmm(G, taken, self.directions.T, alpha=-1).div_(low)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return what a checkpoint keeps."""
        return self.directions, self.values, self.mean


@dataclass(frozen=True)
class Stream:
    """What the W-block of a batch knows beside the batch.

    Attributes:
        memories: What the batches before left behind, by layer.
        damping: λ.
        total: Weights of the training rows over all shards, summed; their number N where they have none.
    """

    memories: Mapping[int, Memory]
    damping: float
    total: float


class Accumulated:
    """The sums over a pass that make the next :class:`Memory`: H times the directions of the last one.

    Args:
        last: The memory of the last pass, whose directions are sharpened.
    """

    def __init__(self, last: Memory) -> None:
        self.last = last
        self.products = torch.zeros_like(last.directions)
        self.squares = torch.zeros_like(last.mean)

    def add(self, P: Tensor, weight: Tensor | None = None) -> None:
        """Add the inputs ``[B, n_in]`` of some rows, with their weights ``[B]``."""
        U = self.last.directions
        images = weighed(P @ U[:-1] + U[-1], weight)
        self.products[:-1].addmm_(P.T, images)
        self.products[-1].add_(images.sum(0))
        self.squares.add_(weighed(P.square(), weight).sum() + (len(P) if weight is None else weight.sum()))

    def memory(self, total: float, row_sum: RowSum) -> Memory:
        """Return the memory of rows that weigh so much over all shards, or are so many."""
        HU, squares = row_sum(self.products) / total, row_sum(self.squares) / total
        if not (HU.isfinite().all() and squares.isfinite()):  # such a run ends where its objective is looked at
            return self.last
        directions, values = leading(lambda V: HU, self.last.directions)
        return Memory(directions, values, squares / len(HU))


def stream_step(
    r: Tensor,
    P: Tensor,
    decaying: Tensor,
    ratio: float,
    memory: Memory,
    damping: float,
    total: float,
    row_sum: RowSum,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what is taken from W ``[n_out, n_in]`` and b ``[n_out]`` of one layer.

    Args:
        r: Residual P Wᵀ + 1bᵀ − T of the batch, ``[B, n_out]``.
        P: Inputs, ``[B, n_in]``.
        decaying: What weight decay draws to zero, ``[n_out, n_in]``.
        ratio: μ/(νN).
        memory: The layer's memory.
        damping: λ.
        total: B: what the batch weighs over all shards, by the mean weight of all rows.
        row_sum: Sum over the shards of the rows.
        weight: Weights of the rows, ``[B]``, or ``None`` for ones.
    """
    r = weighed(r, weight)
    G = row_sum(torch.cat([r.T @ P, r.sum(0)[:, None]], 1)) / total
    G[:, :-1].add_(decaying, alpha=ratio)
    step = memory.step(G, damping)
    return step[:, :-1], step[:, -1]

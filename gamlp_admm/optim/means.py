"""Weighted means over the contributions that are there, in one process or over several."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before a group is made: its default arguments would keep the group alive
from torch import Tensor


class Means:
    r"""The mean :math:`\sum_{s ∈ P} α_s t_s / \sum_{s ∈ P} α_s` of each parameter's terms.

    P are the sub-batches that have a term. Where all have one, the weights sum to 1 and nothing is divided.

    Args:
        S: Number of sub-batches of this process.
    """

    def __init__(self, S: int) -> None:
        self.S = S
        self.sums: dict[Tensor, Tensor] = {}
        self.weights: dict[Tensor, float] = {}
        self.counts: dict[Tensor, int] = {}

    def add(self, p: Tensor, term: Tensor, alpha: float) -> None:
        """Add the term of one sub-batch, of any shape, to those of a parameter."""
        if p not in self.sums:
            self.sums[p] = torch.zeros_like(term)
        self.sums[p].add_(term, alpha=alpha)
        self.weights[p] = self.weights.get(p, 0.0) + alpha
        self.counts[p] = self.counts.get(p, 0) + 1

    def over(
        self, parameters: list[Tensor], like: Callable[[Tensor], Tensor], group: dist.ProcessGroup | None
    ) -> dict[Tensor, Tensor]:
        """Return the means, with those of the other processes.

        Args:
            parameters: What may have terms, the same on every process and in the same order.
            like: Gives a tensor of the shape and type that a parameter's terms have.
            group: The processes; ``None`` for this one alone. All make the same exchanges, whatever each has.

        Returns:
            The mean of each parameter that has a term in any process.
        """
        rows = [(self.weights.get(p, 0.0), float(self.counts.get(p, 0) < self.S)) for p in parameters]
        if group is not None and rows:
            rows = self._everyone(rows, parameters[0].device, group)
        there = {p: row for p, row in zip(parameters, rows, strict=True) if row[0] > 0}
        sums = [self.sums[p] if p in self.sums else torch.zeros_like(like(p)) for p in there]
        if group is not None and sums:
            sums = self._summed(sums, group)
        return {
            p: total.div_(weight) if missing else total
            for (p, (weight, missing)), total in zip(there.items(), sums, strict=True)
        }

    @staticmethod
    def _everyone(
        rows: list[tuple[float, float]], device: torch.device, group: dist.ProcessGroup
    ) -> list[tuple[float, float]]:
        # Who contributes: each process's weight of a parameter, and whether it misses any; summed over all.
        mine = torch.tensor(rows, dtype=torch.float64, device=device)
        all_ = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
        dist.all_gather(all_, mine, group=group)
        return [(weight, missing) for weight, missing in torch.stack(all_).sum(0).tolist()]

    @staticmethod
    def _summed(sums: list[Tensor], group: dist.ProcessGroup) -> list[Tensor]:
        # One message for all parameters that anyone has a term of.
        flat = torch.cat([t.reshape(-1) for t in sums])
        dist.all_reduce(flat, group=group)
        parts = torch.split(flat, [t.numel() for t in sums])
        return [t.copy_(part.view_as(t)) for t, part in zip(sums, parts, strict=True)]

"""BADM: batch ADMM. Consensus over sub-batches, with plain gradient steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gamlp_admm.errors import unknown
from gamlp_admm.optim.consensus import ConsensusOptimizer

FORMS = ("aggregate", "copies")


class BADM(ConsensusOptimizer):
    r"""Batch ADMM, as an optimiser for any module.

    With sub-batch losses F_s and weights α_s that sum to 1, a step is

    .. math::
        w_s &= w - (∇F_s(w) + π_s)/(ρ + σ) \\
        π_s &← π_s + σ (w_s - w) \\
        w &← \sum_s α_s (w_s + π_s/σ)

    Since w and :math:`v = -\sum α_s π_s` follow from :math:`ḡ = \sum α_s ∇F_s(w)` alone, two tensors hold all that
    matters, and the number of sub-batches changes nothing:

    .. math::
        w &← w - \frac{2ḡ}{ρ + σ} + \frac{σ - ρ}{σ(ρ + σ)} v \\
        v &← (ρ v + σ ḡ)/(ρ + σ)

    So in the long run 1/σ is the learning rate and ρ/(ρ + σ) the momentum; ρ = σ is gradient descent.

    Source: Wang, Zhou, Li, "BADM: Batch ADMM for Deep Learning", arXiv 2407.01640, Algorithm 1; the two-tensor form is
    exact for weights that do not change.

    Args:
        params: Parameters, or groups of them.
        sigma: Penalty σ > 0.
        rho: Proximal weight ρ > 0.
        lr: Factor of the step, for schedulers: σ and ρ are divided by it.
        weight_decay: λ of an added λ/2 ‖w‖².
        form: ``aggregate`` holds v; ``copies`` holds π_s of every sub-batch, as the paper has it.
        process_group: Processes that hold different sub-batches; each step then makes one all-reduce.

    Raises:
        InputError: An option is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        sigma: float = 10.0,
        rho: float = 90.0,
        *,
        lr: float = 1.0,
        weight_decay: float = 0.0,
        form: str = "aggregate",
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        if form not in FORMS:
            raise unknown("form", form, FORMS)
        self.form = form
        super().__init__(params, {"sigma": sigma, "rho": rho, "lr": lr, "weight_decay": weight_decay}, process_group)

    def _part(self, group: dict[str, Any], p: Tensor, gradient: Tensor, s: int, S: int) -> Tensor:
        g = gradient.add(p, alpha=group["weight_decay"])
        if self.form == "aggregate":
            return g
        sigma, rho = self._penalties(group)
        pi = self._copies(p, "pi", S)[s]
        w: Tensor = p - (g + pi) / (rho + sigma)
        pi.add_(w - p, alpha=sigma)
        return w.add_(pi, alpha=1 / sigma)

    def _combine(self, group: dict[str, Any], p: Tensor, total: Tensor) -> None:
        if self.form == "copies":
            p.copy_(total)
            return
        sigma, rho = self._penalties(group)
        state = self.state[p]
        if "v" not in state:
            state["v"] = torch.zeros_like(p)
        v = state["v"]
        p.add_(total, alpha=-2 / (rho + sigma)).add_(v, alpha=(sigma - rho) / (sigma * (rho + sigma)))
        v.mul_(rho).add_(total, alpha=sigma).div_(rho + sigma)

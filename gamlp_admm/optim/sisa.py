"""SISA: consensus over sub-batches, preconditioned by second moments of the gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.distributed as dist
from torch import Tensor

from gamlp_admm.optim.consensus import ConsensusOptimizer


class SISA(ConsensusOptimizer):
    r"""Stochastic inexact ADMM with second moments, as an optimiser for any module.

    With sub-batch losses F_s, g = ∇F_s(w) and t the number of the step,

    .. math::
        n_s &← β n_s + (1 - β)(g + π_s)^2, \qquad \hat n_s = n_s/(1 - β^t) \\
        w_s &= w - (g + π_s)/(σ + ρ(\sqrt{\hat n_s} + ε)) \\
        π_s &← π_s + σ (w_s - w) \\
        w &← \frac{σ \sum_s α_s w_s + \sum_s α_s π_s}{σ + λ}

    Here the number of sub-batches matters: each has state of its own.

    Source: Zhou et al., arXiv 2502.10784, the algorithm SISA.

    Args:
        params: Parameters, or groups of them.
        sigma: Penalty σ > 0.
        rho: Weight ρ > 0 of the second moments.
        beta: Decay β of the second moments, below 1.
        eps: ε > 0.
        lr: Factor of the step, for schedulers: σ and ρ are divided by it.
        weight_decay: λ of λ/2 ‖w‖².
        process_group: Processes that hold different sub-batches; each step then makes one all-reduce.

    Raises:
        InputError: An option is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        sigma: float = 10.0,
        rho: float = 1000.0,
        *,
        beta: float = 0.999,
        eps: float = 1e-8,
        lr: float = 1.0,
        weight_decay: float = 0.0,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        options = {"sigma": sigma, "rho": rho, "beta": beta, "eps": eps, "lr": lr, "weight_decay": weight_decay}
        super().__init__(params, options, process_group)

    def _part(self, group: dict[str, Any], p: Tensor, gradient: Tensor, s: int, S: int) -> Tensor:
        (sigma, rho), beta = self._penalties(group), group["beta"]
        state = self.state[p]
        pi, n = self._copies(p, "pi", S)[s], self._copies(p, "n", S)[s]
        if s == 0:
            state["step"] = state.get("step", 0) + 1
        forced = gradient + pi
        n.mul_(beta).addcmul_(forced, forced, value=1 - beta)
        moment = (n / (1 - beta ** state["step"])).sqrt_().add_(group["eps"])
        step = forced.div_(moment.mul_(rho).add_(sigma)).neg_()
        pi.add_(step, alpha=sigma)
        return (p + step).mul_(sigma).add_(pi)

    def _combine(self, group: dict[str, Any], p: Tensor, total: Tensor) -> None:
        sigma, _ = self._penalties(group)
        p.copy_(total).div_(sigma + group["weight_decay"])

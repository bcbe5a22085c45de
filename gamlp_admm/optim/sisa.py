"""SISA: consensus over sub-batches, preconditioned by second moments of the gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gamlp_admm.optim.consensus import ConsensusOptimizer


class SISA(ConsensusOptimizer):
    r"""Stochastic inexact ADMM with second moments, as an optimiser for any module.

    With sub-batch losses F_s, g = ∇F_s(w) and t the number of steps in which s had a gradient,

    .. math::
        n_s &← β n_s + (1 - β)(g + π_s)^2, \qquad \hat n_s = n_s/(1 - β^t) \\
        w_s &= w - (g + π_s)/(σ + ρ(\sqrt{\hat n_s} + ε)) \\
        π_s &← π_s + σ (w_s - w) \\
        w &← \frac{σ \sum_s α_s w_s + \sum_s α_s π_s}{σ + λ}

    Here the number of sub-batches matters: each has state of its own.

    A parameter that some sub-batches have no gradient of takes the sums over the others, their weights divided by
    their sum; without any it stays as it is (:class:`~gamlp_admm.optim.consensus.ConsensusOptimizer`).

    Source: Zhou et al., arXiv 2502.10784, the algorithm SISA.

    Args:
        params: Parameters, or groups of them.
        sigma: Penalty σ > 0.
        rho: Weight ρ > 0 of the second moments.
        beta: Decay β of the second moments, below 1.
        eps: ε > 0.
        lr: Factor of the step, for schedulers: σ and ρ are divided by it. With 0 no parameter moves.
        weight_decay: λ of λ/2 ‖w‖².
        maximize: Go uphill.
        process_group: Processes that hold different sub-batches; each step then exchanges who has gradients of which
            parameters, and makes one all-reduce of those that anyone has.

    Raises:
        InputError: An option is out of range.

    Example:
        >>> import torch
        >>> from gamlp_admm.optim import SISA
        >>> model, x, y = torch.nn.Linear(4, 3), torch.randn(12, 4), torch.randint(3, (12,))
        >>> optimizer = SISA(model.parameters())
        >>> def loss():  # as of any optimiser of torch that takes a closure
        ...     optimizer.zero_grad()
        ...     value = torch.nn.functional.cross_entropy(model(x), y)
        ...     value.backward()
        ...     return value
        >>> losses = [float(optimizer.step(loss)) for _ in range(20)]
        >>> losses[-1] < losses[0]
        True
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
        maximize: bool = False,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        options = {
            "sigma": sigma,
            "rho": rho,
            "beta": beta,
            "eps": eps,
            "lr": lr,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, options, process_group)

    copied = ("pi", "n", "step")
    single = ()

    def _part(self, group: dict[str, Any], w: Tensor, gradient: Tensor, copies: dict[str, Tensor]) -> Tensor:
        (sigma, rho), beta = self._penalties(group), group["beta"]
        pi, n, count = copies["pi"], copies["n"], copies["step"].add_(1)
        forced = gradient + pi
        n.mul_(beta).addcmul_(forced, forced, value=1 - beta)
        moment = (n / (1 - beta ** int(count))).sqrt_().add_(group["eps"])
        step = forced.div_(moment.mul_(rho).add_(sigma)).neg_()
        pi.add_(step, alpha=sigma)
        return (w + step).mul_(sigma).add_(pi)

    def _combine(self, group: dict[str, Any], p: Tensor, w: Tensor, mean: Tensor) -> Tensor:
        sigma, _ = self._penalties(group)
        return mean.div_(sigma + group["weight_decay"])

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for each in self.state.values():  # older ones count for all sub-batches together
            if "step" in each and torch.as_tensor(each["step"]).dim() == 0:
                each["step"] = torch.full((len(each["pi"]),), int(each["step"]))

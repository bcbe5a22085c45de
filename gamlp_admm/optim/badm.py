"""BADM: batch ADMM. Consensus over sub-batches, with plain gradient steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.distributed as dist
from torch import Tensor

from gamlp_admm.errors import unknown
from gamlp_admm.optim.consensus import ConsensusOptimizer

FORMS = ("aggregate", "copies")

SMALL = 1e-3
"""Factor of the step below which the form of copies takes w_s - w without rounding it to w's precision."""


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

    A parameter that some sub-batches have no gradient of takes the sums over the others, their weights divided by
    their sum; without any it stays as it is (:class:`~gamlp_admm.optim.consensus.ConsensusOptimizer`).

    Source: Wang, Zhou, Li, "BADM: Batch ADMM for Deep Learning", arXiv 2407.01640, Algorithm 1; the two-tensor form is
    exact for weights that do not change, and sub-batches that have gradients of the same parameters in every step.

    Args:
        params: Parameters, or groups of them.
        sigma: Penalty σ > 0.
        rho: Proximal weight ρ > 0.
        lr: Factor of the step, for schedulers: σ and ρ are divided by it. With 0 no parameter moves.
        weight_decay: λ of an added λ/2 ‖w‖².
        maximize: Go uphill.
        form: ``aggregate`` holds v; ``copies`` holds π_s of every sub-batch, as the paper has it.
        process_group: Processes that hold different sub-batches; each step then exchanges who has gradients of which
            parameters, and makes one all-reduce of those that anyone has.

    Raises:
        InputError: An option is out of range.

    Example:
        >>> import torch
        >>> from gamlp_admm.optim import BADM
        >>> model, x, y = torch.nn.Linear(4, 3), torch.randn(12, 4), torch.randint(3, (12,))
        >>> optimizer = BADM(model.parameters(), sigma=10.0, rho=90.0)
        >>> def closure(rows):
        ...     def loss():
        ...         optimizer.zero_grad()
        ...         value = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
        ...         value.backward()
        ...         return value
        ...     return loss
        >>> losses = [float(optimizer.step([closure(slice(0, 6)), closure(slice(6, 12))])) for _ in range(20)]
        >>> losses[-1] < losses[0]  # of both sub-batches together
        True
    """

    def __init__(
        self,
        params: Iterable[Any],
        sigma: float = 10.0,
        rho: float = 90.0,
        *,
        lr: float = 1.0,
        weight_decay: float = 0.0,
        maximize: bool = False,
        form: str = "aggregate",
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        if form not in FORMS:
            raise unknown("form", form, FORMS)
        self.form = form
        options = {"sigma": sigma, "rho": rho, "lr": lr, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options, process_group)

    @property
    def copied(self) -> tuple[str, ...]:
        """The multipliers, in the form of copies."""
        return ("pi",) if self.form == "copies" else ()

    @property
    def single(self) -> tuple[str, ...]:
        """Their weighted sum, negated, in the form of aggregates."""
        return ("v",) if self.form == "aggregate" else ()

    def _part(self, group: dict[str, Any], w: Tensor, gradient: Tensor, copies: dict[str, Tensor]) -> Tensor:
        g = gradient.add(w, alpha=group["weight_decay"])
        if self.form == "aggregate":
            return g
        (sigma, rho), pi = self._penalties(group), copies["pi"]
        step = (g + pi) / -(rho + sigma)
        w_s: Tensor = w + step
        # With a small factor the rounding of w_s - w, times σ, outweighs the gradient.
        pi.add_(step if float(group["lr"]) < SMALL else w_s - w, alpha=sigma)
        return w_s.add_(pi, alpha=1 / sigma)

    def _combine(self, group: dict[str, Any], p: Tensor, w: Tensor, mean: Tensor) -> Tensor:
        if self.form == "copies":
            return mean
        sigma, rho = self._penalties(group)
        state = self.state[p]
        if "v" not in state:
            self._start(state, w, 1)
        v = state["v"]
        new = w.add(mean, alpha=-2 / (rho + sigma)).add_(v, alpha=(sigma - rho) / (sigma * (rho + sigma)))
        v.mul_(rho).add_(mean, alpha=sigma).div_(rho + sigma)
        return new

    def _contents(self) -> dict[str, Any]:
        return {**super()._contents(), "form": self.form}

"""What BADM and SISA share: sub-batches, closures, parameter groups and the one all-reduce of a batch."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before a group is made: its default arguments would keep the group alive
from torch import Tensor
from torch.optim import Optimizer

from gamlp_admm.errors import InputError

Closure = Callable[[], Any]
"""Clears the gradients, computes the loss of a sub-batch, calls ``backward`` and returns the loss."""


class ConsensusOptimizer(Optimizer):
    r"""Consensus ADMM over the sub-batches of a batch.

    Sub-batch s has weights :math:`w_s` and multipliers :math:`π_s` of :math:`w_s = w`. One step is

    1. from each sub-batch's gradient at w: its :math:`w_s` and :math:`π_s`, independently of the others;
    2. from all of them: w.

    Args:
        params: Parameters, or groups of them, as for any optimiser of torch.
        defaults: Options of a group, ``sigma``, ``rho`` and ``lr`` among them; positive numbers, except
            ``weight_decay``, which may be 0.
        process_group: Processes that hold different sub-batches, equally many each; ``None`` for this process alone.
    """

    def __init__(
        self, params: Iterable[Any], defaults: dict[str, float], process_group: dist.ProcessGroup | None = None
    ) -> None:
        self.process_group = process_group
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """See :meth:`torch.optim.Optimizer.add_param_group`.

        Raises:
            InputError: An option of the group is out of range.
        """
        for name, value in {**self.defaults, **param_group}.items():
            if name in self.defaults and isinstance(value, int | float):
                range_ = "0 or more" if name == "weight_decay" else "positive"
                if not (math.isfinite(value) and (value > 0 or (value == 0 and name == "weight_decay"))):
                    raise InputError(f"{name} {value}: allowed: {range_}")
                if name == "beta" and value >= 1:
                    raise InputError(f"beta {value}: allowed: below 1")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Closure | Sequence[Closure] | None = None, weights: Sequence[float] | None = None) -> Any:
        """Make one step.

        Args:
            closure: ``None`` takes the gradients that the parameters have; a function is that of the whole batch; a
                sequence has one for each sub-batch.
            weights: Weight α_s of each sub-batch, which sum to 1 over all processes; equal by default.

        Returns:
            The weighted mean of the losses of this process's sub-batches; ``None`` without closures.

        Raises:
            InputError: The weights do not fit the closures, or the number of sub-batches has changed.
        """
        closures: list[Closure | None] = [closure] if closure is None or callable(closure) else list(closure)
        size = 1 if self.process_group is None else dist.get_world_size(self.process_group)
        S = len(closures)
        alphas = [1 / (S * size)] * S if weights is None else [float(a) for a in weights]
        if len(alphas) != S or S == 0 or any(a <= 0 for a in alphas):
            raise InputError(f"weights {alphas}: allowed: one positive number for each of the sub-batches ({S})")
        parameters = [(group, p) for group in self.param_groups for p in group["params"] if p.requires_grad]
        sums = [torch.zeros_like(p) for _, p in parameters]
        loss: Any = None
        for s, (each, alpha) in enumerate(zip(closures, alphas, strict=True)):
            if each is not None:
                with torch.enable_grad():
                    value = each()
                loss = alpha * value + (0.0 if loss is None else loss)
            for (group, p), total in zip(parameters, sums, strict=True):
                if p.grad is not None:
                    total.add_(self._part(group, p, p.grad, s, S), alpha=alpha)
        self._reduce(sums)
        for (group, p), total in zip(parameters, sums, strict=True):
            self._combine(group, p, total)
        return loss if loss is None else loss / sum(alphas)

    def _reduce(self, sums: list[Tensor]) -> None:
        # One message for all parameters.
        if self.process_group is None or not sums:
            return
        flat = torch.cat([t.reshape(-1) for t in sums])
        dist.all_reduce(flat, group=self.process_group)
        parts = torch.split(flat, [t.numel() for t in sums])
        for t, part in zip(sums, parts, strict=True):
            t.copy_(part.view_as(t))

    def _copies(self, p: Tensor, name: str, S: int) -> Tensor:
        # A tensor for each sub-batch of this process, [S, …], zero at first.
        state = self.state[p]
        if name not in state:
            state[name] = torch.zeros((S, *p.shape), dtype=p.dtype, device=p.device)
        copies: Tensor = state[name]
        if len(copies) != S:
            raise InputError(f"{S} sub-batches: allowed: {len(copies)}, as in the first step, each with its own state")
        return copies

    def _penalties(self, group: dict[str, Any]) -> tuple[float, float]:
        # σ and ρ, divided by the factor of the step.
        return group["sigma"] / group["lr"], group["rho"] / group["lr"]

    @abstractmethod
    def _part(self, group: dict[str, Any], p: Tensor, gradient: Tensor, s: int, S: int) -> Tensor:
        """Update the state of sub-batch s; return its term of what is summed, with weights, over all sub-batches."""

    @abstractmethod
    def _combine(self, group: dict[str, Any], p: Tensor, total: Tensor) -> None:
        """Update the parameter from the weighted sum over all sub-batches."""

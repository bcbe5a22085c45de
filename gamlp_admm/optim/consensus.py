"""What BADM and SISA share: sub-batches, closures, parameter groups, missing gradients and rates of 0."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from gamlp_admm import errors
from gamlp_admm.errors import InputError
from gamlp_admm.optim.means import Means

Closure = Callable[[], Any]
"""Clears the gradients, computes the loss of a sub-batch, calls ``backward`` and returns the loss."""

Given = list[tuple[dict[str, Any], Tensor, Tensor]]
"""The gradients that a sub-batch has: group, parameter, gradient as the equations take it."""

WORKING = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
}
"""Type of a parameter, and that of its state and of what is computed."""

MOST = 1e30
"""Penalties divided by ``lr`` that are not below count as infinite: ``lr`` then counts as 0."""


class ConsensusOptimizer(Optimizer):
    r"""Consensus ADMM over the sub-batches of a batch.

    Sub-batch s has weights :math:`w_s` and multipliers :math:`π_s` of :math:`w_s = w`. One step is

    1. from each sub-batch's gradient at w: its :math:`w_s` and :math:`π_s`, independently of the others;
    2. from all of them: w.

    A parameter without a gradient in a sub-batch (``None``) has no contribution there: the sums over s are weighted
    means over the sub-batches, of all processes, that have one. Without any, the parameter and its state stay as they
    are. A frozen parameter (``requires_grad_(False)``) has none, whatever its gradient. Zeros, as
    ``zero_grad(set_to_none=False)`` leaves them, are a contribution.

    With a factor ``lr`` of 0 parameters stay as they are; multipliers and moments move as ever, since their equations
    do not contain the factor.

    Complex parameters are taken as pairs of reals. Half and bfloat16 ones have state of float32, in which their steps
    are computed. Sparse gradients and other types are refused.

    With ``process_group`` a GradScaler that finds a gradient that is not finite leaves out the contribution of its
    process alone. The state of sub-batches is each process's own: every process saves its ``state_dict``; torch's
    distributed checkpoints keep that of one. They load state of several sub-batches into an optimiser that has made a
    step with as many.

    Args:
        params: Parameters, or groups of them, as for any optimiser of torch.
        defaults: Options of a group, ``sigma``, ``rho``, ``lr`` and ``maximize`` among them; positive numbers, except
            ``lr`` and ``weight_decay``, which may be 0.
        process_group: Processes that hold different sub-batches, equally many each; ``None`` for this process alone.
    """

    def __init__(
        self, params: Iterable[Any], defaults: dict[str, Any], process_group: dist.ProcessGroup | None = None
    ) -> None:
        self.process_group = process_group
        super().__init__(params, defaults)

    @property
    @abstractmethod
    def copied(self) -> tuple[str, ...]:
        """Names of the state that each sub-batch of this process has its own of, ``[S, …]``."""

    @property
    @abstractmethod
    def single(self) -> tuple[str, ...]:
        """Names of the state that a parameter has one of, of its shape."""

    @property
    def _step_supports_amp_scaling(self) -> bool:
        # With several processes a GradScaler must not skip the step of one of them: the others would wait for it.
        return self.process_group is not None

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """See :meth:`torch.optim.Optimizer.add_param_group`.

        Raises:
            InputError: An option of the group is out of range.
        """
        for name, value in {**self.defaults, **param_group}.items():
            if name in self.defaults and not isinstance(self.defaults[name], bool):
                _check(name, value)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Closure | Sequence[Closure] | None = None, weights: Sequence[float] | None = None) -> Any:
        """Make one step. Parameters and state change when all gradients are there: not at all if a closure fails.

        Args:
            closure: ``None`` takes the gradients that the parameters have; a function is that of the whole batch; a
                sequence has one for each sub-batch.
            weights: Weight α_s of each sub-batch, which sum to 1 over all processes; equal by default.

        Returns:
            The weighted mean of the losses of this process's sub-batches; ``None`` without closures.

        Raises:
            InputError: The weights do not fit the closures, the number of sub-batches has changed, ``lr`` has left its
                range, or a gradient is sparse or of a type that is not known.
        """
        closures: list[Closure | None] = [closure] if closure is None or callable(closure) else list(closure)
        S = len(closures)
        alphas = self._alphas(S, weights)
        for group in self.param_groups:
            _check("lr", group["lr"])
        asked = closure is None and self._only_asks_for_state()
        means = Means(S)
        waiting: list[tuple[int, float, Given]] = []
        loss: Any = None
        for s, (each, alpha) in enumerate(zip(closures, alphas, strict=True)):
            if each is not None:
                with torch.enable_grad():
                    value = each()
                loss = alpha * value + (0.0 if loss is None else loss)
            waiting.append((s, alpha, [] if asked else self._gradients(keep=s + 1 < S and bool(self.copied))))
            if not self.copied:  # where taking them changes state, gradients wait for the last closure
                self._take(waiting, means)
        self._take(waiting, means)
        self._move(means)
        return loss if loss is None else loss / sum(alphas)

    def _alphas(self, S: int, weights: Sequence[float] | None) -> list[float]:
        # The weight of each of the sub-batches of this process.
        size = 1 if self.process_group is None else dist.get_world_size(self.process_group)
        alphas = [1 / (S * size)] * S if weights is None else [float(a) for a in weights]
        if len(alphas) != S or S == 0 or not all(0 < a < math.inf for a in alphas):
            raise InputError(f"weights {alphas}: allowed: one positive number for each of the sub-batches ({S})")
        return alphas

    def _parameters(self) -> dict[Tensor, tuple[int, dict[str, Any]]]:
        # Every parameter with its group, in one order on every process, whatever has gradients or is frozen there.
        return {p: (i, group) for i, group in enumerate(self.param_groups) for p in group["params"]}

    def _gradients(self, keep: bool) -> Given:
        # Those that are there; copies, where others will be written in their place.
        if bool(getattr(self, "found_inf", None)):  # a GradScaler's word: without contributions
            return []
        scale = getattr(self, "grad_scale", None)
        given: Given = []
        for p, (i, group) in self._parameters().items():
            if p.grad is None or not p.requires_grad:
                continue
            if p.grad.layout != torch.strided:
                raise InputError(f"parameter group {i}: a sparse gradient ({p.grad.layout}): allowed: dense ones")
            if _real(p).dtype not in WORKING:
                allowed = ", ".join(map(str, WORKING))
                raise InputError(f"parameter group {i}: a parameter of {p.dtype}: allowed: {allowed}, or complex")
            g = _working(p.grad)
            g = g if scale is None else g / scale
            g = -g if group["maximize"] else g
            given.append((group, p, g.clone() if keep else g))
        return given

    def _take(self, waiting: list[tuple[int, float, Given]], means: Means) -> None:
        # Add the terms of the sub-batches that wait; they no longer do.
        taken = [
            (alpha, group, p, gradient, self._copies(p, s, means.S))
            for s, alpha, given in waiting
            for group, p, gradient in given
        ]
        waiting.clear()
        for alpha, group, p, gradient, copies in taken:
            means.add(p, self._part(group, _working(p), gradient, copies), alpha)

    def _move(self, means: Means) -> None:
        groups = self._parameters()
        for p, mean in means.over(list(groups), _working, self.process_group).items():
            group = groups[p][1]
            value = self._combine(group, p, _working(p), mean)
            if _moves(group):
                _real(p).copy_(value)

    def _only_asks_for_state(self) -> bool:
        # torch's distributed checkpoints make state by a step without state, rate and gradient: it must not count.
        given = [] if self.state or any(map(_moves, self.param_groups)) else self._gradients(keep=False)
        if not given or any(bool(gradient.any()) for *_, gradient in given):
            return False
        for _, p, _ in given:
            self._start(self.state[p], _working(p), 1)
        return True

    def _copies(self, p: Tensor, s: int, S: int) -> dict[str, Tensor]:
        # The state of one of the S sub-batches of this process, each of the parameter's shape; zero at first.
        if not self.copied:
            return {}
        state = self.state[p]
        found = len(state[self.copied[0]]) if self.copied[0] in state else 0
        if found != S:
            if any(bool(state[name].any()) for name in self.copied if name in state and name != "step"):
                raise InputError(f"{S} sub-batches: allowed: {found}, as in the first step, each with its own state")
            self._start(state, _working(p), S)
        return {name: state[name][s] for name in self.copied}

    def _penalties(self, group: dict[str, Any]) -> tuple[float, float]:
        # σ and ρ, divided by the factor of the step; at 0 as at 1, since then state alone moves and has no factor.
        lr = float(group["lr"]) if _moves(group) else 1.0
        return group["sigma"] / lr, group["rho"] / lr

    def _start(self, state: dict[str, Any], w: Tensor, S: int) -> None:
        # State of zeros. The counts stay on the CPU, as torch's do.
        for name in self.copied:
            step = name == "step"
            state[name] = torch.zeros(S, dtype=torch.int64) if step else w.new_zeros((S, *w.shape))
        for name in self.single:
            state[name] = torch.zeros_like(w)

    @abstractmethod
    def _part(self, group: dict[str, Any], w: Tensor, gradient: Tensor, copies: dict[str, Tensor]) -> Tensor:
        """Update the state of a sub-batch; return its term of the weighted mean over all that have one."""

    @abstractmethod
    def _combine(self, group: dict[str, Any], p: Tensor, w: Tensor, mean: Tensor) -> Tensor:
        """Update the single state of a parameter, whose values are w; return its new values."""

    # --- torch's state dictionaries, copies and pickles ---

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See :meth:`torch.optim.Optimizer.load_state_dict`; state keeps its type, float32 for half parameters.

        Raises:
            InputError: It is the state of another optimiser, or of another form.
        """
        super().load_state_dict(state_dict)
        saved = [i for group in state_dict["param_groups"] for i in group["params"]]
        ours = [p for group in self.param_groups for p in group["params"]]
        for i, p in zip(saved, ours, strict=True):
            if p.dtype not in (torch.float16, torch.bfloat16):
                continue
            for name, value in state_dict["state"].get(i, {}).items():
                if name != "step":  # which has the type of a count
                    self.state[p][name] = value.to(p.device, WORKING[p.dtype], copy=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: value for name, value in state.items() if name not in ("state", "param_groups")})
        names = [*self.copied, *self.single]
        if strange := {name for each in state["state"].values() for name in each}.difference(names):
            raise InputError(f"state of another optimiser, {', '.join(sorted(strange))}: allowed: {', '.join(names)}")
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("maximize", False)  # of before there was one

    def __getstate__(self) -> dict[str, Any]:
        if self.process_group is not None:
            raise InputError("an optimiser with a process_group: allowed: copy.deepcopy, or to save its state_dict()")
        return self._contents()

    def __deepcopy__(self, memo: dict[int, Any]) -> ConsensusOptimizer:
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        memo[id(self.process_group)] = self.process_group  # shared
        other.__setstate__(copy.deepcopy(self._contents(), memo))
        return other

    def _contents(self) -> dict[str, Any]:
        return {**super().__getstate__(), "process_group": self.process_group}


def _check(name: str, value: float | Tensor) -> None:
    number = errors.number(name, value) if not isinstance(value, Tensor) or value.numel() == 1 else math.nan
    allowed = {"lr": "positive or 0", "weight_decay": "0 or more"}.get(name, "positive")
    if not (math.isfinite(number) and (number > 0 or (number == 0 and allowed != "positive"))):
        raise InputError(f"{name} {value}: allowed: {allowed}")
    if name == "beta" and number >= 1:
        raise InputError(f"beta {value}: allowed: below 1")


def _moves(group: dict[str, Any]) -> bool:
    # Whether the factor of the step is one: σ and ρ divided by it must be numbers, of float32 too.
    return bool(float(group["lr"]) * MOST > max(group["sigma"], group["rho"]))


def _real(t: Tensor) -> Tensor:
    return torch.view_as_real(t.resolve_conj()) if t.is_complex() else t


def _working(t: Tensor) -> Tensor:
    # As the equations take it: the same tensor, unless it is complex or of half precision.
    t = _real(t)
    return t.to(WORKING[t.dtype])

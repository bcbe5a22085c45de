"""The trainers: ADMM algorithms assembled from their phases, and backpropagation to compare with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamlp_admm.activations import Activation
from gamlp_admm.algorithms import pdadmm
from gamlp_admm.blocks import RULES, Gram, Rule
from gamlp_admm.channel import LocalChannel
from gamlp_admm.data import NodeData
from gamlp_admm.engine import iterate
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.features import Features
from gamlp_admm.losses import Risk
from gamlp_admm.nn import Weights
from gamlp_admm.problem import Problem
from gamlp_admm.schedules import Schedule, schedule
from gamlp_admm.state import Block, block_weights, initial_blocks, stacks
from gamlp_admm.training import Session, Trainer


class ADMMSession(Session):
    """pdADMM-G at work: the blocks, and the channel between them."""

    def __init__(self, problem: Problem, state: list[Block]) -> None:
        self.start_problem = self.problem = problem
        self.state = self.previous = state
        self.channel = LocalChannel()

    @property
    def bytes_sent(self) -> int:  # type: ignore[override]
        """See :attr:`Session.bytes_sent`."""
        return self.channel.bytes_sent

    @bytes_sent.setter
    def bytes_sent(self, value: int) -> None:
        self.channel.bytes_sent = value

    def iterate(self, scale: float) -> None:
        """See :meth:`Session.iterate`."""
        start = self.start_problem
        self.problem = replace(start, rho=start.rho * scale, nu=start.nu * scale)
        self.previous = self.state
        self.state = iterate(self.state, pdadmm.PHASES, self.problem, self.channel)

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        return block_weights(self.state)

    def measure(self) -> dict[str, float | None]:
        """See :meth:`Session.measure`."""
        objective, primal = pdadmm.lagrangian(self.state, self.problem)
        dual = pdadmm.dual_residual(self.previous, self.state, self.problem.rho)
        return {
            "objective": float(objective.sum()),
            "primal_residual": float(primal.sum()),
            "dual_residual": math.sqrt(float(dual.sum())),
        }

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        return {f"{block.first}.{name}": t for block in self.state for name, t in block.tensors().items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        self.state = [
            replace(block, **{name: tensors[f"{block.first}.{name}"] for name in block.tensors()})
            for block in self.state
        ]


@dataclass(frozen=True)
class PdADMM(Trainer):
    """pdADMM: all layers of an MLP updated at once, without backpropagation.

    Source: Wang, Chai, Cheng, Zhao, ICDM 2020, arXiv 2009.02868.

    Args:
        rho: Penalty ρ > 0 of ``p_{l+1} = q_l``.
        nu: Penalty ν > 0 of ``z = p Wᵀ + b`` and ``q = f(z)``.
        mu: Weight decay μ ≥ 0.
        solver: How the quadratic p and W blocks are solved: ``linesearch``, ``backtracking`` or ``exact``.
        tau: First step denominator that ``backtracking`` tries.
        schedule: How ρ and ν change: ``constant``, ``every:ITERATIONS:FACTOR:LIMIT``,
            ``stall:PATIENCE:FACTOR:LIMIT``, or a callable (:mod:`gamlp_admm.schedules`).
        loss: Risk of the last layer.
        class_weight: Weight of each class in the risk, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: A penalty is not positive, or a name is not known.
    """

    rho: float = 1e-2
    nu: float = 1e-2
    mu: float = 1e-2
    solver: str = "linesearch"
    tau: float = 20.0
    schedule: str | Schedule = "constant"

    algorithm: ClassVar[str] = "pdadmm"
    compressible: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("rho", "nu", "tau"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} must be positive, not {getattr(self, name)}")
        if not (math.isfinite(self.mu) and self.mu >= 0):
            raise InputError(f"mu must not be negative, not {self.mu}")
        if self.solver not in RULES:
            raise unknown("solver", self.solver, RULES)
        schedule(self.schedule)

    def penalty_schedule(self) -> Schedule:
        """See :meth:`Trainer.penalty_schedule`."""
        return schedule(self.schedule)

    def converges(self, f: Activation) -> bool:
        """Whether ρ and ν satisfy Theorem 1 of TNNLS 2022 (:func:`gamlp_admm.algorithms.pdadmm.converges`)."""
        return pdadmm.converges(self.rho, self.nu, f.lipschitz)

    def start(self, data: NodeData, features: Features, weights: Weights, risk: Risk, f: Activation) -> ADMMSession:
        """See :meth:`Trainer.start`."""
        x = features.train
        problem = Problem(
            y=data.y[data.rows["train"]],
            risk=risk,
            f=f,
            rho=self.rho,
            nu=self.nu,
            mu=self.mu,
            rule=Rule(self.solver, self.tau),
            weight=data.weight,
            gram=Gram.of(x[None]) if self.solver == "exact" else None,
        )
        return ADMMSession(problem, initial_blocks(x, weights, f, stacks(weights)))


@dataclass(frozen=True)
class PdADMMG(PdADMM):
    """pdADMM-G: pdADMM on graph-augmented features (:class:`gamlp_admm.transforms.AugmentFeatures`).

    Source: Wang, Li, Chai, Wang, Cheng, Zhao, TNNLS 2022, arXiv 2105.09837. Arguments as :class:`PdADMM`.
    """

    algorithm: ClassVar[str] = "pdadmm-g"


# --- backpropagation ----------------------------------------------------------------------------------------

OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], float]] = {
    "adam": (torch.optim.Adam, 1e-3),
    "sgd": (torch.optim.SGD, 1e-1),
    "adagrad": (torch.optim.Adagrad, 1e-2),
    "adadelta": (torch.optim.Adadelta, 1.0),
}
"""Optimiser and default learning rate by name."""


class BackpropSession(Session):
    """Full-batch gradient descent on the mean risk with a torch optimiser."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        weight: Tensor | None,
        weights: Weights,
        risk: Risk,
        f: Activation,
        optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
    ) -> None:
        self.x, self.y, self.weight, self.risk, self.f = x, y, weight, risk, f
        self.parameters = [(W.clone().requires_grad_(), b.clone().requires_grad_()) for W, b in weights]
        self.optimizer = optimizer([t for pair in self.parameters for t in pair])
        self.objective = math.nan
        self.bytes_sent = 0

    def iterate(self, scale: float) -> None:
        """See :meth:`Session.iterate`; activations travel forward and their gradients back."""
        self.optimizer.zero_grad()
        (W, b), *rest = self.parameters
        z = torch.addmm(b, self.x, W.T)
        for W, b in rest:
            self.bytes_sent += 2 * z.nbytes
            z = torch.addmm(b, self.f(z), W.T)
        loss = self.risk.value(z, self.y, self.weight) / len(z)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.objective = float(loss.detach())

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        return [(W.detach().clone(), b.detach().clone()) for W, b in self.parameters]

    def measure(self) -> dict[str, float | None]:
        """Return the mean training loss before the last step; gradients have no residuals."""
        return {"objective": self.objective, "primal_residual": None, "dual_residual": None}

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        flat = [t.detach() for pair in self.parameters for t in pair]
        tensors = {f"parameter.{i}": t for i, t in enumerate(flat)}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": torch.as_tensor(v) for k, v in state.items() if v is not None}
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        state: dict[int, dict[str, Any]] = {}
        for name, t in tensors.items():
            kind, i, *key = name.split(".")
            if kind == "parameter":
                self.parameters[int(i) // 2][int(i) % 2].data.copy_(t)
            else:
                state.setdefault(int(i), {})[key[0]] = t
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


@dataclass(frozen=True)
class Backprop(Trainer):
    """Full-batch backpropagation through the same model, to compare with.

    Args:
        optimizer: ``adam``, ``sgd``, ``adagrad`` or ``adadelta``, from ``torch.optim``.
        lr: Learning rate; ``None`` for 1e-3, 1e-1, 1e-2 and 1, in this order.
        weight_decay: The optimiser's weight decay.
        loss: Risk of the last layer; its mean over rows is minimised.
        class_weight: Weight of each class in the risk, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: A name is not known, or a number is out of range.
    """

    optimizer: str = "adam"
    lr: float | None = None
    weight_decay: float = 0.0

    compressible: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.lr is not None and not self.lr > 0:
            raise InputError(f"lr must be positive, not {self.lr}")
        if not self.weight_decay >= 0:
            raise InputError(f"weight_decay must not be negative, not {self.weight_decay}")

    @property
    def algorithm(self) -> str:  # type: ignore[override]
        """The optimiser's name."""
        return self.optimizer

    def start(self, data: NodeData, features: Features, weights: Weights, risk: Risk, f: Activation) -> BackpropSession:
        """See :meth:`Trainer.start`."""
        make, default_lr = OPTIMIZERS[self.optimizer]
        return BackpropSession(
            features.train,
            data.y[data.rows["train"]],
            data.weight,
            weights,
            risk,
            f,
            lambda parameters: make(parameters, lr=self.lr or default_lr, weight_decay=self.weight_decay),
        )


ALGORITHMS = ("pdadmm-g", "pdadmm", *OPTIMIZERS)


def trainer(algorithm: str, **settings: Any) -> Trainer:
    """Return the trainer of that name.

    Args:
        algorithm: One of ``pdadmm-g``, ``pdadmm``, ``adam``, ``sgd``, ``adagrad``, ``adadelta``.
        settings: Its arguments; those that are ``None`` keep their defaults.

    Raises:
        InputError: The name is not known, or it has no such argument.
    """
    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    kind = {"pdadmm-g": PdADMMG, "pdadmm": PdADMM}.get(algorithm, Backprop)
    settings = {k: v for k, v in settings.items() if v is not None}
    if kind is Backprop:
        settings["optimizer"] = algorithm
    allowed = set(kind.__dataclass_fields__)
    for name in settings:
        if name not in allowed:
            raise InputError(f"{name} does not apply to {algorithm}; it takes {', '.join(sorted(allowed))}")
    return kind(**settings)

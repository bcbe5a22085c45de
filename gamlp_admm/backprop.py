"""Backpropagation through the same network with torch's optimisers, to compare with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamlp_admm.activations import Activation
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.losses import Risk
from gamlp_admm.nn import Weights
from gamlp_admm.session import Session, Task
from gamlp_admm.training import Trainer

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

    def iterate(self, iteration: int, scale: float) -> None:
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

    def layer_terms(self) -> Tensor:
        """Return the mean training loss before the last step, as the last layer's; gradients have no residuals."""
        terms = torch.zeros(1, len(self.parameters), dtype=torch.float64)
        terms[0, -1] = self.objective
        return terms

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
    distributable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.lr is not None and not self.lr > 0:
            raise InputError(f"lr must be positive, not {self.lr}")
        if not self.weight_decay >= 0:
            raise InputError(f"weight_decay must not be negative, not {self.weight_decay}")

    @property
    def algorithm(self) -> str:
        """The optimiser's name."""
        return self.optimizer

    def start(self, task: Task) -> BackpropSession:
        """See :meth:`Trainer.start`."""
        make, default_lr = OPTIMIZERS[self.optimizer]
        assert task.features is not None
        return BackpropSession(
            task.features.train,
            task.data.y[: task.data.num_train],
            task.data.weight,
            task.weights,
            task.risk,
            task.f,
            lambda parameters: make(parameters, lr=self.lr or default_lr, weight_decay=self.weight_decay),
        )

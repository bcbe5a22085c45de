"""Gradients of the whole network: torch's optimisers, to compare with, and BADM and SISA."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.errors import InputError, integer, number, unknown
from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.network import Network, Weights, linears
from gamlp_admm.optim import BADM, SISA
from gamlp_admm.training.session import Session, Stage
from gamlp_admm.training.trainer import Trainer

OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, float]]] = {
    "adam": (torch.optim.Adam, {"lr": 1e-3}),
    "sgd": (torch.optim.SGD, {"lr": 1e-1}),
    "adagrad": (torch.optim.Adagrad, {"lr": 1e-2}),
    "adadelta": (torch.optim.Adadelta, {"lr": 1.0}),
    "badm": (BADM, {"lr": 1.0, "sigma": 1.0, "rho": 9.0}),
    "sisa": (SISA, {"lr": 1.0, "sigma": 1.0, "rho": 1000.0}),
}
"""Optimiser by name, and its numbers with their defaults."""

CONSENSUS = ("sigma", "rho", "sub_batches")
"""Settings of BADM and SISA alone."""

Rows = tuple[Tensor, Tensor, Tensor | None]
"""Features, targets and weights of some rows."""


class BackpropSession(Session):
    """Gradient steps on the mean risk of all rows, or of one batch after the other."""

    def __init__(
        self,
        rows: Rows,
        weights: Weights,
        risk: Risk,
        network: Network,
        optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
        batches: int,
        sub_batches: int,
    ) -> None:
        self.rows, self.risk, self.network = rows, risk, network
        self.batches, self.sub_batches = batches, sub_batches
        self.parameters = [(W.clone().requires_grad_(), b.clone().requires_grad_()) for W, b in weights]
        self.optimizer: Any = optimizer([t for pair in self.parameters for t in pair])
        self.objective = math.nan
        self.bytes_sent = 0

    def iterate(self, iteration: int, factor: float) -> None:
        """See :meth:`Session.iterate`; one step a batch."""
        losses = [self._step(batch) for batch in self._epoch(iteration)]
        self.objective = float(torch.stack(losses).mean())

    def _epoch(self, iteration: int) -> Iterator[Rows]:
        if self.batches == 1:
            yield self.rows
            return
        x, y, weight = self.rows
        # Of the iteration alone, so that a resumed run sees the same batches.
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(iteration)).to(x.device)
        for chosen in order.tensor_split(self.batches):
            yield x[chosen], y[chosen], None if weight is None else weight[chosen]

    def _step(self, batch: Rows) -> Tensor:
        count = self.sub_batches
        if count == 1:
            loss: Tensor = self.optimizer.step(self._closure(*batch))
        else:
            x, y, weight = batch
            weights = [None] * count if weight is None else weight.tensor_split(count)
            parts = list(zip(x.tensor_split(count), y.tensor_split(count), weights, strict=True))
            shares = [len(part) / len(x) for part, *_ in parts]
            loss = self.optimizer.step([self._closure(*part) for part in parts], shares)
        return loss.detach()

    def _closure(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Callable[[], Tensor]:
        def closure() -> Tensor:
            self.optimizer.zero_grad()
            z = self.network.forward(x, linears(self.parameters))
            # Activations travel forward over every boundary between layers, and their gradients back.
            self.bytes_sent += 2 * len(x) * sum(b.nbytes for _, b in self.parameters[:-1])
            loss = self.risk.value(z, y, weight) / len(z)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        return closure

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        return [(W.detach().clone(), b.detach().clone()) for W, b in self.parameters]

    def layer_terms(self) -> Tensor:
        """Return the mean loss of the batches, each before its step, as the last layer's; there are no residuals."""
        terms = torch.zeros(1, len(self.parameters), dtype=torch.float64)
        terms[0, -1] = self.objective
        return terms

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        flat = [t.detach() for pair in self.parameters for t in pair]
        tensors = {f"all.parameter.{i}": t for i, t in enumerate(flat)}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"all.optimizer.{i}.{k}": torch.as_tensor(v) for k, v in state.items() if v is not None}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        state: dict[int, dict[str, Any]] = {}
        for name, t in tensors.items():
            _, kind, i, *key = [*name.split("."), ""]
            if kind == "parameter":
                self.parameters[int(i) // 2][int(i) % 2].data.copy_(t)
            elif kind == "optimizer":
                state.setdefault(int(i), {})[key[0]] = t
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


@dataclass(frozen=True, repr=False)
class Backprop(Trainer):
    """Gradient-based training of the same model: torch's optimisers, to compare with, and BADM and SISA.

    Source of BADM: arXiv 2407.01640 (:class:`gamlp_admm.optim.BADM`); of SISA: arXiv 2502.10784
    (:class:`gamlp_admm.optim.SISA`).

    Args:
        optimizer: ``adam``, ``sgd``, ``adagrad`` or ``adadelta``, from ``torch.optim``; ``badm`` or ``sisa``.
        lr: Learning rate; ``None`` for 1e-3, 1e-1, 1e-2 and 1, in this order. For BADM and SISA a factor of the step,
            1 by default.
        weight_decay: The optimiser's weight decay.
        sigma: Penalty σ of BADM and SISA; 1/σ is the learning rate in the long run. ``None`` for 1.
        rho: Weight ρ of their proximal terms; ``None`` for 9 (BADM) and 1000 (SISA).
        batch_size: Rows of a batch, at most; an iteration is then one epoch over shuffled batches of nearly equal size.
            ``None``: all rows are the batch.
        sub_batches: Parts of a batch that BADM and SISA find consensus over.
        loss: Risk of the last layer; its mean over rows, by their weights, is minimised.
        class_weight: Weight of each class's rows, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: A name is not known, a number is out of range, or the optimiser does not take it.

    Example:
        >>> from gamlp_admm import GAMLP, AugmentFeatures, Backprop, load_dataset
        >>> data = AugmentFeatures(hops=2)(load_dataset("karate").data)
        >>> model = GAMLP(data.num_features, hidden_channels=16, out_channels=4, num_layers=2)
        >>> adam = Backprop("adam", lr=1e-2).fit(model, data, iterations=10, seed=0)
        >>> badm = Backprop("badm", sigma=1.0, sub_batches=2).fit(model, data, iterations=10, seed=0)
        >>> adam.history[-1].keys() == badm.history[-1].keys()
        True
    """

    optimizer: str = "adam"
    lr: float | None = None
    weight_decay: float = 0.0
    sigma: float | None = None
    rho: float | None = None
    batch_size: int | None = None
    sub_batches: int = 1

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        taken = self.defaults({"optimizer": self.optimizer}).keys()
        for f in fields(self):
            if f.name not in taken and getattr(self, f.name) != f.default:
                names = ", ".join(sorted(taken - {"optimizer"}))
                raise InputError(f"{f.name} does not apply to {self.optimizer}; it takes {names}")
        kinds = {"lr": number, "sigma": number, "rho": number, "batch_size": integer, "sub_batches": integer}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if value is not None and not kind(name, value) > 0:
                raise InputError(f"{name} must be positive, not {value}")
        if not number("weight_decay", self.weight_decay) >= 0:
            raise InputError(f"weight_decay must not be negative, not {self.weight_decay}")
        super().__post_init__()

    @classmethod
    def defaults(cls, given: Mapping[str, Any] = {}) -> dict[str, Any]:
        """See :meth:`Trainer.defaults`; only what the optimiser takes, with its own numbers for those not given."""
        used = super().defaults(given)
        numbers = OPTIMIZERS[used["optimizer"]][1]
        if "sigma" not in numbers:
            used = {name: value for name, value in used.items() if name not in CONSENSUS}
        return used | {name: number for name, number in numbers.items() if used[name] is None}

    @property
    def algorithm(self) -> str:
        """The optimiser's name."""
        return self.optimizer

    def start(self, stage: Stage) -> BackpropSession:
        """See :meth:`Algorithm.start`.

        Raises:
            InputError: A batch has fewer rows than sub-batches.
        """
        make, numbers = OPTIMIZERS[self.optimizer]
        numbers = {name: getattr(self, name) for name in numbers}
        count, weight = stage.data.num_train, stage.data.weight
        batches = math.ceil(count / (self.batch_size or count))
        if self.sub_batches > count // batches:
            raise InputError(f"sub_batches {self.sub_batches}: allowed: at most a batch's rows, {count // batches}")
        assert stage.features is not None
        weight = None if weight is None else weight * (count / stage.data.total_weight)  # of mean 1
        return BackpropSession(
            (stage.features.train, stage.data.y[:count], weight),
            stage.weights,
            stage.risk,
            stage.network,
            lambda parameters: make(parameters, **numbers, weight_decay=self.weight_decay),
            batches,
            self.sub_batches,
        )

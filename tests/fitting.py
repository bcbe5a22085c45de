"""Trainers and networks to fit, and what is compared afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from problems import F64
from torch import Tensor

from gamlp_admm import GAMLP, Backprop, PdADMM, PdADMMG, Result
from gamlp_admm.algorithms import ADMMSession
from gamlp_admm.training.result import Progress
from gamlp_admm.training.session import Stage
from gamlp_admm.training.trainer import Trainer

ADMM: dict[str, Any] = {"rho": 0.1, "nu": 0.1, "mu": 0.05}
TRAINERS: dict[str, Trainer] = {
    "pdadmm-g": PdADMMG(**ADMM),
    "exact": PdADMMG(**ADMM, solver="exact"),
    "backtracking": PdADMM(**ADMM, solver="backtracking", tau=0.1),
    "schedule": PdADMMG(**ADMM, schedule="every:3:2"),
    "stall": PdADMMG(**ADMM, schedule="stall:2:2"),
    "adam": Backprop("adam", lr=1e-2),
    "sgd": Backprop("sgd"),
    "adagrad": Backprop("adagrad", weight_decay=1e-3),
    "adadelta": Backprop("adadelta"),
}


def network(num_layers: int = 3, columns: int = 8, dtype: torch.dtype = F64, **options: Any) -> GAMLP:
    model = GAMLP(columns, 6, 3, num_layers, init=options.pop("init", "kaiming"), **options).to(dtype)
    model.reset_parameters(torch.Generator().manual_seed(1))
    return model


def parameters(model: GAMLP) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(s, t) for s, t in zip(a, b, strict=True))


def timeless(result: Result) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in result.history]


def accuracy(model: GAMLP, data: SimpleNamespace, mask: str) -> float:
    rows = getattr(data, mask)
    return float((model(data.x[rows]).argmax(1) == data.y[rows]).double().mean())


class Raise:
    """A callback that raises at an iteration, once."""

    def __init__(self, iteration: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.iteration, self.error = iteration, error

    def __call__(self, progress: Progress) -> None:
        if progress.record["iteration"] == self.iteration:
            raise self.error


def recording(seen: list[list[tuple[Tensor, Tensor]]], **options: Any) -> PdADMMG:
    """Return a trainer that notes the weights that each stage starts from."""

    @dataclass(frozen=True)
    class Recording(PdADMMG):
        def start(self, stage: Stage) -> ADMMSession:
            seen.append([(W.clone(), b.clone()) for W, b in stage.weights])
            return super().start(stage)

    return Recording(**{**ADMM, **options})

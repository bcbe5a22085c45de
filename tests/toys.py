"""What another package may add: an operator, a codec, an algorithm and an option of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.algorithms import PdADMMG
from gamlp_admm.algorithms.registry import register_algorithm
from gamlp_admm.codecs import RowCodec, register_codec
from gamlp_admm.experiment import Option, register_option
from gamlp_admm.propagation import NamedOperator, register_operator, sym


def lazy_walk(A: sparse.csr_array) -> sparse.csr_array:
    return (sym(A) + sparse.eye_array(A.shape[0], format="csr")) / 2


class Rounded(RowCodec):
    """Whole numbers of a unit, in 16 bits."""

    def __init__(self, unit: float) -> None:
        self.unit = unit

    @property
    def name(self) -> str:
        return f"rounded:{self.unit:g}"

    def parts(self, n: int, dtype: torch.dtype) -> list[tuple[torch.dtype, int]]:
        return [(torch.int16, n)]

    def code(self, x: Tensor, before: Tensor, parts: Sequence[Tensor] | None, out: Tensor) -> None:
        codes = (x / self.unit).round_().clamp_(-(2**15), 2**15 - 1)
        if parts is not None:
            parts[0].copy_(codes)
        out.copy_(codes.mul_(self.unit))

    def value(self, parts: Sequence[Tensor], before: Tensor, out: Tensor) -> None:
        out.copy_(parts[0]).mul_(self.unit)


@dataclass(frozen=True, kw_only=True)
class Shrunk(PdADMMG):
    """pdADMM-G whose weights start smaller."""

    shrink: float = 0.5

    @property
    def algorithm(self) -> str:
        return "shrunk"

    def start(self, stage: Any) -> Any:
        return super().start(replace(stage, weights=[(self.shrink * W, b) for W, b in stage.weights]))


register_operator("lazy", NamedOperator(lazy_walk, hops=3))
register_codec("rounded", lambda rest: Rounded(float(rest)), "rounded:UNIT")
register_algorithm("shrunk", Shrunk, "pdADMM-G from smaller weights")
register_option(
    "shrink",
    float | None,
    Option("How much smaller weights start.", "Algorithm (shrunk)", text="0.5", setting=True, recipe="any algorithm"),
)

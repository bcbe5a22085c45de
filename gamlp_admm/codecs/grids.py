"""The finite sets Δ of pdADMM-G-Q: a variable that lives on a grid is sent as the numbers of its points."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.codecs.base import RowCodec
from gamlp_admm.codecs.native import Parts, Points
from gamlp_admm.codecs.packing import pack, packed_width, unpack
from gamlp_admm.errors import InputError

MOST_POINTS = 65536


class Grid(RowCodec):
    """The nearest point of a finite set Δ; the points' numbers are sent, in 2, 4, 8 or 16 bits.

    A variable that lives on the grid (pdADMM-G-Q, TNNLS 2022, Problem 3) is sent without loss. Every pass is over the
    entries, never over entries and points.
    """

    @property
    @abstractmethod
    def points(self) -> int:
        """The number of points."""

    @property
    def bits(self) -> int:
        """Bits of a point's number."""
        return next(bits for bits in (2, 4, 8, 16) if self.points <= 2**bits)

    @abstractmethod
    def numbers(self, x: Tensor) -> Tensor:
        """Return the number of the point nearest to each entry, as int32 or whole floats."""

    @abstractmethod
    def at(self, numbers: Tensor, out: Tensor) -> None:
        """Write the points of these numbers into ``out``."""

    def parts(self, n: int, dtype: torch.dtype) -> list[tuple[torch.dtype, int]]:
        return [(torch.int16, n)] if self.bits == 16 else [(torch.uint8, packed_width(n, self.bits))]

    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        numbers = self.numbers(x)
        if parts is not None:
            whole = numbers.to(torch.int32)
            codes = whole.to(torch.int16 if self.bits == 16 else torch.uint8)  # the lowest bits, whatever their sign
            parts[0].copy_(codes if self.bits == 16 else pack(codes, self.bits))
        self.at(numbers, out)

    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        codes = parts[0] if self.bits == 16 else unpack(parts[0], out.shape[-1], self.bits)
        self.at(codes.to(torch.int32).bitwise_and_(0xFFFF), out)


@dataclass(frozen=True)
class UniformGrid(Grid):
    """``low, low + step, …, high``: projected by rounding.

    Attributes:
        low: The smallest point.
        high: The largest point.
        count: The number of points, 2 to 65,536.

    Raises:
        InputError: The bounds or the number are not allowed.

    Example:
        >>> import torch
        >>> from gamlp_admm.codecs import UniformGrid
        >>> UniformGrid(-1.0, 1.0, 5).project(torch.tensor([[-3.0, -0.2, 0.3, 0.8]]))
        tensor([[-1.0000,  0.0000,  0.5000,  1.0000]])
    """

    low: float
    high: float
    count: int

    def __post_init__(self) -> None:
        if not 2 <= self.count <= MOST_POINTS:
            raise InputError(f"grid of {self.count} points: allowed: 2 to {MOST_POINTS:,}")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"grid from {self.low:g} to {self.high:g}: allowed: finite bounds, the lower one first")
        if self.step < 4 * torch.finfo(torch.float32).eps * max(abs(self.low), abs(self.high)):
            raise InputError(f"{self.name}: the points are too close to each other for float32")

    @property
    def name(self) -> str:
        return f"grid:{_number(self.low)}:{_number(self.high)}:{self.count}"

    @property
    def points(self) -> int:
        return self.count

    @property
    def step(self) -> float:
        """The distance between neighbouring points."""
        return (self.high - self.low) / (self.count - 1)

    def twin(self) -> Points:
        return Points(self.low, self.step, self.count, self.bits)

    def numbers(self, x: Tensor) -> Tensor:
        return torch.sub(x, self.low).div_(self.step).round_().clamp_(0, self.count - 1)

    def at(self, numbers: Tensor, out: Tensor) -> None:
        torch.mul(numbers.to(out.dtype), self.step, out=out).add_(self.low)


class ListedGrid(Grid):
    """Any points: projected by bisection.

    Args:
        values: The points, 2 to 65,536 different finite numbers, in rising order.

    Raises:
        InputError: They are not.

    Example:
        >>> import torch
        >>> from gamlp_admm.codecs import ListedGrid
        >>> ListedGrid([0.0, 1.0, 4.0]).project(torch.tensor([[0.4, 2.0, 9.0]]))
        tensor([[0., 1., 4.]])
    """

    def __init__(self, values: Any) -> None:
        listed = torch.as_tensor(values, dtype=torch.float64).flatten()
        if not 2 <= len(listed) <= MOST_POINTS:
            raise InputError(f"grid of {len(listed)} points: allowed: 2 to {MOST_POINTS:,}")
        if not (bool(torch.isfinite(listed).all()) and bool((listed[1:] > listed[:-1]).all())):
            raise InputError("grid: allowed: finite numbers in rising order, none twice")
        self.values = listed

    @property
    def name(self) -> str:
        return f"grid:{';'.join(map(_number, self.values.tolist()))}"

    @property
    def points(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListedGrid) and torch.equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash(tuple(self.values.tolist()))

    def numbers(self, x: Tensor) -> Tensor:
        points = self.values.to(x)
        return torch.bucketize(x, (points[1:] + points[:-1]) / 2, out_int32=True)

    def at(self, numbers: Tensor, out: Tensor) -> None:
        torch.index_select(self.values.to(out), 0, numbers.flatten(), out=out.view(-1))


@dataclass(frozen=True)
class FittedGrid:
    """A uniform grid whose bounds come from the data: from the first forward pass's outputs of each layer.

    It reaches twice their root mean square, but 1 at least, on the sides of 0 on which there are any, and a twentieth
    of that on the other, as below 0 with ReLU. On wider grids small steps of p come to nothing, which costs more than
    what is cut off. The 1 is there because small features make small first outputs, which training raises to a root
    mean square of 0.2 to 0.6 whatever they were. (Measured with 256 points on five data sets.)

    Attributes:
        count: The number of points.

    Example:
        >>> from gamlp_admm.codecs import FittedGrid, codec
        >>> codec("grid:auto:16") == FittedGrid(16)
        True
    """

    count: int = 256

    def __post_init__(self) -> None:
        UniformGrid(0.0, 1.0, self.count)  # which checks the number

    def __str__(self) -> str:
        return f"grid:auto:{self.count}"

    def between(self, below: float, above: float) -> UniformGrid:
        """Return the grid for outputs whose parts below and above 0 have these root mean squares.

        Steps are k·2^e with 8 ≤ k ≤ 16, so that the points are exact in floating point and do not hang on the last
        bits of the data.
        """
        reach = [max(2 * side, 1.0) if side > 0 else 0.0 for side in (below, above)]
        least = (max(reach) or 1.0) / 20
        low, high = -max(reach[0], least), max(reach[1], least)
        fraction, exponent = math.frexp((high - low) / (self.count - 1))
        step = math.ldexp(math.ceil(fraction * 16), exponent - 4)
        first = math.floor(low / step)
        return UniformGrid(first * step, (first + self.count - 1) * step, self.count)


def _number(value: float) -> str:
    return f"{value:.17g}" if float(f"{value:.15g}") != value else f"{value:.15g}"

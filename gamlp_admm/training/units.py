r"""What features are measured in while training: one unit for all columns, one for each, or none.

**One unit.** With m the mean of the training rows :math:`x_i` and :math:`s = \sqrt{\frac1N \sum_i \|x_i - m\|^2}`, the
solver sees :math:`\tilde x = (x - m)/s`: centred rows whose mean square norm is 1.

**A unit for each column**, where columns differ by orders of magnitude, as years and millimetres do: whatever the
larger say would drown the smaller. The size of a column is that of its own entries,

.. math:: \text{size}_j = \sqrt{\frac{\sum_i (x_{ij} - m_j)^4}{3 \sum_i (x_{ij} - m_j)^2}}

its standard deviation if it is normal, and if most of its entries are zero, the size of those that are not, but for a
constant: a rare word is no smaller than a frequent one. Units are powers of two, so that weights go back into the
caller's units without rounding.

**When columns differ** (:attr:`Sizes.differ`). Words, and the border pixels of images, differ in how often they are
there rather than in what they are measured in; propagated over a graph, the rare ones become arbitrarily small. Such
columns are peaked: their kurtosis is large. So where at least half of the columns are not peaked, the sizes of those
are compared; and whatever the columns are, those that are far below where the variance is must be many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gamlp_admm.errors import InputError

ShardSum = Callable[[Tensor], Tensor]

SCALES = ("auto", "unit", "columns", "none")

APART = 32.0
"""Sizes of columns that differ by more are of different units."""

PEAKED = 8.0
"""Kurtosis from which on a column is peaked (that of normal numbers is 3), with rows enough to tell."""

PLAIN_SHARE = 0.5
"""Share of columns that are not peaked from which on those tell whether units differ."""

SMALL_SHARE, SMALL_SHARE_OF_MANY = 0.25, 0.9
"""Share of columns that are small beside where the variance is; the latter with fewer rows than columns."""

USUAL = 1024.0
"""Features up to so many times larger or smaller than 1 are taken as they are by algorithms that measure nothing."""

CHUNK = 4096
ENTRIES = 2**22
"""Features that are looked at in float64 at a time."""


def _summed(train: Tensor, weight: Tensor | None, power: Callable[[Tensor], Tensor], row_sum: ShardSum) -> Tensor:
    # Of some power of the rows, in float64, a few rows at a time.
    total = train.new_zeros(train.shape[1], dtype=torch.float64)
    weights = train.new_ones(len(train), dtype=torch.float64) if weight is None else weight.double()
    step = max(ENTRIES // max(train.shape[1], 1), 1)
    for rows, w in zip(torch.split(train, step), torch.split(weights, step), strict=True):
        total += w @ power(rows.double())
    return row_sum(total)


@dataclass(frozen=True)
class Sizes:
    """How large the columns of the training rows are, over all shards; float64, ``[d]``.

    Attributes:
        num_rows: Number of rows, or their weight.
        mean: Means m.
        squares: Sums of squares about the means; 0 where a column is constant but for rounding.
        fourths: Sums of fourth powers about the means.
    """

    num_rows: float
    mean: Tensor
    squares: Tensor
    fourths: Tensor

    @classmethod
    def of(cls, train: Tensor, row_sum: ShardSum, weight: Tensor | None = None) -> Sizes:
        """Look at the training rows ``[N, d]`` that this process has, and their weights ``[N]``.

        Raises:
            InputError: Columns are too large or too small for their squares and fourth powers.
        """
        here = len(train) if weight is None else float(weight.double().sum())
        num_rows = float(row_sum(train.new_tensor([here], dtype=torch.float64)))
        mean = _summed(train, weight, lambda rows: rows, row_sum) / num_rows
        squares = _summed(train, weight, lambda rows: (rows - mean).square(), row_sum)
        fourths = _summed(train, weight, lambda rows: (rows - mean).square_().square_(), row_sum)
        rounding = torch.finfo(train.dtype).eps * mean.abs()
        real = (squares > num_rows * rounding**2) & (squares > torch.finfo(torch.float64).eps ** 2 * squares.max())
        wrong = ~torch.isfinite(fourths) | (real & (fourths < torch.finfo(torch.float64).tiny))
        if wrong.any():
            raise InputError(
                f"data.x: the numbers of column {int(wrong.nonzero()[0])} are too large or too small to be measured; "
                "allowed: sizes from 1e-70 to 1e70"
            )
        return cls(num_rows, mean, torch.where(real, squares, 0), torch.where(real, fourths, 0))

    @property
    def varies(self) -> Tensor:
        """Which columns are not constant, bool ``[d]``."""
        return self.squares > 0

    @property
    def size(self) -> Tensor:
        """The columns' sizes ``[d]``, 0 of constant ones."""
        return torch.where(self.varies, (self.fourths / (3 * self.squares)).sqrt(), 0)

    @property
    def whole(self) -> float:
        """Size of all columns together: where most of the variance is."""
        total = float(self.squares.sum())
        return (float(self.fourths.sum()) / (3 * total)) ** 0.5 if total else 0.0

    @property
    def differ(self) -> bool:
        """Whether columns differ by orders of magnitude, as things do that are measured in different units."""
        varies = self.varies
        size, squares, fourths = self.size[varies], self.squares[varies], self.fourths[varies]
        if not len(size):
            return False
        plain = size[self.num_rows * fourths / squares.square() <= min(PEAKED, self.num_rows / 4)]
        if len(plain) >= PLAIN_SHARE * len(size) and bool(plain.max() > APART * plain.min()):
            return True
        small = float((APART * size < self.whole).double().mean())
        return small > (SMALL_SHARE if self.num_rows >= len(size) else SMALL_SHARE_OF_MANY)

    @property
    def usual(self) -> bool:
        """Whether features can be taken as they are: neither very large nor very small nor far from 0."""
        largest = max(self.whole, float(self.mean.abs().max()))
        return not self.whole or (self.whole >= 1 / USUAL and largest <= USUAL)

    @property
    def unit(self) -> Units:
        """One unit for all columns, by which rows have a mean square norm of 1."""
        length = (self.squares.sum() / self.num_rows).sqrt()
        return Units(self.mean, torch.where(length > 0, length, 1))

    def measurable(self, dtype: torch.dtype) -> bool:
        """Whether sums in a dtype neither overflow, nor vanish, nor lose what is far from 0 to rounding."""
        least, most = torch.finfo(dtype).tiny ** 0.3, torch.finfo(dtype).max ** 0.3
        far = torch.finfo(dtype).eps * 2**10 * float(self.mean.abs().max()) > self.whole
        return not self.whole or (least < self.whole < most and not far)

    def units(self, rows_of_one: bool, by_column: bool = True) -> Units:
        """Return units that are powers of two.

        Args:
            rows_of_one: Whether rows shall have a mean square norm of about 1, else columns a deviation of about 1.
            by_column: Whether each column has its own.
        """
        largest = float(self.size.max())
        size = self.size if by_column else torch.full_like(self.size, self.whole)
        # Of a constant column nothing is known but how far it is from 0.
        size = torch.where(self.varies, size, self.mean.abs().clamp(min=largest))
        if rows_of_one:
            size = size * max(int(self.varies.sum()), 1) ** 0.5
        return Units(self.mean, torch.where(size > 0, size, 1).log2().round().exp2())


@dataclass(frozen=True)
class Units:
    """Origin and length of what features are measured in.

    Attributes:
        origin: m, ``[d]``.
        length: s > 0, a scalar tensor, or one a column, ``[d]``.
    """

    origin: Tensor
    length: Tensor

    @classmethod
    def of(
        cls,
        train: Tensor,
        total: float,
        row_sum: ShardSum,
        by_column: bool = False,
        weight: Tensor | None = None,
    ) -> Units:
        """Measure training rows.

        Args:
            train: The rows that this process has, ``[N, d]``.
            total: Their weights over all shards, summed; their number where they have none.
            row_sum: Sum over the shards of the rows.
            by_column: Whether every column has a unit of its own, its deviation times the root of their number.
            weight: Their weights, ``[N]``, or ``None`` for ones.
        """
        origin = row_sum(train.sum(0) if weight is None else weight @ train) / total
        weights = train.new_ones(len(train)) if weight is None else weight
        parts = zip(torch.split(train, CHUNK), torch.split(weights[:, None], CHUNK), strict=True)
        squared = ((rows - origin).square_().mul_(s) for rows, s in parts)
        if by_column:
            squares = torch.stack([part.sum(0) for part in squared]).sum(0)
            squares = row_sum(squares) * (squares.new_tensor(train.shape[1]))
        else:
            squares = torch.stack([part.sum() for part in squared]).sum()
            squares = row_sum(squares)
        length = (squares / total).sqrt()
        return cls(origin, torch.where(length > 0, length, 1))  # where all rows are the same, any unit will do

    def measure_(self, x: Tensor) -> None:
        """Replace rows ``[N, d]`` by their measures, in place: features may fill most of the memory."""
        for rows in torch.split(x, CHUNK):
            rows.sub_(self.origin).div_(self.length)

    def enter(self, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return W̃ ``[h, d]`` and b̃ ``[h]`` of the first layer's W and b."""
        V = W.double()
        return (V * self.length).to(W.dtype), (b + V @ self.origin.double()).to(b.dtype)

    def leave(self, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first layer's W ``[h, d]`` and b ``[h]`` of W̃ and b̃."""
        W = (W.double() / self.length).to(W.dtype)
        return W, (b - W.double() @ self.origin.double()).to(b.dtype)

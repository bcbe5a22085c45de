r"""The units that a run measures features in, so that its penalties mean the same whatever the data's.

With m the mean of the training rows :math:`x_i` and :math:`s = \sqrt{\frac1N \sum_i \|x_i - m\|^2}`, the solver sees
:math:`\tilde x = (x - m)/s`: centred rows whose mean square norm is 1. Its first layer is the model's in other
coordinates, :math:`\tilde W x̃ + \tilde b = W x + b` with :math:`\tilde W = s W` and :math:`\tilde b = b + W m`, so the
model that comes out takes the features as they are.

Features times a constant, plus a constant, give the same x̃ and so the same run. Since N rows have
:math:`\|\tilde X\|_F^2 = N`, weight decay μ is to ν as the ridge of a regression on rows of unit length is to 1,
whatever the number of columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SCALES = ("unit", "none")


@dataclass(frozen=True)
class Units:
    """Origin and length of what features are measured in.

    Attributes:
        origin: m, ``[d]``.
        length: s > 0, a scalar tensor.
    """

    origin: Tensor
    length: Tensor

    @classmethod
    def of(cls, train: Tensor, num_rows: int, row_sum: Callable[[Tensor], Tensor]) -> Units:
        """Measure training rows.

        Args:
            train: The rows that this process has, ``[N, d]``.
            num_rows: Their number over all shards.
            row_sum: Sum over the shards of the rows.
        """
        origin = row_sum(train.sum(0)) / num_rows
        squares = torch.stack([(rows - origin).square().sum() for rows in torch.split(train, 4096)]).sum()
        length = (row_sum(squares) / num_rows).sqrt()
        return cls(origin, torch.where(length > 0, length, 1))  # where all rows are the same, any unit will do

    def measure_(self, x: Tensor) -> None:
        """Replace rows ``[N, d]`` by their measures, in place: features may fill most of the memory."""
        x.sub_(self.origin).div_(self.length)

    def enter(self, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return W̃ ``[h, d]`` and b̃ ``[h]`` of the first layer's W and b."""
        return W * self.length, b + W @ self.origin

    def leave(self, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first layer's W ``[h, d]`` and b ``[h]`` of W̃ and b̃."""
        W = W / self.length
        return W, b - W @ self.origin

"""Signs of entries, of all or of the large ones, and a scale a row in 8 bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gamlp_admm.codecs.integers import SMALLEST, Multiples, largest
from gamlp_admm.codecs.native import Ternary
from gamlp_admm.errors import InputError

LOWEST = 4 * (127 - 44)
"""The 8-bit scale 0 is 0, and c is the bfloat16 with the bits (LOWEST + c)·2⁵: two bits of mantissa, 2⁻⁴⁴ to 2²⁰."""


ABOVE_HALF = 0.5 + 2**-20
"""What the smallest entry that is sent is scaled to, before it is rounded to 1."""


@dataclass(frozen=True)
class Signs(Multiples):
    """The signs of a row's large entries, times the mean of their sizes; the other entries are sent as 0.

    Large are those of ``dead`` times the mean size of the row, but at least the largest. Of all scales for these codes
    the mean is the best, so that ‖x − x̂‖ < ‖x‖ wherever ``x`` is not 0: as differences, errors vanish.

    Attributes:
        dead: Where it is 0, all entries are large, and take a bit each; else 2 bits, which :class:`Zstd` packs closer.

    Raises:
        InputError: ``dead`` is negative or not finite.

    Example:
        >>> import torch
        >>> from gamlp_admm.codecs import Signs
        >>> x = torch.tensor([[1.0, 0.1, -0.2, -3.0]])
        >>> Signs(0).project(x)  # the mean of all sizes is 1.075, sent in 8 bits
        tensor([[ 1.,  1., -1., -1.]])
        >>> Signs(0.5).project(x)
        tensor([[ 2.,  0., -0., -2.]])
    """

    dead: float = 1.5

    block = None
    scales = torch.uint8

    def __post_init__(self) -> None:
        if not 0 <= self.dead < math.inf:
            raise InputError(f"codec ternary:{self.dead:g}: allowed: a finite number from 0")

    @property
    def name(self) -> str:
        return f"ternary:{self.dead:g}" if self.dead else "int1"

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Bits of an entry."""
        return 2 if self.dead else 1

    def twin(self) -> Ternary | None:
        return Ternary(self.dead) if self.dead else None

    def quantised(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        sizes = blocks.abs()
        least = self.dead * sizes.mean(-1, keepdim=True)
        if self.dead:
            least = torch.minimum(least, largest(sizes)).clamp_(min=SMALLEST)
            codes = torch.mul(blocks, ABOVE_HALF / least, out=sizes).round_().clamp_(-1, 1)
        else:
            codes = torch.ge(blocks, 0, out=sizes).mul_(2).sub_(1)
        large = (blocks * codes).sum(-1, keepdim=True)
        return codes, _shortened(large / codes.abs().sum(-1, keepdim=True).clamp_(min=1))

    def scale(self, sent: Tensor, dtype: torch.dtype) -> Tensor:
        bits = sent.to(torch.int16).add_(LOWEST).bitwise_left_shift_(5)
        return bits.view(torch.bfloat16).to(dtype).masked_fill_(sent == 0, 0)

    def stored(self, codes: Tensor) -> Tensor:
        return super().stored(codes) if self.dead else codes.add_(1).bitwise_right_shift_(1)

    def restored(self, codes: Tensor) -> Tensor:
        return super().restored(codes) if self.dead else codes.view(torch.int8) * 2 - 1


def _shortened(scale: Tensor) -> Tensor:
    # Rounded to the nearest; below the smallest, 0, above the largest, that, which later differences make up for.
    bits = scale.to(torch.bfloat16).view(torch.int16)
    return bits.add(16).bitwise_right_shift_(5).sub_(LOWEST).clamp_(0, 255).to(torch.uint8)

"""Floating-point formats."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gamlp_admm.codecs.base import RowCodec
from gamlp_admm.codecs.native import Parts

FORMATS = {"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Cast(RowCodec):
    """Entries as floating-point numbers of another format. The same format is sent as it is.

    Attributes:
        format: ``fp64``, ``fp32``, ``fp16`` (up to 65,504), ``bf16``; or ``full``, the format that they have.

    Example:
        >>> import torch
        >>> from gamlp_admm.codecs import Cast
        >>> Cast("bf16").size((5, 100), torch.float32)  # 2 bytes an entry
        1000
    """

    format: str

    @property
    def name(self) -> str:
        return self.format

    def parts(self, n: int, dtype: torch.dtype) -> list[tuple[torch.dtype, int]]:
        return [(FORMATS.get(self.format, dtype), n)]

    def lossless(self, dtype: torch.dtype) -> bool:
        """See :meth:`Codec.lossless`."""
        return FORMATS.get(self.format, dtype).itemsize >= dtype.itemsize

    def project(self, x: Tensor, before: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        if self.lossless(x.dtype):
            return x if out is None else out.copy_(x)
        return super().project(x, before, out)

    def transmit(self, x: Tensor, before: Tensor | None = None, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if FORMATS.get(self.format, x.dtype) == x.dtype:
            return x.contiguous().view(-1).view(torch.uint8), self.project(x, before, out)
        return super().transmit(x, before, out)

    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        short = x.to(FORMATS[self.format])
        if parts is not None:
            parts[0].copy_(short)
        out.copy_(short)

    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        out.copy_(parts[0])

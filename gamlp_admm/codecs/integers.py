"""Integers of 8, 4 or 2 bits times a scale, and differences in them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from gamlp_admm.codecs.base import Parts, RowCodec
from gamlp_admm.codecs.packing import pack, packed_width, unpack
from gamlp_admm.errors import InputError

SMALLEST = torch.finfo(torch.bfloat16).tiny
LARGEST = torch.finfo(torch.bfloat16).max


@dataclass(frozen=True)
class Scaled(RowCodec):
    """Entries as integers times a scale: ``x ≈ s·c`` with ``c`` in ``{−m, …, m}``, ``m = 2^(bits−1) − 1``.

    A row, or a block of a row, has a scale of its own, sent in bf16: ``s = max|x|/m``, so that entries are off by at
    most ``s/2``; with 2 bits ``s = Σx²/Σ|x|``, which keeps ternary numbers and is nearly the best for normal ones, but
    cuts off what is larger. An entry is sent as the nearest code, so it never moves farther than to 0. Codes are sent
    as c + m + 1.

    Attributes:
        bits: 8, 4 or 2; codes of 4 and 2 bits are packed into bytes, rows starting with a byte of their own.
        block: Entries that share a scale; ``None`` for the whole row.

    Example:
        >>> import torch
        >>> from gamlp_admm.codecs import Scaled
        >>> x, int4 = torch.randn(5, 100), Scaled(4)
        >>> int4.size(x.shape) < x.nbytes / 7  # half a byte an entry, and a scale a row
        True
        >>> error = (int4.project(x) - x).abs().amax(1)
        >>> bool((error <= x.abs().amax(1) / 7).all())
        True
    """

    bits: int
    block: int | None = None

    @property
    def name(self) -> str:
        return f"int{self.bits}" + ("" if self.block is None else f":{self.block}")

    @property
    def levels(self) -> int:
        """The largest code m."""
        return int(2 ** (self.bits - 1)) - 1

    def parts(self, n: int, dtype: torch.dtype) -> list[tuple[torch.dtype, int]]:
        scales = min(n, 1) if self.block is None else -(-n // self.block)
        return [(torch.bfloat16, scales), (torch.uint8, packed_width(n, self.bits))]

    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        N, n = x.shape
        blocks = self._blocks(x)
        sizes = blocks.abs()
        s = self._scale(blocks, sizes).clamp_(SMALLEST, LARGEST).to(torch.bfloat16)
        scale = s.to(x.dtype)
        codes = torch.mul(blocks, 1 / scale, out=sizes).round_()
        if self.bits == 2:
            codes.clamp_(-1, 1)
        if parts is not None:
            signed = codes.view(N, -1)[:, :n].to(torch.int8)
            parts[0].copy_(s.view(N, -1))
            parts[1].copy_(pack(signed.bitwise_xor_(-self.levels - 1), self.bits))
        self._multiply(codes, scale, out)

    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        codes = unpack(parts[1], out.shape[-1], self.bits)
        signed = codes.view(torch.int8) - (self.levels + 1)  # of 8 bits: modulo 256
        self._multiply(self._blocks(signed.to(out.dtype)), parts[0].to(out.dtype)[:, :, None], out)

    def _scale(self, blocks: Tensor, sizes: Tensor) -> Tensor:
        if self.bits > 2:
            return sizes.amax(-1, keepdim=True) / self.levels
        squares: Tensor = torch.linalg.vector_norm(blocks, dim=-1, keepdim=True).square_()
        return squares / sizes.sum(-1, keepdim=True).clamp_(min=SMALLEST)

    def _multiply(self, codes: Tensor, scale: Tensor, out: Tensor) -> None:
        if self.block is None:
            torch.mul(codes, scale, out=out[:, None])
        else:
            out.copy_(codes.mul_(scale).view(len(out), -1)[:, : out.shape[-1]])

    def _blocks(self, x: Tensor) -> Tensor:
        # [N, blocks of a row, entries of a block]; the last block is filled up with zeros, which change no maximum
        if self.block is None:
            return x[:, None]
        missing = -x.shape[-1] % self.block
        return (pad(x, (0, missing)) if missing else x).reshape(len(x), -1, self.block)


@dataclass(frozen=True)
class Delta(RowCodec):
    """Differences: what is sent is the code of ``x − before``, and both ends add what it stands for to ``before``.

    With ``before`` what was made of the last tensor sent, an error is part of the next difference, so that errors do
    not add up, and they vanish as x comes to rest.

    Attributes:
        inner: The codec of the difference.

    Example:
        >>> import torch
        >>> from gamlp_admm.codecs import Delta, Scaled
        >>> before, code = torch.randn(5, 100), Delta(Scaled(2))
        >>> x = before + 1e-3 * torch.randn(5, 100)  # what changed little is told closely in 2 bits
        >>> bool((code.project(x, before) - x).abs().max() < 1e-2)
        True
    """

    inner: RowCodec

    @property
    def name(self) -> str:
        return f"{self.inner.name}-delta"

    def parts(self, n: int, dtype: torch.dtype) -> list[tuple[torch.dtype, int]]:
        return self.inner.parts(n, dtype)

    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        if before.shape != x.shape:
            raise InputError(f"{self.name} needs before, what both ends hold already, of the shape of x")
        self.inner.code(torch.sub(x, before, out=out), before, parts, out)  # which reads x before it writes out
        out.add_(before)

    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        self.inner.value(parts, before, out)
        out.add_(before)

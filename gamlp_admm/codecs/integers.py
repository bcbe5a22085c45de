"""Integers of 8, 4 or 2 bits times a scale, and differences in them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from gamlp_admm.codecs.base import RowCodec
from gamlp_admm.codecs.native import Integers, Parts, Ternary
from gamlp_admm.codecs.packing import pack, packed_width, unpack
from gamlp_admm.errors import InputError

SMALLEST = torch.finfo(torch.bfloat16).tiny
LARGEST = torch.finfo(torch.bfloat16).max


class Multiples(RowCodec):
    """Entries as whole multiples of a scale, which a row or a block of a row has of its own.

    Attributes:
        bits: Bits of a code: 8, 4, 2 or 1; those of fewer than 8 are packed, rows starting with a byte of their own.
        block: Entries that share a scale; ``None`` for the whole row.
        scales: What a scale is sent as.
    """

    bits: int
    block: int | None
    scales: torch.dtype

    @property
    def levels(self) -> int:
        """The largest code m."""
        return int(2 ** (self.bits - 1)) - 1

    def twin(self) -> Integers | Ternary | None:
        return None

    @abstractmethod
    def quantised(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes ``[N, B, m]``, which are new, and scales as they are sent, ``[N, B, 1]``."""

    @abstractmethod
    def scale(self, sent: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the scales that were sent."""

    def stored(self, codes: Tensor) -> Tensor:
        """Return int8 codes, which are overwritten, as numbers from 0 in their lowest bits: c + m + 1."""
        return codes.bitwise_xor_(-self.levels - 1)

    def restored(self, codes: Tensor) -> Tensor:
        """Return the codes of such numbers, uint8."""
        return codes.view(torch.int8) - (self.levels + 1)  # of 8 bits: modulo 256

    def parts(self, n: int, dtype: torch.dtype) -> list[tuple[torch.dtype, int]]:
        count = min(n, 1) if self.block is None else -(-n // self.block)
        return [(self.scales, count), (torch.uint8, packed_width(n, self.bits))]

    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        self.write(x, parts, out, None)

    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        self.read(parts, out, None)

    def write(self, x: Tensor, parts: Parts | None, out: Tensor, base: Tensor | None) -> None:
        """Write the codes of ``x`` into ``parts``, and into ``out`` what they stand for, added to ``base``."""
        N, n = x.shape
        codes, sent = self.quantised(self._blocks(x))
        if parts is not None:
            parts[0].copy_(sent.view(N, -1))
            whole = codes.view(N, -1)[:, :n]
            if self.bits == 8:
                self.stored(parts[1].view(torch.int8).copy_(whole))
            else:
                parts[1].copy_(pack(self.stored(whole.to(torch.int8)), self.bits))
        self._multiply(codes, self.scale(sent, x.dtype), out, base)

    def read(self, parts: Parts, out: Tensor, base: Tensor | None) -> None:
        """Write into ``out`` what ``parts`` stand for, added to ``base``: the bits of :meth:`write`."""
        codes = self.restored(unpack(parts[1], out.shape[-1], self.bits)).to(out.dtype)
        self._multiply(self._blocks(codes), self.scale(parts[0], out.dtype)[:, :, None], out, base)

    def _multiply(self, codes: Tensor, scale: Tensor, out: Tensor, base: Tensor | None) -> None:
        # A product of a code and a scale is exact, so that it does not matter whether it is rounded before it is added.
        if self.block is None and base is None:
            torch.mul(codes, scale, out=out[:, None])
        elif self.block is None and base is not None:
            torch.addcmul(base[:, None], codes, scale, out=out[:, None])
        else:
            product = codes.mul_(scale).view(len(out), -1)[:, : out.shape[-1]]
            out.copy_(product) if base is None else torch.add(base, product, out=out)

    def _blocks(self, x: Tensor) -> Tensor:
        # [N, blocks of a row, entries of a block]; the last block is filled up with zeros, which change no maximum
        if self.block is None:
            return x[:, None]
        missing = -x.shape[-1] % self.block
        return (pad(x, (0, missing)) if missing else x).reshape(len(x), -1, self.block)


@dataclass(frozen=True)
class Scaled(Multiples):
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

    scales = torch.bfloat16

    @property
    def name(self) -> str:
        return f"int{self.bits}" + ("" if self.block is None else f":{self.block}")

    def twin(self) -> Integers | None:
        return Integers(self.bits) if self.block is None else None

    def quantised(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        sizes = blocks.abs()
        s = self._scale(blocks, sizes).clamp_(SMALLEST, LARGEST).to(torch.bfloat16)
        codes = torch.mul(blocks, 1 / s.to(blocks.dtype), out=sizes).round_()
        return codes.clamp_(-1, 1) if self.bits == 2 else codes, s

    def scale(self, sent: Tensor, dtype: torch.dtype) -> Tensor:
        return sent.to(dtype)

    def _scale(self, blocks: Tensor, sizes: Tensor) -> Tensor:
        if self.bits > 2:
            return largest(sizes) / self.levels
        squares: Tensor = torch.linalg.vector_norm(blocks, dim=-1, keepdim=True).square_()
        return squares / sizes.sum(-1, keepdim=True).clamp_(min=SMALLEST)


def largest(sizes: Tensor) -> Tensor:
    """Return the largest of each row of sizes, kept as a dimension: floats from 0 are ordered as their bits are.

    As integers they are compared three times as fast. (NaN is the largest, too.)
    """
    bits = sizes.view(torch.int32 if sizes.element_size() == 4 else torch.int64)
    return bits.amax(-1, keepdim=True).view(sizes.dtype)


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

    inner: Multiples

    @property
    def name(self) -> str:
        return f"{self.inner.name}-delta"

    def parts(self, n: int, dtype: torch.dtype) -> list[tuple[torch.dtype, int]]:
        return self.inner.parts(n, dtype)

    def twin(self) -> Integers | Ternary | None:
        inner = self.inner.twin()
        return None if inner is None else replace(inner, delta=True)

    def check(self, x: Tensor, before: Tensor | None) -> None:
        if before is None or before.shape != x.shape:
            raise InputError(f"{self.name} needs before, what both ends hold already, of the shape of x")

    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        self.inner.write(torch.sub(x, before, out=out), parts, out, before)  # which reads x before it writes out

    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        self.inner.read(parts, out, before)

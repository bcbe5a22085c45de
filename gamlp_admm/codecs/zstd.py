"""Entropy coding: payloads compressed without loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.codecs.base import Codec
from gamlp_admm.errors import InputError

LEVEL, LEAST_MATCH = 1, 7
"""Codes of differences hardly repeat, so that looking for more repetitions makes payloads longer (measured)."""


@dataclass(frozen=True)
class Zstd(Codec):
    """The payload of another codec, compressed by Zstandard; as it is where that is no longer.

    Its length says which it is or, where the other codec's payloads have none that is known, a last byte.

    Codes are far from uniformly distributed: those of 2 bits carry 1.5 bits for normal numbers, and less for heavier
    tails. Values are those of the other codec, bit for bit. On a GPU payloads go through the host.

    Source: RFC 8878.

    Attributes:
        inner: The other codec.

    Raises:
        InputError: The package ``zstandard`` is not installed.

    Example:
        >>> import torch
        >>> from gamlp_admm.codecs import codec
        >>> x, plain, packed = torch.randn(200, 100) ** 3, codec("int2"), codec("zstd:int2")
        >>> len(packed.encode(x)) < 0.8 * len(plain.encode(x))
        True
        >>> torch.equal(packed.project(x), plain.project(x))
        True
    """

    inner: Codec

    fixed = False

    def __post_init__(self) -> None:
        _library()

    @property
    def name(self) -> str:
        return f"zstd:{self.inner}"

    def during(self, iteration: int) -> Codec:
        return replace(self, inner=self.inner.during(iteration))

    def size(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> int:
        return self.inner.size(shape, dtype) + (not self.inner.fixed)

    def lossless(self, dtype: torch.dtype) -> bool:
        return self.inner.lossless(dtype)

    def transmit(self, x: Tensor, before: Tensor | None = None, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        payload, coded = self.inner.transmit(x, before, out)
        return self._packed(payload.cpu()).to(x.device), coded

    def decode(self, payload: Tensor, like: Tensor, before: Tensor | None = None) -> Tensor:
        plain = self._unpacked(payload.cpu(), self.inner.size(like.shape, like.dtype))
        return self.inner.decode(plain.to(payload.device), like, before)

    def _packed(self, payload: Tensor) -> Tensor:
        library = _library()
        parameters = library.ZstdCompressionParameters.from_level(
            LEVEL,
            source_size=len(payload),
            min_match=LEAST_MATCH,
            format=library.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=False,
        )
        short = library.ZstdCompressor(compression_params=parameters).compress(payload.numpy().data)
        packed = len(short) < len(payload)
        payload = torch.frombuffer(bytearray(short), dtype=torch.uint8) if packed else payload
        return payload if self.inner.fixed else torch.cat([payload, payload.new_tensor([packed])])

    def _unpacked(self, payload: Tensor, most: int) -> Tensor:
        packed = len(payload) < most
        if not self.inner.fixed:
            payload, packed = payload[:-1], bool(payload[-1])
        if not packed:
            return payload
        zstd = _library().ZstdDecompressor(format=_library().FORMAT_ZSTD1_MAGICLESS)
        plain = zstd.decompress(payload.numpy().data, max_output_size=max(most, 1))
        return torch.frombuffer(bytearray(plain), dtype=torch.uint8)


def _library() -> Any:
    try:
        import zstandard
    except ImportError:
        raise InputError("codec zstd needs the package zstandard: pip install 'gamlp-admm[compress]'") from None
    return zstandard

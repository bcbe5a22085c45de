"""What every codec is: a way to write a float tensor as bytes, and to read it again."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gamlp_admm.codecs.native import Coder, Parts, coder_of
from gamlp_admm.errors import InputError

SLICE = 1 << 19
"""Entries that are coded at a time on the CPU: what the passes over them make stays in the cache (measured)."""


class Codec(ABC):
    """Writes a float tensor ``[…, n]`` as bytes. It has no state; one that codes differences is given ``before``.

    Attributes:
        fixed: Whether the payload's size follows from the shape. Where it does not, encoding tells it, and
            :meth:`size` is the most that it can be.
    """

    fixed: bool = True

    @property
    @abstractmethod
    def name(self) -> str:
        """What :func:`gamlp_admm.codecs.codec` makes this codec of."""

    def __str__(self) -> str:
        return self.name

    def during(self, iteration: int) -> Codec:
        """Return the codec as it is in an iteration, from 1."""
        return self

    @abstractmethod
    def size(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> int:
        """Return the number of bytes, or the most, of the payload of a tensor of that shape and dtype, unseen."""

    def lossless(self, dtype: torch.dtype) -> bool:
        """Whether every tensor of that dtype comes back as it was."""
        return False

    def encode(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """Return the payload of ``x``.

        Args:
            x: ``[…, n]``, float32 or float64.
            before: What both ends hold already, of the shape of ``x``; for codecs of differences.

        Raises:
            InputError: ``x`` has an entry that is NaN, infinite, or beyond the codec's range.
        """
        payload, decoded = self.transmit(x, before)
        for what, tensor in (("", x), (" after coding", decoded)):
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"{self.name}: only finite numbers can be sent, but{what} there is NaN or infinity")
        return payload

    @abstractmethod
    def decode(self, payload: Tensor, like: Tensor, before: Tensor | None = None) -> Tensor:
        """Return the tensor that a payload stands for.

        Args:
            payload: What :meth:`encode` returned, uint8 ``[size]``.
            like: Gives shape and dtype.
            before: As for :meth:`encode`.
        """

    def project(self, x: Tensor, before: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Return ``decode(encode(x))``, the same bits, without looking for NaN, and cheaper where that can be.

        Args:
            x: As for :meth:`encode`.
            before: As for :meth:`encode`.
            out: Where to write it; a new tensor if ``None``.
        """
        return self.transmit(x, before, out)[1]

    @abstractmethod
    def transmit(self, x: Tensor, before: Tensor | None = None, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return ``encode(x)`` and ``project(x)`` at the cost of one, without looking for NaN."""


class RowCodec(Codec):
    """A codec of rows of ``n`` entries, each coded by itself into as many bytes as any other.

    The payload is uint8 ``[size(shape, dtype)]``: part after part (scales, then codes), each part row after row,
    without a header.
    """

    def size(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> int:
        *rows, n = shape
        return math.prod(rows) * sum(kind.itemsize * count for kind, count in self.parts(n, dtype))

    def decode(self, payload: Tensor, like: Tensor, before: Tensor | None = None) -> Tensor:
        self.check(like, before)
        out = torch.empty(like.shape, dtype=like.dtype, device=payload.device)
        rows, known = rows_of(out), rows_of(before)  # a view of it
        views = self._views(payload, len(rows), like.shape[-1], like.dtype)
        coder = coder_of(self, rows, known)
        for i, j in slices(rows):
            coder.value(tuple(view[i:j] for view in views), known[i:j], rows[i:j])
        return out

    def project(self, x: Tensor, before: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        return self._run(x, before, out, None)

    def transmit(self, x: Tensor, before: Tensor | None = None, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        payload = torch.empty(self.size(x.shape, x.dtype), dtype=torch.uint8, device=x.device)
        return payload, self._run(x, before, out, payload)

    def _run(self, x: Tensor, before: Tensor | None, out: Tensor | None, payload: Tensor | None) -> Tensor:
        self.check(x, before)
        rows, known = rows_of(x), rows_of(before)
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device) if out is None else out
        target, views, coder = rows_of(out), None, coder_of(self, rows, known)
        if payload is not None:
            views = self._views(payload, len(rows), x.shape[-1], x.dtype)
        for i, j in slices(rows):
            parts = None if views is None else tuple(view[i:j] for view in views)
            coder.code(rows[i:j], known[i:j], parts, target[i:j])
        return out

    def _views(self, payload: Tensor, rows: int, n: int, dtype: torch.dtype) -> Parts:
        views, start = [], 0
        for kind, count in self.parts(n, dtype):
            end = start + rows * count * kind.itemsize
            views.append(payload[start:end].view(kind).view(rows, count))
            start = end
        return tuple(views)

    def check(self, x: Tensor, before: Tensor | None) -> None:
        """Look whether ``before`` is what the codec needs.

        Raises:
            InputError: It is not.
        """

    def twin(self) -> Coder | None:
        """Return what does by kernels, bit for bit, what :meth:`code` and :meth:`value` do, if anything does."""
        return None

    # What a codec is made of; rows are [N, n].

    @abstractmethod
    def parts(self, n: int, dtype: torch.dtype) -> list[tuple[torch.dtype, int]]:
        """Return what a row of ``n`` entries is sent as: dtype and count of each part, the widest dtype first."""

    @abstractmethod
    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        """Write the codes of ``x`` into ``parts``, unless ``None``, and into ``out`` what they stand for."""

    @abstractmethod
    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        """Write into ``out`` what ``parts`` stand for: the bits that :meth:`code` wrote there."""


def rows_of(x: Tensor | None) -> Tensor:
    """Return ``[…, n]`` as ``[N, n]``; nothing as a tensor whose slices are empty."""
    if x is None:
        return torch.empty(0)
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).contiguous()


def slices(rows: Tensor) -> Iterator[tuple[int, int]]:
    """Return the slices in which the rows of ``[N, n]`` are coded."""
    N, n = rows.shape
    step = max(N, 1) if rows.is_cuda else max(SLICE // max(n, 1), 1)
    return ((i, min(i + step, N)) for i in range(0, N if n else 0, step))

"""Coding by compiled kernels in place of torch operators, where Numba is installed.

A codec made of operators passes a dozen times over the entries, a kernel (:mod:`gamlp_admm.codecs.kernels`) once, in
one call and about half of the time. It gives the same bits, which is not taken on trust: before kernels first serve for
rows of some length, they are compared with the operators on numbers of all kinds, and where one bit differs, the
operators serve.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor

from gamlp_admm.codecs import kernels
from gamlp_admm.system import compiled

Parts = tuple[Tensor, ...]

MOST, FEW_THREADS = 1 << 18, 2
"""Entries up to which kernels serve, and threads with which they serve for any number: operators share entries among
threads, of which it takes three to be as fast."""

ROOM = 128  # entries that the sum of a row takes
SAMPLE = 16  # rows
UNUSUAL = (0.0, -0.0, 1.0, 1e-45, -1e-40, 1e-20, 3e38, -3e38)

_threads, _watching = torch.get_num_threads, torch._C._len_torch_dispatch_stack


class Coder(Protocol):
    """Codes rows ``[N, n]``; see :class:`gamlp_admm.codecs.RowCodec`."""

    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        """Write the codes of ``x`` into ``parts``, unless ``None``, and into ``out`` what they stand for."""

    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        """Write into ``out`` what ``parts`` stand for."""


@cache
def loaded() -> Any:
    """Return the kernels as attributes; they are compiled if the user's cache does not hold them."""
    return SimpleNamespace(**compiled.load(kernels))


@cache
def _ready() -> bool:
    return compiled.ready(loaded)


def serves(rows: Tensor, known: Tensor) -> bool:
    """Whether rows ``[N, n]``, and what both ends hold of them, if anything, are for kernels."""
    return (
        rows.dtype is known.dtype is torch.float32
        and rows.is_cpu
        and known.is_cpu
        and rows.numel() > 0
        and type(rows) is Tensor
        and (_threads() <= FEW_THREADS or rows.numel() <= MOST)
        and not _watching()  # what operators do
    )


# --- in place of a codec ------------------------------------------------------------------------------------------


def coder_of(codec: Any, rows: Tensor, known: Tensor) -> Coder:
    """Return what codes rows: kernels, if the codec has any and they serve here, or itself."""
    twin = codec.twin() if serves(rows, known) else None
    return codec if twin is None or not _agree(codec, twin, rows.shape[-1]) else twin  # type: ignore[no-any-return]


@cache
def _agree(codec: Any, twin: Coder, n: int) -> bool:
    return compiled.available() and _ready() and all(_same_codes(codec, twin, x, before) for x, before in _samples(n))


def _same_codes(codec: Any, twin: Coder, x: Tensor, before: Tensor) -> bool:
    results = []
    for coder in (codec, twin):
        parts = tuple(x.new_empty(len(x), count, dtype=kind) for kind, count in codec.parts(x.shape[-1], x.dtype))
        coded, alone, read = (torch.empty_like(x) for _ in range(3))
        coder.code(x, before, parts, coded)
        coder.code(x, before, None, alone)
        coder.value(parts, before, read)
        finite = coded.isfinite().all(-1)  # NaN and infinity have no codes
        results.append([*map(bits_of, (coded, alone, read[finite])), *(p[finite].view(torch.uint8) for p in parts)])
    return all(map(torch.equal, *results))


def _samples(n: int) -> list[tuple[Tensor, Tensor]]:
    # Rows as they are in training, and rows of many magnitudes, the last ones of what arithmetic seldom meets.
    like = torch.empty(0, dtype=torch.float32, device="cpu")  # whatever a caller has made the default
    source = torch.Generator("cpu").manual_seed(n)
    x, change, power = like.new_empty(3, SAMPLE, n).normal_(generator=source)
    special = like.new_tensor([*UNUSUAL, math.inf, math.nan])
    many = x * power.mul_(9).exp2_()
    for i, count in enumerate((len(UNUSUAL), len(special)), 1):
        many[-i] = special[torch.randint(count, (n,), generator=source, device="cpu")]
    many[0], many[1] = 0, many[1, :1]
    usual = x.relu()
    return [(usual, usual + 0.01 * change * (change > 0)), (many, x), (many, many.roll(1, 0))]


def bits_of(x: Tensor) -> Tensor:
    """Return the bits of numbers, of which any NaN has the same."""
    return torch.where(x.isnan(), math.nan, x).view(torch.int32)


@dataclass(frozen=True)
class Integers:
    """In place of :class:`gamlp_admm.codecs.Scaled` with a scale a row, and of differences coded by it."""

    bits: int
    delta: bool = False

    @property
    def levels(self) -> float:
        """The largest code."""
        return float(2 ** (self.bits - 1) - 1)

    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        """See :class:`Coder`."""
        N, n = x.shape
        room = x.new_empty(N + n + ROOM)
        scales = room.data_ptr()
        codes, width = (0, 0) if parts is None else (parts[1].data_ptr(), parts[1].shape[1])
        places = x.data_ptr(), before.data_ptr(), out.data_ptr(), out.data_ptr(), scales, scales, codes
        loaded().scaled(*places, scales + 4 * N, width, self.levels, self.bits, self.delta, N, n)
        if parts is not None:
            parts[0].copy_(room[:N, None])

    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        """See :class:`Coder`."""
        scales = parts[0].float()
        places = parts[1].data_ptr(), scales.data_ptr(), before.data_ptr(), out.data_ptr(), parts[1].shape[1]
        loaded().scaled_value(*places, self.levels, self.bits, self.delta, *out.shape)


@dataclass(frozen=True)
class Ternary:
    """In place of :class:`gamlp_admm.codecs.Signs` of 2 bits, and of differences coded by it."""

    dead: float
    delta: bool = False

    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        """See :class:`Coder`."""
        room = x.new_empty(1 + x.shape[1] + ROOM)
        scale = room.data_ptr()
        sent = (0, 0) if parts is None else (parts[0].data_ptr(), parts[1].data_ptr())
        places = x.data_ptr(), before.data_ptr(), out.data_ptr(), out.data_ptr(), scale, scale, *sent, scale + 4
        loaded().signs(*places, 0 if parts is None else parts[1].shape[1], self.dead, self.delta, *x.shape)

    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        """See :class:`Coder`."""
        scales = out.new_empty(len(out))
        loaded().eighths(parts[0].data_ptr(), scales.data_ptr(), len(out))
        places = parts[1].data_ptr(), scales.data_ptr(), before.data_ptr(), out.data_ptr(), parts[1].shape[1]
        loaded().scaled_value(*places, 1.0, 2, self.delta, *out.shape)


@dataclass(frozen=True)
class Points:
    """In place of :class:`gamlp_admm.codecs.UniformGrid`."""

    low: float
    step: float
    count: int
    bits: int

    def code(self, x: Tensor, before: Tensor, parts: Parts | None, out: Tensor) -> None:
        """See :class:`Coder`."""
        codes, width = (0, 0) if parts is None else (parts[0].data_ptr(), parts[0][0].nbytes)
        numbers = self.low, self.step, self.count - 1.0
        loaded().gridded(x.data_ptr(), out.data_ptr(), codes, width, *numbers, self.bits, *x.shape)

    def value(self, parts: Parts, before: Tensor, out: Tensor) -> None:
        """See :class:`Coder`."""
        width = parts[0][0].nbytes
        loaded().gridded_value(parts[0].data_ptr(), out.data_ptr(), width, self.low, self.step, self.bits, *out.shape)


# --- in place of looking for what changed -------------------------------------------------------------------------

Watch = Callable[[Tensor, Tensor, float, Tensor], Tensor]


def changed_of(operators: Watch, rows: Tensor, held: Tensor) -> Watch:
    """Return what tells which rows changed: a kernel, if it serves here, or operators."""
    return changed if serves(rows, held) and _agree_on_changes(operators, rows.shape[-1]) else operators


@cache
def _agree_on_changes(operators: Watch, n: int) -> bool:
    def same(x: Tensor, held: Tensor, threshold: float) -> bool:
        one, other = torch.empty_like(x), torch.empty_like(x)
        sent = operators(x, held, threshold, one).equal(changed(x, held, threshold, other))
        return sent and torch.equal(bits_of(one), bits_of(other))

    samples = ((*sample, threshold) for sample in _samples(n) for threshold in (0.0, 0.01, 1.0))
    return compiled.available() and _ready() and all(same(*sample) for sample in samples)


def changed(rows: Tensor, held: Tensor, threshold: float, out: Tensor) -> Tensor:
    """See ``codecs.changed``."""
    sent = rows.new_empty(len(rows), dtype=torch.bool)
    places = rows.data_ptr(), held.data_ptr(), sent.data_ptr(), out.data_ptr()
    loaded().changed(*places, threshold, *rows.shape)
    return sent

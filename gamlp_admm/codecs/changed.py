"""Censoring: only the rows that changed are sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gamlp_admm.codecs.base import Codec, rows_of, slices
from gamlp_admm.codecs.native import changed_of
from gamlp_admm.codecs.packing import pack, packed_width, unpack
from gamlp_admm.errors import InputError


@dataclass(frozen=True)
class Changed(Codec):
    r"""The rows that are farther from what both ends hold than a threshold, in another codec; the others stay.

    A row is sent if ``‖x − before‖ > τ_k ‖x‖`` with ``τ_k = threshold · rate^(k−1)`` in iteration k. A bit a row, after
    the payload of the rows that are sent, says which they are.

    The thresholds have a finite sum, :math:`\sum_k τ_k < ∞`, and a coded difference brings a row nearer by a factor
    below 1. So where the sequence of ``x`` converges, what is held converges to it: a limit of training is one of
    training in which everything is sent.

    Source: communication-censored ADMM, Y. Liu et al., IEEE Transactions on Signal Processing 67(10), 2019.

    Attributes:
        inner: The codec of the rows that are sent.
        threshold: The threshold in the first iteration, relative to the row's norm.
        rate: The factor from one iteration to the next.
        iteration: The iteration, from 1.

    Raises:
        InputError: The threshold or the rate is not allowed.

    Example:
        >>> import torch
        >>> from gamlp_admm.codecs import codec
        >>> before, changed = torch.ones(80, 100), codec("changed:0.1:0.99:int2-delta")
        >>> x = before.clone()
        >>> x[7] *= 2
        >>> len(changed.encode(x, before))  # a scale, 25 bytes of codes, and 80 bits
        37
    """

    inner: Codec
    threshold: float = 0.01
    rate: float = 0.999
    iteration: int = 1

    fixed = False

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < math.inf:
            raise InputError(f"codec {self.name}: allowed: a finite threshold from 0")
        if not 0 < self.rate < 1:
            raise InputError(f"codec {self.name}: allowed: a rate between 0 and 1")

    @property
    def name(self) -> str:
        return f"changed:{self.threshold:g}:{self.rate:g}:{self.inner}"

    def during(self, iteration: int) -> Codec:
        return replace(self, iteration=iteration, inner=self.inner.during(iteration))

    def size(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> int:
        return self.inner.size(shape, dtype) + packed_width(math.prod(shape[:-1]), 1)

    def transmit(self, x: Tensor, before: Tensor | None = None, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if before is None or before.shape != x.shape:
            raise InputError(f"{self.name} needs before, what both ends hold already, of the shape of x")
        rows, held = rows_of(x), rows_of(before)
        threshold = self.threshold * self.rate ** (self.iteration - 1)
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device) if out is None else out
        target = out.view(rows.shape)
        sent = changed_of(changed, rows, held)(rows, held, threshold, target)
        which = sent.nonzero()[:, 0]
        if len(which) == len(rows):
            payload, _ = self.inner.transmit(x, before, out)
        else:
            payload, coded = self.inner.transmit(rows.index_select(0, which), held.index_select(0, which))
            target.index_copy_(0, which, coded)
        return torch.cat([payload, pack(sent[None], 1)[0]]), out

    def decode(self, payload: Tensor, like: Tensor, before: Tensor | None = None) -> Tensor:
        held = rows_of(before)
        end = len(payload) - packed_width(len(held), 1)
        which = unpack(payload[None, end:], len(held), 1)[0].nonzero()[:, 0]
        if len(which) == len(held):
            return self.inner.decode(payload[:end], like, before)
        known = held.index_select(0, which)
        coded = self.inner.decode(payload[:end], known, known)
        return held.clone().index_copy_(0, which, coded).view(like.shape)


def changed(rows: Tensor, held: Tensor, threshold: float, out: Tensor) -> Tensor:
    """Return whether ‖x − held‖ > threshold ‖x‖, or is NaN, by rows, bool ``[N]``; write what is held into ``out``."""
    sent = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    for i, j in slices(rows):
        x, known = rows[i:j], held[i:j]
        change = torch.linalg.vector_norm(torch.sub(x, known, out=out[i:j]), dim=-1)
        least = torch.linalg.vector_norm(x, dim=-1).mul_(threshold)
        sent[i:j] = change.le_(least).logical_not_()
        out[i:j] = known
    return sent

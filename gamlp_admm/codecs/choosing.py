"""What ``auto`` stands for in a run: a plan of codecs, by sizes, a budget of bytes, the link, and the time of coding.

The candidates are ordered by how closely they tell a tensor. A budget takes the closest of which the whole run fits,
and from the iteration on from which that fits the next closer one: what changes most, at first, needs the fewest bits.
A link takes, of those that fit, what costs least time to code and to send.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.codecs import CODECS, Codec, codec
from gamlp_admm.codecs.plan import AUTO, FIELDS, Plan
from gamlp_admm.errors import InputError, bit_rate, byte_count
from gamlp_admm.system.words import size

CANDIDATES: Mapping[str, float] = {
    "full": 1.0,
    "int8-delta": 1.0,
    "int4-delta": 1.0,
    "int2-delta": 1.0,
    "lean": 0.35,
}
"""The codecs that are chosen from, the closest first, and which share of their greatest size payloads take: the largest
of the data sets of docs/communication-results.md. The last is what is recommended where nothing is limited."""

ENTRIES = 1 << 16
"""Entries that are coded to measure how long it takes."""


@dataclass(frozen=True)
class Traffic:
    """What the layers of a run have to tell each other.

    Attributes:
        rows: Training rows of each shard.
        stages: Of each stage of growth its iterations, and the width at each of its boundaries.
        dtype: That of the tensors.
    """

    rows: Sequence[int]
    stages: Sequence[tuple[int, Sequence[int]]]
    dtype: torch.dtype = torch.float32

    @property
    def entries(self) -> int:
        """Numbers that are sent in the run."""
        return sum(len(FIELDS) * sum(self.rows) * sum(widths) * count for count, widths in self.stages)

    def most(self, plan: Plan, iteration: int, stage: int) -> int:
        """Return the bytes of an iteration (from 1, over all stages), or the most that they can be."""
        return sum(
            plan.at(name, boundary, iteration).size((rows, width), self.dtype)
            for boundary, width in enumerate(self.stages[stage][1], 1)
            for name in FIELDS
            for rows in self.rows
        )

    def expected(self, spec: str) -> list[float]:
        """Return the bytes that each iteration of the run will likely send by a candidate."""
        plan, share, made = Plan.of(spec), CANDIDATES[spec], list[float]()
        for stage, (count, _) in enumerate(self.stages):
            made += [share * self.most(plan, len(made) + 1, stage)] * count
        return made


def codec_names() -> list[str]:
    """Return the names that codecs may begin with, ``auto`` first."""
    return [AUTO, *CODECS]


def limits(spec: Any, most: Any, link: Any) -> tuple[int | None, float | None]:
    """Return a budget in bytes and the rate of a link in bits a second, ``None`` where there is none.

    Args:
        spec: What chooses codecs; only ``auto`` heeds limits.
        most: The budget, such as ``"50MB"``.
        link: The link, such as ``"100Mbit"``.

    Raises:
        InputError: One is no such number, or ``spec`` is not ``auto``.
    """
    for name, value in (("bytes", most), ("link", link)):
        if value is not None and spec != AUTO:
            raise InputError(f"{name} {value}: allowed with codec {AUTO}, which heeds it, not with codec {spec}")
    budget = None if most is None else byte_count("bytes", most)
    return budget, None if link is None else bit_rate("link", link)


def choose(
    traffic: Traffic,
    budget: int | None = None,
    link: float | None = None,
    seconds: Callable[[str], float] | None = None,
) -> dict[str, Any]:
    """Choose the codecs of a run.

    Args:
        traffic: What is to be told.
        budget: Bytes that the run may send.
        link: Bits a second between processes.
        seconds: Time to encode and decode an entry by a codec; measured here if ``None`` and there is a link.

    Returns:
        JSON values: ``chosen``, the text of the plan; ``why``; ``expected_bytes``; and the ``budget``.

    Raises:
        InputError: The budget is less than an iteration may take.

    Example:
        >>> from gamlp_admm.codecs.choosing import Traffic, choose
        >>> traffic = Traffic(rows=[1000], stages=[(100, [500] * 9)])
        >>> choose(traffic, budget=300_000_000)["chosen"]
        'int2-delta/from=82:int4-delta'
        >>> choose(traffic, link=1e8, seconds=lambda codec: 0.0 if codec == "full" else 1e-8)["chosen"] != "full"
        True
    """
    known = _available()
    sent = {spec: traffic.expected(spec) for spec in known}
    least = min(known, key=lambda spec: sum(sent[spec]))
    if budget is not None and budget < (most := traffic.most(Plan.of(least), 1, 0)):
        raise InputError(f"bytes {size(budget)}: allowed: at least {size(most)}, which one iteration may take")
    fits = [spec for spec in known if budget is None or sum(sent[spec]) <= budget] or [least]
    if link is not None:
        spent = _spent(traffic, {spec: sum(sent[spec]) for spec in fits}, link, seconds or coding_seconds)
        spec = min(fits, key=spent.__getitem__)
        why = f"the quickest: {spent[spec]:.3g} s of coding and sending"
    elif budget is None:
        spec, why = known[-1], "recommended"
    else:
        spec, why = _mixed(known, sent, fits[0], budget), "the closest"
    expected = _expected_of(spec, sent)
    told = f"{size(expected)} expected" + ("" if budget is None else f" of {size(budget)}")
    return {"chosen": spec, "why": f"{why}, {told}", "expected_bytes": expected, "budget": budget}


def _available() -> list[str]:
    # Those whose packages are installed.
    known = []
    for spec in CANDIDATES:
        try:
            codec(spec)
        except InputError:
            continue
        known.append(spec)
    return known


def _mixed(known: Sequence[str], sent: Mapping[str, list[float]], spec: str, budget: int) -> str:
    """Return a codec that fits, from the iteration on from which that fits the next closer one."""
    if spec == known[0]:
        return spec
    closer = known[known.index(spec) - 1]
    more = accumulate(a - b for a, b in zip(reversed(sent[closer]), reversed(sent[spec]), strict=True))
    iterations = sum(sum(sent[spec]) + each <= budget for each in more)
    return f"{spec}/from={len(sent[spec]) - iterations + 1}:{closer}" if iterations else spec


def _expected_of(spec: str, sent: Mapping[str, list[float]]) -> int:
    first, _, later = spec.partition("/from=")
    if not later:
        return round(sum(sent[first]))
    start, _, closer = later.partition(":")
    return round(sum(sent[first][: int(start) - 1]) + sum(sent[closer][int(start) - 1 :]))


def _spent(
    traffic: Traffic, sent: Mapping[str, float], link: float, seconds: Callable[[str], float]
) -> dict[str, float]:
    return {spec: traffic.entries * seconds(spec) + 8 * count / link for spec, count in sent.items()}


def coding_seconds(spec: str, like: Tensor | None = None, repeats: int = 3) -> float:
    """Measure the time to encode and to decode an entry: some milliseconds.

    Args:
        spec: The codec.
        like: Gives dtype and device.
        repeats: Of so many times, the median counts.
    """
    coder = codec(spec)
    if not isinstance(coder, Codec) or coder.lossless(torch.float32):
        return 0.0
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ENTRIES // 256, 256, generator=generator)
    before = x + torch.randn(x.shape, generator=generator) * torch.logspace(-3, 0, len(x))[:, None]
    if like is not None:
        x, before = x.to(like), before.to(like)
    times = []
    for _ in range(1 + repeats):
        begin = _now(x)
        payload, _ = coder.transmit(x, before)
        coder.decode(payload, x, before)
        times.append(_now(x) - begin)
    return statistics.median(times[1:]) / x.numel()


def _now(x: Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter()

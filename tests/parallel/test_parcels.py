"""Payloads whose length the receiver does not know: the messages, and the order in which they are listened for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gamlp_admm.parallel import channel as channels
from gamlp_admm.parallel.channel import Neighbour, ProcessChannel
from gamlp_admm.parallel.parcels import HEADER, framed, length_of
from gamlp_admm.parallel.trace import Trace


def payload(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (length,), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize(("length", "room"), [(0, 0), (0, 5), (3, 8), (8, 8), (9, 8), (100, 0)])
def test_messages_are_as_long_as_agreed_and_hold_the_payload(length: int, room: int) -> None:
    first, *rest = framed(payload(length), room)
    assert len(first) == HEADER + room
    assert length_of(first) == length
    assert torch.equal(torch.cat([first[HEADER:], *rest])[:length], payload(length))
    assert [len(r) for r in rest] == [length - room] * (length > room)


class Wire:
    """Carries messages in order, as torch.distributed does; both ends must agree on each length."""

    def __init__(self) -> None:
        self.sent: list[torch.Tensor] = []
        self.buffers: list[torch.Tensor] = []

    def isend(self, message: torch.Tensor, rank: int, group: Any) -> Any:
        self.sent.append(message.clone())
        return SimpleNamespace(wait=lambda timeout: None)

    def irecv(self, buffer: torch.Tensor, rank: int, group: Any) -> Any:
        self.buffers.append(buffer)
        place = len(self.buffers) - 1
        return SimpleNamespace(wait=lambda timeout: buffer.copy_(self.sent[place]))


def test_payloads_arrive_whole_and_in_order_while_more_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    monkeypatch.setattr(channels, "dist", wire)
    ends = [
        ProcessChannel("", range(1), None, Neighbour(1, ""), {"q": None}, 1.0, Trace()),  # type: ignore[dict-item]
        ProcessChannel("", range(1, 2), Neighbour(0, ""), None, {"q": None}, 1.0, Trace()),  # type: ignore[dict-item]
    ]
    lengths = [100, 90, 300, 1, 299, 0, 120, 121]
    fixed = [i in (3, 6) for i in range(len(lengths))]
    for i, length in enumerate(lengths):
        most = None if fixed[i] else 300
        ends[1].expect("q", 0, like=torch.empty(length if fixed[i] else 300, dtype=torch.uint8), fixed=fixed[i])
        ends[0].send("q", 0, payload(length, i), length, most)
        if i:  # an iteration behind
            assert torch.equal(ends[1].receive("q", 0), payload(lengths[i - 1], i - 1))
    assert torch.equal(ends[1].receive("q", 0), payload(lengths[-1], len(lengths) - 1))
    assert [len(b) for b in wire.buffers] == [len(m) for m in wire.sent]
    assert len(wire.sent) > len(lengths)  # some did not fit
    assert ends[0].bytes_sent == sum(lengths)
    assert ends[0].wire_bytes == {0: sum(len(m) for m in wire.sent)}
    ends[0].finish()

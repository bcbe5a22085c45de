"""Messages whose length the receiver does not know: both ends agree on a room, and what does not fit follows.

The first message has a length that both ends know, and begins with that of the payload; the rest, if there is any, is a
second message. The room follows from the payload before, which both ends have seen.
"""

from __future__ import annotations

import torch
from torch import Tensor

HEADER = 8
"""Bytes in which the length of a payload is sent."""


def room_after(length: int) -> int:
    """Return the room for the next payload: sizes change little from one iteration to the next."""
    return length + length // 8 + 64


def framed(payload: Tensor, room: int) -> list[Tensor]:
    """Return the messages that a payload is sent as: one of ``HEADER + room`` bytes, and what is left, if anything."""
    first = payload.new_zeros(HEADER + room)
    first[:HEADER].view(torch.int64).fill_(len(payload))
    first[HEADER : HEADER + len(payload)] = payload[:room]
    return [first, payload[room:].contiguous()] if len(payload) > room else [first]


def length_of(first: Tensor) -> int:
    """Return the length of the payload of which this is the first message."""
    return int(first[:HEADER].view(torch.int64))

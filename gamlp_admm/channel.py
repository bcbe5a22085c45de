"""How neighbouring blocks exchange fields. A channel knows no maths."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Channel(Protocol):
    """Carries fields over the boundaries between layers. Boundary l lies between layers l and l + 1.

    Attributes:
        bytes_sent: Payload sent so far, in bytes, over every boundary between layers, as if each layer were a process.
    """

    bytes_sent: int

    def send(self, field: str, boundary: int, stack: Tensor, slot: int) -> None:
        """Start sending ``stack[slot]`` over ``boundary``; the rest of ``stack`` crosses the stack's own boundaries.

        Args:
            field: Name of the field.
            boundary: The boundary that leaves the stack.
            stack: The field for all layers of the stack, ``[S, N, n]``.
            slot: 0 to send towards the first layer, −1 towards the last.
        """

    def receive(self, field: str, boundary: int) -> Tensor:
        """Return what was sent over ``boundary``, ``[1, N, n]``, waiting for it if need be."""


class LocalChannel:
    """The channel of a run in one process: a mailbox a boundary."""

    def __init__(self) -> None:
        self.bytes_sent = 0
        self._mail: dict[tuple[str, int], Tensor] = {}

    def send(self, field: str, boundary: int, stack: Tensor, slot: int) -> None:
        """See :meth:`Channel.send`."""
        self.bytes_sent += stack.nbytes
        self._mail[field, boundary] = stack[:1] if slot == 0 else stack[-1:]

    def receive(self, field: str, boundary: int) -> Tensor:
        """See :meth:`Channel.receive`."""
        return self._mail.pop((field, boundary))

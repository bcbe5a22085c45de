"""How neighbouring blocks exchange fields. A channel knows neither maths nor codecs.

Boundary l lies between layers l and l + 1. A :class:`LocalChannel` carries fields between blocks of one process; a
:class:`ProcessChannel` also over the two boundaries at which this process's layers end.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from gamlp_admm.errors import NeighbourError
from gamlp_admm.parallel.parcels import HEADER, framed, length_of, room_after
from gamlp_admm.parallel.trace import Trace


class LocalChannel:
    """The channel of a run in one process: a mailbox a boundary.

    Attributes:
        bytes_sent: Payload sent so far, in bytes, over every boundary between layers, as if each layer were a process.
        wire_bytes: What of it went to another process, by boundary.
        trace: Collects spans.
    """

    def __init__(self, trace: Trace | None = None) -> None:
        self.trace = Trace() if trace is None else trace
        self.reset_counts()
        self._mail: dict[tuple[str, int], Tensor] = {}

    def reset_counts(self) -> None:
        """Count bytes from zero."""
        self.bytes_sent = 0
        self.wire_bytes: dict[int, int] = {}

    def leads_away(self, boundary: int) -> bool:
        """Whether what is sent over ``boundary`` goes to another process."""
        return False

    def expect(self, field: str, boundary: int, like: Tensor, fixed: bool = True) -> None:
        """Get ready to receive a tensor over ``boundary``.

        Args:
            field: What it is of.
            boundary: The boundary.
            like: Gives shape, dtype and device.
            fixed: Whether it has that shape; else it is a payload of that many bytes at most.
        """

    def send(self, field: str, boundary: int, tensor: Tensor, size: int = 0, most: int | None = None) -> None:
        """Start sending a tensor over ``boundary``.

        Args:
            field: What it is of.
            boundary: The boundary.
            tensor: The field, or its payload where the boundary leads away.
            size: What counts as sent, in bytes; with it, what crosses the boundaries inside a stack of layers.
            most: The most bytes that it could have, where the receiver does not know how many it has.
        """
        self.bytes_sent += size
        self._mail[field, boundary] = tensor

    def receive(self, field: str, boundary: int) -> Tensor:
        """Return what was sent over ``boundary``, waiting for it if need be."""
        return self._mail.pop((field, boundary))

    def finish(self) -> None:
        """Wait until everything sent has left."""


@dataclass(frozen=True)
class Neighbour:
    """A process that owns adjacent layers.

    Attributes:
        rank: Its global rank.
        name: How messages call it, e.g. ``"rank 1 (layers 6–10)"``.
    """

    rank: int
    name: str


@dataclass
class _Expected:
    like: Tensor
    fixed: bool
    posted: tuple[dist.Work, Tensor] | None = None


class ProcessChannel(LocalChannel):
    """A channel whose outermost boundaries lead to other processes, each neighbour talking to its neighbour.

    Sends and receives are single ``isend`` and ``irecv`` calls: torch's batched form has hung on gloo. Every field has
    a process group of its own, over which it travels in one direction only; so on NCCL, where the calls of a pair of
    ranks on one group run in order, early receives cannot block sends.

    A payload whose length the receiver does not know goes as :mod:`gamlp_admm.parallel.parcels` says. What is expected
    after it is listened for only when it is here, since until then nobody knows how many messages come before.

    Args:
        name: How messages call this process.
        layers: The layers that it owns.
        previous: The owner of the layer before them, or ``None``.
        next: The owner of the layer after them, or ``None``.
        groups: The process group of each field.
        timeout: Seconds after which a wait gives up.
        trace: Collects spans.
    """

    def __init__(
        self,
        name: str,
        layers: range,
        previous: Neighbour | None,
        next: Neighbour | None,
        groups: dict[str, dist.ProcessGroup],
        timeout: float,
        trace: Trace,
    ) -> None:
        super().__init__(trace)
        self.name, self.groups, self.timeout = name, groups, timedelta(seconds=timeout)
        self._neighbours: dict[int, Neighbour] = {}
        if previous is not None:
            self._neighbours[layers[0] - 1] = previous
        if next is not None:
            self._neighbours[layers[-1]] = next
        self._expected: defaultdict[tuple[str, int], deque[_Expected]] = defaultdict(deque)
        self._last: dict[tuple[str, int], int] = {}  # bytes of the payload before, of those of unknown length
        self._leaving: list[tuple[dist.Work, Tensor, str, Neighbour]] = []

    def leads_away(self, boundary: int) -> bool:
        """See :meth:`LocalChannel.leads_away`."""
        return boundary in self._neighbours

    def expect(self, field: str, boundary: int, like: Tensor, fixed: bool = True) -> None:
        """See :meth:`LocalChannel.expect`."""
        if boundary in self._neighbours:
            self._expected[field, boundary].append(_Expected(like, fixed))
            self._listen(field, boundary)

    def send(self, field: str, boundary: int, tensor: Tensor, size: int = 0, most: int | None = None) -> None:
        """See :meth:`LocalChannel.send`.

        Raises:
            NeighbourError: The neighbour failed.
        """
        if boundary not in self._neighbours:
            super().send(field, boundary, tensor, size)
            return
        self.bytes_sent += size
        messages = [tensor.contiguous()]
        if most is not None:
            messages = framed(messages[0], self._room(field, boundary, most))
            self._last[field, boundary] = len(tensor)
        peer = self._neighbours[boundary]
        for message in messages:
            self.wire_bytes[boundary] = self.wire_bytes.get(boundary, 0) + message.nbytes
            with self.trace.span(f"send {field}", "send"):
                try:
                    work = dist.isend(message, peer.rank, group=self.groups[field])
                except RuntimeError as error:
                    raise self._lost(peer, f"sending {field}", error) from error
            assert work is not None
            self._leaving.append((work, message, f"sending {field}", peer))

    def receive(self, field: str, boundary: int) -> Tensor:
        """See :meth:`LocalChannel.receive`.

        Raises:
            NeighbourError: The neighbour failed, or the time-out passed.
        """
        if boundary not in self._neighbours:
            return super().receive(field, boundary)
        expected = self._expected[field, boundary][0]  # what was sent first comes first
        message = self._arrived(field, boundary, expected)
        if not expected.fixed:
            self._last[field, boundary] = length = length_of(message)
            message = message[HEADER : HEADER + length]
            if length > len(message):
                expected.posted = self._post(field, boundary, message.new_empty(length - len(message)))
                message = torch.cat([message, self._arrived(field, boundary, expected)])
        self._expected[field, boundary].popleft()
        self._listen(field, boundary)
        return message

    def _room(self, field: str, boundary: int, most: int) -> int:
        last = self._last.get((field, boundary))
        return most if last is None else min(room_after(last), most)

    def _listen(self, field: str, boundary: int) -> None:
        # Post, in order, what is expected, up to the first message after which more of its payload may come.
        for expected in self._expected[field, boundary]:
            if expected.posted is None:
                like = expected.like
                if not expected.fixed:
                    like = like.new_empty(HEADER + self._room(field, boundary, len(like)))
                expected.posted = self._post(field, boundary, like)
            if not expected.fixed:
                break

    def _post(self, field: str, boundary: int, like: Tensor) -> tuple[dist.Work, Tensor]:
        buffer, peer = torch.empty(like.shape, dtype=like.dtype, device=like.device), self._neighbours[boundary]
        try:
            work = dist.irecv(buffer, peer.rank, group=self.groups[field])
        except RuntimeError as error:
            raise self._lost(peer, f"receiving {field}", error) from error
        assert work is not None
        return work, buffer

    def _arrived(self, field: str, boundary: int, expected: _Expected) -> Tensor:
        assert expected.posted is not None
        work, buffer = expected.posted
        self._wait(work, buffer, f"receiving {field}", self._neighbours[boundary])
        return buffer

    def finish(self) -> None:
        """See :meth:`LocalChannel.finish`.

        Raises:
            NeighbourError: The neighbour failed, or the time-out passed.
        """
        for work, payload, what, peer in self._leaving:
            self._wait(work, payload, what, peer)
        self._leaving.clear()

    def _wait(self, work: dist.Work, message: Tensor, what: str, peer: Neighbour) -> None:
        # On a GPU, where messages have streams of their own, one a field, it is the computing stream that waits. With a
        # limit of time it would be the host; there the groups' limit, the same, is NCCL's to keep.
        with self.trace.span(f"wait: {what}", "wait"):
            try:
                work.wait() if message.is_cuda else work.wait(self.timeout)
            except RuntimeError as error:
                raise self._lost(peer, what, error) from error

    def _lost(self, peer: Neighbour, what: str, error: Exception) -> NeighbourError:
        return NeighbourError(f"{self.name} lost {peer.name} while {what}: {cause(error)}")


def cause(error: Exception) -> str:
    """Return what an error of torch.distributed says, without where in torch it was raised."""
    return str(error).strip().splitlines()[0].split("] ", 1)[-1].split(". This is")[0]

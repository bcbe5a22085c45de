"""Standard streams that are closed, or whose reader leaves: what is written there is lost, and nothing else is."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


class _Enduring(io.FileIO):
    """Writes to a descriptor, and to nowhere once that fails."""

    failure: OSError | None = None
    absent = False

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            self.failure = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)  # type: ignore[arg-type]


@contextmanager
def enduring() -> Iterator[Callable[[], str | None]]:
    """Let the standard streams of this process endure what happens to them in the ``with`` block.

    A descriptor that is closed leads nowhere from now on, so that no file or socket takes its number. Streams that
    something else has replaced, as tests do, stay as they are.

    Yields:
        A function that writes what waits to be written and returns what went wrong with standard output: a reason,
        empty where its reader has left, or ``None``.
    """
    absent = [descriptor for descriptor in range(3) if not _is_open(descriptor)]
    for descriptor in absent:
        nowhere = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if nowhere == descriptor:
            os.set_inheritable(nowhere, True)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_enduring(stream, n, n in absent) for n, stream in enumerate(before, 1))
    try:
        yield _failure
    finally:
        _failure()
        sys.stdout, sys.stderr = before


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _enduring(stream: TextIO | None, descriptor: int, absent: bool) -> TextIO:
    if stream is not None and (type(stream) is not io.TextIOWrapper or stream.fileno() != descriptor):
        return stream
    raw = _Enduring(descriptor, "w", closefd=False)
    raw.absent = absent
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace")
    stream.flush()
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=stream.line_buffering)


def _raw(stream: TextIO) -> _Enduring | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Enduring) else None


def _failure() -> str | None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    raw = _raw(sys.stdout)
    if raw is None or raw.failure is None:
        return None
    return "" if raw.failure.errno == errno.EPIPE else str(raw.failure.strerror)


def has_stdout() -> bool:
    """Whether standard output was there when this process started."""
    raw = _raw(sys.stdout)
    return raw is None or not raw.absent

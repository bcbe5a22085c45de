"""Signals that ask a process to stop: SIGTERM and SIGHUP do what Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What asks a process to stop: Ctrl-C; the end of a job's time or of a container; a terminal that was closed."""


@contextmanager
def handling(handler: Callable[..., Any]) -> Iterator[None]:
    """Let a function handle :data:`STOPS` in the ``with`` block, but for those that this process was told to ignore.

    What a script starts in the background ignores Ctrl-C, and what ``nohup`` starts a closed terminal; they go on
    doing so. Outside the main thread, where no signal arrives, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPS}
    heard = [number for number, was in before.items() if was is not signal.SIG_IGN]
    try:
        for number in heard:
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # of a process that started while they were waiting
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number] or signal.SIG_DFL)  # None: was not set by Python


@contextmanager
def waiting() -> Iterator[None]:
    """Let :data:`STOPS` wait in the ``with`` block, and in processes that it starts until they are :func:`handling`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

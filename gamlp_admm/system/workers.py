"""Processes that run jobs, or this one in their place."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from gamlp_admm.errors import InputWarning
from gamlp_admm.system.allocator import keep_freed_memory


class _Here(Executor):
    """Runs each job in this process when it is submitted."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **options))
        except Exception as error:
            future.set_exception(error)
        return future


class _Pool(ProcessPoolExecutor):
    """Processes that a Ctrl-C on the terminal does not reach, because they inherit that it is ignored."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return super().submit(function, *args, **options)  # starts a process, as long as there are too few
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def workers(count: int) -> Iterator[Executor]:
    """Give what runs jobs; an exception in the block ends its processes at once.

    Args:
        count: Number of processes; with 1, ``submit`` runs a job in this process and returns when it is done.
    """
    others = {*multiprocessing.active_children()}
    pool = _Here() if count == 1 else _Pool(count, multiprocessing.get_context("spawn"), _start)
    try:
        yield pool
    except BaseException:
        for process in {*multiprocessing.active_children()} - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start() -> None:
    """Prepare a worker."""
    warnings.simplefilter("ignore", InputWarning)
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, which concurrent.futures leaves waiting for work."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)

"""Processes that run jobs, or this one in their place."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from gamlp_admm.errors import InputWarning
from gamlp_admm.system.allocator import keep_freed_memory
from gamlp_admm.system.extensions import load_extensions

T = TypeVar("T")


class Workers(Protocol[T]):
    """What runs jobs.

    Attributes:
        count: Number of jobs that run at the same time.
    """

    count: int

    def submit(self, *job: Any) -> Future[T]:
        """Start a job as soon as there is a process for it."""


@contextmanager
def workers(count: int, make: Callable[..., Callable[..., T]], *arguments: Any) -> Iterator[Workers[T]]:
    """Give what runs jobs; an exception in the block ends its processes at once.

    A Ctrl-C on the terminal does not reach the processes, and none outlives the one that started them.

    Args:
        count: Number of processes; with 1, ``submit`` runs a job in this process and returns when it is done.
        make: Makes what runs jobs, a function of :meth:`Workers.submit`'s arguments. Each process makes its own, so it
            may keep things from one job for the next.
        arguments: Arguments of ``make``.
    """
    if count == 1:
        yield _Here(make(*arguments))
        return
    pool = _Pool(count, make, arguments)
    try:
        yield pool
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.executor.shutdown(cancel_futures=True)


class _Here(Generic[T]):
    """Runs each job in this process when it is submitted."""

    count = 1

    def __init__(self, run: Callable[..., T]) -> None:
        self.run = run

    def submit(self, *job: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(self.run(*job))
        except Exception as error:
            future.set_exception(error)
        return future


class _Pool(Generic[T]):
    """Runs jobs in processes, which start when they are needed."""

    def __init__(self, count: int, make: Callable[..., Callable[..., T]], arguments: tuple[Any, ...]) -> None:
        self.count = count
        context = multiprocessing.get_context("spawn")
        self.executor = ProcessPoolExecutor(count, context, _start, (make, arguments))

    def submit(self, *job: Any) -> Future[T]:
        with _deaf():
            return self.executor.submit(_work, *job)

    def terminate(self) -> None:
        for process in [*self.executor._processes.values()]:  # terminate_workers, from Python 3.14 on
            process.terminate()


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore Ctrl-C, and let processes that start inherit it: interrupted while it imports, one says so at length."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be set
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_made: list[Callable[..., Any]] = []
"""What runs this process's jobs, once it is a worker."""


def _start(make: Callable[..., Callable[..., Any]], arguments: tuple[Any, ...]) -> None:
    """Prepare a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for one that a thread started
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore", InputWarning)
    keep_freed_memory()
    load_extensions()
    _made.append(make(*arguments))


def _work(*job: Any) -> Any:
    return _made[0](*job)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, which concurrent.futures leaves waiting for work."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.system.workers import workers


class Counter:
    """Counts its jobs."""

    def __init__(self, start: int) -> None:
        self.count = start

    def __call__(self, step: int) -> tuple[int, int]:
        if step < 0:
            raise InputError("a step back")
        warnings.warn("not seen", InputWarning, stacklevel=1)
        self.count += step
        return os.getpid(), self.count


def test_one_worker_is_this_process() -> None:
    with workers(1, Counter, 5) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pool.count == 1
        assert [pool.submit(step).result() for step in (1, 2)] == [(os.getpid(), 6), (os.getpid(), 8)]
        assert isinstance(pool.submit(-1).exception(), InputError)


def in_a_thread(action: Callable[[], None]) -> None:
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()


@pytest.mark.parametrize("call", [lambda action: action(), in_a_thread])
def test_each_worker_keeps_what_it_made(call: Callable[[Callable[[], None]], None]) -> None:
    results: list[tuple[int, int]] = []

    def work() -> None:
        with workers(2, Counter, 5) as pool:
            assert isinstance(pool.submit(-1).exception(), InputError)
            results.extend(future.result() for future in [pool.submit(1) for _ in range(20)])

    call(work)
    by_process: dict[int, list[int]] = {}
    for process, count in results:
        by_process.setdefault(process, []).append(count)
    assert os.getpid() not in by_process
    assert all(counts == list(range(6, 6 + len(counts))) for counts in by_process.values())


SLEEPERS = """
import os, sys, time
from gamlp_admm.system.workers import workers

def sleeper():
    return sleep

def sleep():
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    with workers(2, sleeper) as pool:
        for future in [pool.submit() for _ in range(2)]:
            future.result()
"""


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            assert len({parent.stdout.readline() for _ in range(2)}) == 2  # both are at work
            parent.send_signal(how)
            parent.communicate(timeout=30)  # until all processes that could write there are gone
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)
    assert parent.returncode != 0

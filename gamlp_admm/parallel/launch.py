"""Starting and joining the processes of a run, with torchrun's own launcher."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before a group is made: its default arguments would keep the group alive
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from gamlp_admm.errors import InputError, ProcessFailed, Stopped

_STARTED_HERE = "GAMLP_ADMM_STARTED"
_PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")


def start(processes: int, arguments: Sequence[str], threads: int | None) -> None:
    """Run ``python -m gamlp_admm ARGUMENTS`` in several processes of this machine and wait for them.

    This is torchrun's launcher: if one process fails the others are stopped.

    Args:
        processes: Number of processes.
        arguments: The command line that each of them runs.
        threads: Threads of each process; ``None`` divides the cores.

    Raises:
        ProcessFailed: A process failed; it names the first one that did.
        Stopped: A signal, such as that of Ctrl-C, ended them all.
    """
    share = threads or max(1, torch.get_num_threads() // processes)
    os.environ["OMP_NUM_THREADS"] = str(share)
    os.environ[_STARTED_HERE] = str(os.getpid())
    logging.disable(logging.ERROR)  # the launcher's own words on a failure; ours are one line
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    # What this process was started to ignore, as by nohup, its processes ignore too.
    heard = (name for name in _PASSED_ON if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN)
    config.signals_to_handle = ",".join(heard)
    try:
        elastic_launch(config, sys.executable)("-m", "gamlp_admm", *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise ProcessFailed(rank, failure.exitcode) from None
    except SignalException:  # passed on to the processes, which have said where they stopped
        raise Stopped from None


@contextmanager
def joined(device: str, timeout: float) -> Iterator[Any]:
    """Join the processes that torchrun started; the ``with`` block gets their process group.

    Args:
        device: ``cpu`` (gloo) or ``cuda`` (nccl, one GPU a process).
        timeout: Seconds after which a wait for another process gives up.

    Raises:
        InputError: There are fewer GPUs here than processes.
    """
    signal.signal(signal.SIGTERM, _terminate)
    if _STARTED_HERE in os.environ:
        _die_with_parent()
    if device == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise InputError(
                f"device cuda: {torch.cuda.device_count()} GPUs here for more processes; allowed: one each"
            )
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timedelta(seconds=timeout))
    try:
        yield dist.group.WORLD
    finally:
        gc.collect()  # a group that outlives this ends in the interpreter's last moments, and may abort it
        dist.destroy_process_group()


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped("stopped, because another process of the run failed or the launcher ended it")


def _die_with_parent() -> None:
    # On Linux, ask to be ended when the launcher dies, however it does: no orphans.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != int(os.environ[_STARTED_HERE]):
            raise Stopped("stopped, because the launcher is gone")

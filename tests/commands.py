"""Command lines as the processes of a run that were started by hand: forks of one that has imported everything."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest.mock import patch

import rich.console  # noqa: F401  (what the commands import late, so that forks need not)
import torch
from torch import multiprocessing

import gamlp_admm.experiment.runner
import gamlp_admm.parallel.joining
import gamlp_admm.parallel.launch
import gamlp_admm.report  # noqa: F401
from gamlp_admm.cli import main
from gamlp_admm.datasets import load_dataset

load_dataset("karate")  # which imports its reader


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _run(arguments: Sequence[str], environment: dict[str, str], out: str, before: Callable[[], None] | None) -> None:
    for descriptor, name in ((1, f"{out}.out"), (2, f"{out}.err")):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.update(environment)
    os.chdir(Path(out).parent)  # where what has no other place is written
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    if before is not None:
        before()
    status = main(arguments)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)


@dataclass
class Ended:
    """How a process ended: its status, and the lines that it wrote to standard error."""

    status: int
    lines: list[str]


class Ranks:
    """The processes of a run that is under way."""

    def __init__(self, processes: list[Any], folder: Path) -> None:
        self.processes, self.folder = processes, folder

    def signal(self, number: int, *ranks: int) -> None:
        """Send a signal to some processes."""
        for rank in ranks:
            os.kill(self.processes[rank].pid, number)

    def ended(self, timeout: float = 60.0) -> list[Ended]:
        """Wait until all have ended."""
        deadline = time.monotonic() + timeout
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        return [
            Ended(-99 if p.exitcode is None else p.exitcode, (self.folder / f"{rank}.err").read_text().splitlines())
            for rank, p in enumerate(self.processes)
        ]


@contextmanager
def ranks(
    folder: Path,
    *commands: Sequence[Any],
    before: Callable[[], None] | None = None,
    environments: Sequence[dict[str, str]] | None = None,
) -> Iterator[Ranks]:
    """Start the processes of a run, each with a command line of its own; kill what is left of them at the end.

    Args:
        folder: Receives what they print.
        commands: The command line of each.
        before: What each does first.
        environments: Variables of each that differ from what torchrun would set.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):  # which it would not find otherwise
        forkserver.ensure_running()
    shared = {"WORLD_SIZE": str(len(commands)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = []
    for rank, arguments in enumerate(commands):
        environment = shared | {"RANK": str(rank)} | (environments[rank] if environments else {})
        words = [str(word) for word in arguments]
        processes.append(context.Process(target=_run, args=(words, environment, str(folder / str(rank)), before)))
    try:
        for process in processes:
            process.start()
        for rank, process in enumerate(processes):  # where signals find them
            while process.exitcode is None and not (folder / f"{rank}.err").exists():
                time.sleep(0.01)
        yield Ranks(processes, folder)
    finally:
        for process in processes:
            process.kill()
            process.join()


def listeners(processes: Sequence[int]) -> list[str]:
    """Return the addresses on which processes listen for TCP connections, as Linux tells."""
    sockets = set()
    for process in processes:
        for link in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                sockets.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    found = []
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = row.split()
            if words[3] == "0A" and words[9] in sockets:  # listens
                packed = bytes.fromhex(words[1].split(":")[0])
                groups = [packed[i : i + 4][::-1] for i in range(0, len(packed), 4)]  # in this machine's order
                found.append(socket.inet_ntop(family, b"".join(groups)))
    return found

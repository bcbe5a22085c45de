"""Starting the processes of a run on this machine: what ``--processes`` does.

They meet in a private folder (:mod:`gamlp_admm.parallel.joining`), where each also leaves the line that it ends with,
as JSON; of these the one that tells the cause is shown.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess  # nosec B404  # below
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from gamlp_admm.errors import Interrupted, ProcessFailed
from gamlp_admm.system import signals, torchrun

GRACE = 10.0
"""Seconds in which processes end by themselves when another failed, as one that has lost its neighbour does."""

_POLL = 0.05
_OTHERS = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE", "MASTER_ADDR", "MASTER_PORT")


def start(processes: int, arguments: Sequence[str], threads: int | None) -> None:
    """Run ``python -m gamlp_admm ARGUMENTS`` in several processes of this machine and wait for them.

    If one fails the others are stopped. A signal to stop is passed on; at a second one they are ended at once.

    Args:
        processes: Number of processes.
        arguments: The command line that each of them runs.
        threads: Threads of each process; ``None`` divides the cores.

    Raises:
        ProcessFailed: A process failed; with its own line, if it left one.
        Interrupted: A signal, such as that of Ctrl-C, ended them all.
    """
    with TemporaryDirectory(prefix="gamlp-admm-") as folder:
        environment = {name: value for name, value in os.environ.items() if name not in _OTHERS} | {
            "OMP_NUM_THREADS": str(threads or max(1, torch.get_num_threads() // processes)),
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            torchrun.PARENT: str(os.getpid()),
            torchrun.FOLDER: folder,
        }
        crew = _Crew(Path(folder))
        with signals.handling(crew.pass_on):
            try:
                for rank in range(processes):
                    crew.add(arguments, environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
                crew.wait()
            finally:
                crew.end()
        crew.judge()


@dataclass
class _Crew:
    """The processes, by rank.

    Attributes:
        folder: Where they leave how they ended.
        members: The processes.
        heard: How many signals to stop were passed on.
        ended: Those that were ended here.
    """

    folder: Path
    members: list[subprocess.Popen[bytes]] = field(default_factory=list)
    heard: int = 0
    ended: set[int] = field(default_factory=set)

    def add(self, arguments: Sequence[str], environment: dict[str, str]) -> None:
        # In a session of its own: what is typed on the terminal reaches it through the one that passes it on.
        command = [sys.executable, "-m", "gamlp_admm", *arguments]
        with signals.waiting():  # until it has what handles them
            started = subprocess.Popen(command, env=environment, start_new_session=True)  # nosec B603  # our own line
            self.members.append(started)
        if self.heard:
            self.members[-1].terminate()

    def pass_on(self, number: int, _: object) -> None:
        self.heard += 1
        for member in self.members:
            member.send_signal(number)

    def wait(self) -> None:
        last: float | None = None
        while any(member.poll() is None for member in self.members):
            if last is None and (self.heard > 1 or self._failed()):
                last = time.monotonic() + (1.0 if self.heard > 1 else GRACE)
                if self.heard <= 1:
                    for member in self.members:
                        member.terminate()  # for those that do not exchange anything with the one that failed
            if last is not None and time.monotonic() > last:
                return
            time.sleep(_POLL)

    def _failed(self) -> bool:
        return any(
            member.returncode and self._note(rank).get("kind") != "interrupted"
            for rank, member in enumerate(self.members)
        )

    def end(self) -> None:
        for rank, member in enumerate(self.members):
            if member.poll() is None:
                self.ended.add(rank)
                member.kill()
            member.wait()

    def judge(self) -> None:
        """Raise what explains why processes failed, if any did."""
        found = [(self._rank_of(rank), rank) for rank, member in enumerate(self.members) if member.returncode]
        if not found:
            return
        _, rank = min(found)
        note, status = self._note(rank), self.members[rank].returncode
        if note.get("kind") == "interrupted" or (self.heard and (rank in self.ended or -status in signals.STOPS)):
            raise Interrupted(note.get("line", "interrupted"))
        if note:
            raise ProcessFailed(note["line"], note["status"])
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"failed with exit status {status}"
        raise ProcessFailed(f"rank {rank} {how}; the other processes were stopped")

    def _rank_of(self, rank: int) -> int:
        # How near to the cause a failure is: an error of its own; ended from outside; lost another; stopped.
        kind = self._note(rank).get("kind")
        if kind is None and rank in self.ended:
            return 5
        return {"own": 0, None: 1, "lost": 2, "interrupted": 3}[kind]

    def _note(self, rank: int) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / torchrun.note_of(rank)).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}


def die_with_parent() -> None:
    """On Linux, ask to be told to stop when the process that started this one dies, however it does: no orphans."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != int(os.environ[torchrun.PARENT]):
            raise Interrupted("stopped, because the process that started this one is gone")

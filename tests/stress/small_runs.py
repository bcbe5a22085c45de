"""Small runs for the stress scripts: a few milliseconds an iteration, in forks of a process that has imported torch.

All else is as anywhere: process groups over gloo, checkpoints in a folder, the usual ``fit``.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
import warnings
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # and so no threads that a fork would lose

import torch
import torch.distributed as dist

from gamlp_admm import GAMLP, MDLAM, Anderson, DlADMM, PdADMMG
from gamlp_admm.errors import NeighbourError

ITERATIONS = 8
"""Of each of the two stages of growth."""

TRAINERS = {
    "pdadmm-g": PdADMMG(rho=0.1, nu=0.1),
    "int4-delta": PdADMMG(rho=0.1, nu=0.1, codec="int4-delta"),
    "grid": PdADMMG(rho=0.1, nu=0.1, codec="grid:auto:256", schedule="stall:2:2"),
    "anderson": Anderson(DlADMM(nu=0.1), 3),
    "mdlam": MDLAM(epsilon=0.1),
}


def asked(text: str, name: str, number: int) -> argparse.Namespace:
    """Return what a script is asked for: how often, its seed, and where to work; and set torch to one thread."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work, by default a temporary folder")
    torch.set_num_threads(1)
    return parser.parse_args()


def data() -> SimpleNamespace:
    """Return 60 nodes of three classes; 31 of them train."""
    generator = torch.Generator().manual_seed(0)
    x, number = torch.randn(60, 8, generator=generator), torch.arange(60)
    masks = {"train_mask": number < 31, "val_mask": (number >= 31) & (number < 45), "test_mask": number >= 45}
    return SimpleNamespace(x=x, y=x[:, :3].argmax(1), **masks)


def train(name: str, folder: Path | None, group: Any = None, **options: Any) -> dict[str, Any]:
    """Train four layers, grown from two, with a checkpoint after every iteration; return what must be the same."""
    model = GAMLP(8, 16, 3, 4, init="kaiming")
    options = {"iterations": ITERATIONS, "seed": 0, "grow": (2, 4), "timeout": 60.0, **options}
    result = TRAINERS[name].fit(
        model,
        data() if group is None or dist.get_rank() == 0 else None,
        checkpoint_dir=folder,
        checkpoint_every=None if folder is None else 1,
        process_group=group,
        **options,
    )
    history = [{k: v for k, v in record.items() if k != "seconds"} for record in result.history]
    return {"history": history, "best": result.best, "weights": [p.detach() for p in model.parameters()]}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two outcomes have the same bits."""
    return (a["history"], a["best"]) == (b["history"], b["best"]) and all(
        torch.equal(s, t) for s, t in zip(a["weights"], b["weights"], strict=True)
    )


def forked(action: Callable[[], None], errors: Path) -> int:
    """Run an action in a fork of this process, which writes what goes wrong to a file; return its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)  # what gloo says of processes that were killed
        warnings.simplefilter("error")
        action()
        status = 0
    except NeighbourError:
        status = 3
    except BaseException as error:
        errors.write_text(f"{type(error).__name__}: {error}")
    finally:
        os._exit(status)


def started(name: str, folder: Path, place: Path, processes: int, resume: bool, stop: int = 10**9) -> list[int]:
    """Start a run in so many processes, up to an iteration; the first writes its outcome to ``place/outcome.pt``."""

    def action(rank: int) -> Callable[[], None]:
        def run() -> None:
            group = None
            if processes > 1:
                store = dist.FileStore(str(place / "store"), processes)
                limit = timedelta(seconds=60)
                dist.init_process_group("gloo", store=store, rank=rank, world_size=processes, timeout=limit)
                group = dist.group.WORLD
            callbacks = [lambda progress: progress.record["iteration"] >= stop]
            outcome = train(name, folder, group, resume=resume, callbacks=callbacks)
            if rank == 0:
                torch.save(outcome, place / "outcome.pt")

        return run

    return [forked(action(rank), place / f"error-{rank}") for rank in range(processes)]


def ended(pids: list[int], seconds: float) -> dict[int, int]:
    """Wait for processes; return the exit status of those that end within some seconds, negative for signals."""
    statuses: dict[int, int] = {}
    deadline = time.monotonic() + seconds
    while len(statuses) < len(pids) and time.monotonic() < deadline:
        for pid in set(pids) - statuses.keys():
            if os.waitpid(pid, os.WNOHANG)[0]:
                statuses[pid] = 0
        time.sleep(0.002)
    return statuses


def about() -> str:
    """Return the date, the versions and the machine, for tables."""
    cores = os.cpu_count()
    return (
        f"{date.today()}, Python {platform.python_version()}, torch {torch.__version__}, {cores} cores, {sys.platform}"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows with the same keys as a table in Markdown."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

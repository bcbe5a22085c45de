"""Kill `gamlp-admm augment` at random moments, go on with another cap of memory, and compare all bytes at the end.

    python tests/stress/augment.py [--kills 50] [--seed 0] [--folder DIR]

A graph of 60,000 nodes and 2.4 million edges, 96 columns, 4 states kept: 92 MB. A chain is one directory: the command
is started, killed (SIGKILL) at a random moment, started again, …, until it comes to its end: then every file must have
the bytes of a directory for which nothing was killed, and no other file may be there. Exit status 1 where not.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import torch
from stress.small_runs import about, asked, table
from torch_geometric.data import Data

import gamlp_admm.experiment.storing
import gamlp_admm.report  # noqa: F401  (what the command imports late, so that forks need not)
from gamlp_admm.cli import main as command
from gamlp_admm.propagation.store import journal, writing

NODES, EDGES, COLUMNS = 60_000, 2_400_000, 96
TICKS = os.sysconf("SC_CLK_TCK")
CAPS = ("90MiB", "110MiB", "4GiB")


def make_graph(path: Path) -> None:
    """Write the graph."""
    random_numbers = torch.Generator().manual_seed(0)
    x = torch.randn(NODES, COLUMNS, generator=random_numbers)
    ends = torch.randint(0, NODES, (2, EDGES), generator=random_numbers)
    torch.save(Data(x=x, edge_index=ends, y=torch.arange(NODES) % 5), path)


def started(graph: Path, out: Path, memory: str, threads: int) -> int:
    """Start the command; return its process."""
    if pid := os.fork():
        return pid
    options = ("--operator", "sym", "--hops", "3", "--memory", memory, "--threads", str(threads), "--quiet")
    os._exit(command(["augment", "--data", str(graph), "--out", str(out), *options]))


def status_of(pid: int, seconds: float) -> tuple[int | None, float]:
    """Wait for a process until it has had the processor for some seconds.

    Returns:
        Its exit status, ``None`` if it goes on for longer; and the seconds.
    """
    while True:
        had = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) / TICKS
        if (found := os.waitpid(pid, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(found[1]), had
        if had > seconds:
            return None, had
        time.sleep(0.002)


def reached(out: Path) -> str:
    """Return how far a directory is."""
    if (out / "store.json").exists():
        return "last of all"
    found = journal.read(out) if out.is_dir() else None
    if found is None or not found.columns:
        return "before the first columns"
    return "rows" if (out / "x.safetensors").exists() else "columns"


def contents(out: Path) -> dict[str, bytes]:
    """Return all that is in a directory."""
    return {path.name: path.read_bytes() for path in out.iterdir()}


def main() -> int:
    """Run chains until there were enough kills."""
    options = asked(__doc__, "kills", 50)
    choose, counts, wrong = random.Random(options.seed), Counter[str](), 0
    writing.SYNCED = 2**24
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        graph, whole, out = (Path(folder, name) for name in ("graph.pt", "whole", "out"))
        make_graph(graph)
        status, seconds = status_of(started(graph, whole, CAPS[0], 1), 600.0)
        wrong += status != 0
        begin, wanted = time.monotonic(), contents(whole)
        while counts["kills"] < options.kills:
            pid = started(graph, out, choose.choice(CAPS), choose.choice((1, 2)))
            status, _ = status_of(pid, choose.uniform(0, 0.9 * seconds))
            if status is None:
                time.sleep(choose.uniform(0, 0.03))
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                counts["kills"] += 1
                counts[reached(out)] += 1
                continue
            counts["chains"] += 1
            if status != 0 or contents(out) != wanted:
                print(f"wrong: chain {counts['chains']} ended with status {status}, or other bytes", file=sys.stderr)
                wrong += 1
            shutil.rmtree(out)
    where = ("before the first columns", "columns", "rows", "last of all")
    print(table([{"killed while it made": name, "kills": counts[name]} for name in where]))
    total = time.monotonic() - begin
    print(f"\n{counts['kills']} kills in {counts['chains']} chains, {wrong} wrong; {total:.0f} s; {about()}")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())

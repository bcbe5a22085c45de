"""Run `gamlp-admm augment` in a process of its own, on features ten times larger than `--memory`, and watch its memory.

    python tests/stress/augment_memory.py [--nodes 2000000] [--seed 0] [--folder DIR]

A graph of ten edges and 100 columns a node in a `.pt` file, four hops: 2 kB of features a node, 4 GB in all. The cap is
a tenth of them. What counts is what the process takes beyond one that has imported the same and made
features of a tiny graph: pages of its own (RssAnon), and all that is resident (RSS), of files too. Exit status 1 where
either is larger than the cap.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from stress.small_runs import about, asked, table

COLUMNS, DEGREE, HOPS = 100, 10, 4

GRAPH = """
import os, sys, torch
from torch_geometric.data import Data
N, path = int(sys.argv[1]), sys.argv[2]
numbers = torch.Generator().manual_seed(int(sys.argv[3]))
x, edges = torch.randn(N, 100, generator=numbers), torch.randint(0, N, (2, 10 * N), generator=numbers)
torch.save(Data(x=x, edge_index=edges, y=torch.arange(N) % 5), path)
os.sync()  # pages that are not on the disk yet cannot be taken back
"""


def watched(command: list[str]) -> tuple[dict[str, int], float]:
    """Run a command; return the most bytes of its own, and of all that was resident, and the seconds."""
    most = {"RssAnon": 0, "VmHWM": 0}
    begin = time.monotonic()
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as process:
        while process.poll() is None:
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            except ProcessLookupError:
                break
            for line in lines:
                name, _, rest = line.partition(":")
                if name in most:
                    most[name] = max(most[name], 1024 * int(rest.split()[0]))
            time.sleep(0.005)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return most, time.monotonic() - begin


def main() -> int:
    """Make a graph and features of it."""
    options = asked(__doc__, "nodes", 2_000_000)
    size = 4 * COLUMNS * (HOPS + 1) * options.nodes
    cap = size // 10
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        taken = []
        for nodes in (1000, options.nodes):
            graph, out = f"{folder}/{nodes}.pt", f"{folder}/{nodes}"
            subprocess.run([sys.executable, "-c", GRAPH, str(nodes), graph, str(options.seed)], check=True)
            made = ["augment", "--data", graph, "--operator", "sym", "--hops", str(HOPS), "--memory", str(cap)]
            command = [sys.executable, "-m", "gamlp_admm", *made, "--threads", "1", "--out", out, "--verbose"]
            taken.append(watched(command))
    (before, _), (most, seconds) = taken
    beyond = {name: most[name] - before[name] for name in most}
    row = {"features": size, "cap": cap, "own pages": beyond["RssAnon"], "resident": beyond["VmHWM"]}
    print(table([{name: f"{value / 2**20:,.0f} MiB" for name, value in row.items()} | {"seconds": f"{seconds:.0f}"}]))
    print(f"\n{options.nodes:,} nodes, {DEGREE * options.nodes:,} edges; {about()}")
    return int(max(beyond.values()) > cap)


if __name__ == "__main__":
    raise SystemExit(main())

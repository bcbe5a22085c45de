"""A whole ``gamlp-admm train`` of large layers: the share of its iterations that the machine's product rate would need.

python examples/benchmarks/speed/command.py                      # 20,000 rows, 10 layers of 500 neurons; two minutes
python examples/benchmarks/speed/command.py --rows 300 --hidden 32 --layers 3    # a small check
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from torch_geometric.data import Data

from gamlp_admm.bench.timing import product_rate


def main() -> None:
    """Train, and print the share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="training rows")
    parser.add_argument("--hidden", type=int, default=500)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=6)
    given = parser.parse_args()
    nodes, width = given.rows + 20, given.hidden
    of = torch.arange(nodes)
    masks = {"train_mask": of < given.rows, "val_mask": (of - given.rows) % 20 < 10, "test_mask": of >= given.rows + 10}
    masks["val_mask"] &= ~masks["train_mask"]
    data = Data(x=torch.randn(nodes, width), y=of % 4, edge_index=torch.zeros(2, 0, dtype=torch.long), **masks)
    with tempfile.TemporaryDirectory() as folder:
        graph, report = Path(folder, "graph.pt"), Path(folder, "report.json")
        torch.save(data, graph)
        options = {"data": graph, "hops": 0, "layers": given.layers, "hidden": width, "iterations": given.iterations}
        options |= {"solver": "linesearch", "init": "kaiming", "grow": "none", "evaluate-every": 1, "threads": 1}
        texts = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        texts += ["--scale", "none", "--json", str(report), "--quiet"]
        subprocess.run([sys.executable, "-m", "gamlp_admm", "train", *texts], check=True)
        history = json.loads(report.read_text(encoding="utf-8"))["history"]
    took = statistics.median(after["seconds"] - before["seconds"] for before, after in pairwise(history))
    # Four products a layer, two in the first, whose inputs stay; the last has 4 classes.
    work = 2 * given.rows * width * (width * (4 * given.layers - 6) + 4 * 4)
    torch.set_num_threads(1)
    rate = product_rate(given.rows, width, width)
    print(f"{took:.3g} s an iteration, {work / took / 1e9:.3g} GFLOP/s: {work / took / rate:.0%} of {rate / 1e9:.3g}")


if __name__ == "__main__":
    main()

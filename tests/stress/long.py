"""Train for 100,000 iterations with records, patience, a penalty schedule and checkpoints: constant cost and memory?

    python tests/stress/long.py [--iterations 100000] [--every 1] [--folder DIR]

The time of the processor is taken for each tenth of the run, so that what else the machine does matters little; an
iteration of the last must not take more than half as long again as one of the first. Of memory, records may take what
records take, 1.2 kB each; nothing else may grow. Exit status 1 where not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import torch
from stress.small_runs import about, data, table

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.training import generations


def resident() -> int:
    """Return the memory of this process that is in use, in bytes."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["VmRSS"].split()[0])


class Watch:
    """A callback that notes time and memory at the end of each tenth of a run."""

    def __init__(self, iterations: int) -> None:
        self.every, self.rows = iterations // 10, list[dict[str, Any]]()
        self.begin = time.process_time()

    def __call__(self, progress: Any) -> None:
        """Note them."""
        iteration = progress.record["iteration"]
        if iteration and iteration % self.every == 0:
            now = time.process_time()
            milliseconds = 1000 * (now - self.begin) / self.every
            self.rows.append({"iteration": iteration, "ms": f"{milliseconds:.2f}", "MB": f"{resident() / 1e6:.0f}"})
            print(self.rows[-1], file=sys.stderr)
            self.begin = now


def main() -> int:
    """Train, and look at what an iteration costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=1, help="iterations from one record to the next")
    parser.add_argument("--folder", type=Path, help="where to work, by default a temporary folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    watch = Watch(options.iterations)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary, "run")
        trainer = PdADMMG(rho=0.1, nu=0.1, schedule=f"stall:{options.iterations}:2")
        patient = {"patience": options.iterations, "evaluate_every": options.every, "seed": 0, "grow": None}
        trainer.fit(
            GAMLP(8, 4, 3, 2, init="kaiming"), data(), options.iterations, callbacks=[watch],
            checkpoint_dir=folder, checkpoint_every=max(options.iterations // 100, 1), **patient,
        )  # fmt: skip
        saved = generations.newest_whole(folder)
        records = len(generations.read_history(folder, saved))
        sizes = {path.name: path.stat().st_size for path in generations.folder_of(folder, saved["number"]).iterdir()}
    print(table(watch.rows))
    print(
        f"\n{records} records, {saved['history']['length'] / records:.0f} bytes each in their file; beside it {sizes}"
    )
    print(about())
    first, last = (float(watch.rows[i]["ms"]) for i in (0, -1))
    grown = 1e6 * (float(watch.rows[-1]["MB"]) - float(watch.rows[0]["MB"]))
    return int(last > 1.5 * first or grown > 1200 * records + 20e6 or records != options.iterations // options.every)


if __name__ == "__main__":
    raise SystemExit(main())

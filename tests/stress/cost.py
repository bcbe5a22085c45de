"""What a checkpoint costs beside an iteration, and of it the SHA-256 of its files.

python tests/stress/cost.py [--rows 5000] [--hidden 128] [--layers 5] [--folder DIR]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import torch
from stress.small_runs import about, table

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.training import checkpoint, generations
from gamlp_admm.training.checkpoint import Checkpoint


class Timed:
    """Adds up the time of the calls of a function: of the processor, and on the clock."""

    def __init__(self, function: Any) -> None:
        self.function, self.calls, self.processor, self.clock = function, 0, 0.0, 0.0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call it."""
        processor, clock = time.process_time(), time.perf_counter()
        result = self.function(*arguments, **options)
        self.calls += 1
        self.processor += time.process_time() - processor
        self.clock += time.perf_counter() - clock
        return result

    def row(self, what: str) -> dict[str, str]:
        """Return the means as a row of a table, in milliseconds."""
        return {
            "": what,
            "processor, ms": f"{1000 * self.processor / self.calls:.1f}",
            "clock, ms": f"{1000 * self.clock / self.calls:.1f}",
        }


def main() -> int:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("rows", 5000), ("hidden", 128), ("layers", 5), ("iterations", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, help="where to work, by default a temporary folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.randn(options.rows, options.hidden, generator=torch.Generator().manual_seed(0))
    every = torch.ones(len(x), dtype=torch.bool)
    data = SimpleNamespace(x=x, y=x[:, :10].argmax(1), train_mask=every)
    model = GAMLP(options.hidden, options.hidden, 10, options.layers, init="kaiming")
    digest, write = Timed(checkpoint.sha256), Timed(Checkpoint.write)

    def writing(self: Checkpoint, *arguments: Any) -> None:
        write(self, *arguments)

    with (
        tempfile.TemporaryDirectory(dir=options.folder) as temporary,
        patch.object(checkpoint, "sha256", digest),
        patch.object(Checkpoint, "write", writing),
    ):
        folder, begin = Path(temporary, "run"), time.process_time()
        trainer = PdADMMG(rho=0.1, nu=0.1)
        result = trainer.fit(
            model, data, options.iterations, seed=0, grow=None, checkpoint_dir=folder, checkpoint_every=1
        )
        whole = time.process_time() - begin
        saved = generations.newest_whole(folder)
        size = sum(path.stat().st_size for path in generations.folder_of(folder, saved["number"]).iterdir())
    iteration = Timed(None)
    iteration.calls, iteration.processor, iteration.clock = options.iterations, whole - write.processor, result.seconds
    rows = [
        {**iteration.row("iteration, with its evaluation (on the clock without)")},
        write.row(f"checkpoint of {size / 1e6:.0f} MB"),
        digest.row("of it SHA-256"),
    ]
    print(table(rows))
    print(f"\n{about()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

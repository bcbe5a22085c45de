"""Whole commands, from the start of the process to its exit, beside importing torch and torch_geometric.

    python examples/benchmarks/commands/main.py            # five minutes
    python examples/benchmarks/commands/main.py --quick    # one round of the bundled data; writes nothing

Then results.json and the table of the page are renewed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import ROOT, Pages, Results, arguments, stamp, table, versions

HERE = Path(__file__).parent
ROUNDS = 9
IMPORT = "import torch, torch_geometric"
MODEL = "model.safetensors"

Commands = Mapping[str, Sequence[str]]
"""Arguments of Python by what is shown of them."""

IMPORTS: Commands = {f'python -c "{code}"': ("-c", code) for code in ("import torch", IMPORT)}
BUNDLED = (
    "train --dataset digits-knn",
    f"train --dataset digits-knn --save {MODEL} --quiet",
    f"predict {MODEL} --out classes.csv",
    "train --dataset digits-knn --processes 2",
)
CORA = ("train --dataset cora", "train --dataset cora --cache none")


def of_ours(lines: Sequence[str]) -> Commands:
    """Return command lines of this package."""
    return {f"gamlp-admm {line}": ("-m", "gamlp_admm", *line.split()) for line in lines}


def measure(commands: Commands, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each command in each round; the rounds alternate between the commands.

    They run in an empty folder, with one thread. A round before the first, which is not counted, leaves the bytecode
    and the kept features that every later start finds.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds + 1):
            for name, given in commands.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *given], env=environment, cwd=folder, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - start)
    return {name: taken[1:] for name, taken in seconds.items()}


def markdown(seconds: Mapping[str, Sequence[float]]) -> str:
    """Return medians, and medians of how many times the import each took that ran before it in the same round."""
    unit = seconds[f'python -c "{IMPORT}"']
    rows = [
        [
            f"`{name}`",
            f"{statistics.median(taken):.2f}",
            f"{statistics.median(mine / other for mine, other in zip(taken, unit, strict=True)):.2f}",
        ]
        for name, taken in seconds.items()
    ]
    return table(["", "s", "times the import"], rows)


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the page, by the names of their places."""
    if not results:
        return {}
    rounds = len(next(iter(results["seconds"].values())))
    conditions = f"`{results['command']}`, {rounds} rounds; {results['date']}; 1 thread; {versions(results)}."
    return {"table": markdown(results["seconds"]), "environment": conditions}


PAGES = Pages(HERE, tables, others=(), indent=1)


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__).parse_args()
    if given.quick:
        print(markdown(measure({**IMPORTS, **of_ours(BUNDLED[:1])}, rounds=1)))
        return
    if given.tables:
        PAGES.renew(PAGES.read())
        return
    seconds = measure({**IMPORTS, **of_ours((*BUNDLED, *CORA))}, ROUNDS)
    command = "python examples/benchmarks/commands/main.py"
    PAGES.renew(PAGES.save({"command": command, **stamp(), "seconds": seconds}))


if __name__ == "__main__":
    main()

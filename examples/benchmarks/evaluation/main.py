"""What an interval between evaluations costs in accuracy, and what it saves.

    python examples/benchmarks/evaluation/main.py            # minutes on one core; writes results and pages
    python examples/benchmarks/evaluation/main.py --quick    # the karate club, prints only

Each data set with its recipe, on five splits that no other table has: the interval that is chosen, beside an evaluation
after each iteration. Iterates are the same; what differs is how many of them may be selected. Shares are of the
processor's time of ``fit``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gamlp_admm.experiment import Experiment, Prepared, prepare, run
from gamlp_admm.system.allocator import keep_freed_memory
from gamlp_admm.training import trainer
from gamlp_admm.training.loop import Loop
from gamlp_admm.training.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, conditions, stamp, table

HERE = Path(__file__).parent
DATASETS = ("cora", "citeseer", "amazon-photo", "amazon-computers", "coauthor-cs")
SPLITS = (10, 11, 12, 13, 14)
WAYS: tuple[int | str, ...] = (1, "auto")


@contextmanager
def spent(seconds: dict[str, float], *places: tuple[Any, str]) -> Iterator[None]:
    """Add up the processor's time in functions, each an attribute of a module or class, by name."""
    before = [(home, name, getattr(home, name)) for home, name in places]

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return function(*given, **named)
            finally:
                seconds[name] = seconds.get(name, 0.0) + time.process_time() - start

        return call

    try:
        for home, name, function in before:
            setattr(home, name, timed(name, function))
        yield
    finally:
        for home, name, function in before:
            setattr(home, name, function)


def trained(experiment: Experiment, prepared: Prepared) -> dict[str, float]:
    """Return what came of a run: accuracies, the interval, and the shares of evaluations and of the final check."""
    seconds: dict[str, float] = {}
    with spent(seconds, (Trainer, "fit"), (Loop, "_evaluate"), (trainer, "confirm")):
        report = run(experiment, prepared=prepared).report
    seen = [record["iteration"] for record in report["history"]]
    return {
        "val": report["best"]["val_accuracy"],
        "test": report["best"]["test_accuracy"],
        "every": seen[-1] - seen[-2] if len(seen) < 3 else seen[-2] - seen[-3],
        "share": seconds["_evaluate"] / seconds["fit"],
        "check": seconds["confirm"] / seconds["fit"],
        "fit": seconds["fit"],
    }


def rows(datasets: Sequence[str], splits: Sequence[int], **options: Any) -> list[dict[str, Any]]:
    """Return a row for each data set and split, with what came of each way."""
    made = []
    for dataset in datasets:
        for split in splits:
            given = Experiment(dataset=dataset, split_seed=split, seed=split, threads=1, cache="none", **options)
            prepared = prepare(given)
            row = {"dataset": dataset, "split": split}
            made.append(row | {str(way): trained(given.changed({"evaluate_every": way}), prepared) for way in WAYS})
            print(made[-1], file=sys.stderr, flush=True)
    return made


def scores_table(found: list[dict[str, Any]]) -> str:
    """Return means over splits: accuracies in per cent, their difference, and the shares of evaluations."""
    lines = []
    for dataset in dict.fromkeys(row["dataset"] for row in found):
        mine = [row for row in found if row["dataset"] == dataset]

        def each(way: str, what: str, mine: list[dict[str, Any]] = mine) -> list[float]:
            return [row[way][what] for row in mine]

        cells = [f"{statistics.median(each('auto', 'every')):g}"]
        for what in ("val", "test"):
            gains = [a - b for a, b in zip(each("auto", what), each("1", what), strict=True)]
            means = [100 * statistics.fmean(values) for values in (each("1", what), each("auto", what), gains)]
            cells.append(f"{means[0]:.2f} / {means[1]:.2f} ({means[2]:+.2f})")
        for what in ("share", "check", "fit"):
            before, now = (statistics.median(each(way, what)) for way in ("1", "auto"))
            cells.append(f"{before:.2f} / {now:.2f}" if what == "fit" else f"{before:.0%} / {now:.0%}")
        lines.append([dataset, *cells])
    return table(["", "interval", "validation, %", "test, %", "evaluations", "final check", "`fit`, s"], lines)


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    return {"scores": scores_table(results["rows"]), "environment": conditions(results)} if results else {}


PAGES = Pages(HERE, tables, ("docs/evaluation.md",), indent=1)


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if given.quick:
        print(scores_table(rows(("karate",), (10, 11), operator="sym", iterations=50)))
        return
    if given.tables:
        PAGES.renew(PAGES.read())
        return
    command = "python examples/benchmarks/evaluation/main.py"
    PAGES.renew(PAGES.save({"command": command, **stamp(), "seeds": list(SPLITS), "rows": rows(DATASETS, SPLITS)}))


if __name__ == "__main__":
    main()

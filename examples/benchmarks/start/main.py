"""What a start from the labels brings, on splits that no other table has, and what its penalty of the columns does.

    python examples/benchmarks/start/main.py            # about half an hour on one core; writes results and pages
    python examples/benchmarks/start/main.py --quick    # the karate club, prints only

Random splits, 60 % to train on, with seeds that the benchmark with many labels does not use; all rows have the
features that pdADMM-G chooses on the validation nodes of the split. Below, estimators on data of few columns.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits, make_circles, make_moons
from sklearn.model_selection import cross_val_score

from gamlp_admm.algorithms import views
from gamlp_admm.estimators import ADMMClassifier
from gamlp_admm.experiment import Experiment, Prepared, prepare, run
from gamlp_admm.system.allocator import keep_freed_memory

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, conditions, percent, stamp, table

HERE = Path(__file__).parent
DATASETS = ("cora", "citeseer", "amazon-photo", "amazon-computers")
SPLITS = (10, 11, 12, 13, 14)
POWERS = (0.0, 0.5, 1.0)
DRAWN = {"init": "kaiming", "patience": 0}

Pair = tuple[float, float]
"""Validation and test accuracy."""


def pair(record: dict[str, Any]) -> Pair:
    """Return the accuracies of a record."""
    return record["val_accuracy"], record["test_accuracy"]


def of(experiment: Experiment, prepared: Prepared, **options: Any) -> dict[str, Any]:
    """Return the report of a run on features that are there."""
    return run(experiment.changed(options), prepared=prepared).report


def measured(dataset: str, split: int) -> dict[str, Pair]:
    """Return the accuracies on a split, by row of the table."""
    drawn = {"split": "60/20/20", "split_seed": split}
    ours = Experiment(dataset=dataset, **drawn, seed=split, evaluate_every=1, threads=1, cache="none")
    prepared = prepare(ours)
    report, found = of(ours, prepared), {}
    found["ridge regression"] = pair(of(ours, prepared, algorithm="ridge", iterations=25)["best"])
    found["start alone"] = pair(report["history"][0])
    found["start and iterations"] = pair(report["best"])
    found["drawn weights, 100 iterations"] = pair(of(ours, prepared, **DRAWN)["best"])
    used = views.POWER
    for power in POWERS:
        views.POWER = power
        found[f"start alone, σ^{2 * power:g}"] = pair(of(ours, prepared, iterations=1)["history"][0])
    views.POWER = used
    print(dataset, split, found, file=sys.stderr)
    return found


def rows(datasets: Sequence[str], splits: Sequence[int]) -> list[dict[str, Any]]:
    """Return a row for each data set and split."""
    return [{"dataset": name, "split": split, "found": measured(name, split)} for name in datasets for split in splits]


def estimators() -> list[dict[str, Any]]:
    """Return accuracies of an estimator in cross-validation, from drawn weights and from the start."""
    data = {
        "two circles": make_circles(400, noise=0.1, factor=0.5, random_state=0),
        "two moons": make_moons(400, noise=0.2, random_state=0),
        "digits": load_digits(return_X_y=True),
    }
    return [
        {"data": name, **{init: list(cross_val_score(ADMMClassifier(init=init), x, y, cv=4)) for init in INITS}}
        for name, (x, y) in data.items()
    ]


INITS = ("normal", "ridge")


def graphs_table(found: list[dict[str, Any]]) -> str:
    """Return means of validation and test accuracy in per cent."""
    datasets = list(dict.fromkeys(row["dataset"] for row in found))
    lines = []
    for method in found[0]["found"]:
        cells = []
        for name in datasets:
            pairs = [row["found"][method] for row in found if row["dataset"] == name]
            cells.append(" / ".join(f"{100 * statistics.fmean(values):.1f}" for values in zip(*pairs, strict=True)))
        lines.append([method, *cells])
    return table(["", *datasets], lines)


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    if not results:
        return {}
    lines = [[row["data"], *(percent(row[init]) for init in INITS)] for row in results["estimators"]]
    return {
        "graphs": graphs_table(results["rows"]),
        "estimators": table(["data", "drawn weights", "start"], lines),
        "environment": conditions(results),
    }


PAGES = Pages(HERE, tables, ("docs/start.md",), indent=1)


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if given.quick:
        print(graphs_table(rows(("karate",), (10, 11))))
        return
    if given.tables:
        PAGES.renew(PAGES.read())
        return
    command = "python examples/benchmarks/start/main.py"
    results: Results = {"command": command, **stamp(), "seeds": list(SPLITS)}
    PAGES.renew(PAGES.save({**results, "rows": rows(DATASETS, SPLITS), "estimators": estimators()}))


if __name__ == "__main__":
    main()

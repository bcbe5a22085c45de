"""Quantised communication: accuracy against bytes, what coding costs, and training over a slow network.

python examples/benchmarks/communication/main.py                    # all parts; writes results and pages
python examples/benchmarks/communication/main.py --parts network    # some of them
python examples/benchmarks/communication/main.py --quick            # a small network, prints only

``accuracy`` needs the raw files of the five data sets under $GAMLP_ADMM_DATA and takes an hour and a half on two cores.
``network`` needs Linux and the rights to make network namespaces and limit links (iproute2's ip and tc).
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from gamlp_admm.comparison import Comparison, plan
from gamlp_admm.experiment import environment, prepare, run
from gamlp_admm.memory import keep_freed_memory
from gamlp_admm.options import Experiment

HERE = Path(__file__).parent
PARTS = ("accuracy",)

SETTINGS = {
    "cora": {"operator": "ppr", "hops": 10, "nu": 0.1, "mu": 0.01},
    "citeseer": {"operator": "ppr", "hops": 10, "nu": 0.01, "mu": 0.01},
    "amazon-photo": {"operator": "ppr", "hops": 10, "nu": 0.001, "mu": 0.001},
    "amazon-computers": {"operator": "sym", "hops": (1, 2), "nu": 0.01, "mu": 0.01},
    "coauthor-cs": {"operator": "ppr", "hops": 10, "nu": 0.01, "mu": 0.01},
}
WIDTHS = {100: 200, 1000: 100}  # neurons: iterations of each stage of growth, 2, 5 and 10 layers
CODECS = {
    100: ("fp32", "int8-delta", "int4-delta", "int2-delta", "int2", "grid:auto:256", "grid:auto:65536"),
    1000: ("fp32", "int4-delta", "int2-delta", "grid:auto:256", "grid:auto:65536"),
}
SEEDS = (0, 1, 2, 3, 4)


# --- accuracy -----------------------------------------------------------------------------------------------


def accuracy_of(dataset: str, hidden: int, codec: str, seeds: tuple[int, ...], settings: dict[str, Any]) -> dict:
    """Train one network under one codec from every seed; return its row of the comparison, and a mean history."""
    keep_freed_memory()
    experiment = Experiment(dataset=dataset, hidden=hidden, threads=1, **settings)
    prepared, comparison = prepare(experiment), Comparison()
    for name, each in plan(experiment, [codec], seeds):
        comparison.add(name, run(each, (), prepared))
    (row,) = comparison.rows()
    reports = comparison.reports[codec]
    histories = zip(*(report["history"] for report in reports), strict=True)
    return {
        "dataset": dataset,
        "hidden": hidden,
        **row,
        "test_accuracies": [report["best"]["test_accuracy"] for report in reports],
        "history": [
            {
                "iteration": records[0]["iteration"],
                "bytes_sent": records[0]["bytes_sent"],
                "test_accuracy": [record["test_accuracy"] for record in records],
            }
            for records in histories
        ],
    }


def tasks(quick: bool) -> list[tuple[str, int, str, tuple[int, ...], dict[str, Any]]]:
    """Return the arguments of every call of :func:`accuracy_of`, the longest first."""
    if quick:
        small = {"layers": 3, "iterations": 5, "operator": "sym", "hops": 1}
        return [("karate", 16, codec, (0, 1), small) for codec in ("fp32", "int2-delta", "grid:auto:256")]
    shared = {"layers": 10, "grow": (2, 5, 10), "evaluate_every": 10}
    return [
        (dataset, hidden, codec, SEEDS, {**settings, **shared, "iterations": WIDTHS[hidden]})
        for hidden in sorted(WIDTHS, reverse=True)
        for dataset, settings in sorted(SETTINGS.items(), reverse=True)
        for codec in CODECS[hidden]
    ]


def accuracy(quick: bool, done: list[dict]) -> list[dict]:
    """Return the rows of all tasks, those of an earlier, interrupted call among them."""
    rows = list(done)
    known = {(row["dataset"], row["hidden"], row["codec"]) for row in rows}
    missing = [task for task in tasks(quick) if task[:3] not in known]
    if quick:
        return [accuracy_of(*task) for task in missing]
    with ProcessPoolExecutor(torch.get_num_threads(), mp_context=get_context("spawn")) as pool:
        for finished in as_completed([pool.submit(accuracy_of, *task) for task in missing]):
            rows.append(finished.result())
            row = rows[-1]
            print(row["dataset"], row["hidden"], row["codec"], f"{row['test_accuracy_mean']:.4f}", file=sys.stderr)
            save({"accuracy": rows})
    return rows


def save(results: dict[str, Any]) -> None:
    """Add parts to results.json."""
    path = HERE / "results.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**before, **results}, indent=None) + "\n", encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args()
    path = HERE / "results.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() and not options.quick else {}
    results: dict[str, Any] = {"environment": environment("cpu"), "date": datetime.date.today().isoformat()}
    results["accuracy"] = accuracy(options.quick, before.get("accuracy", []))
    save(results)


if __name__ == "__main__":
    main()

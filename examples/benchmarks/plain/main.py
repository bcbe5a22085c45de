"""Plain MLPs: dlADMM, pdADMM and mDLAM beside Adam, on digits, MNIST and in mDLAM's own setting on graphs.

python examples/benchmarks/plain/main.py                  # all parts, about an hour and a half on two cores
python examples/benchmarks/plain/main.py --parts digits   # some of them
python examples/benchmarks/plain/main.py --quick          # small networks, prints only

``mnist`` and ``deep`` need MNIST's raw files under $GAMLP_ADMM_DATA, ``graphs`` those of Cora and CiteSeer.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch_geometric.data import Data

from gamlp_admm import GAMLP
from gamlp_admm.algorithms import trainer
from gamlp_admm.datasets import load_dataset
from gamlp_admm.system.allocator import keep_freed_memory
from gamlp_admm.training.result import Progress
from gamlp_admm.transforms import AugmentFeatures

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, percent, stamp, table, versions

HERE = Path(__file__).parent
SEEDS, TUNING_SEEDS = (0, 1, 2, 3, 4), (10, 11)

Settings = dict[str, Any]


def fitted(
    data: Data, classes: int, hidden: int, layers: int, iterations: int, seed: int, settings: Settings, **how: Any
):
    """Train a network; return the run's result."""
    named = dict(settings)
    if named["algorithm"].startswith("pdadmm"):  # these penalties are for features as they are
        named = {"solver": "linesearch", **named, "scale": "none", "decay_to": "zero"}
    elif named["algorithm"] == "mdlam":
        named = {"solver": "linesearch", **named}
    model = GAMLP(data.num_features, hidden, classes, layers, init=named.pop("init", "kaiming"))
    how = {"evaluate_every": 1, **how}
    result = trainer(named.pop("algorithm"), **named).fit(model, data, iterations, seed=seed, **how)
    print(settings, result.last, f"{result.seconds:.1f} s", file=sys.stderr, flush=True)
    return result


def report(progress: Progress) -> None:
    """Print how a long run stands."""
    names = ("iteration", "layers", "objective", "train_accuracy", "val_accuracy", "test_accuracy", "seconds")
    print(*[f"{name} {progress.record[name]:.5g}" for name in names], file=sys.stderr, flush=True)


# --- digits, 80/20 ------------------------------------------------------------------------------------------

PENALTIES = [(0.03, 0.03), (0.03, 0.1), (0.1, 0.1), (0.1, 0.3), (0.3, 0.1), (0.3, 0.3)]


def pairs(**fixed: Any) -> list[Settings]:
    """Return settings with ρ = ν and μ of :data:`PENALTIES`."""
    return [{**fixed, "rho": rho, "nu": rho, "mu": mu} for rho, mu in PENALTIES]


DIGITS: dict[str, list[Settings]] = {
    "dlADMM": pairs(algorithm="dladmm"),
    "dlADMM, Anderson": pairs(algorithm="dladmm", anderson=5),
    "dlADMM, linesearch": pairs(algorithm="dladmm", solver="linesearch"),
    "pdADMM, exact": pairs(algorithm="pdadmm", solver="exact"),
    "pdADMM": pairs(algorithm="pdadmm"),
    "pdADMM, Anderson": pairs(algorithm="pdadmm", anderson=5),
    "mDLAM, exact": [
        {"algorithm": "mdlam", "solver": "exact", "rho": rho, "mu": mu, "epsilon": epsilon, "epsilon_min": epsilon}
        for rho, mu, epsilon in (
            *((0.1, 0.1, 0.01), (0.1, 0.3, 0.01), (0.3, 0.1, 0.01)),
            *((0.3, 0.3, 0.01), (0.1, 0.1, 0.02), (0.3, 0.3, 0.02)),
        )
    ],
    "mDLAM": [
        {"algorithm": "mdlam", "rho": rho, "mu": 0.1, "epsilon": epsilon, "epsilon_min": epsilon}
        for rho in (0.03, 0.1)
        for epsilon in (0.003, 0.01, 0.03)
    ],
    "mDLAM, the paper's ε": [
        {"algorithm": "mdlam", "rho": rho, "mu": mu} for rho in (0.01, 0.1, 1.0) for mu in (0.01, 0.1)
    ],
    "Adam": [
        {"algorithm": "adam", "lr": lr, "weight_decay": decay} for lr in (1e-3, 3e-3, 1e-2) for decay in (0.0, 1e-3)
    ],
}


def digits_data(seed: int, tuning: bool) -> Data:
    """Return the digits: 20 % for testing; in tuning these are left out, and 15 % of the others validate."""
    pixels, labels = load_digits(return_X_y=True)
    train, test = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=seed)
    if tuning:
        train, test = train_test_split(train, test_size=0.15, stratify=labels[train], random_state=seed)
    masks = torch.zeros(2, len(labels), dtype=torch.bool)
    masks[0, train], masks[1, test] = True, True
    x = torch.from_numpy(pixels / 16).float()
    return Data(x=x, y=torch.from_numpy(labels).long(), train_mask=masks[0], test_mask=masks[1])


def digits(quick: bool) -> dict[str, Any]:
    """Return, for each algorithm, the chosen settings and the accuracies after the last iteration."""
    torch.set_num_threads(1)
    size = {"classes": 10, "hidden": 10 if quick else 100, "layers": 3, "iterations": 5 if quick else 200}

    def accuracy(seed: int, settings: Settings, tuning: bool) -> dict[str, Any]:
        how = {"evaluate_every": size["iterations"], "select": "last"}
        result = fitted(digits_data(seed, tuning), seed=seed, settings=settings, **size, **how)
        return {**result.last, "seconds": result.seconds / size["iterations"]}

    rows = []
    for name, settings in DIGITS.items():
        grid = settings[:1] if quick else settings
        tried = [
            statistics.fmean(accuracy(seed, settings, True)["test_accuracy"] for seed in TUNING_SEEDS[: 2 - quick])
            for settings in grid
        ]
        best = grid[tried.index(max(tried))]
        runs = [accuracy(seed, best, False) for seed in SEEDS[: 2 if quick else None]]
        rows.append({"name": name, "settings": best, "tuning": tried, "runs": runs})
    return {"size": size, "rows": rows}


def digits_table(measured: dict[str, Any]) -> str:
    """Return accuracies and times, by algorithm."""
    adam = next(row for row in measured["rows"] if row["name"] == "Adam")
    base = statistics.median(run["seconds"] for run in adam["runs"])
    lines = []
    for row in measured["rows"]:
        cells = [percent([run[which] for run in row["runs"]]) for which in ("test_accuracy", "train_accuracy")]
        times = statistics.median(run["seconds"] for run in row["runs"]) / base
        lines.append([row["name"], written(row["settings"]), *cells, f"{times:.1f}×"])
    iterations = f"after {measured['size']['iterations']} iterations"
    return table([iterations, "settings", "test", "training", "time of an iteration, of Adam's"], lines)


# --- MNIST, 2 hidden layers of 1,000 --------------------------------------------------------------------------

MNIST: dict[str, Settings] = {
    "dlADMM": {"algorithm": "dladmm", "rho": 0.01, "nu": 3e-4, "mu": 1.0, "schedule": "every:1:1.09:10000"},
    "Adam": {"algorithm": "adam", "lr": 3e-3},
}
MARKS = (1, 5, 10, 20, 50, 100)


def images(quick: bool, side: int = 28) -> Data:
    """Return MNIST with images of that side; for a quick look the digits."""
    if quick:
        return load_dataset("digits").data
    data = load_dataset("mnist").data
    pixels = data.x.view(-1, 1, 28, 28)
    data.x = torch.nn.functional.adaptive_avg_pool2d(pixels, side).flatten(1)
    return data


def mnist(quick: bool) -> dict[str, Any]:
    """Return the histories of full-batch training."""
    torch.set_num_threads(1 if quick else 2)
    data = images(quick)
    size = {"classes": 10, "hidden": 20 if quick else 1000, "layers": 3, "iterations": 5 if quick else 100}
    rows = []
    for name, settings in MNIST.items():
        result = fitted(data, seed=0, settings=settings, callbacks=[report], **size)
        rows.append({"name": name, "settings": settings, "history": result.history, "best": result.best})
    return {"size": size, "rows": rows}


def mnist_table(measured: dict[str, Any]) -> str:
    """Return test accuracies after some iterations, and times of an iteration."""
    marks = [mark for mark in MARKS if mark <= measured["size"]["iterations"]]
    lines = []
    for row in measured["rows"]:
        at = {record["iteration"]: record for record in row["history"]}
        curve = [f"{100 * at[mark]['test_accuracy']:.2f}" for mark in marks]
        lines.append([row["name"], *curve, f"{100 * row['best']['test_accuracy']:.2f}"])
    return table(["test accuracy, %", *[f"after {mark}" for mark in marks], "best on validation"], lines)


TIMED: dict[str, Settings] = {
    "dlADMM": MNIST["dlADMM"],
    "dlADMM, linesearch": {**MNIST["dlADMM"], "solver": "linesearch"},
    "pdADMM": {"algorithm": "pdadmm"},
    "pdADMM, exact": {"algorithm": "pdadmm", "solver": "exact"},
    "Adam": MNIST["Adam"],
}


def times(quick: bool) -> dict[str, Any]:
    """Return seconds of an iteration on that network, of each algorithm in turn."""
    torch.set_num_threads(1 if quick else 2)
    data = images(quick)
    size = {"classes": 10, "hidden": 20 if quick else 1000, "layers": 3, "iterations": 2}
    seconds: dict[str, list[float]] = {name: [] for name in TIMED}
    for _ in range(2 if quick else 3):
        for name, settings in TIMED.items():
            result = fitted(data, seed=0, settings=settings, evaluate_every=2, **size)
            seconds[name].append(result.seconds / 2)
    return {"seconds": seconds}


def times_table(measured: dict[str, Any]) -> str:
    """Return seconds of an iteration, and of Adam's."""
    medians = {name: statistics.median(values) for name, values in measured["seconds"].items()}
    lines = [[name, f"{value:.2f} s", f"{value / medians['Adam']:.1f}×"] for name, value in medians.items()]
    return table(["784-1000-1000-10, 55,000 rows", "an iteration", "of Adam's"], lines)


def iteration_seconds(history: list[dict[str, Any]]) -> float:
    """Return the median time of an iteration: others may use the machine."""
    return statistics.median(
        (b["seconds"] - a["seconds"]) / (b["iteration"] - a["iteration"]) for a, b in pairwise(history)
    )


# --- mDLAM on graphs, as its paper has it ---------------------------------------------------------------------

PAPER = {"cora": (0.664, 0.701, 0.721, 0.737, 0.742), "citeseer": (0.640, 0.656, 0.664, 0.663, 0.668)}
EPOCHS = (40, 80, 120, 160, 200)
GRAPHS: dict[str, Settings] = {
    "mDLAM": {"algorithm": "mdlam", "rho": 5e-3, "mu": 0.1},
    "mDLAM, without extrapolation": {"algorithm": "mdlam", "rho": 5e-3, "mu": 0.1, "nesterov": False},
    "pdADMM-G": {"algorithm": "pdadmm-g", "rho": 0.01, "nu": 0.01, "mu": 0.1},
    "dlADMM": {"algorithm": "dladmm", "solver": "linesearch", "rho": 0.01, "nu": 0.01, "mu": 0.1},
    "Adam": {"algorithm": "adam", "lr": 1e-3},
}


def graphs(quick: bool) -> dict[str, Any]:
    """Return accuracies after the paper's epochs: 3 layers x 100, hops 0 to 4."""
    torch.set_num_threads(1)
    rows = []
    epochs = [k // 20 for k in EPOCHS] if quick else list(EPOCHS)
    for dataset in ("karate",) if quick else PAPER:
        data = AugmentFeatures(hops=4)(load_dataset(dataset).data)
        size = {"classes": int(data.y.max()) + 1, "hidden": 10 if quick else 100, "layers": 3, "iterations": epochs[-1]}
        for name, settings in GRAPHS.items():
            runs = []
            for seed in SEEDS[: 2 if quick else None]:
                result = fitted(data, seed=seed, settings=settings, **size)
                at = {record["iteration"]: record["test_accuracy"] for record in result.history}
                seconds = iteration_seconds(result.history)
                runs.append({"curve": [at[k] for k in epochs], "best": result.best, "seconds": seconds})
            rows.append({"dataset": dataset, "name": name, "settings": settings, "runs": runs})
    return {"epochs": epochs, "rows": rows}


def graphs_table(measured: dict[str, Any]) -> str:
    """Return accuracies by data set and algorithm, and the paper's."""
    lines = []
    for dataset in dict.fromkeys(row["dataset"] for row in measured["rows"]):
        rows = [row for row in measured["rows"] if row["dataset"] == dataset]
        base = statistics.median(run["seconds"] for run in rows[-1]["runs"])
        for row in rows:
            curves = zip(*(run["curve"] for run in row["runs"]), strict=True)
            seconds = statistics.median(run["seconds"] for run in row["runs"])
            chosen = percent([run["best"]["test_accuracy"] for run in row["runs"]])
            cells = [*map(percent, curves), chosen, f"{1e3 * seconds:.1f}", f"{seconds / base:.1f}×"]
            lines.append([f"{dataset}, {row['name']}", *cells])
        if dataset in PAPER:
            lines.append([f"{dataset}, mDLAM, published", *[f"{100 * a:.1f}" for a in PAPER[dataset]], "", "", ""])
    epochs = [f"after {k}" for k in measured["epochs"]]
    return table(["test accuracy, %", *epochs, "best on validation", "ms an epoch", "of Adam's"], lines)


# --- pdADMM, 9 hidden layers of 500, images of 14 x 14 ---------------------------------------------------------

DEEP: dict[str, Settings] = {
    "pdADMM": {"algorithm": "pdadmm", "solver": "exact", "rho": 0.03, "nu": 0.03, "mu": 0.1},
    "Adam": {"algorithm": "adam", "lr": 1e-3},
}


def deep(quick: bool) -> dict[str, Any]:
    """Return the histories of pdADMM grown from 2 to 5 to 10 layers, and of Adam with 10 from the start."""
    torch.set_num_threads(1 if quick else 2)
    data = images(quick, side=14)
    size = {"classes": 10, "hidden": 20 if quick else 500, "layers": 10}
    rows = []
    for name, settings in DEEP.items():
        grow, iterations = ((2, 5, 10), 3 if quick else 20) if name == "pdADMM" else (None, 9 if quick else 60)
        how = {"grow": grow, "callbacks": [report], "evaluate_every": 1 if quick else 5}
        result = fitted(data, seed=0, settings=settings, iterations=iterations, **how, **size)
        rows.append({"name": name, "settings": settings, "history": result.history, "best": result.best})
    return {"size": size, "rows": rows}


def deep_table(measured: dict[str, Any]) -> str:
    """Return accuracies at the end of each stage."""
    lines = []
    for row in measured["rows"]:
        stages = {record["layers"]: record for record in row["history"]}  # the last of each depth
        cells = [f"{100 * stages[d]['test_accuracy']:.2f}" if d in stages else "" for d in (2, 5, 10)]
        final = [record for record in row["history"] if record["layers"] == 10]
        seconds = f"{iteration_seconds(final):.2f} s"
        best = f"{100 * row['best']['test_accuracy']:.2f}"
        lines.append([row["name"], str(row["history"][-1]["iteration"]), *cells, best, seconds])
    depths = [f"{d} layers" for d in (2, 5, 10)]
    return table(["test accuracy, %", "iterations", *depths, "best on validation", "an iteration, 10 layers"], lines)


# --- results --------------------------------------------------------------------------------------------------

PARTS: dict[str, tuple[Callable[[bool], dict[str, Any]], Callable[[dict[str, Any]], str]]] = {
    "digits": (digits, digits_table),
    "graphs": (graphs, graphs_table),
    "mnist": (mnist, mnist_table),
    "times": (times, times_table),
    "deep": (deep, deep_table),
}


def written(settings: Settings) -> str:
    """Return the numbers of settings as text."""
    symbols = {"rho": "ρ", "nu": "ν", "mu": "μ", "epsilon": "ε", "lr": "lr", "weight_decay": "decay"}
    return ", ".join(f"{symbols[name]} {value:g}" for name, value in settings.items() if name in symbols)


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    made = {name: show(results[name]) for name, (_, show) in PARTS.items() if name in results}
    made["environment"] = f"{results['date']}; float32; {versions(results)}."
    return made


PAGES = Pages(HERE, tables, ("docs/algorithms.md",))


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__, tuple(PARTS)).parse_args()
    keep_freed_memory()
    results = PAGES.read() if given.tables else stamp()
    for part in () if given.tables else given.parts:
        results[part] = PARTS[part][0](given.quick)
        if not given.quick:
            results = PAGES.save(results)
    if given.quick:
        print("\n\n".join(tables(results).values()))
        return
    PAGES.renew(results)


if __name__ == "__main__":
    main()

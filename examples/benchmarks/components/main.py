"""Validation accuracy by the exponent of the principal components, on graphs with few labels.

    python examples/benchmarks/components/main.py            # about an hour on one core; writes results and pages
    python examples/benchmarks/components/main.py --quick    # the karate club, prints only

First, exponents by validation accuracy, with the test nodes hidden: the training nodes are drawn anew from training and
validation nodes for every seed, and the rest of them validate. Then test accuracy on random splits, 20 nodes a class to
train on, with everything chosen on each split's own validation nodes.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.datasets import load_dataset
from gamlp_admm.system.allocator import keep_freed_memory
from gamlp_admm.transforms import AugmentFeatures
from gamlp_admm.transforms.scale_components import ScaleComponents
from gamlp_admm.tuning.measuring import resplit

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, conditions, percent, stamp, table

HERE = Path(__file__).parent
DATASETS = ("cora", "citeseer", "amazon-computers", "amazon-photo", "coauthor-cs", "coauthor-physics")
POWERS = (-0.15, 0.0, 0.25, 0.5, 1.0)
MU = (4e-4, 1e-3, 4e-3)
SEEDS = (0, 1, 2, 3, 4, 5)
DRAWN = DATASETS[:-1]  # on random splits; Physics would take as long as the others together
SPLITS = range(10)
MASKS = ("train_mask", "val_mask", "test_mask")
NU = 0.01


def accuracy(data: Any, classes: int, mu: float, seed: int) -> float:
    """Return the best validation accuracy of a network of two layers, trained on training nodes of its own."""
    model = GAMLP(data.num_features, 100, classes, 2, init="kaiming")
    result = PdADMMG(nu=NU, mu=mu, solver="linesearch").fit(model, resplit(data, seed), seed=seed, evaluate_every=2)
    best: float = result.best["val_accuracy"]
    return best


def measured(name: str, powers: Sequence[float], mus: Sequence[float], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return a row for each exponent, with rows of features as they are and divided by their norm."""
    loaded = load_dataset(name)
    augmented, classes, rows = AugmentFeatures(10, "ppr")(loaded.data), loaded.info.classes, []
    seen = augmented.train_mask | augmented.val_mask
    for unit_rows in (False, True):
        for power in powers:
            x = ScaleComponents(power, components=512, unit_rows=unit_rows)(augmented).x
            masks = {"train_mask": augmented.train_mask[seen], "val_mask": augmented.val_mask[seen]}
            data = Data(
                x=x[seen], y=augmented.y[seen], **masks, test_mask=torch.zeros(int(seen.sum()), dtype=torch.bool)
            )
            tried = {mu: [accuracy(data, classes, mu, seed) for seed in seeds] for mu in mus}
            mu = max(tried, key=lambda each: statistics.fmean(tried[each]))
            rows.append(
                {"dataset": name, "unit_rows": unit_rows, "power": power, "mu": mu, "val_accuracies": tried[mu]}
            )
            print(rows[-1], file=sys.stderr)
    return rows


def chosen(name: str, powers: Sequence[float], mus: Sequence[float], seeds: Sequence[int]) -> dict[str, Any]:
    """Return test accuracies on random splits: with μ chosen on validation, and with μ, exponent and rows so chosen."""
    loaded = load_dataset(name)
    augmented, classes = AugmentFeatures(10, "ppr")(loaded.data), loaded.info.classes
    drawn = {}
    for seed in seeds:
        data = load_dataset(name, split="per-class", seed=seed).data
        drawn[seed] = {mask: data[mask] for mask in MASKS}
    best: dict[tuple[str, int], tuple[float, float]] = {}
    for unit_rows in (False, True):
        for power in powers:
            x = ScaleComponents(power, components=512, unit_rows=unit_rows)(augmented).x
            for seed, masks in drawn.items():
                data = Data(x=x, y=augmented.y, **masks)
                for mu in mus:
                    model = GAMLP(data.num_features, 100, classes, 2, init="kaiming")
                    found = (
                        PdADMMG(nu=NU, mu=mu, solver="linesearch").fit(model, data, seed=seed, evaluate_every=2).best
                    )
                    pair = (found["val_accuracy"], found["test_accuracy"])
                    for choice in ("scaled", "plain") if power == 0 and not unit_rows else ("scaled",):
                        if pair[0] > best.get((choice, seed), (0.0, 0.0))[0]:
                            best[choice, seed] = pair
    row = {choice: [best[choice, seed][1] for seed in seeds] for choice in ("plain", "scaled")}
    print(name, row, file=sys.stderr)
    return {"dataset": name, **row}


def splits_table(rows: list[dict[str, Any]]) -> str:
    """Return test accuracies on random splits, and their paired differences with standard errors."""
    lines = []
    for row in rows:
        gains = [100 * (b - a) for a, b in zip(row["plain"], row["scaled"], strict=True)]
        error = statistics.stdev(gains) / len(gains) ** 0.5
        gain = f"{statistics.fmean(gains):+.1f} ± {error:.1f}"
        lines.append([row["dataset"], percent(row["plain"]), percent(row["scaled"]), gain])
    return table(["data set", "μ chosen", "μ, exponent and rows chosen", "gain, points"], lines)


def power_table(rows: list[dict[str, Any]]) -> str:
    """Return the means in per cent, the best of a data set in bold."""
    powers = list(dict.fromkeys(row["power"] for row in rows))
    means = {
        (row["dataset"], row["unit_rows"], row["power"]): 100 * statistics.fmean(row["val_accuracies"]) for row in rows
    }
    lines = []
    for name, unit_rows in dict.fromkeys((name, unit_rows) for name, unit_rows, _ in means):
        best = max(mean for (other, *_), mean in means.items() if other == name)
        cells = [f"{means[name, unit_rows, power]:.1f}" for power in powers]
        cells = [f"**{cell}**" if cell == f"{best:.1f}" else cell for cell in cells]
        lines.append([name, "unit" if unit_rows else "raw", *cells])
    return table(["data set", "rows", *(f"{power:g}" for power in powers)], lines, left=2)


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    return {
        "power": power_table(results["rows"]),
        "splits": splits_table(results["splits"]),
        "environment": conditions(results),
    }


PAGES = Pages(HERE, tables, ("docs/components.md",), indent=1)


def main() -> None:
    """Measure and write; data sets that results.json has are not measured again."""
    given = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if given.quick:
        print(power_table(measured("karate", (0.0, 1.0), (1e-3,), (0, 1))))
        return
    before = PAGES.read()
    if given.tables:
        PAGES.renew(before)
        return
    command = "python examples/benchmarks/components/main.py"
    results: Results = {"command": command, **stamp(), "seeds": list(SEEDS), "rows": [], "splits": []}
    for name in DATASETS:
        kept = {part: [row for row in before.get(part, []) if row["dataset"] == name] for part in ("rows", "splits")}
        results["rows"] += kept["rows"] or measured(name, POWERS, MU, SEEDS)
        if name in DRAWN:
            results["splits"] += kept["splits"] or [chosen(name, POWERS, MU, SPLITS)]
        PAGES.save(results)
    PAGES.renew(results)


if __name__ == "__main__":
    main()

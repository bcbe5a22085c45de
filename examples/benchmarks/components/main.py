"""Validation accuracy by the exponent of the principal components, on graphs with few labels.

    python examples/benchmarks/components/main.py            # about an hour on one core; writes results and pages
    python examples/benchmarks/components/main.py --quick    # the karate club, prints only

First, exponents by validation accuracy, with the test nodes hidden: the training nodes are drawn anew from training and
validation nodes for every seed, and the rest of them validate. Then test accuracy on random splits, 20 nodes a class to
train on, with everything chosen on each split's own validation nodes.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.datasets import load_dataset
from gamlp_admm.experiment import environment
from gamlp_admm.system.allocator import keep_freed_memory
from gamlp_admm.transforms import AugmentFeatures
from gamlp_admm.transforms.scale_components import ScaleComponents
from gamlp_admm.tuning.measuring import resplit

HERE = Path(__file__).parent
PAGES = [HERE / "README.md", HERE.parents[2] / "docs" / "features.md"]
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
    result = PdADMMG(nu=NU, mu=mu).fit(model, resplit(data, seed), seed=seed, evaluate_every=2)
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
                    found = PdADMMG(nu=NU, mu=mu).fit(model, data, seed=seed, evaluate_every=2).best
                    pair = (found["val_accuracy"], found["test_accuracy"])
                    for choice in ("scaled", "plain") if power == 0 and not unit_rows else ("scaled",):
                        if pair[0] > best.get((choice, seed), (0.0, 0.0))[0]:
                            best[choice, seed] = pair
    row = {choice: [best[choice, seed][1] for seed in seeds] for choice in ("plain", "scaled")}
    print(name, row, file=sys.stderr)
    return {"dataset": name, **row}


def splits_table(results: dict[str, Any]) -> str:
    """Return test accuracies on random splits, and their paired differences with standard errors."""
    lines = ["| data set | μ chosen | μ, exponent and rows chosen | gain, points |", "| --- | ---: | ---: | ---: |"]
    for row in results["splits"]:
        cells = [
            f"{100 * statistics.fmean(row[c]):.1f} ± {100 * statistics.stdev(row[c]):.1f}" for c in ("plain", "scaled")
        ]
        gains = [100 * (b - a) for a, b in zip(row["plain"], row["scaled"], strict=True)]
        error = statistics.stdev(gains) / len(gains) ** 0.5
        lines.append(f"| {row['dataset']} | {' | '.join(cells)} | {statistics.fmean(gains):+.1f} ± {error:.1f} |")
    return "\n".join(lines)


def table(results: dict[str, Any]) -> str:
    """Return the means in per cent, the best of a data set in bold."""
    powers = list(dict.fromkeys(row["power"] for row in results["rows"]))
    means = {
        (row["dataset"], row["unit_rows"], row["power"]): 100 * statistics.fmean(row["val_accuracies"])
        for row in results["rows"]
    }
    lines = [
        f"| data set | rows | {' | '.join(f'{power:g}' for power in powers)} |",
        "| --- | --- |" + " ---: |" * len(powers),
    ]
    for name, unit_rows in dict.fromkeys((name, unit_rows) for name, unit_rows, _ in means):
        best = max(mean for (other, *_), mean in means.items() if other == name)
        cells = [f"{means[name, unit_rows, power]:.1f}" for power in powers]
        cells = [f"**{cell}**" if cell == f"{best:.1f}" else cell for cell in cells]
        lines.append(f"| {name} | {'unit' if unit_rows else 'raw'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def environment_line(results: dict[str, Any]) -> str:
    """Return command, seeds, date and versions."""
    versions = ", ".join(f"{name} {number}" for name, number in results["environment"]["versions"].items())
    seeds = ", ".join(map(str, results["seeds"]))
    return f"`{results['command']}`, seeds {seeds}; {results['date']}; 1 thread; {versions}."


def fill(text: str, results: dict[str, Any]) -> str:
    """Return a page whose tables, between their marks and ``<!-- end -->``, are those of the results."""
    tables = {"power": table(results), "splits": splits_table(results), "environment": environment_line(results)}
    for name, content in tables.items():
        head, mark, rest = text.partition(f"<!-- components: {name} -->\n")
        if mark:
            text = f"{head}{mark}{content}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return text


def main() -> None:
    """Measure and write; data sets that results.json has are not measured again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    keep_freed_memory()
    results: dict[str, Any] = {
        "command": "python examples/benchmarks/components/main.py",
        "date": datetime.date.today().isoformat(),
        "environment": environment("cpu"),
        "seeds": list(SEEDS),
        "rows": [],
        "splits": [],
    }
    if quick:
        print(table({"rows": measured("karate", (0.0, 1.0), (1e-3,), (0, 1))}))
        return
    path = HERE / "results.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in DATASETS:
        kept = {part: [row for row in before.get(part, []) if row["dataset"] == name] for part in ("rows", "splits")}
        results["rows"] += kept["rows"] or measured(name, POWERS, MU, SEEDS)
        if name in DRAWN:
            results["splits"] += kept["splits"] or [chosen(name, POWERS, MU, SPLITS)]
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()

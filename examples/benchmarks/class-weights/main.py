"""What class_weight="balanced" does to accuracy and to balanced accuracy, on graphs with rare classes.

    python examples/benchmarks/class-weights/main.py            # minutes on one core; writes results and pages
    python examples/benchmarks/class-weights/main.py --quick    # a small made graph, prints only

The made graph is a block model of 4,000 nodes, four in five of one class. Of Cora and Photo the later half of the
classes keeps a tenth of the training labels. Weight decay is chosen for each row on validation, by what weights are
selected by: validation accuracy, which counts each row as its class weighs where classes have weights.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.utils import stochastic_blockmodel_graph

from gamlp_admm import GAMLP
from gamlp_admm.algorithms import trainer
from gamlp_admm.datasets import load_dataset
from gamlp_admm.transforms import AugmentFeatures

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, conditions, percent, stamp, table

HERE = Path(__file__).parent
DATASETS = ("made", "cora", "amazon-photo")
METHODS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pdADMM-G": ("pdadmm-g", "ridge", {}),
    "pdADMM-G, drawn weights": ("pdadmm-g", "kaiming", {}),
    "dlADMM, drawn weights": ("dladmm", "kaiming", {"scale": "unit"}),
    "Adam": ("adam", "kaiming", {"lr": 1e-2}),
}
DECAYS = {
    "pdadmm-g": ("mu", (1e-4, 1e-3, 1e-2)),
    "dladmm": ("mu", (1e-3, 1e-2, 1e-1)),
    "adam": ("weight_decay", (0, 5e-4, 5e-3)),
}
SEEDS = (0, 1, 2)
ITERATIONS = 100
COMMON, RARE = 50, 5
"""Training labels of a class of Cora and Photo."""


def made(nodes: int, seed: int) -> Data:
    """Return a block model with one class of five in four of five nodes; a tenth of the nodes train."""
    torch.manual_seed(seed)
    sizes = torch.tensor([16, 1, 1, 1, 1]) * (nodes // 20)
    within, across = 24 / nodes, 8 / nodes
    edges = stochastic_blockmodel_graph(sizes, across + (within - across) * torch.eye(5))
    y = torch.arange(5).repeat_interleave(sizes)
    return split(Data(x=0.5 * torch.randn(5, 16)[y] + torch.randn(nodes, 16), edge_index=edges, y=y), None)


def split(data: Data, labels: tuple[int, int] | None) -> Data:
    """Draw masks: so many training labels of a common and of a rare class, or a tenth; of others a third validates."""
    y = data.y
    order = torch.randperm(len(y))
    data.train_mask, data.val_mask, data.test_mask = (torch.zeros(len(y), dtype=torch.bool) for _ in range(3))
    if labels is None:
        data.train_mask[order[: len(y) // 10]] = True
    else:
        classes = int(y.max()) + 1
        for c in range(classes):
            data.train_mask[order[y[order] == c][: labels[c >= (classes + 1) // 2]]] = True
    rest = order[~data.train_mask[order]]
    data.val_mask[rest[: len(rest) // 3]] = True
    data.test_mask[rest[len(rest) // 3 :]] = True
    return data


def graph(name: str, seed: int, nodes: int) -> tuple[Data, int]:
    """Return augmented features of a graph with masks of a seed, and its number of classes."""
    if name == "made":
        return AugmentFeatures(hops=2)(made(nodes, seed)), 5
    loaded = load_dataset(name)
    torch.manual_seed(seed)
    return AugmentFeatures(hops=2)(split(loaded.data, (COMMON, RARE))), loaded.info.classes


def scores(data: Data, classes: int, method: str, weight: str | None, seed: int) -> tuple[float, float]:
    """Return test accuracy, and the mean over classes of it, with the weight decay that is best on validation."""
    algorithm, init, settings = METHODS[method]
    name, decays = DECAYS[algorithm]
    found: list[tuple[float, float, float]] = []
    for decay in decays:
        model = GAMLP(data.num_features, 64, classes, 2, init=init)
        fitted = trainer(algorithm, class_weight=weight, **settings, **{name: decay})
        best = fitted.fit(model, data, ITERATIONS, seed=seed, evaluate_every=4).best
        with torch.no_grad():
            right = (model(data.x).argmax(1) == data.y)[data.test_mask].double()
        y = data.y[data.test_mask]
        balanced = statistics.fmean(float(right[y == c].mean()) for c in y.unique())
        found.append((best.get("val_score", best["val_accuracy"]), float(right.mean()), balanced))
    return max(found)[1:]


def measured(name: str, methods: Sequence[str], seeds: Sequence[int], nodes: int = 4_000) -> list[dict[str, Any]]:
    """Return a row for each method, without weights of the classes and with balanced ones."""
    rows = []
    graphs = {seed: graph(name, seed, nodes) for seed in seeds}
    for method in methods:
        for weight in (None, "balanced"):
            pairs = [scores(*graphs[seed], method, weight, seed) for seed in seeds]
            accuracy, balanced = map(list, zip(*pairs, strict=True))
            rows.append(
                {"dataset": name, "method": method, "weight": weight, "accuracy": accuracy, "balanced": balanced}
            )
            print(rows[-1], file=sys.stderr)
    return rows


def weights_table(rows: list[dict[str, Any]]) -> str:
    """Return accuracy and balanced accuracy, without and with weights of the classes."""
    lines = []
    for name, method in dict.fromkeys((row["dataset"], row["method"]) for row in rows):
        plain, balanced = (row for row in rows if (row["dataset"], row["method"]) == (name, method))
        cells = [percent(row[score]) for score in ("accuracy", "balanced") for row in (plain, balanced)]
        lines.append([name, method, *cells])
    headings = ["graph", "method", "accuracy", "with weights", "balanced accuracy", "with weights"]
    return table(headings, lines, left=2)


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    return {"scores": weights_table(results["rows"]), "environment": conditions(results)}


PAGES = Pages(HERE, tables, ("docs/algorithms.md",), indent=1)


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    if given.quick:
        print(weights_table(measured("made", ["pdADMM-G, drawn weights"], (0, 1), 1_000)))
        return
    if given.tables:
        PAGES.renew(PAGES.read())
        return
    rows = [row for name in DATASETS for row in measured(name, list(METHODS), SEEDS)]
    command = "python examples/benchmarks/class-weights/main.py"
    PAGES.renew(PAGES.save({"command": command, **stamp(), "seeds": list(SEEDS), "rows": rows}))


if __name__ == "__main__":
    main()

"""BADM and SISA beside SGD with momentum and Adam: a GCN, a CNN, an MLP and the GA-MLP.

python examples/benchmarks/optimizers/main.py            # everything; writes results and pages
python examples/benchmarks/optimizers/main.py --quick    # one small network, prints only

Needs the raw files of Cora, CiteSeer and MNIST under $GAMLP_ADMM_DATA and takes about 25 minutes on one thread. What
results.json has is not measured again; without that file everything is.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch_geometric.nn import GCNConv
from torch_geometric.transforms import NormalizeFeatures

from gamlp_admm import GAMLP
from gamlp_admm.datasets import load_dataset
from gamlp_admm.optim import BADM, SISA
from gamlp_admm.transforms import AugmentFeatures

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, conditions, percent, stamp, table

HERE = Path(__file__).parent
SEEDS = (0, 1, 2, 3, 4)
SPLITS = ("train", "val", "test")


# --- models and data ----------------------------------------------------------------------------------------


class Setup(NamedTuple):
    """A model with its data; ``outputs`` applies it to some rows."""

    model: nn.Module
    outputs: Callable[[Tensor], Tensor]
    y: Tensor
    rows: dict[str, Tensor]


class Task(NamedTuple):
    """What the optimisers are compared on.

    Attributes:
        title: Name in the tables.
        setup: Makes the model and its data from a seed.
        epochs: Epochs of training.
        batch_size: Rows of a batch, at most; ``None`` for all of them.
        weight_decay: The same for all optimisers.
        level: Validation accuracy whose first epoch is noted.
        tuning_seeds: Seeds whose mean validation accuracy decides between settings.
    """

    title: str
    setup: Callable[[int], Setup]
    epochs: int
    batch_size: int | None
    weight_decay: float
    level: float
    tuning_seeds: tuple[int, ...] = (10, 11)


class GCN(nn.Module):
    """Two graph convolutions with dropout before each."""

    def __init__(self, columns: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = GCNConv(columns, 16, cached=True), GCNConv(16, classes, cached=True)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return the logits of all nodes."""
        # Of the sparse features only the entries that are not zero can be dropped.
        kept = F.dropout(x.values(), training=self.training)
        x = torch.sparse_coo_tensor(x.indices(), kept, x.shape, is_coalesced=True, check_invariants=False)
        x = self.first(x, edge_index).relu()
        return self.second(F.dropout(x, training=self.training), edge_index)


def of_masks(data: Any) -> dict[str, Tensor]:
    """Return the rows of each split."""
    return {split: data[f"{split}_mask"].nonzero().flatten() for split in SPLITS}


@cache
def graph(name: str, raw: bool) -> Any:
    """Load a citation graph, its features divided by their sums or as they are."""
    data = load_dataset(name).data
    return data if raw else NormalizeFeatures()(data)


def gcn(name: str, seed: int, raw: bool = False) -> Setup:
    """Return a GCN of two layers with 16 neurons."""
    data = graph(name, raw)
    torch.manual_seed(seed)
    model = GCN(data.num_features, int(data.y.max()) + 1)
    x = data.x.to_sparse_coo()
    return Setup(model, lambda rows: model(x, data.edge_index)[rows], data.y, of_masks(data))


@cache
def augmented() -> Any:
    """Load Cora with the features that the GA-MLP takes."""
    return AugmentFeatures(operator="ppr", hops=10)(load_dataset("cora").data)


def ga_mlp(seed: int) -> Setup:
    """Return a GA-MLP of two layers."""
    data = augmented()
    model = GAMLP(data.num_features, 100, 7, num_layers=2, init="kaiming")
    model.reset_parameters(torch.Generator().manual_seed(seed))
    return Setup(model, lambda rows: model(data.x[rows]), data.y, of_masks(data))


@cache
def mnist() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Load MNIST with some of its rows for training and validation; those for testing are the official ones."""
    data = load_dataset("mnist").data
    rows = of_masks(data)
    rows |= {"train": rows["train"][:10_000], "val": rows["val"][:2_000]}
    return data.x.view(-1, 1, 28, 28), data.y, rows


def cnn(seed: int) -> Setup:
    """Return a small convolutional network."""
    x, y, rows = mnist()
    torch.manual_seed(seed)
    convolutions = [nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(256, 10))
    return Setup(model, lambda rows: model(x[rows]), y, rows)


def digits_mlp(seed: int) -> Setup:
    """Return an MLP with a split of its own: 20 % for testing, 15 % of the others for validation."""
    images, classes = load_digits(return_X_y=True)
    others, test = train_test_split(range(len(classes)), test_size=0.2, stratify=classes, random_state=seed)
    train, val = train_test_split(others, test_size=0.15, stratify=classes[others], random_state=seed)
    x, y = torch.tensor(images, dtype=torch.get_default_dtype()), torch.tensor(classes)
    x = (x - x[train].mean()) / x[train].std()
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10))
    rows = {split: torch.tensor(each) for split, each in zip(SPLITS, (train, val, test), strict=True)}
    return Setup(model, lambda rows: model(x[rows]), y, rows)


DIGITS = Task("MLP, digits", digits_mlp, 60, 64, 0.0, 0.97)
TASKS = (
    DIGITS,
    Task("CNN, MNIST", cnn, 5, 128, 0.0, 0.97, (10,)),
    Task("GCN, Cora", lambda seed: gcn("cora", seed), 200, None, 5e-4, 0.77, (10,)),
    Task("GCN, CiteSeer", lambda seed: gcn("citeseer", seed), 200, None, 5e-4, 0.68, (10,)),
    Task("GCN, Cora, raw features", lambda seed: gcn("cora", seed, raw=True), 200, None, 5e-4, 0.77, (10,)),
    Task("GA-MLP, Cora", ga_mlp, 100, None, 5e-4, 0.77),
)


# --- training -----------------------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": torch.optim.SGD,
    "Adam": torch.optim.Adam,
    "BADM": BADM,
    "SISA": SISA,
}
GRIDS: dict[str, list[dict[str, float]]] = {
    "SGD": [{"lr": lr, "momentum": 0.9} for lr in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)],
    "Adam": [{"lr": lr} for lr in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)],
    "BADM": [{"sigma": sigma, "rho": 9 * sigma} for sigma in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)],
    "SISA": [{"sigma": sigma, "rho": rho} for sigma in (0.1, 0.3, 1.0) for rho in (100.0, 1000.0)],
}
"""Settings that are tried, equally many of each optimiser."""


def train(task: Task, name: str, settings: dict[str, float], seed: int, sub_batches: int = 1) -> dict[str, Any]:
    """Train once; the test accuracy is that of the epoch that is best on validation."""
    setup = task.setup(seed)
    optimizer: Any = OPTIMIZERS[name](setup.model.parameters(), weight_decay=task.weight_decay, **settings)
    train_rows = setup.rows["train"]
    count = -(-len(train_rows) // (task.batch_size or len(train_rows)))
    generator = torch.Generator().manual_seed(seed)
    seconds, curve, test = 0.0, [], 0.0

    def closure(rows: Tensor) -> Callable[[], Tensor]:
        def call() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(setup.outputs(rows), setup.y[rows])
            loss.backward()
            return loss

        return call

    def accuracy(split: str) -> float:
        setup.model.eval()
        rows = setup.rows[split]
        with torch.no_grad():
            return float((setup.outputs(rows).argmax(1) == setup.y[rows]).double().mean())

    for _ in range(task.epochs):
        setup.model.train()
        begin = time.perf_counter()
        order = train_rows[torch.randperm(len(train_rows), generator=generator)]
        for batch in order.tensor_split(count):
            if sub_batches == 1:
                optimizer.step(closure(batch))
            else:
                parts = batch.tensor_split(sub_batches)
                optimizer.step([closure(part) for part in parts], [len(part) / len(batch) for part in parts])
        seconds += time.perf_counter() - begin
        score = accuracy("val")
        if not curve or score > max(curve):
            test = accuracy("test")
        curve.append(score)
    return {
        "val_accuracy": max(curve),
        "test_accuracy": test,
        "last_test_accuracy": accuracy("test"),
        "epochs_to_level": next((i for i, score in enumerate(curve, 1) if score >= task.level), None),
        "seconds": seconds / task.epochs,
        "weights": torch.cat([p.detach().flatten() for p in setup.model.parameters()]),
    }


def tune(task: Task, name: str) -> dict[str, Any]:
    """Return the settings that are best on validation, and what all of them gave there."""
    tried = []
    for settings in GRIDS[name]:
        accuracies = [train(task, name, settings, seed)["val_accuracy"] for seed in task.tuning_seeds]
        tried.append({"settings": settings, "val_accuracy": statistics.fmean(accuracies)})
        print(task.title, name, tried[-1], file=sys.stderr)
    return {"settings": max(tried, key=lambda each: each["val_accuracy"])["settings"], "tried": tried}


def compare(task: Task, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Tune every optimiser, then train with each in turn from every seed; return a row each."""
    rows = {name: {"task": task.title, "optimizer": name, **tune(task, name)} for name in OPTIMIZERS}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in OPTIMIZERS}
    for seed in seeds:
        for name, row in rows.items():
            runs[name].append(train(task, name, row["settings"], seed))
            del runs[name][-1]["weights"]
    for name, row in rows.items():
        ratios = [own["seconds"] / sgd["seconds"] for own, sgd in zip(runs[name], runs["SGD"], strict=True)]
        row |= {
            "level": task.level,
            "tuning_seeds": task.tuning_seeds,
            "runs": runs[name],
            "times_sgd": statistics.median(ratios),
        }
    return list(rows.values())


def sub_batches(settings: dict[str, dict[str, float]], task: Task, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train with BADM and SISA, batches whole and in 4 parts, in double precision."""
    torch.set_default_dtype(torch.float64)
    rows = []
    for name in ("BADM", "SISA"):
        runs = {parts: [train(task, name, settings[name], seed, parts) for seed in seeds] for parts in (1, 4)}
        for parts, own in runs.items():
            pairs = zip(own, runs[1], strict=True)
            rows.append(
                {
                    "optimizer": name,
                    "sub_batches": parts,
                    "test_accuracies": [run["test_accuracy"] for run in own],
                    "difference": max(float((a["weights"] - b["weights"]).abs().max()) for a, b in pairs),
                    "times_whole": sum(run["seconds"] for run in own) / sum(run["seconds"] for run in runs[1]),
                }
            )
    torch.set_default_dtype(torch.float32)
    return rows


def measured(tasks: Sequence[Task], seeds: Sequence[int], before: Results) -> Results:
    """Return the results of all tasks, those of an earlier call among them."""
    rows = []
    for task in tasks:
        rows += [row for row in before.get("accuracy", []) if row["task"] == task.title] or compare(task, seeds)
    settings = {row["optimizer"]: row["settings"] for row in rows if row["task"] == tasks[0].title}
    return {
        "command": "python examples/benchmarks/optimizers/main.py",
        **stamp(),
        "seeds": list(seeds),
        "accuracy": rows,
        "sub_batches": before.get("sub_batches") or sub_batches(settings, tasks[0], seeds),
    }


# --- results ------------------------------------------------------------------------------------------------


def written(settings: dict[str, float]) -> str:
    """Return settings as text."""
    symbols = {"lr": "lr", "sigma": "σ", "rho": "ρ"}
    return ", ".join(f"{symbols[name]} {value:g}" for name, value in settings.items() if name in symbols)


def grid(rows: list[dict[str, Any]], cell: Callable[[dict[str, Any]], str]) -> str:
    """Return a table of tasks by optimisers."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    cells = {(row["task"], row["optimizer"]): cell(row) for row in rows}
    return table(["", *OPTIMIZERS], [[task, *[cells[task, name] for name in OPTIMIZERS]] for task in tasks])


def epochs_to_level(row: dict[str, Any]) -> str:
    """Return the median number of epochs to the level, and the level."""
    reached = sorted(run["epochs_to_level"] or float("inf") for run in row["runs"])
    median = reached[len(reached) // 2]
    return f"{median} to {100 * row['level']:.0f} %" if median < float("inf") else f"{100 * row['level']:.0f} % not"


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    rows = results["accuracy"]
    lines = []
    for row in results["sub_batches"]:
        accuracies, times = percent(row["test_accuracies"]), f"{row['times_whole']:.1f}×"
        lines.append([row["optimizer"], str(row["sub_batches"]), accuracies, f"{row['difference']:.0e}", times])
    return {
        "accuracy": grid(rows, lambda row: percent([run["test_accuracy"] for run in row["runs"]])),
        "last": grid(rows, lambda row: percent([run["last_test_accuracy"] for run in row["runs"]])),
        "validation": grid(rows, lambda row: percent([run["val_accuracy"] for run in row["runs"]])),
        "settings": grid(rows, lambda row: written(row["settings"])),
        "epochs": grid(rows, epochs_to_level),
        "time": grid(rows, lambda row: f"{row['times_sgd']:.2f}×"),
        "sub-batches": table(["", "S", "test accuracy", "weights differ by", "seconds of an epoch"], lines),
        "environment": conditions(results),
    }


PAGES = Pages(HERE, tables)


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    if given.quick:
        small = DIGITS._replace(epochs=3, tuning_seeds=(10,))
        print("\n\n".join(tables(measured((small,), SEEDS[:2], {})).values()))
        return
    results = PAGES.read()
    if not given.tables:
        results = PAGES.save(measured(TASKS, SEEDS, results))
    PAGES.renew(results)


if __name__ == "__main__":
    main()

"""The table of docs/components.md on units: columns of different units, as they come and standardised."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from gamlp_admm import GAMLP
from gamlp_admm.algorithms import trainer

ALGORITHMS = ("pdadmm-g", "dladmm", "mdlam")
SEEDS = range(3)


def tables() -> dict[str, tuple[Any, Any]]:
    """Return features and classes by name."""
    x, y = load_digits(return_X_y=True)
    x = x / 16
    one = x.copy()
    one[:, 20] *= 100
    wild = x * 10 ** np.random.default_rng(0).uniform(-4, 4, 64)
    return {
        "Wine": load_wine(return_X_y=True),
        "breast cancer": load_breast_cancer(return_X_y=True),
        "digits, columns times 10⁻⁴ to 10⁴": (wild, y),
        "digits, one column times 100": (one, y),
    }


def accuracy(x: Any, y: Any, algorithm: str, seed: int, standardised: bool) -> float:
    """Return the test accuracy of a network with 64 hidden neurons after 60 iterations."""
    order, n = np.random.default_rng(seed).permutation(len(x)), len(x)
    parts = np.split(order, [n // 2, 3 * n // 4])
    if standardised:
        train = x[parts[0]]
        x = (x - train.mean(0)) / np.where(train.std(0) > 0, train.std(0), 1)
    splits = zip(("train", "val", "test"), parts, strict=True)
    masks = {f"{name}_mask": np.isin(np.arange(n), rows) for name, rows in splits}
    model = GAMLP(x.shape[1], 64, int(y.max()) + 1, 2, init="kaiming")
    data = SimpleNamespace(x=x.astype(np.float32), y=y, **masks)
    result = trainer(algorithm).fit(model, data, 60, seed=seed, evaluate_every=1)
    return float(result.best["test_accuracy"])


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    for name, (x, y) in tables().items():
        means = [
            np.mean([accuracy(x, y, algorithm, seed, standardised) for seed in SEEDS])
            for algorithm in ALGORITHMS
            for standardised in (False, True)
        ]
        print(f"| {name} | " + " | ".join(f"{mean:.3f}".lstrip("0") for mean in means) + " |", flush=True)


if __name__ == "__main__":
    main()

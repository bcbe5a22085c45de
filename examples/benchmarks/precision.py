"""The tables of docs/precision.md: accuracy and seconds of an iteration with rounded products, beside float32."""

from __future__ import annotations

import argparse
import statistics
from types import SimpleNamespace
from typing import Any

import torch

from gamlp_admm import GAMLP, AugmentFeatures, PdADMMG, load_dataset

DATASETS = ("cora", "citeseer", "amazon-photo")
SEEDS = range(10, 15)
SHAPES = ((20_000, 500, 10), (2_708, 100, 10), (8_000, 3_000, 3))
"""Rows, neurons and layers of the networks that are timed."""


def accuracy(data: Any, matmul: str, layers: int, iterations: int) -> tuple[float, float]:
    """Return the best validation accuracy, and the test accuracy of the same weights."""
    model = GAMLP(data.num_features, 100, int(data.y.max()) + 1, layers)
    trainer = PdADMMG(matmul=matmul, solver="linesearch")
    result = trainer.fit(model, data, iterations, seed=0, evaluate_every=5)
    return result.best["val_accuracy"], result.best["test_accuracy"]


def accuracies(names: tuple[str, ...], seeds: range, matmul: str, layers: int, iterations: int) -> None:
    """Print mean and range of the differences over splits 60/20/20 drawn with these seeds."""
    print(f"| {layers} layers | validation, fp32 | {matmul} | difference | test, fp32 | {matmul} |")
    for name in names:
        pairs = []
        for seed in seeds:
            data = AugmentFeatures(hops=2)(load_dataset(name, split="60/20/20", seed=seed).data)
            pairs.append([accuracy(data, each, layers, iterations) for each in ("fp32", matmul)])
        gaps = [rounded[0] - full[0] for full, rounded in pairs]
        validation, test = ([statistics.mean(pair[i][k] for pair in pairs) for i in (0, 1)] for k in (0, 1))
        print(
            f"| {name} | {validation[0]:.4f} | {validation[1]:.4f} | {statistics.mean(gaps):+.4f} "
            f"({min(gaps):+.4f} to {max(gaps):+.4f}) | {test[0]:.4f} | {test[1]:.4f} |",
            flush=True,
        )


def seconds(shape: tuple[int, int, int], precisions: tuple[str, str], repeats: int) -> list[float]:
    """Return the median seconds of an iteration of each precision, measured in turns."""
    rows, width, layers = shape
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(rows, width, generator=generator), torch.randint(4, (rows,), generator=generator)
    data = SimpleNamespace(x=x, y=y, train_mask=torch.ones(rows, dtype=torch.bool))
    each: dict[str, list[float]] = {name: [] for name in precisions}
    for _ in range(repeats):
        for name, found in each.items():
            model = GAMLP(width, width, 4, layers, init="kaiming")
            trainer = PdADMMG(matmul=name, solver="linesearch", scale="none")
            result = trainer.fit(model, data, 5, seed=0, grow=None, evaluate_every=1)
            found += [b["seconds"] - a["seconds"] for a, b in zip(result.history, result.history[1:], strict=False)]
    return [statistics.median(found) for found in each.values()]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--matmul", default="bf16", choices=("tf32", "bf16"))
    parser.add_argument("--part", default="all", choices=("all", "accuracy", "speed"))
    parser.add_argument("--quick", action="store_true", help="a small check")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part != "speed":
        for layers in (2, 10):
            if args.quick:
                accuracies(("karate",), range(10, 11), args.matmul, layers, 5)
            else:
                accuracies(DATASETS, SEEDS, args.matmul, layers, 100)
    if args.part != "accuracy":
        print(f"| rows × neurons × layers | fp32 | {args.matmul} | times as fast |")
        for rows, width, layers in ((300, 64, 3),) if args.quick else SHAPES:
            full, rounded = seconds((rows, width, layers), ("fp32", args.matmul), 1 if args.quick else 3)
            print(
                f"| {rows:,} × {width:,} × {layers} | {full:.3g} s | {rounded:.3g} s | {full / rounded:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

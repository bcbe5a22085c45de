"""Numbers as they are said to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""What the parts of the nodes are called, by the beginning of the names of their scores."""


def percent(accuracy: float | None) -> str:
    """Return an accuracy as text, ``-`` where there is none."""
    return "-" if accuracy is None else f"{accuracy:.4f}"


def size(count: float) -> str:
    """Return a number of bytes as text, in decimal units."""
    units = ("B", "kB", "MB", "GB", "TB")
    step = 0
    while count >= 999.5 and step + 1 < len(units):
        count, step = count / 1000, step + 1
    return f"{count:.3g} {units[step]}"


def accuracies(record: Mapping[str, Any], metric: str = "accuracy") -> str:
    """Return the accuracies of a record, of the splits that have one, as ``validation 0.8100, test 0.8320``.

    Args:
        record: The record.
        metric: Another metric of which it has figures, as ``roc_auc``; it is then said.
    """
    found = {word: record.get(f"{split}_{metric}") for split, word in SPLITS.items()}
    told = ", ".join(f"{word} {percent(value)}" for word, value in found.items() if value is not None)
    return ("" if metric == "accuracy" else f"{metric} ") + told if told else f"no {metric}"


def outcome(
    best: Mapping[str, Any],
    last: Mapping[str, Any],
    seconds: float,
    sent: int,
    processes: int = 1,
    metric: str = "accuracy",
) -> list[str]:
    """Return what came of a run, in two or three lines.

    Args:
        best: The record that is best on validation; empty for none.
        last: The last record.
        seconds: Training time.
        sent: Bytes that crossed boundaries between layers, or would have in one process.
        processes: Number of processes.
        metric: Name of the metric that selected.
    """
    lines = [] if not best else [f"best on validation, iteration {best['iteration']}: {accuracies(best, metric)}"]
    lines.append(f"last, iteration {last['iteration']}: {accuracies(last, metric)}")
    return [
        *lines,
        f"{seconds:.3g} s of training, {'sent' if processes > 1 else 'would send'} {size(sent)} between layers",
    ]

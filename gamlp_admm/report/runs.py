"""Reports of runs, as pages and plots take them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

FALLING = {"loss"}
"""Measures of which less is better."""


def words(name: str) -> str:
    """Return the name of a measure as words."""
    return {"f1_macro": "macro F1", "roc_auc": "ROC AUC", "r2": "R²"}.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class RunReport:
    """The report of one run, checked.

    Attributes:
        dataset: What it was trained on.
        metric: Name of the measure that the run was selected by.
        config: Every option as used, by name.
        columns: The history by key, a number or ``None`` an evaluated iteration. Both residuals are norms: the history
            has the primal one squared.
        best: What is known of the selected weights: ``iteration``, ``val_accuracy``, ``test_accuracy`` and the like.
        last: The same of the last weights.
        seconds: ``augment``, ``train``, ``total`` and the like.
        environment: Versions, device, processes and threads.
        per_class: Rows of single classes by split; empty where there are none.
        confusion: Counts by split, ``[C, C]``; empty where there are none.
        classes: Names of the classes of ``confusion``.
        notes: What else is said of the run, by name.
        processes: One summary a process.
        num_parameters: Weights and biases.
        seed: Seed of the weights.
    """

    dataset: str
    metric: str
    config: dict[str, Any]
    columns: dict[str, list[float | None]]
    best: dict[str, float | None]
    last: dict[str, float | None]
    seconds: dict[str, float | None]
    environment: dict[str, Any]
    per_class: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    confusion: dict[str, list[list[int]]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    processes: list[dict[str, Any]] = field(default_factory=list)
    num_parameters: int = 0
    seed: int = 0

    @property
    def iterations(self) -> list[int]:
        """The evaluated iterations, rising."""
        return [int(k) for k in self.columns["iteration"] if k is not None]

    @property
    def bytes_sent(self) -> float:
        """Bytes sent between layers, in all."""
        return self.columns["bytes_sent"][-1] or 0.0

    @cached_property
    def metrics(self) -> list[str]:
        """Names of what is measured on test nodes, such as ``accuracy``; what the run was selected by comes first."""
        names = [key.removeprefix("test_") for key in self.columns if key.startswith("test_")]
        names = [name for name in names if name != "accuracy" or "r2" not in names]  # of real targets it is the same
        return sorted(names, key=lambda name: (name != self.metric, name != "accuracy"))

    def at_best(self, key: str) -> float | None:
        """Return a column of the history at the selected iteration."""
        where = self.best.get("iteration")
        column = self.columns.get(key, [])
        return next((v for k, v in zip(self.iterations, column, strict=False) if k == where), None)


@dataclass(frozen=True)
class RunSet:
    """The runs of one setting, which differ by their seeds alone.

    Attributes:
        label: What tells it from others.
        runs: At least one.
    """

    label: str
    runs: tuple[RunReport, ...]

    @property
    def first(self) -> RunReport:
        """One of them, for what they have in common."""
        return self.runs[0]

    def mean(self, selected: str, key: str) -> tuple[float, float] | None:
        """Return mean and sample deviation of a figure of the ``best`` or ``last`` weights, where all runs have it."""
        return mean_and_deviation([getattr(run, selected).get(key) for run in self.runs])


def mean_and_deviation(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Return mean and sample standard deviation (0 of one value), or ``None`` where a value is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else 0.0


def common_metric(sets: Sequence[RunSet]) -> str:
    """Return the measure to show of settings: the one that the first was selected by, if all have it."""
    first, *others = (each.first.metrics for each in sets)
    return next((name for name in first if all(name in names for names in others)), first[0])

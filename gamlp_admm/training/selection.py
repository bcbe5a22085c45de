"""Which weights a run ends with, and when a stage of growth has run long enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gamlp_admm.nn.network import Weights
from gamlp_admm.training.metrics import METRICS, Metric
from gamlp_admm.training.records import Later
from gamlp_admm.training.result import Result
from gamlp_admm.training.rows import SPLITS
from gamlp_admm.training.schedules import Record


class Selection:
    """The best and the last of a run's weights, by validation at the final depth.

    Args:
        result: Where the best and the last record are noted.
        select: ``best`` or ``last``.
        patience: Evaluations without a better validation score that end a stage; ``None`` for no end.
        metric: What is selected by on validation.
        by_iteration: Whether patience counts iterations instead.

    Attributes:
        best: Weights of the best record so far, or ``None``.
        finite: The newest weights that are known to be finite.
        by: Name of the metric that selects: accuracy or R² where the one asked for is not defined on validation rows.
        since: Evaluations (or iterations) of this stage since its best validation score.
    """

    def __init__(
        self,
        result: Result,
        select: str,
        patience: int | None = None,
        metric: Metric = METRICS["accuracy"],
        by_iteration: bool = False,
    ) -> None:
        self.result, self.select, self.patience, self.metric = result, select, patience, metric
        self.by_iteration = by_iteration
        self.best: Weights | None = None
        self.finite: Weights = []
        self.by = ""
        self.new_stage()

    def new_stage(self) -> None:
        """Begin a stage of growth."""
        self.first = len(self.result.records)
        self.since, self._peak, self._counted = 0, None, 0

    @property
    def records(self) -> Sequence[Record]:
        """Those of this stage; what a run was opened with, iteration 0, belongs to its first."""
        return Later(self.result.records, self.first)

    def recall(self, stage_start: int) -> None:
        """Take in the result of a checkpoint, whose stage began after so many iterations."""
        self.new_stage()
        before = (record["iteration"] <= stage_start > 0 for record in self.result.records)
        self.first = sum(before)
        for record in self.records:
            self._count(record)

    def _count(self, record: Record) -> None:
        score, iteration = self._score(record), record["iteration"]
        if score is not None and (self._peak is None or score > self._peak):
            self.since, self._peak = 0, score
        elif score is not None:
            self.since += iteration - self._counted if self.by_iteration else 1
        self._counted = iteration

    @property
    def exhausted(self) -> bool:
        """Whether the stage has gone so long as ``patience`` says without a better validation score."""
        return self.patience is not None and self.since >= self.patience

    def note(self, record: Record, weights: Weights, final: bool) -> None:
        """Take in a new record.

        Args:
            record: The record.
            weights: The weights that it was made with.
            final: Whether the network has its final depth.
        """
        self.finite = weights
        self.result.records.append(record)
        self._count(record)
        self.result.last = self._kept(record, SPLITS)
        score, best = self._score(record), self.result.best
        if final and (score is None or not best or score > self._score(best)):
            self.result.best = self._kept(record, SPLITS[1:])
            if self.metric.name != "accuracy":
                self.result.best["metric"] = self.by
            if "val_score" in record:
                self.result.best["val_score"] = record["val_score"]
            self.best = weights

    def _score(self, record: Record) -> Any:
        # By one metric throughout: a record of which another would decide is worse than any.
        name, score = self.metric.better(record)
        self.by = self.by or name
        return score if name == self.by else -math.inf

    def _kept(self, record: Record, splits: Sequence[str]) -> Record:
        names = dict.fromkeys(("accuracy", "r2", self.metric.name))
        return {"iteration": record["iteration"]} | {
            key: record[key] for name in names for split in splits if (key := f"{split}_{name}") in record
        }

    def chosen(self, newest: Weights) -> Weights:
        """Return the weights to end with.

        Args:
            newest: Those of the last iteration.
        """
        if not self.result.best and self.result.last:  # stopped before the final depth
            self.result.best = self._kept(self.result.last, SPLITS[1:])
        return self.best if self.select == "best" and self.best is not None else newest

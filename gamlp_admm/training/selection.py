"""Which weights a run ends with, and when a stage of growth has run long enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gamlp_admm.nn.network import Weights
from gamlp_admm.training.records import Later
from gamlp_admm.training.result import Result
from gamlp_admm.training.schedules import Record


class Selection:
    """The best and the last of a run's weights, by validation at the final depth.

    Args:
        result: Where the best and the last record are noted.
        select: ``best`` or ``last``.
        patience: Evaluations without a better validation accuracy that end a stage; ``None`` for no end.

    Attributes:
        best: Weights of the best record so far, or ``None``.
        finite: The newest weights that are known to be finite.
        since: Evaluations of this stage since its best validation accuracy.
    """

    def __init__(self, result: Result, select: str, patience: int | None = None) -> None:
        self.result, self.select, self.patience = result, select, patience
        self.best: Weights | None = None
        self.finite: Weights = []
        self.new_stage()

    def new_stage(self) -> None:
        """Begin a stage of growth."""
        self.first = len(self.result.records)
        self.since, self._peak = 0, None

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
        score = validation(record)
        if score is not None and (self._peak is None or score > self._peak):
            self.since, self._peak = 0, score
        elif score is not None:
            self.since += 1

    @property
    def exhausted(self) -> bool:
        """Whether the stage has gone ``patience`` evaluations without a better validation accuracy."""
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
        self.result.last = {k: record[k] for k in ("iteration", "train_accuracy", "val_accuracy", "test_accuracy")}
        score, best = validation(record), self.result.best
        if final and (score is None or not best or score > validation(best)):
            kept = ("iteration", "val_accuracy", "test_accuracy", *(("val_score",) if "val_score" in record else ()))
            self.result.best = {k: record[k] for k in kept}
            self.best = weights

    def chosen(self, newest: Weights) -> Weights:
        """Return the weights to end with.

        Args:
            newest: Those of the last iteration.
        """
        if not self.result.best and self.result.last:  # stopped before the final depth
            last = self.result.last
            self.result.best = {k: last[k] for k in ("iteration", "val_accuracy", "test_accuracy")}
        return self.best if self.select == "best" and self.best is not None else newest


def validation(record: Record) -> Any:
    """Return what a record is selected by: validation accuracy, weighted where classes have weights; or ``None``."""
    return record.get("val_score", record["val_accuracy"])

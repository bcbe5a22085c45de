"""Which weights a run ends with, and when a stage of growth has run long enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gamlp_admm.nn.network import Weights
from gamlp_admm.training.result import Result
from gamlp_admm.training.schedules import Record


class Selection:
    """The best and the last of a run's weights, by validation at the final depth.

    Args:
        result: Where the best and the last record are noted.
        select: ``best`` or ``last``.

    Attributes:
        best: Weights of the best record so far, or ``None``.
        finite: The newest weights that are known to be finite.
    """

    def __init__(self, result: Result, select: str) -> None:
        self.result, self.select = result, select
        self.best: Weights | None = None
        self.finite: Weights = []

    def note(self, record: Record, weights: Weights, final: bool) -> None:
        """Take in a new record.

        Args:
            record: The record.
            weights: The weights that it was made with.
            final: Whether the network has its final depth.
        """
        self.finite = weights
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


def exhausted(records: Sequence[Record], patience: int | None) -> bool:
    """Whether a stage has gone ``patience`` evaluations without a better validation accuracy.

    Args:
        records: The stage's records so far.
        patience: The number; ``None`` for no end.
    """
    scores = [validation(r) for r in records]
    if patience is None or len(scores) <= patience or scores[0] is None:
        return False
    return len(scores) - 1 - scores.index(max(scores)) >= patience

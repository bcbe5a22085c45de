"""Which weights a run ends with, and when a stage has run long enough."""

from __future__ import annotations

import pytest
from problems import random_weights

from gamlp_admm.training.result import Result
from gamlp_admm.training.schedules import Record
from gamlp_admm.training.selection import Selection


def record(iteration: int, val: float | None) -> Record:
    return {"iteration": iteration, "train_accuracy": 1.0, "val_accuracy": val, "test_accuracy": val}


WEIGHTS = [random_weights([2, 3], seed=k) for k in range(5)]


def noted(
    scores: list[float | None], select: str = "best", final_from: int = 0, patience: int | None = None
) -> Selection:
    selection = Selection(Result(), select, patience)
    for k, score in enumerate(scores):
        assert not selection.records or len(selection.records) == k
        selection.note(record(k, score), WEIGHTS[k], final=k >= final_from)
    return selection


@pytest.mark.parametrize(
    ("scores", "final_from", "best"),
    [
        ([0.1, 0.3, 0.2], 0, 1),
        ([0.1, 0.3, 0.3], 0, 1),  # the earlier on ties
        ([0.9, 0.1, 0.2], 1, 2),  # of the final depth alone
        ([None, None, None], 0, 2),  # the last without validation nodes
    ],
)
def test_the_best(scores: list[float | None], final_from: int, best: int) -> None:
    selection = noted(scores, final_from=final_from)
    assert selection.chosen(WEIGHTS[4]) is WEIGHTS[best]
    assert selection.result.best == {"iteration": best, "val_accuracy": scores[best], "test_accuracy": scores[best]}
    assert selection.result.last["iteration"] == 2
    assert selection.finite is WEIGHTS[2]


def test_the_last() -> None:
    selection = noted([0.3, 0.1], select="last")
    assert selection.chosen(WEIGHTS[4]) is WEIGHTS[4]
    assert selection.result.best["iteration"] == 0


def test_a_run_that_ends_before_the_final_depth() -> None:
    selection = noted([0.3, 0.1], final_from=9)
    assert selection.chosen(WEIGHTS[4]) is WEIGHTS[4]
    assert selection.result.best == {"iteration": 1, "val_accuracy": 0.1, "test_accuracy": 0.1}


@pytest.mark.parametrize(
    ("scores", "patience", "over"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.4], 1, True),
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.5], 2, True),  # as good is not better
        ([0.5, 0.4, 0.6, 0.1], 2, False),
        ([0.5, 0.4, 0.3], None, False),
        ([None, None, None], 1, False),
    ],
)
def test_patience(scores: list[float | None], patience: int | None, over: bool) -> None:
    assert noted(scores, patience=patience).exhausted is over


def test_what_a_checkpoint_has_counts_as_if_it_had_been_noted() -> None:
    selection = noted([0.9, 0.5, 0.4, 0.3])
    again = Selection(selection.result, "best", 2)
    for begin, since in ((0, 3), (1, 1), (2, 0)):
        selection.result.history = [record(k, score) for k, score in enumerate([0.9, 0.5, 0.4, 0.3])]
        again.recall(begin)
        assert again.records == selection.result.history[begin + 1 if begin else 0 :]
        assert again.since == since

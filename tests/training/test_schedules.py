"""Penalty schedules: when they change, by how much, and how their names are read."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gamlp_admm.errors import InputError
from gamlp_admm.training.schedules import constant, every, schedule, stall


def records(losses: list[float], first: int = 1, step: int = 1) -> list[dict[str, Any]]:
    return [{"iteration": first + step * i, "train_loss": loss} for i, loss in enumerate(losses)]


def test_constant() -> None:
    assert constant([], 0) == constant(records([1.0] * 500), 500) == 1


def test_every_counts_iterations_whatever_is_evaluated() -> None:
    s = every(3, 10.0, 1e3)
    assert [s([], n) for n in range(14)] == [1, 1, 1, 10, 10, 10, 100, 100, 100, 1000, 1000, 1000, 1000, 1000]


def test_every_in_a_long_run() -> None:
    assert every(1, 10.0)([], 2000) == 1e4
    assert every(1, 10.0, math.inf)([], 2000) == math.inf


def test_stall() -> None:
    s = stall(patience=3, factor=10.0, limit=100.0)
    assert s([], 0) == 1
    assert s(records([1.0 / n for n in range(1, 50)]), 0) == 1  # it falls all the time
    assert s(records([1.0, 1.0, 1.0]), 0) == 1
    assert s(records([1.0, 1.0, 1.0, 1.0]), 0) == 10
    # A change starts the count anew, from the first loss after it.
    assert s(records([1.0] * 7), 0) == 10
    assert s(records([1.0] * 8), 0) == 100
    assert s(records([1.0] * 500), 0) == 100
    # A loss that rises after a change is judged by what follows, not by the best before.
    assert s(records([1.0] * 4 + [5.0, 4.0, 3.0, 2.0]), 0) == 10


def test_stall_asks_for_a_relative_fall() -> None:
    s = stall(patience=2, tolerance=0.1)
    assert s(records([1.0, 0.95, 0.92]), 0) == 10
    assert s(records([1.0, 0.95, 0.89]), 0) == 1


def test_stall_never_falls() -> None:
    s = stall(patience=2, limit=1e3)
    losses = [1.0, 2.0, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 3.0, 2.0, 2.0, 2.0]
    scales = [s(records(losses[:n]), 0) for n in range(len(losses) + 1)]
    assert scales == sorted(scales)


def test_names() -> None:
    assert schedule("constant") is constant
    assert schedule("every:2:5:20")([], 2) == 5
    assert schedule("every:2:5:20")([], 100) == 20
    assert schedule("every:2")([], 2) == 10
    assert schedule("stall:1:3")(records([1.0] * 2), 2) == 3
    assert schedule("stall")(records([1.0] * 11), 11) == 10

    def own(records: Any, elapsed: int) -> float:
        return 2.0

    assert schedule(own) is own


@pytest.mark.parametrize(
    "spec",
    [
        "every:ten", "every:2:x", "every:0", "every:-1", "every:2:0", "every:2:10:-5", "every:2:nan", "every:2.5",
        "every:1:2:3:4:5", "every:1:1e9:1e300", "stall:1:1e13", "every:1:inf", "every:1:2:1e13",
        "constant:1", "every:", "stall:",
    ],
)  # fmt: skip
def test_unreadable_names(spec: str) -> None:
    with pytest.raises(InputError, match=rf"schedule '{spec}': allowed: constant, every:") as error:
        schedule(spec)
    assert "\n" not in str(error.value)


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=r"unknown schedule 'evry': did you mean 'every'\?"):
        schedule("evry:3")

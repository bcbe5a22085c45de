"""Curves: what is selected so far, and when several runs have reached something."""

from __future__ import annotations

import time

from gamlp_admm.bench.curve import Curve, Point, reached, selected

ONE = [Point(1.0, 0.5, 0.9), Point(2.0, 0.7, 0.6)]
TWO = [Point(0.5, 0.6, 0.5), Point(4.0, 0.8, 0.8)]


def test_seconds_are_those_of_training_alone() -> None:
    curve = Curve()
    with curve.training():
        time.sleep(0.002)
    time.sleep(0.05)
    curve.add(0.5, 0.4)
    assert 0.002 <= curve.points[0].seconds < 0.05
    assert curve.seconds == curve.points[0].seconds


def test_the_earlier_of_equals_is_selected() -> None:
    curve = Curve()
    curve.points = [*ONE, Point(3.0, 0.7, 0.99), Point(4.0, 0.6, 1.0)]
    result = curve.result()
    assert (result["val_accuracy"], result["test_accuracy"], result["epochs"]) == (0.7, 0.6, 4)
    assert selected(result["curve"]) == ONE


def test_a_mean_over_runs_is_reached_when_all_count() -> None:
    assert reached([ONE, TWO], "val_accuracy", 0.0) == 1.0  # one of them has nothing before
    assert reached([ONE, TWO], "val_accuracy", 0.64) == 2.0
    assert reached([ONE, TWO], "val_accuracy", 0.74) == 4.0
    assert reached([ONE, TWO], "val_accuracy", 0.76) is None
    assert reached([ONE, TWO], "test_accuracy", 0.69) == 1.0  # though less good after
    assert reached([TWO, ONE], "test_accuracy", 0.69) == 1.0

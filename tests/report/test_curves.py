"""Curves: seeds as mean and range, the part of an axis that is shown, and ticks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import made, seeds

from gamlp_admm.report.curves import (
    MeanCurve,
    curve,
    linear_ticks,
    log_ticks,
    logarithmic,
    positive,
    starts_of_stages,
    thinned,
    window,
)
from gamlp_admm.report.reading import run_sets


def line(*values: float) -> MeanCurve:
    return MeanCurve("it", [float(i) for i in range(len(values))], [*values], [*values], [*values])


def test_mean_and_range_of_seeds() -> None:
    (both,) = run_sets(seeds(made(0), made(1, gain=0.04)), "it")
    found = curve(both, "test_accuracy", "test")
    assert found.x == list(range(21))
    assert [h - l for h, l in zip(found.high, found.low, strict=True)] == pytest.approx([0.04] * 21)
    assert found.mean == pytest.approx([(h + l) / 2 for h, l in zip(found.high, found.low, strict=True)])


def test_a_run_that_has_ended_keeps_its_last_value() -> None:
    (both,) = run_sets(seeds(made(0, iterations=5), made(1, iterations=20)), "it")
    found = curve(both, "test_accuracy", "test", x="bytes_sent")
    assert len(found) == 21
    assert found.x[-1] == (5000 + 20000) / 2
    assert found.low[-1] == both.runs[0].columns["test_accuracy"][-1]
    assert found.high[-1] == both.runs[1].columns["test_accuracy"][-1]


def test_what_is_not_measured_has_no_point() -> None:
    (only,) = run_sets(made(), "it")
    assert curve(only, "primal_residual", "primal").x[0] == 1
    assert len(curve(only, "no_such_key", "nothing")) == 0


def test_a_window_leaves_out_how_a_curve_comes_up_but_not_where_it_ends() -> None:
    rising, falling = line(0.1, *[0.9 + 0.001 * i for i in range(40)]), line(*[0.9] * 40, 0.3)
    low, high = window([rising])
    assert 0.89 < low < 0.91
    assert high > max(rising.mean)
    assert window([rising, falling])[0] < 0.3


def test_a_window_is_never_empty() -> None:
    low, high = window([line(0.5)], least=0.02)
    assert low < 0.49
    assert high > 0.51


def test_a_logarithmic_axis_has_no_place_for_zero() -> None:
    assert positive(line(0, 1, -1, 2)).mean == [1, 2]
    assert positive(line(0, 1, 2), of_x=True).x == [1, 2]
    band = positive(MeanCurve("it", [0.0], [1.0], [-1.0], [3.0], 2))
    assert (band.low, band.high) == ([1.0], [3.0])


def test_an_axis_is_logarithmic_where_values_are_positive_and_far_apart() -> None:
    assert logarithmic([line(1, 1.5), line(2, 2.5)]) is None
    assert logarithmic([line(-1, 100)]) is None
    assert logarithmic([line()]) is None
    kept = logarithmic([line(0, 1, 100), line()])
    assert kept is not None
    assert [each.mean for each in kept] == [[1, 100], []]


def test_thinning_keeps_ends_and_peaks() -> None:
    values = [math.sin(i) for i in range(10_000)]
    values[4321] = 7.0
    found = thinned(line(*values), 400)
    assert len(found) <= 402
    assert (found.x[0], found.x[-1], max(found.mean), min(found.mean)) == (0, 9999, 7.0, min(values))
    assert found.x == sorted(found.x)
    assert thinned(line(1, 2, 3)) == line(1, 2, 3)


def test_stages_of_growth() -> None:
    report = made(iterations=3)
    for record, layers in zip(report["history"], (2, 2, 5, 5), strict=True):
        record["layers"] = layers
    assert starts_of_stages(run_sets(report, "it")[0].first) == [(0, 2), (2, 5)]
    assert starts_of_stages(run_sets(made(), "it")[0].first) == []


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_linear_ticks_are_few_and_inside(low: float, width: float) -> None:
    width = max(width, 1e-6 * abs(low))  # else it is lost in rounding
    ticks = linear_ticks(low, low + width)
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-6 * width <= tick <= low + 1.000001 * width for tick in ticks)


@given(st.floats(1e-12, 1e12), st.floats(1.3, 1e15))
def test_logarithmic_ticks_are_few_and_inside(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert 1 <= len(ticks) <= 9
    assert all(low * (1 - 1e-6) <= tick <= low * ratio * (1 + 1e-6) for tick in ticks)

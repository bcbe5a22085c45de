"""The benchmark of speed: what it counts and times is what it says, and what comes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gamlp_admm.bench import speed, speed_cases, timing
from gamlp_admm.bench.speed import measure, report, slope
from gamlp_admm.bench.speed_cases import BASE, CASES, METHODS, Case, Source, SpeedPlan, growing_cases
from gamlp_admm.errors import InputError
from gamlp_admm.report.speed import plot_speed, speed_markdown, speed_tables

SMALL = replace(BASE, layers=3, hidden=16, rows=64, iterations=3)


@pytest.fixture(autouse=True)
def quick_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SQUARES", (8,))
    monkeypatch.setattr(timing, "SECONDS", 0.0)


def test_counts_of_an_iteration_are_those_of_the_formulas() -> None:
    source, N, n = Source.of(SMALL), 64, 16
    hidden, last = 2 * N * n * n, 2 * N * n * 10
    ours = timing.count("pdadmm-g:linesearch", SMALL, source)  # r W, g Wᵀ, rᵀ P, P Gᵀ; features are not updated
    assert (ours.products, ours.operations) == (10, 2 * hidden + 4 * hidden + 4 * last)
    adam = timing.count("adam", SMALL, source)  # forward, and back to weights and inputs, those of features aside
    assert (adam.products, adam.operations) == (8, 2 * hidden + 3 * hidden + 3 * last)
    published = timing.count("published", SMALL, source)
    assert published.products > 3 * 7  # W: three, b: one, z: three, and more for p and in the last layer
    assert published.calls > 0
    state = 4 * N * (2 * n * 4 + 10)  # p, z, q, u of hidden layers, z of the last; there are two of each
    assert state < ours.peak < 8 * 3 * N * n * 4 * 2


def test_counts_do_not_depend_on_the_turn() -> None:
    source = Source.of(SMALL)
    first, second = (timing.count("dladmm", SMALL, source) for _ in range(2))
    assert (first.calls, first.products, first.peak) == (second.calls, second.products, second.peak)


def test_gcn_is_counted_by_its_training_step() -> None:
    case = CASES["karate"]
    source = Source.of(case)
    counts = timing.count("gcn", case, source)
    assert 4 <= counts.products <= 8  # A X W twice, and back
    with pytest.raises(InputError, match="gcn needs a graph"):
        timing.count("gcn", SMALL, Source.of(SMALL))


def test_times_are_of_the_final_depth() -> None:
    case = replace(SMALL, layers=5, grow=True)  # 2 layers, then 5
    turn = timing.train("mdlam", case, Source.of(case), seed=0)
    assert len(turn.steps) == case.iterations - 1
    assert len(turn.points) == case.iterations
    assert turn.points[0].seconds > 0  # of the stage before
    assert min(turn.steps) > 0
    karate = CASES["karate"]
    turn = timing.train("gcn", karate, Source.of(karate), seed=0)
    assert (len(turn.steps), len(turn.points)) == (karate.iterations - 1, karate.iterations)


def test_rows_say_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {0: [1.0, 5.0], 1: [2.0]}
    points = {0: [(1.0, 0.5), (2.0, 0.9)], 1: [(3.0, 0.8)]}

    def train(method: str, case: Case, source: Source, seed: int) -> timing.TrainedOnce:
        found = [timing.Point(seconds, value, 0.0) for seconds, value in points[seed]]
        return timing.TrainedOnce(steps[seed], found, None if seed else 2**20)

    monkeypatch.setattr(speed, "train", train)
    done: list[str] = []
    (row,) = measure("small", replace(SMALL, turns=2, target=0.85), ["adam"], done=done.append)
    assert (row["seconds"], row["iterations"], row["memory_bytes"]) == (2.0, 3, 2**20)
    assert row["target_seconds"] == 3.0  # the mean of .9 and .8
    assert row["peak_rate"] >= row["own_rate"] > 0
    assert (row["rows"], row["layers"], row["hidden"], row["method"]) == (64, 3, 16, "Adam")
    assert done == ["small, adam"] * 2
    (row,) = measure("small", replace(SMALL, turns=1, target=0.95), ["adam"])
    assert row["target_seconds"] is None


def test_slope_is_that_of_the_large() -> None:
    assert slope([100, 200, 400, 800], [1.0, 1.0, 4.0, 16.0]) == pytest.approx(2)
    assert slope([3, 6], [1.0, 2.0]) == pytest.approx(1)
    assert {axis: size for axis, size, _ in growing_cases()} == {"rows": 8000, "layers": 32, "hidden": 512}


def test_report_tables_and_plot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(speed_cases.CASES, "large", SMALL)
    plan = SpeedPlan(("large", "growth"), ["adam", "gcn"], quick=True)
    threads, done = torch.get_num_threads(), list[str]()
    made: dict[str, Any] = report(plan, done=done.append)
    assert torch.get_num_threads() == threads
    assert len(done) == plan.size == 7
    assert [row["method"] for row in made["rows"]] == ["Adam"]  # gcn has no graph there
    assert {*made["slopes"]["Adam"]} == {"rows", "layers", "hidden"}
    text = speed_markdown(made)
    assert "e+0" not in text
    assert text.count("| 64 rows, 3 × 16 | Adam |") == 2
    assert f"slope {made['slopes']['Adam']['rows']:.2f} |" in text
    assert len(speed_tables(made)) == 3
    plot_speed(made, tmp_path / "growth.svg")
    drawn = (tmp_path / "growth.svg").read_text()
    assert drawn.count("<svg") == 1
    with pytest.raises(InputError, match="growth, which was not measured"):
        plot_speed({"rows": made["rows"]}, tmp_path / "growth.svg")


def test_data_that_are_absent_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(case: Case, root: str | None = None) -> Source:
        raise InputError("no such file")

    monkeypatch.setattr(Source, "of", absent)
    with pytest.raises(InputError, match="cora is left out: no such file"):
        report(SpeedPlan(("cora",), ["adam"]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"problems": ("coral",)}, "unknown problem 'coral': did you mean 'cora'"),
        ({"methods": ("sissa",)}, "unknown method 'sissa': did you mean 'sisa'"),
        ({"problems": ("cora", "cora")}, "problems 'cora,cora': allowed: different ones, at least one"),
        ({"target": 1.5}, r"target 1.5: allowed: above 0, up to 1"),
        ({"target": float("nan")}, r"target nan: allowed"),
        ({"problems": ("cora", "large"), "methods": ("gcn",)}, "large: gcn needs a graph"),
        ({"problems": ("growth",), "methods": ("gcn",)}, "growth: gcn needs a graph"),
    ],
)
def test_wrong_input(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpeedPlan(**wrong)


def test_every_method_has_its_title_and_case() -> None:
    assert {*CASES["cora"].methods} == {*METHODS}
    assert all({*case.methods} <= {*METHODS} for case in CASES.values())


def test_a_turn_that_diverges_counts_as_far_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(speed_cases.SETTINGS, "sgd", {"lr": 1e8})
    case = replace(CASES["karate"], iterations=9)
    once = timing.train("sgd", case, Source.of(case), seed=0)
    assert 0 < len(once.points) < 9

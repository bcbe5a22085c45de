"""The search as a whole: its optimum, failures, callbacks, and a graph of one's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from searches import KARATE, NU_AND_MU

from gamlp_admm.datasets import load_dataset
from gamlp_admm.experiment import Experiment
from gamlp_admm.tuning import Step, tune


def test_it_finds_the_optimum_and_repeats(made_up: list[Experiment]) -> None:
    first = tune(KARATE, NU_AND_MU, 40)
    best = first.best
    assert 0.01 < best["nu"] < 0.09
    assert 0.001 < best["mu"] < 0.009
    assert first.trials[0]["standing"]
    assert first.trials[0]["options"]["nu"] == KARATE.resolve().nu
    assert first.winner is not None
    assert first.winner["val_accuracy"] > first.trials[0]["val_accuracy"] + 0.05
    assert {"complete", "failed"} <= {trial["state"] for trial in first.trials}
    assert all(trial["error"] == "too much" for trial in first.trials if trial["state"] == "failed")
    again, other = tune(KARATE, NU_AND_MU, 40), tune(KARATE, NU_AND_MU, 40, sampler_seed=1)
    assert [t["options"] for t in again.trials] == [t["options"] for t in first.trials]
    assert [t["options"] for t in other.trials] != [t["options"] for t in first.trials]


def test_all_failed(made_up: list[Experiment]) -> None:
    with pytest.raises(RuntimeError, match="every trial failed; the first one: too much"):
        tune(replace(KARATE, nu=0.9), {"mu": "0.01:0.1"}, 3)


def test_a_callback_sees_and_ends_it(made_up: list[Experiment]) -> None:
    steps: list[Step] = []

    def watch(step: Step) -> bool:
        steps.append(step)
        return step.done == 3

    found = tune(KARATE, NU_AND_MU, 10, callbacks=[watch])
    assert [(step.phase, step.done, step.total) for step in steps] == [("search", i, 10) for i in (1, 2, 3)]
    assert len(found.trials) == 3
    assert not found.interrupted


def test_no_trial_begins_after_the_time_is_over(made_up: list[Experiment]) -> None:
    assert len(tune(KARATE, NU_AND_MU, 10, timeout=1e-9).trials) == 1


def test_a_graph_of_ones_own() -> None:
    data = load_dataset("karate").data
    found = tune(KARATE, {"features": "sym/1,ppr/5/0.2"}, 3, finalists=1, final_seeds=(0, 1), data=data)
    assert found.best["operator"] in ("sym", "ppr")
    assert "test_mask" in data
    assert data.test_mask.any()
    assert data.x.shape == (34, 34)

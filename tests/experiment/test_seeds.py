"""The same experiment from several seeds."""

import dataclasses

import pytest

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, prepare, run, seeded, summarize

KARATE = Experiment(dataset="karate", operator="sym", hops=2, hidden=8, layers=3, iterations=6, nu=0.1)


def run_seeds(experiment, seeds):
    prepared = prepare(experiment)
    return [run(each, prepared=prepared) for each in seeded(experiment, seeds)]


def test_seeds_share_the_data_and_are_summarized():
    runs = run_seeds(KARATE, [3, 5])
    report = summarize(runs)
    assert [r["seed"] for r in report["runs"]] == [3, 5]
    alone = run(dataclasses.replace(KARATE, seed=5)).report
    assert report["runs"][1]["last"] == alone["last"]
    first, second = (r["best"]["test_accuracy"] for r in report["runs"])
    assert report["summary"]["test_accuracy_mean"] == pytest.approx((first + second) / 2)
    assert report["summary"]["test_accuracy_std"] == pytest.approx(abs(first - second) / 2**0.5)
    assert report["summary"].keys() == {
        f"{prefix}{split}_accuracy_{statistic}"
        for prefix in ("", "last_")
        for split in ("test", "val")
        for statistic in ("mean", "std")
    }
    assert summarize(runs[:1])["summary"]["test_accuracy_std"] == 0


def test_each_seed_has_its_checkpoint(tmp_path):
    base = dataclasses.replace(KARATE, checkpoint=str(tmp_path))
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        run_seeds(dataclasses.replace(base, resume=True), [0])
    first = run_seeds(base, [0])
    plan = seeded(dataclasses.replace(base, resume=True), [0, 1])
    assert [each.resume for each in plan] == [True, False]
    again = run_seeds(dataclasses.replace(base, resume=True), [0, 1])
    assert again[0].report["history"] == first[0].report["history"]
    assert again[1].report["last"]["iteration"] == 6


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_differ(seeds):
    with pytest.raises(InputError, match="seeds"):
        seeded(KARATE, seeds)


@pytest.mark.parametrize("experiment", [KARATE, KARATE.resolve()])
@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, "1"])
def test_each_seed_is_checked(experiment, seed):
    with pytest.raises(InputError, match="seed must be an integer"):
        seeded(experiment, [0, seed])

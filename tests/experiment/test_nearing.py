"""Bytes and seconds to 99 % of the best: of which record, of which depth, by which metric."""

from __future__ import annotations

import pytest
from made_runs import made

from gamlp_admm.experiment.nearing import first_near, spent, target


def test_the_first_record_with_the_score_counts() -> None:
    report = made()
    scores = [record["val_accuracy"] for record in report["history"]]
    expected = next(r for r, score in zip(report["history"], scores, strict=True) if score >= 0.99 * max(scores))
    assert target(report) == pytest.approx(0.99 * max(scores))
    assert first_near(report, target(report)) == expected
    told = spent([report], [report])
    assert (told["bytes_to_99"], told["seconds_to_99"]) == (expected["bytes_sent"], expected["seconds"])


def test_each_seed_has_a_target_of_its_own_and_all_must_come_near() -> None:
    reference = [made(0), made(1, gain=-0.2)]
    slow = [made(0, iterations=5), made(1, gain=-0.2)]
    assert spent(reference, reference)["seeds_at_99"] == 2
    assert spent(slow, reference) == {"seeds_at_99": 1, "bytes_to_99": None, "seconds_to_99": None}
    assert spent([made(7)], reference)["seeds_at_99"] == 0  # a seed that has no reference


def test_shallower_networks_do_not_count_but_their_bytes_do() -> None:
    grown = made()
    for record in grown["history"][:17]:
        record["layers"] = 1
    for record in grown["history"][:5]:
        record["val_accuracy"] = 1.0
    assert spent([grown], [made()])["bytes_to_99"] == 17_000


def test_of_a_loss_less_is_better() -> None:
    report = made() | {"metric": "loss"}
    for record in report["history"]:
        record["val_loss"] = 1 + record["train_loss"]
    lowest = report["history"][-1]["val_loss"]
    assert target(report) == pytest.approx(-1.01 * lowest)
    near = first_near(report, target(report))
    assert near is not None
    assert near["val_loss"] <= 1.01 * lowest < report["history"][near["iteration"] - 1]["val_loss"]


def test_without_validation_nodes_nothing_is_near() -> None:
    report = made()
    for record in report["history"]:
        record["val_accuracy"] = None
    assert target(report) is None
    assert spent([report], [report])["seeds_at_99"] == 0

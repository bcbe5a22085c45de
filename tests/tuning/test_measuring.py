"""What a search measures: on hidden test nodes, kept features, and splits of their own."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from searches import KARATE, NU_AND_MU

from gamlp_admm.datasets import load_dataset
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, run
from gamlp_admm.tuning import measuring, tune
from gamlp_admm.tuning.measuring import Measurer, resplit


def test_test_nodes_are_hidden_and_change_nothing() -> None:
    experiment = Experiment(iterations=10, threads=1)
    measure = Measurer()
    hidden = measure.prepared(experiment)
    assert not hidden.data.test_mask.any()
    report = run(experiment, (), hidden).report
    assert report["best"]["test_accuracy"] is None
    assert {record["test_accuracy"] for record in report["history"]} == {None}
    plain = run(experiment).report
    for key in ("iteration", "val_accuracy"):
        assert report["best"][key] == plain["best"][key]
    assert measure(experiment, [0]).best == [plain["best"]["val_accuracy"]]


def test_features_are_kept_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    prepare = measuring.prepare

    def counted(experiment: Experiment, data: Any) -> Any:
        made.append(experiment.hops)
        return prepare(experiment)

    monkeypatch.setattr(measuring, "prepare", counted)
    measure = Measurer(limit=2 * 34 * 34 * 4)  # karate's features with one hop
    for hops in (0, 0, 1, 0, 1, 3, 1):
        measure.prepared(replace(KARATE, operator="sym", hops=hops))
    assert made == [0, 1, 0, 1, 3, 1]


def test_data_without_validation_nodes() -> None:
    loaded = load_dataset("karate")
    loaded.data.val_mask = torch.zeros_like(loaded.data.val_mask)
    with pytest.raises(InputError, match="no validation nodes"):
        tune(KARATE, NU_AND_MU, 3, data=loaded)


def test_resplits_draw_from_training_and_validation_nodes() -> None:
    data = load_dataset("digits-knn").data
    pool = data.train_mask | data.val_mask
    drawn = [resplit(data, seed) for seed in (0, 0, 1)]
    for each in drawn:
        assert torch.equal(each.train_mask | each.val_mask, pool)
        assert not (each.train_mask & each.val_mask).any()
        before, after = (torch.bincount(data.y[mask]) for mask in (data.train_mask, each.train_mask))
        assert (after <= before).all()
        assert (2 * after <= torch.bincount(data.y[pool]) + 1).all()
    assert torch.equal(drawn[0].train_mask, drawn[1].train_mask)
    assert not torch.equal(drawn[0].train_mask, drawn[2].train_mask)


def test_each_seed_has_its_split_beside_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run(experiment: Experiment, callbacks: Any, prepared: Any) -> Any:
        seen.append((experiment.seed, prepared.data.train_mask.clone(), bool(prepared.data.test_mask.any())))
        accuracy = 0.5 + 0.25 * torch.equal(seen[-1][1], usual)
        return SimpleNamespace(report={"best": {"val_accuracy": accuracy}, "last": {"val_accuracy": accuracy / 2}})

    usual = load_dataset("karate").data.train_mask
    monkeypatch.setattr("gamlp_admm.tuning.measuring.run", run)
    result = tune(KARATE, {"nu": "0.1,0.2"}, 2, seeds=(0, 1), finalists=0, resplit=True)
    assert [seed for seed, *_ in seen] == [0, 0, 1, 1] * (len(seen) // 4)
    for i, (seed, train, _) in enumerate(seen):
        if i % 2 == 0:
            assert torch.equal(train, usual)
        else:
            assert not torch.equal(train, usual)
            assert all(torch.equal(train, other) == (seed == s) for s, other, _ in seen[1::2])
    assert not any(test for *_, test in seen)
    assert result.winner is not None
    assert (result.winner["val_accuracy"], result.winner["last_val_accuracy"]) == (0.625, 0.3125)


def test_resplits_refuse_labels_as_features() -> None:
    with pytest.raises(InputError, match="labels as features belong to the split"):
        tune(replace(KARATE, label_operator="sym"), {"nu": "0.1,0.2"}, 1, resplit=True)

"""Methods that take features row by row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benches import sbm

from gamlp_admm import AugmentFeatures
from gamlp_admm.bench import vectors
from gamlp_admm.bench.vectors import Vectors
from gamlp_admm.training.units import Units


@pytest.fixture(scope="module")
def data() -> Any:
    return AugmentFeatures(hops=2)(sbm())


def train(method: str, data: Any, seed: int = 0) -> dict[str, Any]:
    """Train, and leave out what differs from time to time."""
    rows = Vectors.of(data)
    full = method == "adam-full"
    settings = vectors.FULL_ADAM[-1] if full else vectors.ADAM[-1]
    result = vectors.logistic(rows) if method == "logistic" else vectors.adam(rows, settings, seed, full)
    result["curve"].pop("seconds")
    return {name: value for name, value in result.items() if name != "seconds"}


def test_rows_are_in_the_units_of_training(data: Any) -> None:
    before = data.x.clone()
    rows = Vectors.of(data)
    assert torch.equal(data.x, before)
    assert rows.x["train"].mean(0).abs().max() < 1e-5
    assert rows.x["train"].square().sum(1).mean().item() == pytest.approx(1, rel=1e-5)
    test = data.x[data.test_mask].clone()
    Units.of(data.x[data.train_mask], 30, lambda total: total).measure_(test)
    assert torch.equal(rows.x["test"], test)
    unknown = data.clone()
    unknown.y[unknown.val_mask.nonzero()[:5]] = -1
    assert [len(Vectors.of(unknown).y[split]) for split in ("train", "val", "test")] == [30, 55, 90]


@pytest.mark.parametrize("method", ["logistic", "adam", "adam-full"])
def test_they_learn_and_never_see_test_labels(method: str, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "PATIENCE", 30)  # an epoch is one step here
    state = torch.random.get_rng_state()
    told = train(method, data)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert train(method, data) == told
    assert min(told["val_accuracy"], told["test_accuracy"]) > 0.75  # chance: 1/3
    changed = data.clone()
    changed.y[changed.test_mask] = (changed.y[changed.test_mask] + 1) % 3
    misled = train(method, changed)
    assert misled["curve"]["val_accuracy"] == told["curve"]["val_accuracy"]
    assert misled["test_accuracy"] <= 1 - told["test_accuracy"]


def test_logistic_regression_has_an_evaluation_a_weight(data: Any) -> None:
    result = vectors.logistic(Vectors.of(data), cs=(1e-6, 10.0))
    assert len(result["curve"]["val_accuracy"]) == 2
    assert result["C"] == 10.0
    assert result["curve"]["seconds"][0] < result["curve"]["seconds"][1] == result["seconds"]


def test_adam_ends_when_validation_is_no_longer_better(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "PATIENCE", 3)
    result = vectors.adam(Vectors.of(data), vectors.ADAM[-1], 0)
    values = result["curve"]["val_accuracy"]
    assert len(values) == values.index(max(values)) + 1 + 3
    assert train("adam", data, seed=1) != train("adam", data, seed=2)


def test_all_rows_at_once_are_one_step_an_epoch(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(vectors, "BATCH", 10)
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: steps.append(1) or step(self))
    for method, per_epoch in (("adam", 3), ("adam-full", 1)):
        steps.clear()
        result = train(method, data)
        assert len(steps) == per_epoch * len(result["curve"]["val_accuracy"])

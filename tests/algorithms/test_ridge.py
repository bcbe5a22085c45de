"""Linear ridge regression: the closed form, its path of μ, and how it runs."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from problems import labels, one_hot, rand, randn
from torch import Tensor

from gamlp_admm import GAMLP
from gamlp_admm.admm.linear import Centred, RidgePath
from gamlp_admm.algorithms.ridge import LEAST, MOST, Ridge, tried
from gamlp_admm.cli import main
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, run

SHAPES = [(20, 6), (6, 20), (8, 8)]


def objective(X: Tensor, Y: Tensor, W: Tensor, b: Tensor, mu: float, weight: Tensor | None = None) -> Tensor:
    squares = (X @ W.T + b - Y).square().sum(1)
    return (squares if weight is None else weight * squares).sum() / 2 + mu / 2 * W.square().sum()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mu", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_solutions_are_stationary(shape: tuple[int, int], mu: float, weighted: bool) -> None:
    X, Y = 3 + randn(*shape), one_hot(shape[0], 4)
    weight = rand(shape[0], seed=3) if weighted else None
    W, b = (t.requires_grad_() for t in RidgePath(Centred.of(X, Y, weight)).solve(mu))
    value = objective(X, Y, W, b, mu, weight)
    for gradient in torch.autograd.grad(value, (W, b)):
        assert gradient.abs().max() < 1e-11 * X.square().sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_weight_of_two_is_a_row_twice(shape: tuple[int, int]) -> None:
    X, Y = randn(*shape), one_hot(shape[0], 3)
    weight = torch.ones(shape[0], dtype=X.dtype)
    weight[2] = 2
    twice = RidgePath(Centred.of(torch.cat([X, X[2:3]]), torch.cat([Y, Y[2:3]]))).solve(0.3)
    for a, b in zip(RidgePath(Centred.of(X, Y, weight)).solve(0.3), twice, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_constant_added_to_the_features_changes_no_output() -> None:
    X, Y = randn(9, 5), one_hot(9, 3)
    (W, b), (V, c) = RidgePath(Centred.of(X, Y)).solve(0.1), RidgePath(Centred.of(X + 7, Y)).solve(0.1)
    assert torch.allclose(X @ W.T + b, (X + 7) @ V.T + c, atol=1e-9)


def test_what_is_tried_covers_the_range_ever_finer() -> None:
    assert [tried(k) for k in (1, 2, 3)] == pytest.approx([1.0, 1e-2, 1e2])
    for count in (3, 15, 127):
        places = sorted(math.log10(tried(k)) for k in range(1, count + 1))
        ends = [math.log10(LEAST), *places, math.log10(MOST)]
        gaps = [b - a for a, b in pairwise(ends)]
        assert max(gaps) == pytest.approx(8 / (count + 1))


def data() -> Any:
    x, y = randn(60, 10, dtype=torch.float32), labels(60, 3)
    mask = torch.arange(60) % 3
    return SimpleNamespace(x=x, y=y, train_mask=mask == 0, val_mask=mask == 1, test_mask=mask == 2)


def test_the_model_is_the_one_that_is_best_on_validation() -> None:
    model, given = GAMLP(10, 5, 3, 1), data()
    result = Ridge().fit(model, given, 31)
    assert result.best["val_accuracy"] == max(record["val_accuracy"] for record in result.history)
    hit = model(given.x).argmax(1) == given.y
    assert float(hit[given.val_mask].double().mean()) == result.best["val_accuracy"]
    assert float(hit[given.test_mask].double().mean()) == result.best["test_accuracy"]


@pytest.mark.parametrize("columns", [4, 40])  # fewer and more than training rows: then features are compressed
def test_a_fit_is_the_closed_form_in_the_features_units(columns: int) -> None:
    given = data()
    given.x = 5 + 3 * randn(60, columns)
    model = GAMLP(columns, 5, 3, 1).double()
    result = Ridge(mu=0.2).fit(model, given, 1)
    X = given.x[given.train_mask]
    length = (X - X.mean(0)).square().sum(1).mean().sqrt()
    W, b = RidgePath(Centred.of(X / length, torch.eye(3).double()[given.y[given.train_mask]])).solve(0.2)
    assert torch.allclose(model(given.x), given.x / length @ W.T + b, atol=1e-9)
    Y = torch.eye(3).double()[given.y[given.train_mask]]
    assert result.history[0]["objective"] == pytest.approx(float(objective(X / length, Y, W, b, 0.2)))


def test_an_experiment_resumes_to_the_same_bits(tmp_path: Path) -> None:
    base = Experiment(dataset="karate", algorithm="ridge", iterations=6)
    used = base.resolve()
    assert (used.layers, used.grow, used.mu, used.nu) == (1, "none", None, None)
    whole = run(used)
    run(Experiment(dataset="karate", algorithm="ridge", iterations=3, checkpoint=str(tmp_path)))
    resumed = run(Experiment(dataset="karate", algorithm="ridge", iterations=6, checkpoint=str(tmp_path), resume=True))
    for a, b in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed.report["best"] == whole.report["best"]


def test_what_ridge_does_not_do() -> None:
    with pytest.raises(InputError, match="num_layers 1, not 2"):
        Ridge().fit(GAMLP(10, 5, 3, 2), data(), 1)
    with pytest.raises(InputError, match="mu must be positive, not 0"):
        Ridge(mu=0.0)
    with pytest.raises(InputError, match="layers 3: ridge trains networks of 1 layer alone"):
        Experiment(algorithm="ridge", layers=3).resolve()
    with pytest.raises(InputError, match=r"grow 2,5: ridge trains networks of 1 layer alone"):
        Experiment(algorithm="ridge", grow="2,5").resolve()
    with pytest.raises(InputError, match="nu does not apply to ridge"):
        Experiment(algorithm="ridge", nu=0.1).resolve()
    with pytest.raises(InputError, match="ridge runs in one process"):
        Experiment(algorithm="ridge", processes=2).resolve()


def test_a_search_for_its_features(capsys: pytest.CaptureFixture[str]) -> None:
    search = ["tune", "--dataset", "karate", "--algorithm", "ridge", "--trials", "2", "--finalists", "0"]
    assert main([*search, "--iterations", "3", "--json", "-", "--quiet"]) == 0
    space = json.loads(capsys.readouterr().out)["space"]
    assert {"features", "component_power"} <= space.keys()
    assert "layers" not in space


def test_ridge_is_hard_to_beat_on_the_digits() -> None:
    assert run(Experiment(algorithm="ridge", iterations=15)).report["best"]["test_accuracy"] > 0.9

"""The recipe as published is the algorithm as the tests write it out, and a trainer like the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from problems import F64, forward_state, one_hot, randn, random_problem, random_weights, reference_iteration

from gamlp_admm import GAMLP, AugmentFeatures, load_dataset
from gamlp_admm.bench import published
from gamlp_admm.bench.published import (
    AsPublished,
    LayerState,
    backtrack,
    decay,
    forward,
    growing,
    iterate,
    update_z_last,
)
from gamlp_admm.nn import risk


@pytest.mark.parametrize("scale", [0.7, 3.0])  # with the larger one τ is doubled
def test_iterations_are_those_of_the_reference(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "TOLERANCE", -1.0)
    monkeypatch.setattr(published, "STEPS", 300)
    settings = {"rho": 2.0, "nu": 2.0, "mu": 0.05, "rule": "backtracking"}
    x, weights, problem = random_problem((5, 6, 6, 3), rows=12, scale=scale, **settings)
    layers, expected = forward(x, weights), forward_state(x, weights, torch.relu)
    for _ in range(3):
        iterate(layers, problem.y, problem.risk, 2.0, 0.05)
        expected = reference_iteration(expected, problem)
    for name in "PWbZ":
        for layer, other in zip(layers, getattr(expected, name), strict=True):
            torch.testing.assert_close(getattr(layer, name), other, rtol=1e-6, atol=1e-8)
    for name in "QU":
        for layer, other in zip(layers[:-1], getattr(expected, name), strict=True):
            torch.testing.assert_close(getattr(layer, name), other, rtol=1e-6, atol=1e-8)


def test_fista_ends_near_the_prox() -> None:
    P, y, R = randn(20, 4), one_hot(20, 3), risk("cross_entropy")
    ((W, b),) = random_weights((4, 3))
    layer = LayerState(P, W, b, randn(20, 3, seed=1))
    z, best = update_z_last(layer, y, R, 0.5), R.prox(layer.m, y, 0.5, layer.m)

    def value(z: torch.Tensor) -> float:
        return float(R.value(z, y) + 0.25 * (z - layer.m).square().sum())

    assert value(best) <= value(z) <= value(best) + 0.02 < value(layer.Z)


def test_backtracking_doubles_and_gives_up() -> None:
    x = torch.ones(3, dtype=F64)
    for curvature, tau in ((1.0, 20), (100.0, 160)):  # the first of 20, 40, … that is large enough

        def value(v: torch.Tensor, curvature: float = curvature) -> torch.Tensor:
            return curvature / 2 * v.square().sum()

        assert torch.allclose(backtrack(value, x, value(x), curvature * x), x - curvature * x / tau)
    steep = torch.tensor(1e9, dtype=F64)
    assert backtrack(lambda v: steep * v.square().sum(), x, 3 * steep, 2 * steep * x) is x


def test_penalties_grow_where_the_loss_stalls() -> None:
    factor = growing(1e-4)
    records = [{"train_loss": loss} for loss in (2.0, 1.5, 1.4, 1.3995, 1.3994, 1.0)]
    assert [factor(records[:k], k) for k in range(7)] == [1, 1, 1, 1, 1, 10, 10]
    assert factor([{"train_loss": 1.0}] * 50, 50) == pytest.approx(1e4)


def test_as_a_trainer() -> None:
    data = AugmentFeatures(2)(load_dataset("karate").data)
    model = GAMLP(data.num_features, 8, 4, 2, init="normal")
    result = AsPublished(nu=1e-2, mu=1e-2).fit(model, data, 5, seed=0)
    last = result.history[-1]
    assert last["bytes_sent"] == 5 * 3 * 4 * 8 * int(data.train_mask.sum())  # p, q and u in 32 bits
    assert last["objective"] > 0
    assert last["primal_residual"] > 0
    assert last["dual_residual"] is None
    assert AsPublished.grows


def test_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    data, weights = load_dataset("karate").data, []
    for steps in ((6,), (3, 6)):
        folder = tmp_path / str(len(steps))
        for k in steps:
            model = GAMLP(data.num_features, 8, 4, 3, init="normal")
            AsPublished().fit(model, data, k, seed=0, checkpoint_dir=folder, resume=k > 3 and len(steps) > 1)
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_weight_decay_falls_with_depth() -> None:
    assert [decay(layers) for layers in (1, 2, 4, 5, 10, 50)] == [10, 10, 10, 1, 0.01, 0.01]

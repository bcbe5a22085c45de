"""Deep networks and penalties: what weight decay does to a layer, and that the defaults need no tuning.

What units, growth and decay are in themselves is in test_units.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from statistics import fmean
from typing import Any

import pytest
import torch
from problems import F64, make_problem, one_hot, randn
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import stochastic_blockmodel_graph

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms.common import update_W
from gamlp_admm.algorithms.pdadmm import DECAYS
from gamlp_admm.datasets import load_dataset
from gamlp_admm.training.result import Result
from gamlp_admm.transforms import AugmentFeatures

# --- the W-block is a ridge regression ------------------------------------------------------------------------


def fitted_weights(P: Tensor, T: Tensor, ridge: float, nu: float, decay_to: str) -> Tensor:
    """Return the exact W of a hidden layer with inputs P and targets T, whatever weights it had."""
    problem = make_problem(P, one_hot(len(P), 3), nu=nu, mu=ridge * nu, rule="exact")
    n = P.shape[1]
    W, empty = randn(1, n, n, seed=5), P.new_zeros(1, len(P), n)
    block = Block(1, P[None], W, P.new_zeros(1, n), empty, P @ W.mT, q=empty, u=empty)
    found, _ = update_W(block, W, block.M, T[None], nu, replace(problem, regularizer=DECAYS[decay_to]))
    return found[0]


@pytest.mark.parametrize("nu", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("ridge", [0.1, 100.0])
def test_the_w_block_is_a_ridge_regression_of_mu_over_nu(ridge: float, nu: float) -> None:
    P, T = randn(12, 5), randn(12, 5, seed=1)
    expected = torch.linalg.solve(P.T @ P + ridge * torch.eye(5, dtype=F64), P.T @ T).T
    assert torch.allclose(fitted_weights(P, T, ridge, nu, "zero"), expected, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.1, 100.0])
def test_decay_to_the_identity_is_decay_of_the_residual_branch(ridge: float) -> None:
    P, T = randn(12, 5), randn(12, 5, seed=1)
    branch = fitted_weights(P, T - P, ridge, 0.3, "zero")
    expected = torch.eye(5, dtype=F64) + branch
    assert torch.allclose(fitted_weights(P, T, ridge, 0.3, "identity"), expected, atol=1e-9)


def test_a_layer_that_has_nothing_to_do_shrinks_its_input_unless_it_decays_to_the_identity() -> None:
    P = torch.nn.functional.normalize(randn(140, 5))
    s = torch.linalg.svdvals(P)
    W = fitted_weights(P, P, 100.0, 1e-4, "zero")  # μ = 0.01 at ν = 1e-4
    assert torch.linalg.svdvals(W) == pytest.approx((s**2 / (s**2 + 100)).tolist())
    assert torch.linalg.norm(P @ W.T) < 0.3 * torch.linalg.norm(P)
    assert torch.allclose(fitted_weights(P, P, 100.0, 1e-4, "identity"), torch.eye(5, dtype=F64), atol=1e-9)


# --- whole runs -----------------------------------------------------------------------------------------------


@cache
def blocks_of_nodes(distance: float = 2.0, seed: int = 0) -> Data:
    """Return a stochastic block model of four blocks: 15 nodes a class train, 150 validate, the other 390 test."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        probabilities = torch.full((4, 4), 0.01) + 0.03 * torch.eye(4)
        edge_index = stochastic_blockmodel_graph([150] * 4, probabilities)
    y = torch.arange(600) // 150
    means = torch.nn.functional.normalize(randn(4, 16, seed=seed)) * distance
    x = (randn(600, 16, seed=seed + 1) + means[y]).float()
    place = torch.randperm(150, generator=torch.Generator().manual_seed(seed)).repeat(4)
    val = (place >= 15) & (place < 53)
    data = Data(x=x, y=y, edge_index=edge_index, train_mask=place < 15, val_mask=val, test_mask=place >= 53)
    return AugmentFeatures(operator="ppr", hops=5)(data)


def fitted(data: Any, layers: int, seed: int = 0, iterations: int = 25, **settings: Any) -> tuple[Result, GAMLP]:
    init = settings.pop("init", "kaiming")
    model = GAMLP(data.num_features, 24, int(data.y.max()) + 1, layers, init=init)
    return PdADMMG(**settings).fit(model, data, iterations, seed=seed), model


def rescaled(data: Data, factor: float, shift: float) -> Data:
    changed = data.clone()
    changed.x = factor * data.x + shift * factor
    return changed


PAIRS = [(1e-2, 0.1), (1e-3, 0.1), (1e-1, 0.1), (1.0, 0.1), (1e-2, 0.03), (1e-2, 0.3), (1e-3, 0.3), (1e-1, 0.03)]
"""ν and μ/ν, the defaults first."""


def test_defaults_are_within_two_points_of_a_grid() -> None:
    # With weaker features, or μ/ν up to 1, the best of a grid is further away: docs/depth.md.
    graphs = [blocks_of_nodes(1.5, seed) for seed in range(2)]
    found = [[fitted(data, 10, nu=nu, mu=ratio * nu)[0].best for data in graphs] for nu, ratio in PAIRS]
    val, test = ([fmean(best[f"{split}_accuracy"] for best in row) for row in found] for split in ("val", "test"))
    assert test[0] == fmean(fitted(data, 10)[0].best["test_accuracy"] for data in graphs)
    assert test[0] > 0.8
    assert test[0] >= test[val.index(max(val))] - 0.02
    flat = [accuracy for (_, ratio), accuracy in zip(PAIRS, test, strict=True) if ratio == 0.1]
    assert max(flat) - min(flat) < 0.02


@pytest.mark.parametrize(("factor", "shift"), [(1e3, 1.0), (1e-3, -2.0), (0.3, 10.0)])
def test_rescaled_features_train_alike(factor: float, shift: float) -> None:
    data = blocks_of_nodes(1.5)
    expected, found = (fitted(each, 10)[0] for each in (data, rescaled(data, factor, shift)))
    assert found.history[-1]["objective"] == pytest.approx(expected.history[-1]["objective"], rel=0.05)
    assert found.best["test_accuracy"] == pytest.approx(expected.best["test_accuracy"], abs=0.02)


@pytest.mark.parametrize("layers", [10, 20])
def test_deep_networks_are_about_as_good_as_shallow_ones(layers: int) -> None:
    data = AugmentFeatures(hops=2)(load_dataset("digits-knn").data)
    shallow, deep = (fitted(data, depth, iterations=20)[0] for depth in (2, layers))
    assert shallow.last["test_accuracy"] > 0.9
    assert deep.last["test_accuracy"] > shallow.last["test_accuracy"] - 0.03


@torch.no_grad()
def signal(model: GAMLP, x: Tensor) -> float:
    """Return how far apart rows are before the last layer: the root mean square distance from their mean."""
    for layer in model.linears[:-1]:
        x = model.f(layer(x))
    return float((x - x.mean(0)).square().sum(1).mean().sqrt())


@pytest.mark.parametrize("scale", ["unit", "none"])
def test_a_fixed_weight_decay_is_what_collapses_at_a_small_penalty(scale: str) -> None:
    data = blocks_of_nodes()
    papers = {"nu": 1e-4, "decay_to": "zero", "init": "normal", "scale": scale, "iterations": 60}
    fixed, dead = fitted(data, 10, mu=1e-2, **papers)
    following, alive = fitted(data, 10, mu=1e-5, **papers)
    rows = data.x[data.train_mask]
    assert fixed.history[-1]["objective"] < 0.01 * 60 * fixed.history[-1]["train_loss"]  # it looks excellent
    assert signal(dead, rows) < 1e-3 < 0.1 < signal(alive, rows)
    assert fixed.last["train_accuracy"] < 0.4 < 0.8 < following.last["train_accuracy"]


def test_fifty_layers_with_strong_decay() -> None:
    data = blocks_of_nodes()
    zero, identity = (fitted(data, 50, nu=1e-2, mu=1e-2, decay_to=to)[0].last for to in ("zero", "identity"))
    assert identity["train_accuracy"] > zero["train_accuracy"] + 0.2

"""Growth: its stages and the layers that it inserts; and deep networks, whose defaults need no tuning."""

from __future__ import annotations

from functools import cache
from statistics import fmean
from typing import Any

import pytest
import torch
from problems import blobs, randn
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import stochastic_blockmodel_graph

from gamlp_admm import GAMLP, DlADMM, PdADMMG
from gamlp_admm.algorithms import trainer
from gamlp_admm.datasets import load_dataset
from gamlp_admm.errors import InputError
from gamlp_admm.nn import Network, activation
from gamlp_admm.training.growth import depths, grown_from, kept, passing
from gamlp_admm.training.result import Result
from gamlp_admm.training.trainer import Trainer
from gamlp_admm.transforms import AugmentFeatures

# --- planning -------------------------------------------------------------------------------------------------


def test_depths() -> None:
    assert depths(None, 7) == [7]
    assert depths((), 7) == [7]
    assert depths((2, 5, 10), 10) == [2, 5, 10]
    for grow in [(2, 5), (5, 2, 10), (1, 10), (2, 2, 10), (2, 11), (10, 10), (0, 10)]:
        with pytest.raises(InputError, match=r"grow \[.*\] must rise from at least 2 layers to the model's 10"):
            depths(grow, 10)


def test_new_layers_go_in_before_the_last() -> None:
    assert grown_from(5, 2) == [0, None, None, None, 1]
    assert grown_from(4, 4) == [0, 1, 2, 3]
    assert grown_from(1, 1) == [0]


def test_what_a_shallower_network_has_of_a_deeper_one() -> None:
    for depth, before in ((5, 2), (4, 4), (1, 1), (10, 5)):
        assert kept(depth, before) == [l for l, source in enumerate(grown_from(depth, before)) if source is not None]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("f", ["relu", "hardtanh"])
def test_passing_layers_pass_on_what_a_layer_hands_them(f: str, residual: bool) -> None:
    network = Network(activation(f), residual)
    a = network.f(randn(4, 5))
    W, b = passing(network, (5, 5), a)
    assert W.dtype == a.dtype
    assert torch.equal(network.output(a @ W.T + b, a), a)


def deep(num_layers: int) -> GAMLP:
    return GAMLP(8, 6, 3, num_layers, init="kaiming").double()


# --- growth unless something else is asked for ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fitted", "layers", "seed", "grow", "stages"),
    [
        (PdADMMG(), 7, 0, "auto", [2, 5, 7]),
        (DlADMM(), 5, 0, "auto", [2, 5]),
        (PdADMMG(), 4, 0, "auto", [4]),
        (PdADMMG(), 7, None, "auto", [7]),  # the model's own weights: nothing to grow
        (PdADMMG(), 7, 0, None, [7]),
        (PdADMMG(), 7, 0, (3, 7), [3, 7]),
        (trainer("adam"), 7, 0, "auto", [7]),
    ],
)
def test_growth_unless_something_else_is_asked_for(
    fitted: Trainer, layers: int, seed: int | None, grow: Any, stages: list[int]
) -> None:
    result = fitted.fit(deep(layers), blobs(), 2, seed=seed, grow=grow)
    assert [r["layers"] for r in result.history[::2]] == stages


def test_growth_by_another_name() -> None:
    with pytest.raises(InputError, match="grow"):
        PdADMMG().fit(deep(7), blobs(), 2, seed=0, grow="always")


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

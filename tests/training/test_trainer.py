"""Trainers: the same seed gives the same bits, settings, weights of rows, and that they learn."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fitting import TRAINERS, accuracy, network, parameters, same, timeless
from problems import F64, blobs, rand
from torch import Tensor

from gamlp_admm import GAMLP, Backprop, PdADMM, PdADMMG
from gamlp_admm.algorithms import trainer
from gamlp_admm.errors import InputError, InputWarning

# --- determinism --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [8, 50])
@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
@pytest.mark.parametrize("name", TRAINERS)
def test_same_seed_same_bits(name: str, dtype: torch.dtype, columns: int) -> None:
    runs = []
    for attempt in range(2):
        torch.manual_seed(attempt)  # what the global generator holds does not matter
        model = GAMLP(columns, 6, 3, 4, init="kaiming").to(dtype)
        result = TRAINERS[name].fit(model, blobs(columns=columns, dtype=dtype), 4, seed=7, grow=(2, 4))
        runs.append((timeless(result), parameters(model)))
    assert runs[0][0] == runs[1][0]
    assert same(runs[0][1], runs[1][1])


def test_another_seed_other_weights() -> None:
    models = [network(), network()]
    for seed, model in enumerate(models):
        TRAINERS["pdadmm-g"].fit(model, blobs(), 2, seed=seed)
    assert not same(parameters(models[0]), parameters(models[1]))


# --- settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"algorithm": "pdadm"}, r"unknown algorithm 'pdadm': did you mean 'pdadmm'\?"),
        ({"algorithm": "adam", "rho": 1.0}, "rho does not apply to adam; it takes "),
        ({"algorithm": "pdadmm-g", "lr": 1.0}, "lr does not apply to pdadmm-g"),
        ({"algorithm": "pdadmm-g", "rho": 0.0}, "rho must be positive"),
        ({"algorithm": "pdadmm-g", "nu": float("nan")}, "nu must be positive"),
        ({"algorithm": "pdadmm-g", "tau": float("inf")}, "tau inf: allowed: from"),
        ({"algorithm": "pdadmm-g", "mu": -1.0}, "mu must not be negative"),
        ({"algorithm": "pdadmm-g", "solver": "newton"}, "unknown solver 'newton'"),
        ({"algorithm": "pdadmm-g", "schedule": "every:x"}, "schedule 'every:x'"),
        ({"algorithm": "sgd", "lr": -1.0}, "lr must be positive"),
        ({"algorithm": "sgd", "weight_decay": -1.0}, "weight_decay must not be negative"),
    ],
)
def test_bad_settings(settings: dict[str, Any], names: str) -> None:
    with pytest.raises(InputError, match=names):
        trainer(**settings)


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="unknown optimizer"):
        Backprop("adm")
    with pytest.raises(InputError, match="unknown loss"):
        PdADMM(loss="hinge").fit(network(), blobs(), 1)


# --- weights of rows ----------------------------------------------------------------------------------------


def doubled(data: SimpleNamespace, rows: Tensor) -> SimpleNamespace:
    """Return the data with some training nodes twice."""

    def twice(t: Tensor, fill: bool | None = None) -> Tensor:
        extra = t[rows] if fill is None else torch.full((len(rows),), fill)
        return torch.cat([t, extra])

    return SimpleNamespace(
        x=twice(data.x), y=twice(data.y), train_mask=twice(data.train_mask, True),
        val_mask=twice(data.val_mask, False), test_mask=twice(data.test_mask, False),
    )  # fmt: skip


def test_a_weight_of_two_is_a_row_twice() -> None:
    data, rows = blobs(), torch.arange(6)
    weight = torch.ones(60, dtype=F64)
    weight[rows] = 2
    a, b = network(), network()
    one = Backprop("sgd", lr=0.1).fit(a, data, 10, node_weight=weight, select="last")
    two = Backprop("sgd", lr=0.1).fit(b, doubled(data, rows), 10, select="last")
    assert all(torch.allclose(s, t, atol=1e-12) for s, t in zip(a.parameters(), b.parameters(), strict=True))
    for s, t in zip(one.history, two.history, strict=True):
        assert s["train_loss"] == pytest.approx(t["train_loss"])


@pytest.mark.parametrize("name", ["pdadmm-g", "exact", "sgd"])
def test_class_weights_are_node_weights(name: str) -> None:
    data, a, b, c = blobs(), network(), network(), network()
    y = data.y[data.train_mask]
    of_class = 30 / (3 * torch.bincount(y).double())
    replace(TRAINERS[name], class_weight="balanced").fit(a, data, 5)
    replace(TRAINERS[name], class_weight=of_class).fit(b, data, 5)
    TRAINERS[name].fit(c, data, 5, node_weight=of_class[data.y])
    assert same(parameters(a), parameters(b))
    assert same(parameters(a), parameters(c))
    plain = network()
    TRAINERS[name].fit(plain, data, 5)
    assert not same(parameters(a), parameters(plain))


@pytest.mark.parametrize("name", ["pdadmm-g", "sgd"])
def test_nodes_of_weight_zero_teach_nothing(name: str) -> None:
    data, a, b = blobs(), network(), network()
    weight = torch.ones(60, dtype=F64)
    weight[:5] = 0
    TRAINERS[name].fit(a, data, 5, node_weight=weight, select="last")
    data.y[:5] = (data.y[:5] + 1) % 3
    with_warning = set(data.y[:30].tolist()) == {0, 1, 2}
    assert with_warning
    TRAINERS[name].fit(b, data, 5, node_weight=weight, select="last")
    assert same(parameters(a), parameters(b))


# --- it learns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", "squared_hinge", "binary_cross_entropy"])
def test_learning(loss: str) -> None:
    data, model = blobs(n=120, seed=3), network(2)
    result = PdADMMG(rho=0.1, nu=0.1, mu=1e-3, loss=loss).fit(model, data, 60)
    assert result.history[-1]["train_loss"] < 0.5 * result.history[0]["train_loss"]
    assert accuracy(model, data, "test_mask") > 0.8
    assert result.best["test_accuracy"] == accuracy(model, data, "test_mask")  # of nodes, whatever the risk
    assert accuracy(model, data, "test_mask") > accuracy(network(2), data, "test_mask")


def test_regression() -> None:
    data, model = blobs(n=120), GAMLP(8, 10, 2, 2, init="kaiming").double()
    data.y = torch.stack([data.x[:, 0].abs(), data.x[:, 1] - data.x[:, 2]], 1)
    result = PdADMMG(rho=1.0, nu=1.0, mu=1e-3, loss="squared_error", solver="exact").fit(model, data, 150, seed=0)
    assert result.best["val_accuracy"] > 0.8  # R²


def test_several_labels() -> None:
    data, model = blobs(n=120), GAMLP(8, 10, 4, 2, init="kaiming").double()
    data.y = (data.x[:, :4] > 0).long()
    result = PdADMMG(rho=0.1, nu=0.1, mu=1e-3, loss="binary_cross_entropy").fit(model, data, 100, seed=0)
    assert result.best["test_accuracy"] > 0.85


def test_a_class_without_training_nodes_is_warned_of() -> None:
    data = blobs()
    data.train_mask &= data.y != 1
    with pytest.warns(InputWarning, match="no training node has class 1"):
        TRAINERS["pdadmm-g"].fit(network(), data, 1)


@pytest.mark.parametrize("name", ["pdadmm-g", "exact"])
@pytest.mark.parametrize("train", [1, 2])
def test_one_training_node(train: int, name: str) -> None:
    data = blobs()
    data.train_mask = torch.arange(60) < train
    with pytest.warns(InputWarning, match="no training node has class"):
        result = TRAINERS[name].fit(network(4), data, 5, node_weight=rand(60))
    assert math.isfinite(result.history[-1]["objective"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("columns", [8, 50])
@pytest.mark.parametrize("name", ["pdadmm-g", "exact", "backtracking", "adam"])
def test_a_gpu_gives_the_same_iterates(name: str, columns: int) -> None:
    data, here, there = blobs(columns=columns), network(5, columns), network(5, columns).cuda()
    wanted = TRAINERS[name].fit(here, data, 10, grow=(2, 5), select="last")
    result = TRAINERS[name].fit(there, data, 10, grow=(2, 5), select="last")
    for a, b in zip(wanted.history, result.history, strict=True):
        assert b["objective"] == pytest.approx(a["objective"], rel=1e-6)
    pairs = zip(here.parameters(), there.parameters(), strict=True)
    assert all(torch.allclose(s, t.cpu(), atol=1e-6) for s, t in pairs)

"""A row of weight k is k rows, and one of weight 0 is none, whatever the algorithm, the solver and the depth."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, blobs, rand, random_problem, start
from torch import Tensor

from gamlp_admm import GAMLP, Result
from gamlp_admm.admm.blocks import RULES
from gamlp_admm.admm.engine import iterate
from gamlp_admm.admm.stacked import inner_products, squared_columns, squared_distances, squared_norms
from gamlp_admm.algorithms import dladmm, mdlam, pdadmm, trainer
from gamlp_admm.nn.losses import RISKS
from gamlp_admm.parallel.channel import LocalChannel

WEIGHT = torch.tensor([0.0, 1, 2, 3, 1]).double()


def copied(data: Any, weight: Tensor) -> SimpleNamespace:
    """Return the data with each training row as often as it weighs."""
    times = torch.where(data.train_mask, weight, 1).long()
    return SimpleNamespace(**{name: t.repeat_interleave(times, 0) for name, t in vars(data).items()})


def fit(data: Any, algorithm: str, layers: int, weight: Tensor | None = None, **settings: Any) -> tuple[GAMLP, Result]:
    options = {name: settings.pop(name) for name in ("activation", "residual", "init") if name in settings}
    model = GAMLP(data.x.shape[1], 12, 3, layers, **{"init": "kaiming"} | options).double()
    iterations = settings.pop("iterations", 6)
    plain = trainer(algorithm, **settings)
    return model, plain.fit(model, data, iterations, seed=0, grow=None, node_weight=weight, select="last")


def assert_alike(one: tuple[GAMLP, Result], two: tuple[GAMLP, Result], objective: float = 1.0) -> None:
    """Check that weights and measures are the same to rounding, objectives by a factor."""
    for a, b in zip(one[0].parameters(), two[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8 * float(b.detach().norm()) + 1e-9)
    for r, s in zip(one[1].history, two[1].history, strict=True):
        assert r["objective"] == pytest.approx(objective * s["objective"], rel=1e-8)
        assert r["train_loss"] == pytest.approx(s["train_loss"], rel=1e-8)
        for name in ("val_accuracy", "test_accuracy"):
            assert r[name] == s[name]


def assert_a_weight_is_copies(algorithm: str, layers: int, rows: int = 60, columns: int = 8, **settings: Any) -> None:
    data, weight = blobs(rows, columns), WEIGHT.repeat(rows)[:rows]
    one, two = (
        fit(data, algorithm, layers, weight, **settings),
        fit(copied(data, weight), algorithm, layers, **settings),
    )
    assert_alike(one, two)
    for r, s in zip(one[1].history, two[1].history, strict=True):
        for name in ("primal_residual", "dual_residual"):
            assert (r[name] or 0) == pytest.approx(s[name] or 0, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("layers", "columns"), [(1, 8), (3, 200), (6, 8)])  # of 200 columns, features are compressed
@pytest.mark.parametrize("solver", RULES)
@pytest.mark.parametrize("algorithm", ["pdadmm", "pdadmm-g-q", "dladmm", "mdlam"])
def test_layers_in_any_number(algorithm: str, solver: str, layers: int, columns: int) -> None:
    assert_a_weight_is_copies(algorithm, layers, columns=columns, solver=solver)


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        *(("pdadmm", {"loss": loss}) for loss in RISKS if loss != "cross_entropy"),
        ("pdadmm", {"scale": "none", "residual": True, "activation": "tanh"}),
        ("pdadmm", {"codec": "int8"}),
        ("pdadmm", {"codec": "int4-delta"}),
        ("pdadmm", {"anderson": 3}),
        ("pdadmm", {"batch_size": 1000}),
        ("pdadmm", {"schedule": "stall:2:2:100"}),
        ("pdadmm-g-q", {"rows": 1200}),  # of which some rows give a step's length
        ("dladmm", {"anderson": 3, "iterations": 9}),
        ("dladmm", {"batch_size": 1000}),
        ("dladmm", {"regularizer": "l1"}),
        ("dladmm", {"regularizer": "l1", "solver": "linesearch"}),
        ("dladmm", {"scale": "columns", "columns": 60}),
        ("mdlam", {"anderson": 3}),
        ("mdlam", {"regularizer": "l1", "solver": "exact"}),
        ("mdlam", {"regularizer": "l1", "solver": "linesearch"}),
        ("mdlam", {"rows": 1200}),
        *((name, {}) for name in ("adam", "sgd", "badm", "sisa")),
    ],
)
def test_settings_of_all_kinds(algorithm: str, settings: dict[str, Any]) -> None:
    assert_a_weight_is_copies(algorithm, 3, **settings)


def test_ridge_regression() -> None:
    assert_a_weight_is_copies("ridge", 1)


@pytest.mark.parametrize("algorithm", ["pdadmm", "pdadmm-g-q", "dladmm", "mdlam", "adam"])
@pytest.mark.parametrize("init", ["kaiming", "ridge"])
def test_rows_of_weight_zero_are_not_there(algorithm: str, init: str) -> None:
    data, weight = blobs(), 0.5 + rand(60, seed=3)
    weight[::4] = 0
    left = SimpleNamespace(**{**vars(data), "train_mask": data.train_mask & (weight > 0)})
    one, two = (fit(d, algorithm, 3, weight, init=init) for d in (data, left))
    assert all(torch.equal(a, b) for a, b in zip(one[0].parameters(), two[0].parameters(), strict=True))


@pytest.mark.parametrize("algorithm", ["pdadmm", "dladmm", "mdlam"])
def test_all_weights_times_k_are_weight_decay_divided_by_k(algorithm: str) -> None:
    data, weight = blobs(), 0.5 + rand(60, seed=3)
    k = 7.0
    one, two = fit(data, algorithm, 3, k * weight, mu=0.7), fit(data, algorithm, 3, weight, mu=0.7 / k)
    assert_alike(one, two, objective=k)


def test_a_common_factor_is_none_to_means() -> None:
    data, weight = blobs(), 0.5 + rand(60, seed=3)
    assert_alike(*(fit(data, "adam", 3, k * weight) for k in (1, 8)))


# --- the theorems -----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rule=st.sampled_from(RULES),
    spread=st.floats(0, 3),
    kind=st.sampled_from(["pdadmm", "dladmm", "mdlam"]),
    f=st.sampled_from(["relu", "tanh"]),
)
def test_objectives_fall_whatever_rows_weigh(seed: int, rule: str, spread: float, kind: str, f: str) -> None:
    # Under the conditions for rows of weight 1: those of a row are as many times stronger as the row weighs.
    module, penalties = {
        "pdadmm": (pdadmm, {"rho": 0.5, "nu": 0.1}),
        "dladmm": (dladmm, {"rho": 1.1, "nu": 0.1}),
        "mdlam": (mdlam, {"rho": 0.1, "nu": 0.1, "kind": mdlam.MDLAMProblem, "epsilon": 0.1}),
    }[kind]
    weight = 10 ** (spread * (rand(9, seed=seed + 1) - 0.5))
    x, weights, problem = random_problem([4, 6, 5, 3], 9, seed, rule=rule, f=f, tau=0.1, weight=weight, **penalties)
    state = start(module, x, weights, problem)
    before = torch.inf
    for _ in range(6):
        last, state = state, iterate(state, module.PHASES, problem, LocalChannel())
        objective = float(module.layer_terms(last, state, problem)[0].sum())
        assert objective <= before + 1e-9 * (1 + abs(objective))
        before = objective


# --- sums -------------------------------------------------------------------------------------------------------


def test_weighted_sums_are_those_of_copies() -> None:
    X, Y = rand(2 * 5 * 4).view(2, 5, 4), rand(2 * 5 * 4, seed=1).view(2, 5, 4)
    A, B = (t.repeat_interleave(WEIGHT.long(), 1) for t in (X, Y))
    for weighted, plain in (
        (squared_norms(X, WEIGHT), squared_norms(A)),
        (inner_products(X, Y, WEIGHT), inner_products(A, B)),
        (squared_columns(X, WEIGHT), squared_columns(A)),
        (squared_distances(X, Y, WEIGHT), squared_distances(A, B)),
    ):
        assert weighted.dtype == F64
        torch.testing.assert_close(weighted, plain)

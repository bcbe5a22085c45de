"""Where a run says that convergence is guaranteed, its objective never rises; it does not say so where it may."""

from __future__ import annotations

import random
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from problems import F64, randn

from gamlp_admm import GAMLP, MDLAM, DlADMM, PdADMMG, Result
from gamlp_admm.algorithms import trainer
from gamlp_admm.nn.activations import activation

ACTIVATIONS = ("relu", "leaky_relu", "hardtanh", "tanh", "sigmoid")
LOSSES = ("cross_entropy", "squared_error", "binary_cross_entropy", "squared_hinge")


def fit(draw: random.Random, algorithm: str, **settings: Any) -> Result:
    rows, columns, classes = draw.choice((5, 20)), draw.choice((2, 6, 10)), draw.choice((2, 4))
    x, y = 10 ** draw.uniform(-1, 1) * randn(rows, columns, seed=draw.randint(0, 99)), torch.arange(rows) % classes
    model = GAMLP(columns, 5, classes, draw.randint(1, 4), draw.choice(ACTIVATIONS), draw.choice(("kaiming", "normal")))
    data = SimpleNamespace(x=x, y=y, train_mask=torch.ones(rows, dtype=torch.bool))
    solver = {} if algorithm == "pdadmm-g-q" else {"solver": draw.choice(("linesearch", "exact", "backtracking"))}
    made = trainer(algorithm, **{"loss": draw.choice(LOSSES), **solver, **settings})
    return made.fit(model.to(F64), data, 8, seed=draw.randint(0, 99), grow=None)


def rise(result: Result) -> float:
    """Return the largest rise of the objective, relative to what it was."""
    values = [record["objective"] for record in result.history]
    return max((b - a) / (abs(a) + 1e-9) for a, b in pairwise(values))


def within(draw: random.Random, algorithm: str) -> dict[str, Any]:
    """Return settings under which the algorithm's theorem holds."""
    nu, mu = 10 ** draw.uniform(-3, 2), 10 ** draw.uniform(-3, 1)
    if algorithm == "mdlam":
        return {"rho": nu, "mu": mu, "epsilon": 10 ** draw.uniform(-2, 1), "epsilon_decay": 1.0}
    if algorithm == "dladmm":
        return {
            "rho": draw.choice((4.1, 10, 100)),
            "nu": nu,
            "mu": mu,
            "solver": "linesearch",
            "regularizer": draw.choice(("l1", "l2")),
        }
    return {"rho": nu * draw.choice((5.0, 20, 100)) * 1.3, "nu": nu, "mu": mu}


@pytest.mark.parametrize("algorithm", ["pdadmm-g", "pdadmm-g-q", "dladmm", "mdlam"])
def test_guaranteed_objectives_never_rise(algorithm: str) -> None:
    draw = random.Random(algorithm)
    for _ in range(5):
        result = fit(draw, algorithm, **within(draw, algorithm))
        assert result.converges
        assert "is guaranteed" in str(result.theorem)
        assert rise(result) < 1e-9


@pytest.mark.parametrize(
    ("algorithm", "beyond", "says"),
    [
        ("mdlam", {"epsilon": 1.0, "epsilon_decay": 0.5}, "epsilon shrinks from 1 to 0.001, so convergence is not"),
        ("mdlam", {"epsilon": 1.0, "epsilon_decay": 1.0, "schedule": "every:3:10:1e6"}, "penalties change"),
        ("pdadmm-g", {"rho": 10.0, "nu": 1.0, "schedule": "every:3:10:1e6"}, "penalties change"),
        ("dladmm", {"rho": 4.1, "schedule": "every:3:10:1e6"}, "penalties change"),
        ("pdadmm-g", {"rho": 0.01, "nu": 1.0}, "rho <= max"),
        ("dladmm", {"rho": 0.01}, "rho <= 2 H"),
    ],
)
def test_outside_its_conditions_a_theorem_promises_nothing_and_objectives_do_rise(
    algorithm: str, beyond: dict[str, Any], says: str
) -> None:
    draw = random.Random(0)
    results = [fit(draw, algorithm, **{"loss": "cross_entropy", **beyond}) for _ in range(3)]
    assert not any(result.converges for result in results)
    assert all(says in str(result.theorem) and "not guaranteed" in str(result.theorem) for result in results)
    assert max(rise(result) for result in results) > 1e-6


def test_what_theorems_say_nothing_of() -> None:
    f = activation("relu")
    assert PdADMMG(rho=1.0, nu=0.1, batch_size=5).theorem(f) is None
    assert DlADMM(rho=3.0, batch_size=5).theorem(f) is None
    assert PdADMMG(rho=1.0, nu=0.1, codec="int8").theorem(f) is None
    assert trainer("mdlam", anderson=3).theorem(f) is None
    assert trainer("badm").theorem(f) is None
    assert MDLAM(epsilon=1e-3).converges(f)  # it begins at its smallest
    assert not MDLAM().converges(f)

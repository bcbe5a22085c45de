"""First-layer compression: the same iterates, in the coordinates of the training rows' space."""

from __future__ import annotations

import pytest
import torch
from problems import F64, one_hot, randn, random_weights
from torch import Tensor

from gamlp_admm.algorithms import PdADMMG
from gamlp_admm.nn.activations import activation
from gamlp_admm.nn.losses import risk
from gamlp_admm.nn.network import Network, Weights
from gamlp_admm.parallel.channel import LocalChannel
from gamlp_admm.parallel.team import Team
from gamlp_admm.training.coordinates import CompressedFeatures, Features, compress, compressed_width
from gamlp_admm.training.evaluation import Evaluator
from gamlp_admm.training.rows import NodeData
from gamlp_admm.training.session import Session, Stage

N, EXTRA, COLUMNS = 7, 5, 30  # training rows, other rows, columns
WIDTHS = [COLUMNS, 6, 6, 3]


def rows_of(kind: str) -> Tensor:
    x = randn(N + EXTRA, COLUMNS, seed=1)
    if kind == "equal rows":
        x[1:3] = x[0]
    elif kind == "dependent rows":
        x[:N] = randn(N, 3, seed=2) @ randn(3, COLUMNS, seed=3)
    elif kind == "zero row":
        x[2] = 0
    elif kind == "zero columns":
        x[:, 5:] = 0
    return x


def session(solver: str, mu: float, data: NodeData, features: Features, weights: Weights) -> Session:
    (W, b), *rest = weights
    team = Team()
    team.plan([1.0] * len(weights))
    stage = Stage(
        data=data,
        features=features,
        weights=[(features.enter(W), b), *rest],
        shapes=[(W.shape[0], W.shape[1]) for W, _ in weights],
        risk=risk("cross_entropy"),
        network=Network(activation("relu")),
        num_train=data.num_train,
        team=team,
    )
    return PdADMMG(rho=0.3, nu=0.1, mu=mu, solver=solver, tau=0.5).start(stage)


def outputs(data: NodeData, features: Features, weights: Weights) -> Tensor:
    evaluator = Evaluator(data, risk("cross_entropy"), Network(activation("relu")))
    z = evaluator.outputs(weights, range(len(weights)), features, LocalChannel(), last=True)
    assert z is not None
    return z


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return bool((a - b).abs().max() <= tolerance * (1 + b.abs().max()))


@pytest.mark.parametrize("solver", ["linesearch", "backtracking", "exact"])
@pytest.mark.parametrize("mu", [0.05, 1.0])
@pytest.mark.parametrize("kind", ["full rank", "equal rows", "dependent rows", "zero row", "zero columns"])
def test_iterates_are_those_of_the_uncompressed_run(kind: str, mu: float, solver: str) -> None:
    x, weights = rows_of(kind), random_weights(WIDTHS)
    data = NodeData(x, one_hot(N + EXTRA, 3), (N, EXTRA, 0), None)
    plain, narrow = Features(x[:N], x), compress(x[:N], x, weights[0][0])
    assert isinstance(narrow, CompressedFeatures)
    a, b = session(solver, mu, data, plain, weights), session(solver, mu, data, narrow, weights)
    for _ in range(20):
        a.iterate(1, 1.0)
        b.iterate(1, 1.0)
        (W, bias), *rest = b.weights()
        assert close(narrow.leave(W), a.weights()[0][0], 1e-8)
        pairs = [(bias, a.weights()[0][1]), *zip(sum(rest, ()), sum(a.weights()[1:], ()), strict=True)]
        assert all(close(s, t, 1e-8) for s, t in pairs)
        assert close(b.layer_terms(), a.layer_terms(), 1e-8)
        assert close(outputs(data, narrow, b.weights()), outputs(data, plain, a.weights()), 1e-8)
    assert not close(a.weights()[0][0], weights[0][0], 1e-3)  # there was something to compare


@pytest.mark.parametrize("kind", ["full rank", "equal rows", "dependent rows", "zero row", "zero columns"])
def test_entering_and_leaving(kind: str) -> None:
    x, W = rows_of(kind), randn(6, COLUMNS, seed=4)
    features = compress(x[:N], x, W)
    entered = features.enter(W)
    assert entered.shape == (6, N + 1)
    assert features.train.shape == (N, N + 1)
    assert close(features.leave(entered), W, 1e-12)
    assert close(features.train @ entered.T, x[:N] @ W.T, 1e-12)
    assert close(features.products(entered, 0, N + EXTRA), x @ W.T, 1e-12)
    assert close(features.products(entered, 3, 9), (x @ W.T)[3:9], 1e-12)
    assert close(entered.square().sum(), W.square().sum(), 1e-12)  # norms, hence steps, are the same


def test_any_row_of_the_solver_leaves_as_a_row_of_weights() -> None:
    # What training changes stays in the row space, or scales what lies outside it.
    x, W = rows_of("full rank"), randn(6, COLUMNS, seed=4)
    features = compress(x[:N], x, W)
    entered = randn(6, N + 1, seed=5)
    assert close(features.products(entered, 0, N + EXTRA), x @ features.leave(entered).T, 1e-12)
    assert close(features.enter(features.leave(entered)), entered, 1e-12)


@pytest.mark.parametrize(("n", "columns", "narrower"), [(7, 9, True), (7, 8, False), (7, 7, False), (1, 3, True)])
def test_only_what_gets_narrower_is_compressed(n: int, columns: int, narrower: bool) -> None:
    x, W = randn(n, columns), randn(2, columns, seed=1)
    features = compress(x, x, W)
    assert isinstance(features, CompressedFeatures) == narrower
    assert features.train.shape[1] == compressed_width(n, columns)
    assert torch.equal(features.enter(W), W) != narrower
    assert set(features.state()) == ({"outside"} if narrower else set())


def test_many_rows_are_not_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamlp_admm.training.coordinates.MOST_ROWS", 6)
    x = randn(N, COLUMNS)
    assert not isinstance(compress(x, x, randn(2, COLUMNS)), CompressedFeatures)
    assert compressed_width(N, COLUMNS) == COLUMNS


def test_weights_within_the_row_space() -> None:
    # Nothing lies outside: its direction is zero, not a division by zero.
    x = rows_of("full rank")
    W = randn(4, N, seed=6) @ x[:N]
    W[1] = 0
    features = compress(x[:N], x, W)
    assert torch.isfinite(features.leave(features.enter(W))).all()
    assert close(features.leave(features.enter(W)), W, 1e-10)


def test_compression_in_float32() -> None:
    x, W = rows_of("full rank").float(), randn(6, COLUMNS, seed=4).float()
    features = compress(x[:N], x, W)
    entered = features.enter(W)
    assert features.train.dtype == entered.dtype == torch.float32
    assert close(features.leave(entered).to(F64), W.to(F64), 1e-5)
    assert close(features.products(entered, 0, N + EXTRA).to(F64), x.to(F64) @ W.to(F64).T, 1e-5)

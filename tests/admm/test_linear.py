"""Linear models in closed form: ridge paths, what rows score when left out, majorised risks, sketches."""

from __future__ import annotations

import pytest
import torch
from problems import F64, labels, rand, randn
from torch import Tensor

from gamlp_admm.admm import linear
from gamlp_admm.admm.linear import Centred, LastLayer, RidgePath, extrapolated, gram
from gamlp_admm.nn.losses import RISKS, risk

SHAPES = [(30, 7), (7, 30), (12, 12)]


def path(X: Tensor, T: Tensor, weight: Tensor | None = None) -> RidgePath:
    return RidgePath(Centred.of(X, T, weight))


def objective(X: Tensor, T: Tensor, weight: Tensor, c: float, W: Tensor, b: Tensor) -> Tensor:
    return (weight * (X @ W.T + b - T).square().sum(1)).sum() + c * W.square().sum()


@pytest.fixture(params=["decomposed", "factored"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "factored":
        monkeypatch.setattr(linear, "EIGEN", 0)
    return str(request.param)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("c", [1e-3, 0.3, 20.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_regressions_are_stationary(shape: tuple[int, int], c: float, weighted: bool, way: str) -> None:
    X, T = randn(*shape), randn(shape[0], 3, seed=1)
    weight = rand(shape[0], seed=2) + 0.1 if weighted else torch.ones(shape[0], dtype=F64)
    W, b = (t.requires_grad_() for t in path(X, T, weight if weighted else None).solve(c))
    for gradient in torch.autograd.grad(objective(X, T, weight, c, W, b), (W, b)):
        assert gradient.abs().max() < 1e-9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_row_left_out_scores_what_the_others_predict(shape: tuple[int, int], weighted: bool) -> None:
    X, T, c = randn(*shape), randn(shape[0], 2, seed=1), 0.7 if shape[0] > shape[1] else 30.0
    weight = rand(shape[0], seed=2) + 0.1 if weighted else torch.ones(shape[0], dtype=F64)
    whole = path(X, T, weight)
    W, b = whole.solve(c)
    assert (whole.slack(c) > 0.05).all()  # below which it may be held
    honest = whole.left_out(c, X @ W.T + b, T)
    for i in (0, 3, shape[0] - 1):
        others = torch.arange(shape[0]) != i
        V, a = path(X[others], T[others], weight[others]).solve(c)
        assert torch.allclose(honest[i], V @ X[i] + a, atol=1e-9)


def test_rows_that_are_fitted_exactly_are_honest_too() -> None:
    # 30 rows of 200 columns: the regression gives every row its target, whatever the others would say of it.
    X, T, c = randn(30, 200), randn(30, 2, seed=1), 0.1
    near = path(X.float(), T.float())
    W, b = near.solve(c)
    scores = X.float() @ W.T + b
    assert (scores - T).abs().max() < 1e-2
    honest = near.left_out(c, scores, T.float()).double()
    for i in (0, 3, 29):
        others = torch.arange(30) != i
        V, a = path(X[others], T[others]).solve(c)
        assert torch.allclose(honest[i], V @ X[i] + a, atol=1e-2)


@pytest.mark.parametrize("shape", [(300, 40), (40, 300)])
def test_projected_leverages_are_near_the_exact_ones(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    X, T = randn(*shape), randn(shape[0], 2, seed=1)
    exact = path(X, T).slack(50.0)
    monkeypatch.setattr(linear, "EIGEN", 0)
    guess = path(X, T).slack(50.0)
    near = 1 - exact if shape[0] > shape[1] else exact  # what the projections are of
    assert ((guess - exact).abs() / near).mean() < 0.12


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("wide", [False, True])
def test_gram_matrices_below_the_diagonal(dtype: torch.dtype, wide: bool) -> None:
    A = randn(9, 6, dtype=dtype)
    assert torch.allclose(gram(A, wide).tril(), (A @ A.T if wide else A.T @ A).tril(), atol=1e-5)


def test_shards_solve_what_the_whole_does() -> None:
    X, T, weight = randn(20, 5), randn(20, 2, seed=1), rand(20, seed=2) + 0.1
    W, b = path(X, T, weight).solve(0.4)
    total, parts = weight.sum(), (slice(0, 12), slice(12, 20))
    # Centred by the means of all rows, as row sums give them, Gram matrices of shards add up.
    center, target = weight @ X / total, weight @ T / total
    roots = [weight[p].sqrt()[:, None] for p in parts]
    rows = [
        Centred((X[p] - center) * root, (T[p] - target) * root, center, target, weight[p] / total)
        for p, root in zip(parts, roots, strict=True)
    ]
    H = sum((gram(part.A, False) for part in rows), torch.zeros(5, 5, dtype=F64))
    AtB = sum((part.A.T @ part.B for part in rows), torch.zeros(5, 2, dtype=F64))
    for part in rows:
        sums = iter([AtB])
        shard = RidgePath(part, H, lambda own, sums=sums: next(sums), divided=True)
        V, a = shard.solve(0.4)
        assert torch.allclose(V, W)
        assert torch.allclose(a, b)


@pytest.mark.parametrize("loss", RISKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_majorised_risks_reach_their_minimum(loss: str, weighted: bool) -> None:
    X, the_risk = randn(40, 5), risk(loss)
    y = the_risk.target(labels(40, 3, seed=1), 3, F64)
    weight = rand(40, seed=2) + 0.1 if weighted else None
    layer = LastLayer(X, y, the_risk, weight, lambda x: x)
    c, L = 0.3, layer.factor(0.3)
    values = []

    def value(W: Tensor, b: Tensor) -> Tensor:
        fit = the_risk.value(layer.X @ W.T + b, y, weight)
        return fit + c * the_risk.smoothness / 2 * W.square().sum()

    def seen(W: Tensor, b: Tensor) -> bool:
        values.append(float(value(W, b)))
        return False

    W, b = extrapolated(lambda W, b: layer.risk_step(L, c, W, b), *layer.ridge(L), 400, seen)
    gradients = torch.autograd.grad(value(W.requires_grad_(), b.requires_grad_()), (W, b))
    assert max(float(g.abs().max()) for g in gradients) < 1e-5
    assert values[-1] <= values[0]
    V, a = layer.entered(W.detach(), b.detach())
    assert torch.allclose(X @ V.T + a, layer.X @ W.T + b)


def test_a_step_never_raises_what_it_majorises() -> None:
    X, the_risk = 3 * randn(40, 5), risk("cross_entropy")
    y = the_risk.target(labels(40, 3, seed=1), 3, F64)
    layer = LastLayer(X, y, the_risk, None, lambda x: x)
    L, (W, b), last = layer.factor(0.01), (torch.zeros(3, 5, dtype=F64), torch.zeros(3, dtype=F64)), torch.inf
    for _ in range(30):
        W, b = layer.risk_step(L, 0.01, W, b)
        value = float(the_risk.value(layer.X @ W.T + b, y) + 0.01 * the_risk.smoothness / 2 * W.square().sum())
        assert value <= last + 1e-12
        last = value

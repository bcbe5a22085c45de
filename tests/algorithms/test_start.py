"""The start that knows the labels: what it is at iteration 0, for every network, risk, split and unit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fitting import accuracy, same, timeless
from problems import F64, forward, rand, randn
from torch import Tensor

from gamlp_admm import GAMLP, MDLAM, Anderson, Backprop, DlADMM, PdADMMG, PdADMMGQ
from gamlp_admm.admm import linear
from gamlp_admm.algorithms import views as linear_models
from gamlp_admm.algorithms.start import ridge_start
from gamlp_admm.algorithms.views import StartRows, views
from gamlp_admm.nn.activations import ACTIVATIONS
from gamlp_admm.nn.losses import RISKS, risk
from gamlp_admm.parallel.team import Team
from gamlp_admm.training.growth import shapes
from gamlp_admm.training.rows import NodeData, node_data
from gamlp_admm.training.session import Stage

CLASSES = 3


def sample(rows: int = 120, columns: int = 8, noise: float = 1.0, seed: int = 0) -> SimpleNamespace:
    """Two blocks of four columns around a mean for each class; 60/20/20."""
    y = torch.arange(rows) % CLASSES
    x = randn(CLASSES, columns, seed=seed)[y] + noise * randn(rows, columns, seed=seed + 1)
    part = (torch.arange(rows) // CLASSES) % 5
    masks = {"train_mask": part < 3, "val_mask": part == 3, "test_mask": part == 4}
    return SimpleNamespace(x=x, y=y, feature_blocks=(4, columns - 4), **masks)


def nodes(data: SimpleNamespace, loss: str = "cross_entropy", **options: Any) -> NodeData:
    outputs = data.y.shape[1] if data.y.ndim == 2 else CLASSES
    return node_data(data, data.x.shape[1], outputs, risk(loss), torch.zeros(0, dtype=F64), **options)


def opened(data: NodeData, model: GAMLP, loss: str = "cross_entropy", seed: int = 0) -> Any:
    sizes = shapes(model.config, model.num_layers)
    return ridge_start(Stage(data, None, [], sizes, risk(loss), model.network, data.num_train, Team()), seed)


def without_validation(data: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(data), "val_mask": torch.zeros_like(data.val_mask)})


# --- at iteration 0 the network is the linear model -----------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 5, 10])
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_without_validation_the_network_is_the_linear_model(depth: int, activation: str) -> None:
    if depth > 2 and activation != "relu":
        pytest.skip("f is not the identity on its own values")
    given = nodes(without_validation(sample()))
    model = GAMLP(8, 12, CLASSES, depth, activation=activation, init="ridge")
    weights = opened(given, model).weights
    best = max(views(StartRows(given, risk("cross_entropy"), given.num_train, Team())), key=lambda view: view.rank)
    assert given.x is not None
    scores = given.x[:, best.low : best.high] @ best.W.T + best.b
    assert torch.allclose(forward(given.x, weights, model.f), scores, atol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("hidden", [2, 5, 16])
def test_no_start_is_worse_than_ridge_on_validation(activation: str, residual: bool, hidden: int) -> None:
    given = nodes(sample(noise=2.0))
    model = GAMLP(8, hidden, CLASSES, 4, activation=activation, residual=residual, init="ridge").double()
    opening = opened(given, model)
    for i, pair in enumerate(opening.weights):
        model.set_layer(i, *pair)
    low, high = given.sizes[0], sum(given.sizes[:2])
    assert given.x is not None
    hits = model(given.x[low:high]).argmax(1) == given.y[low:high].argmax(1)
    assert float(hits.double().mean()) == pytest.approx(opening.about["score"])
    if hidden >= 2 * CLASSES and activation in ("relu", "leaky_relu"):
        assert opening.about["score"] >= opening.about["linear"]


@pytest.mark.parametrize(
    "trainer", [PdADMMG(), PdADMMGQ(), DlADMM(), MDLAM(), PdADMMG(scale="none"), Anderson(DlADMM())], ids=str
)
def test_runs_begin_with_the_start_and_end_no_worse(trainer: Any) -> None:
    data, model = sample(), GAMLP(8, 12, CLASSES, 3, init="ridge").double()
    result = trainer.fit(model, data, iterations=3, seed=0)
    assert [record["iteration"] for record in result.history] == [0, 1, 2, 3]
    assert result.start is not None
    assert result.history[0]["val_accuracy"] == pytest.approx(result.start["score"])
    assert result.best["val_accuracy"] >= result.start["linear"]
    assert accuracy(model, data, "val_mask") == pytest.approx(result.best["val_accuracy"])


def test_a_better_start_than_weights_that_are_drawn() -> None:
    data, accuracies = sample(), {}
    for init in ("ridge", "kaiming"):
        model = GAMLP(8, 12, CLASSES, 3, init=init).double()
        accuracies[init] = PdADMMG().fit(model, data, iterations=1, seed=0).best["val_accuracy"]
    assert accuracies["ridge"] > accuracies["kaiming"]


def test_gradients_start_from_drawn_weights_and_so_does_training_without_a_seed() -> None:
    data, model = sample(), GAMLP(8, 12, CLASSES, 3, init="ridge").double()
    assert Backprop("adam").fit(model, data, iterations=1, seed=0).start is None
    assert PdADMMG().fit(model, data, iterations=1).start is None


# --- whatever the data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", RISKS)
def test_every_risk(loss: str) -> None:
    data = sample()
    if loss in ("squared_error", "binary_cross_entropy"):  # real targets; several labels
        data.y = data.x[:, :2] + 1 if loss == "squared_error" else (data.x[:, :2] > 0).double()
    outputs = 2 if data.y.ndim == 2 else CLASSES
    model = GAMLP(8, 12, outputs, 2, init="ridge").double()
    result = PdADMMG(loss=loss).fit(model, data, iterations=2, seed=0)
    assert result.history[0]["val_accuracy"] > 0.75


def test_units_of_the_features_do_not_matter() -> None:
    data, outcomes = sample(), []
    for factor, shift in ((1.0, 0.0), (1000.0, -5.0)):
        other = SimpleNamespace(**{**vars(data), "x": factor * data.x + shift})
        model = GAMLP(8, 12, CLASSES, 2, init="ridge").double()
        result = PdADMMG().fit(model, other, iterations=2, seed=0)
        outcomes.append([record["objective"] for record in result.history])
    assert outcomes[0] == pytest.approx(outcomes[1], rel=1e-6)


def test_a_block_that_swamps_the_others_swamps_one_view() -> None:
    data = sample(rows=300)
    data.x[:, :4] = 3000 * randn(300, 4, seed=9)
    noted, plain = nodes(data), nodes(SimpleNamespace(**{**vars(data), "feature_blocks": None}))
    model = GAMLP(8, 12, CLASSES, 2, init="ridge")
    for given in (noted, plain):
        assert given.x is not None
        given.x.div_(given.x.square().sum(1).mean().sqrt())
    assert opened(noted, model).about["linear"] > opened(plain, model).about["linear"] + 0.02


@pytest.mark.parametrize("rows", [120, 20])
@pytest.mark.parametrize("weighted", [False, True])
def test_columns_cost_as_they_deviate_and_alike_in_the_last_view(rows: int, weighted: bool) -> None:
    data = sample(rows, columns=18)
    data.x = data.x * torch.logspace(-2, 2, 18, dtype=F64) / 20
    given = nodes(data, node_weight=rand(rows, seed=5) + 0.5 if weighted else None)
    made = views(StartRows(given, risk("cross_entropy"), given.num_train, Team()))
    assert [(v.low, v.high, v.balanced) for v in made] == [(0, 18, True), (0, 4, True), (4, 18, True), (0, 18, False)]
    assert given.x is not None
    x, T = given.x[: given.num_train], risk("cross_entropy").regressed(given.y[: given.num_train])
    s = torch.ones(len(x), dtype=F64) if given.weight is None else given.weight
    squares = s @ (x - s @ x / s.sum()).square()
    for view in made:
        cost = torch.ones(18, dtype=F64)
        if view.balanced:  # in a unit in which columns of equal deviation would cost 1
            cost = squares.sqrt() * squares.sqrt().sum() / squares.sum()
        own, W, b = slice(view.low, view.high), view.W.clone().requires_grad_(), view.b.clone().requires_grad_()
        fit = (s * (x[:, own] @ W.T + b - T).square().sum(1)).sum()
        (fit + view.c * (cost[own] * W.square()).sum()).backward()
        for parameter in (W, b):
            assert parameter.grad is not None
            assert parameter.grad.abs().max() < 1e-8 * fit


def test_class_weights_act() -> None:
    rows = torch.cat([torch.arange(0, 120, 3), torch.tensor([1, 4, 7, 10, 13, 16, 19, 22, 25, 28])])
    data = sample(noise=3.0)
    few = SimpleNamespace(**{k: v[rows] for k, v in vars(data).items() if isinstance(v, Tensor)})
    caught = []
    for class_weight in (None, torch.tensor([1.0, 30.0])):
        model = GAMLP(8, 12, 2, 2, init="ridge").double()
        PdADMMG(class_weight=class_weight).fit(model, few, iterations=1, seed=0)
        caught.append(int((model(few.x).argmax(1) == 1).sum()))
    assert caught[1] > caught[0]


def test_a_row_of_weight_two_is_a_row_twice() -> None:
    data = sample()
    weight = torch.ones(120, dtype=F64)
    weight[0] = 2
    twice = torch.cat([torch.arange(120), torch.tensor([0])])
    doubled = SimpleNamespace(**{k: v[twice] for k, v in vars(data).items() if isinstance(v, Tensor)})
    the_risk = risk("cross_entropy")
    single, double = nodes(data, node_weight=weight), nodes(doubled)
    (one, *_), (two, *_) = (views(StartRows(given, the_risk, given.num_train, Team())) for given in (single, double))
    assert one.c == two.c
    assert torch.allclose(one.W, two.W)
    assert torch.allclose(one.b, two.b)


def test_too_wide_to_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    given, the_risk = nodes(sample(rows=300, noise=2.0)), risk("cross_entropy")
    rows = StartRows(given, the_risk, given.num_train, Team())
    solved = max(view.score for view in views(rows))
    monkeypatch.setattr(linear_models, "_factor_pays", lambda *sizes: False)
    (sketched,) = views(rows)
    assert sketched.sketched
    assert sketched.score >= solved - 0.05


def test_factors_and_decompositions_give_the_same_views(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = StartRows(nodes(sample()), risk("cross_entropy"), 72, Team())
    before = views(rows)
    monkeypatch.setattr(linear, "EIGEN", 0)
    monkeypatch.setattr(linear_models, "GRID", (before[0].c,))
    monkeypatch.setattr(linear_models, "FIRST", 0)
    assert torch.allclose(views(rows)[0].W, before[0].W)


# --- the same again -----------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_bits_and_another_others() -> None:
    given, model = nodes(sample(noise=2.0)), GAMLP(8, 16, CLASSES, 2, init="ridge")
    first, again, other = (opened(given, model, seed=seed).weights for seed in (3, 3, 4))
    assert same([t for pair in first for t in pair], [t for pair in again for t in pair])
    assert not torch.equal(first[0][0], other[0][0])


def test_test_rows_are_not_looked_at() -> None:
    data, model = sample(noise=2.0), GAMLP(8, 16, CLASSES, 2, init="ridge")
    first = opened(nodes(data), model).weights
    data.y[data.test_mask] = (data.y[data.test_mask] + 1) % CLASSES
    data.x[data.test_mask] = rand(int(data.test_mask.sum()), 8, seed=5)
    again = opened(nodes(data), model).weights
    assert same([t for pair in first for t in pair], [t for pair in again for t in pair])


def test_resumed_runs_give_the_same_bits(tmp_path: Path) -> None:
    data, trainer = sample(), PdADMMG()
    whole, begun = (GAMLP(8, 12, CLASSES, 3, init="ridge").double() for _ in range(2))
    full = trainer.fit(whole, data, iterations=6, seed=0)
    trainer.fit(begun, data, iterations=3, seed=0, checkpoint_dir=tmp_path)
    result = trainer.fit(begun, data, iterations=6, seed=0, checkpoint_dir=tmp_path, resume=True)
    assert timeless(result) == timeless(full)
    assert result.start == full.start is not None
    assert same(list(whole.parameters()), list(begun.parameters()))


def test_more_columns_than_rows() -> None:
    # Features are compressed for the iterations, and the start enters those coordinates.
    data = sample(rows=60, columns=200)
    model = GAMLP(200, 12, CLASSES, 2, init="ridge").double()
    result = PdADMMG().fit(model, data, iterations=3, seed=0)
    plain = PdADMMG().foresee(model, data, seed=0)
    assert plain is not None
    assert result.history[0]["val_accuracy"] == pytest.approx(plain.about["score"])


def test_blocks_that_do_not_fit_are_not_blocks() -> None:
    data = sample()
    assert nodes(data).blocks == (4, 4)
    assert nodes(SimpleNamespace(**{**vars(data), "feature_blocks": (4, 5)})).blocks == ()
    assert replace(nodes(data), blocks=()).blocks == ()


@pytest.mark.parametrize("solved", [True, False])
def test_rows_without_weight_do_not_count(solved: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data, the_risk = sample(), risk("cross_entropy")
    monkeypatch.setattr(linear_models, "_factor_pays", lambda *sizes: solved)
    weight = torch.ones(120, dtype=F64)
    weight[0] = 0
    given = nodes(data, node_weight=weight)
    first = views(StartRows(given, the_risk, given.num_train, Team()))[0]
    data.x[0] += 100
    moved = nodes(data, node_weight=weight)
    again = views(StartRows(moved, the_risk, moved.num_train, Team()))[0]
    assert torch.isfinite(first.W).all()
    assert torch.allclose(first.W, again.W, atol=1e-6)

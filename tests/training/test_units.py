"""Units of features: the same run whatever the features' scale, and models that take them as they are."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from problems import F64, iterated, labels, lagrangian, randn, random_problem, start
from torch import Tensor

from gamlp_admm import GAMLP, DlADMM, PdADMM, PdADMMG
from gamlp_admm.admm.blocks import Rule
from gamlp_admm.algorithms import Anderson, pdadmm, trainer
from gamlp_admm.algorithms.common import regularizer_terms, update_W
from gamlp_admm.errors import InputError
from gamlp_admm.training.coordinates import Units
from gamlp_admm.training.trainer import Trainer


def whole(x: Tensor) -> Tensor:
    return x


def data(columns: int = 8, factor: float = 1.0, shift: float = 0.0) -> SimpleNamespace:
    y = labels(60, 3)
    x = randn(60, columns, seed=1) + 2 * randn(3, columns, seed=2)[y]
    split = torch.arange(60)
    masks = {"train_mask": split < 30, "val_mask": (split >= 30) & (split < 45), "test_mask": split >= 45}
    return SimpleNamespace(x=factor * x + shift * randn(columns, seed=3), y=y, **masks)


def network(num_layers: int = 3, columns: int = 8, **options: Any) -> GAMLP:
    return GAMLP(columns, 6, 3, num_layers, **{"init": "kaiming", **options}).double()


# --- what is measured -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 5000])
def test_measured_rows_are_centred_and_of_unit_mean_square_norm(rows: int) -> None:
    x = 50 * randn(rows, 4) + 1000
    units = Units.of(x, rows, whole)
    units.measure_(x)
    assert x.mean(0).abs().max() < 1e-10
    assert float(x.square().sum() / rows) == pytest.approx(1.0 if rows > 1 else 0.0)


def test_equal_rows_stay_finite() -> None:
    x = torch.full((5, 3), 2.0)
    units = Units.of(x, 5, whole)
    assert units.length == 1
    units.measure_(x)
    assert not x.any()


def test_shards_measure_alike() -> None:
    x = randn(10, 4)
    together = Units.of(x, 10, whole)
    for rows in (x[:4], x[4:]):
        parts = iter([rows.sum(0), (rows - x.mean(0)).square().sum()])
        totals = iter([x.sum(0), (x - x.mean(0)).square().sum()])

        def row_sum(part: Tensor, parts: Any = parts, totals: Any = totals) -> Tensor:
            assert torch.allclose(part, next(parts))
            total: Tensor = next(totals)
            return total

        units = Units.of(rows, 10, row_sum)
        assert torch.allclose(units.origin, together.origin)
        assert torch.allclose(units.length, together.length)


def test_entering_and_leaving_keep_the_function() -> None:
    x, W, b = 3 * randn(9, 4) + 5, randn(6, 4, seed=1), randn(6, seed=2)
    units = Units.of(x, 9, whole)
    entered = units.enter(W, b)
    measured = x.clone()
    units.measure_(measured)
    assert torch.allclose(measured @ entered[0].T + entered[1], x @ W.T + b)
    for t, s in zip(units.leave(*entered), (W, b), strict=True):
        assert torch.allclose(t, s)


# --- runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [8, 50], ids=["as they are", "compressed"])
@pytest.mark.parametrize("solver", ["linesearch", "exact"])
@pytest.mark.parametrize(("factor", "shift"), [(1e-4, 0.0), (1e4, 0.0), (3.0, 100.0)])
def test_a_run_does_not_depend_on_the_features_units(factor: float, shift: float, solver: str, columns: int) -> None:
    histories, outputs = [], []
    for d in (data(columns), data(columns, factor, shift)):
        model = network(5, columns)
        result = PdADMMG(solver=solver).fit(model, d, 15, seed=0, select="last")
        histories.append([(r["objective"], r["train_loss"], r["val_accuracy"]) for r in result.history])
        outputs.append(model(d.x).detach())
    assert torch.allclose(torch.tensor(histories[0]), torch.tensor(histories[1]), rtol=1e-6)
    assert torch.allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("columns", [8, 50])
@pytest.mark.parametrize("algorithm", ["pdadmm-g", "pdadmm-g-q", "dladmm", "mdlam", "adam", "sisa"])
@pytest.mark.parametrize("seed", [0, None])
def test_the_model_takes_features_as_they_are(seed: int | None, algorithm: str, columns: int) -> None:
    d, model = data(columns, 7.0, 20.0), network(columns=columns)
    result = trainer(algorithm, scale="unit").fit(model, d, 10, seed=seed, select="last")
    z = model(d.x).detach()
    loss = torch.nn.functional.cross_entropy(z[d.train_mask], d.y[d.train_mask])
    assert float(loss) == pytest.approx(result.history[-1]["train_loss"], rel=1e-6)
    assert float((z[d.test_mask].argmax(1) == d.y[d.test_mask]).double().mean()) == result.last["test_accuracy"]


def test_the_data_are_left_as_they_were() -> None:
    d = data(shift=10.0)
    before = d.x.clone()
    PdADMMG().fit(network(), d, 2, seed=0)
    assert torch.equal(d.x, before)


def test_without_a_seed_training_starts_from_the_model_s_function() -> None:
    d, model = data(factor=5.0, shift=50.0), network()
    before = model(d.x).detach()
    trainer("adam", scale="unit", lr=1e-12).fit(model, d, 1, select="last")  # which hardly moves
    assert torch.allclose(model(d.x), before, atol=1e-6)


def test_drawn_weights_suit_the_units() -> None:
    # Unit rows in, so that rows keep their mean square: the first layer's W is drawn by its outputs.
    model = GAMLP(1000, 200, 3, 3, init="kaiming")
    (W, b), (V, _) = model.initial_weights([0, 1], 0, unit_rows=True)
    x = torch.nn.functional.normalize(randn(50, 1000, seed=9, dtype=torch.float32))
    assert torch.relu(x @ W.T).square().sum(1).mean() == pytest.approx(1.0, rel=0.2)
    plain = model.initial_weights([0, 1], 0)
    assert torch.allclose(W, plain[0][0] * 5**0.5)
    assert torch.equal(V, plain[1][0])
    assert not b.any()


def test_which_trainers_measure() -> None:
    assert (PdADMM().scale, PdADMMG(scale="none").scale, DlADMM().scale) == ("unit", "none", "none")
    assert Anderson(PdADMM()).scale == "unit"
    assert Anderson(PdADMM(scale="none")).scale == "none"
    with pytest.raises(InputError, match="unknown scale 'units': did you mean 'unit'"):
        PdADMM(scale="units")


# --- penalties that follow from one another -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({}, (1e-2, 1e-2, 1e-3)),
        ({"nu": 0.5}, (0.5, 0.5, 0.05)),
        ({"rho": 0.5}, (0.5, 0.5, 0.05)),
        ({"rho": 1.0, "nu": 0.1}, (1.0, 0.1, 0.01)),
        ({"mu": 0.0}, (1e-2, 1e-2, 0.0)),
    ],
)
def test_penalties(given: dict[str, float], used: tuple[float, float, float]) -> None:
    made = PdADMMG(**given)
    assert (made.rho, made.nu, made.mu) == pytest.approx(used)


# --- decay to the identity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["linesearch", "backtracking", "exact"])
def test_decay_to_the_identity(rule: str) -> None:
    x, weights, problem = random_problem([4, 5, 5, 5, 3], 8, rule=rule)
    problem = replace(problem, regularizer="identity", mu=0.7)
    blocks = start(pdadmm, x, weights, problem, [range(1), range(1, 3), range(3, 4)])
    identity = torch.eye(5, dtype=F64)
    for block, centre in zip(blocks, (0.0, identity, 0.0), strict=True):
        expected = 0.35 * (block.W - centre).square().sum((1, 2))
        assert torch.allclose(regularizer_terms(block, block.W, problem), expected)
        target = randn(*block.z.shape, seed=5)
        W, M = update_W(block, block.W, block.M, target, problem.nu, problem)
        assert torch.allclose(M, block.p @ W.mT)

        def value(W: Tensor, block: Any = block, centre: Any = centre, target: Tensor = target) -> Tensor:
            fit = block.p @ W.mT + block.b[:, None] - target
            return problem.nu / 2 * fit.square().sum() + 0.35 * (W - centre).square().sum()

        assert value(W) < value(block.W)
        if rule == "exact":
            W = W.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(value(W), W)
            assert gradient.abs().max() < 1e-9


def test_the_objective_falls_with_decay_to_the_identity() -> None:
    x, weights, problem = random_problem([4, 5, 5, 5, 3], 8, rho=3.0, nu=0.3)
    problem = replace(problem, regularizer="identity", rule=Rule("linesearch"))
    blocks = start(pdadmm, x, weights, problem, [range(1), range(1, 3), range(3, 4)])
    values = [lagrangian(pdadmm, blocks, problem)]
    for _ in range(30):
        blocks = iterated(pdadmm, blocks, problem)
        values.append(lagrangian(pdadmm, blocks, problem))
    assert all(b <= a + 1e-12 for a, b in pairwise(values))


def test_all_decay_leaves_the_shallow_function() -> None:
    # With nothing but decay, hidden layers become the identity, not zero.
    model = network(5)
    PdADMMG(mu=1e4, solver="exact").fit(model, data(), 30, seed=0, grow=None, select="last")
    hidden = [layer.weight for layer in model.linears[1:-1]]
    assert all(torch.allclose(W, torch.eye(6, dtype=F64), atol=1e-3) for W in hidden)
    PdADMMG(mu=1e4, solver="exact", decay_to="zero").fit(model, data(), 30, seed=0, grow=None, select="last")
    assert all(layer.weight.abs().max() < 1e-3 for layer in model.linears)


def test_decay_to_something_else() -> None:
    with pytest.raises(InputError, match="unknown decay_to 'one'"):
        PdADMMG(decay_to="one")


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
def test_growth(fitted: Trainer, layers: int, seed: int | None, grow: Any, stages: list[int]) -> None:
    result = fitted.fit(network(layers), data(), 2, seed=seed, grow=grow)
    assert [r["layers"] for r in result.history[::2]] == stages


def test_growth_by_another_name() -> None:
    with pytest.raises(InputError, match="grow"):
        PdADMMG().fit(network(7), data(), 2, seed=0, grow="always")

"""The first layer's coordinates: units, whatever the features' scale, and compression, which changes no iterate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from problems import F64, labels, one_hot, randn, random_weights
from torch import Tensor

from gamlp_admm import GAMLP, DlADMM, PdADMM, PdADMMG
from gamlp_admm.algorithms import Anderson, trainer
from gamlp_admm.errors import InputError
from gamlp_admm.nn.activations import activation
from gamlp_admm.nn.losses import risk
from gamlp_admm.nn.network import Network, Weights
from gamlp_admm.parallel.channel import LocalChannel
from gamlp_admm.parallel.team import Team
from gamlp_admm.training.coordinates import CompressedFeatures, Features, compress, compressed_width
from gamlp_admm.training.evaluation import Evaluator
from gamlp_admm.training.rows import NodeData
from gamlp_admm.training.session import Session, Stage
from gamlp_admm.training.units import Units


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


# --- units -----------------------------------------------------------------------------------------


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


def test_units_keep_the_function() -> None:
    x, W, b = 3 * randn(9, 4) + 5, randn(6, 4, seed=1), randn(6, seed=2)
    units = Units.of(x, 9, whole)
    entered = units.enter(W, b)
    measured = x.clone()
    units.measure_(measured)
    assert torch.allclose(measured @ entered[0].T + entered[1], x @ W.T + b)
    for t, s in zip(units.leave(*entered), (W, b), strict=True):
        assert torch.allclose(t, s)


# --- runs in units --------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("algorithm", ["pdadmm-g", "dladmm", "adam"])
def test_a_unit_for_each_column(algorithm: str) -> None:
    # A run depends on no column's unit, nor on where it begins; and the model takes features as they are.
    outcomes, each = [], 10.0 ** torch.arange(-3, 5)
    for factor, shift in ((torch.ones(8, dtype=F64), 0.0), (each.double(), 3.0)):
        given = data()
        given.x = (given.x + shift) * factor
        model = network()
        result = trainer(algorithm, scale="columns").fit(model, given, 5, seed=0, select="last")
        hits = model(given.x[given.test_mask]).argmax(1) == given.y[given.test_mask]
        assert float(hits.double().mean()) == result.last["test_accuracy"]
        outcomes.append([record["train_loss"] for record in result.history])
    assert outcomes[0] == pytest.approx(outcomes[1], rel=1e-6)


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
    assert (PdADMM().scale, PdADMMG(scale="none").scale, DlADMM().scale) == ("auto", "none", "auto")
    assert Anderson(PdADMM()).scale == "auto"
    assert Anderson(PdADMM(scale="none")).scale == "none"
    with pytest.raises(InputError, match="unknown scale 'units': did you mean 'unit'"):
        PdADMM(scale="units")


# --- compression ----------------------------------------------------------------------------------------------

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
def test_compression_keeps_the_function(kind: str) -> None:
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

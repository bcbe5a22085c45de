"""Training in batches: what a pass does, what it shows, and that it learns."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fitting import Raise, parameters, same, timeless
from problems import F64, rand, randn
from torch import Tensor

from gamlp_admm import GAMLP, Anderson, DlADMM, PdADMM, PdADMMG
from gamlp_admm.admm.state import block_weights
from gamlp_admm.algorithms import pdadmm, streaming
from gamlp_admm.algorithms.streaming import FIRST_DAMPING, LEAST_DAMPING, StreamedSession
from gamlp_admm.errors import InputError
from gamlp_admm.training.session import Session, Stage

SETTINGS: dict[Any, dict[str, Any]] = {
    PdADMM: {"batch_size": 100, "decay_to": "zero"},
    DlADMM: {"batch_size": 100, "rho": 0.1, "nu": 1.0, "mu": 0.01, "scale": "unit"},
}
KINDS = pytest.mark.parametrize("kind", SETTINGS)
TRAIN = 200


def bent() -> SimpleNamespace:
    """Return blobs in the corners of a square; opposite ones are of one class, so that no linear model tells them."""
    x, corner = randn(300, 5), randn(300, 2, seed=3).sign()
    x[:, :2] = 0.4 * x[:, :2] + 1.2 * corner
    number = torch.arange(300)
    later = number >= TRAIN
    masks = {"train_mask": ~later, "val_mask": later & (number % 2 == 0), "test_mask": later & (number % 2 == 1)}
    return SimpleNamespace(x=x, y=(corner.prod(1) > 0).long(), **masks)


def network(layers: int = 2, **options: Any) -> GAMLP:
    return GAMLP(5, 16, 2, layers, **{"init": "kaiming", **options}).double()


def fit(kind: Any, iterations: int = 2, layers: int = 2, **options: Any) -> tuple[GAMLP, Any]:
    """Train a network; options of trainers are passed in ``settings``."""
    settings, model = options.pop("settings", {}), options.pop("model", None) or network(layers)
    options = {"seed": 0, "select": "last", "grow": None, "data": bent(), **options}
    result = kind(**{**SETTINGS[kind], **settings}).fit(model, options.pop("data"), iterations, **options)
    return model, result


def opened(kind: Any, iterations: int = 1, layers: int = 2, **options: Any) -> StreamedSession:
    """Return the session of a run."""
    made: list[Session] = []

    class Noting(kind):  # type: ignore[misc]
        def start(self, stage: Stage) -> Session:
            made.append(super().start(stage))
            return made[-1]

    settings = {**SETTINGS[kind], **options.pop("settings", {})}
    Noting(**settings).fit(network(layers), bent(), iterations, seed=0, grow=None, **options)
    assert isinstance(made[-1], StreamedSession)
    return made[-1]


def squares(model: GAMLP) -> float:
    return sum(float(linear.weight.detach().square().sum()) for linear in model.linears)


# --- it learns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [2, 3])
@KINDS
def test_it_learns_what_is_not_linear(kind: Any, layers: int) -> None:
    _, result = fit(kind, 8, layers, settings={"batch_size": 40})
    losses = [record["train_loss"] for record in result.history]
    assert losses[-1] < 0.3 < losses[0]  # log 2 is .69
    assert result.history[-1]["train_accuracy"] > 0.9


@KINDS
def test_a_seed_gives_bits(kind: Any) -> None:
    one, two, other = fit(kind), fit(kind), fit(kind, seed=1)
    assert same(parameters(one[0]), parameters(two[0]))
    assert timeless(one[1]) == timeless(two[1])
    assert not same(parameters(one[0]), parameters(other[0]))


@pytest.mark.parametrize("size", [TRAIN, 10_000])
@KINDS
def test_as_many_rows_as_there_are_make_one_batch(kind: Any, size: int) -> None:
    session = opened(kind, settings={"batch_size": size})
    assert [count for _, count in session.batches(1)] == [TRAIN]
    _, result = fit(kind, 2, settings={"batch_size": size})
    assert result.history[1]["train_loss"] < result.history[0]["train_loss"]


@KINDS
def test_rows_may_come_one_by_one(kind: Any) -> None:
    data = bent()
    data.train_mask = torch.arange(300) < 12
    _, result = fit(kind, 1, data=data, settings={"batch_size": 1})
    assert result.history[-1]["train_loss"] < float("inf")


# --- a pass -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "batches"), [(1, 200), (30, 7), (199, 2), (200, 1)])
def test_every_row_is_in_one_batch_of_a_pass(size: int, batches: int) -> None:
    session = opened(DlADMM, settings={"batch_size": size})
    passes = []
    for iteration in (1, 2):
        made = session.batches(iteration)
        sizes = [len(rows) for rows, _ in made]
        assert sizes == [count for _, count in made]
        assert len(sizes) == batches
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1
        passes.append(torch.cat([rows for rows, _ in made]))
        assert torch.equal(passes[-1].sort().values, torch.arange(TRAIN))
    assert not torch.equal(*passes)


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_shards_divide_the_rows_of_the_same_batches(shard: int) -> None:
    whole = opened(DlADMM, settings={"batch_size": 30})
    begin, end = (0, 90, 91)[shard], (90, 91, TRAIN)[shard]
    part = opened(DlADMM, settings={"batch_size": 30})
    sizes = (end - begin, *part.stage.data.sizes[1:])
    part.stage, part.first_row = replace(part.stage, data=replace(part.stage.data, sizes=sizes)), begin
    for (rows, count), (of_all, number) in zip(part.batches(3), whole.batches(3), strict=True):
        assert count == number == len(of_all)
        assert torch.equal(rows + begin, of_all[(of_all >= begin) & (of_all < end)])


@KINDS
def test_what_is_shown_is_the_mean_of_a_pass(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session, newest = opened(kind, settings={"batch_size": 70}), []

    def noting(state: Any) -> Any:
        newest.append(block_weights(state))
        return newest[-1]

    monkeypatch.setattr(streaming, "block_weights", noting)
    for iteration in (2, 3):
        session.iterate(iteration, 1.0)
    assert len(newest) == 6
    for l, pair in enumerate(session.weights()):
        for i, shown in enumerate(pair):
            mean = torch.stack([weights[l][i] for weights in newest[3:]]).mean(0)
            torch.testing.assert_close(shown, mean, rtol=1e-12, atol=1e-12)
            assert torch.equal(session.newest[l][i], newest[-1][l][i])  # from which the next pass goes on


def test_steps_become_longer_while_the_risk_falls() -> None:
    session = opened(PdADMM)
    assert session.damping == FIRST_DAMPING / 2  # after the first pass, which has none to fall behind
    for share, damping in [(float("inf"), 0.25), (0.5, 0.5), (0.5, 1.0), (float("inf"), 0.5)]:
        session.risk *= share
        session.iterate(2, 1.0)
        assert session.damping == damping
    session.damping, session.risk = LEAST_DAMPING, float("inf")
    session.iterate(2, 1.0)
    assert session.damping == LEAST_DAMPING


def test_a_pass_that_blows_up_is_undone() -> None:
    session = opened(PdADMM)
    shown, risk, memories, damping = session.mean, session.risk / 1e3, session.memories, session.damping
    session.risk = risk
    session.iterate(2, 1.0)
    assert session.newest is session.mean is shown
    assert session.memories is memories
    assert (session.risk, session.damping) == (risk, 4 * damping)


def test_the_risk_is_that_of_rows_as_they_come_by() -> None:
    session = opened(PdADMM, settings={"batch_size": TRAIN})  # one batch, before whose step the weights are the newest
    (W, b), (V, c) = session.newest
    assert session.stage.features is not None
    z = torch.relu(session.stage.features.train @ W.T + b) @ V.T + c
    session.iterate(2, 1.0)
    assert session.risk == pytest.approx(float(F.cross_entropy(z, bent().y[:TRAIN], reduction="sum")), rel=1e-10)


@pytest.mark.parametrize("layers", [1, 2, 4])
@KINDS
def test_a_pass_sends_the_same_each_time(kind: Any, layers: int) -> None:
    _, result = fit(kind, 3, layers)
    rounds = pdadmm.ROUNDS * layers
    fields = 1 + 2 * rounds if kind is PdADMM else 2  # the forward pass; p and q of every round, or p
    a_pass = fields * TRAIN * 16 * (layers - 1) * 8
    assert [record["bytes_sent"] for record in result.history] == [a_pass, 2 * a_pass, 3 * a_pass]


# --- what is measured -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@KINDS
def test_the_objective_is_that_of_the_network(kind: Any, weighted: bool) -> None:
    data, weight = bent(), rand(300, seed=4) if weighted else None
    model, result = fit(kind, 2, 3, settings={"scale": "none", "mu": 0.3}, node_weight=weight, data=data)
    with torch.no_grad():
        risks = F.cross_entropy(model(data.x), data.y, reduction="none")[:TRAIN]
    risk = float(risks.sum() if weight is None else risks @ weight[:TRAIN])
    last = result.history[-1]
    assert last["objective"] == pytest.approx(risk + 0.15 * squares(model), rel=1e-10)
    total = TRAIN if weight is None else float(weight[:TRAIN].sum())
    assert last["train_loss"] == pytest.approx(risk / total, rel=1e-10)
    assert last["primal_residual"] == pytest.approx(0, abs=1e-24)
    assert last["dual_residual"] == 0


@KINDS
def test_chunks_of_rows_measure_and_see_what_all_do(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, one = fit(kind, 2), opened(kind)
    monkeypatch.setattr(streaming, "CHUNK", 32)
    parts, many = fit(kind, 2), opened(kind)
    for a, b in zip(whole[1].history, parts[1].history, strict=True):
        assert a["objective"] == pytest.approx(b["objective"], rel=1e-9)
        assert a["bytes_sent"] == b["bytes_sent"]
    torch.testing.assert_close(one.layer_terms(), many.layer_terms(), rtol=1e-9, atol=1e-12)


def test_measuring_sums_nothing_over_shards() -> None:
    # They may differ in their numbers of chunks.
    def summed(x: Tensor) -> Tensor:
        raise AssertionError

    session = opened(PdADMM)
    session.start_problem = replace(session.start_problem, row_sum=summed)
    assert session.layer_terms().shape == (3, 2)


def test_a_look_at_some_rows_begins_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "FIRST_ROWS", 40)
    seen: list[int] = []
    see = StreamedSession._see
    monkeypatch.setattr(
        StreamedSession, "_see", staticmethod(lambda s, *rest: (seen.append(s[0].p.shape[1]), see(s, *rest)))
    )
    fit(DlADMM, 1)
    assert seen == [40, 40, 100, 100]  # every fifth row, twice, and a pass


# --- rows that weigh --------------------------------------------------------------------------------------------


@KINDS
def test_labels_of_rows_without_weight_do_not_matter(kind: Any) -> None:
    weight = (torch.arange(300) % 3 > 0).to(F64)
    data, other = bent(), bent()
    other.y = torch.where(weight > 0, other.y, 1 - other.y)
    one, two = (fit(kind, data=d, node_weight=weight) for d in (data, other))
    assert same(parameters(one[0]), parameters(two[0]))
    assert [r["objective"] for r in one[1].history] == [r["objective"] for r in two[1].history]
    assert not same(parameters(one[0]), parameters(fit(kind, data=data)[0]))


@KINDS
def test_weights_of_classes_are_weights_of_rows(kind: Any) -> None:
    data = bent()
    by_class = torch.tensor([1.0, 3.0], dtype=F64)
    one, _ = fit(kind, 2, settings={"class_weight": by_class}, data=data)
    two, _ = fit(kind, 2, node_weight=by_class[data.y], data=data)
    assert same(parameters(one), parameters(two))
    assert not same(parameters(one), parameters(fit(kind, 2, data=data)[0]))


# --- networks and starts ----------------------------------------------------------------------------------------


def test_residual_networks() -> None:
    data, model = bent(), network(3, residual=True)
    model, result = fit(PdADMM, 5, model=model, settings={"scale": "none", "mu": 0.1}, data=data)
    with torch.no_grad():
        risk = float(F.cross_entropy(model(data.x), data.y, reduction="none")[:TRAIN].sum())
    assert result.history[-1]["objective"] == pytest.approx(risk + 0.05 * squares(model), rel=1e-10)
    assert result.history[-1]["train_loss"] < 0.5 * result.history[0]["train_loss"]


@KINDS
def test_networks_grow(kind: Any) -> None:
    _, result = fit(kind, 3, 4, grow=(2, 4))
    assert Counter(record["layers"] for record in result.history) == {2: 3, 4: 3}
    sent = [record["bytes_sent"] for record in result.history]
    assert all(a < b for a, b in pairwise(sent))
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]


@KINDS
def test_a_start_that_knows_the_labels_is_kept(kind: Any) -> None:
    model, result = fit(kind, 3, model=network(2, init="ridge"), select="best")
    assert [record["iteration"] for record in result.history] == [0, 1, 2, 3]
    assert result.history[0]["bytes_sent"] == 0
    assert result.best["val_accuracy"] >= result.history[0]["val_accuracy"]
    data = bent()
    right = (model(data.x).argmax(1) == data.y)[data.val_mask].double().mean()
    assert float(right) == pytest.approx(result.best["val_accuracy"])


@KINDS
def test_features_are_not_compressed(kind: Any) -> None:
    # A step is not the same in other coordinates.
    data = bent()
    data.x = randn(300, TRAIN + 2)
    whole = kind(**{**SETTINGS[kind], "batch_size": None})
    assert whole.compressible
    assert not kind(**SETTINGS[kind]).compressible
    model, _ = fit(kind, 1, data=data, model=GAMLP(TRAIN + 2, 8, 2, 2, init="kaiming").double())
    assert model.linears[0].weight.shape == (8, TRAIN + 2)


@pytest.mark.parametrize("stop", [3, 7])  # where a stage ends and the next begins
@KINDS
def test_resumed_runs_give_the_same_bits(kind: Any, stop: int, tmp_path: Path) -> None:
    options = {"grow": (2, 3), "checkpoint_dir": tmp_path, "select": "best"}
    model, whole = fit(kind, 4, 3, **{**options, "checkpoint_dir": tmp_path / "whole"})
    with pytest.raises(KeyboardInterrupt):
        fit(kind, 4, 3, **options, checkpoint_every=2, callbacks=[Raise(stop)])
    fresh, result = fit(kind, 4, 3, **options, resume=True)
    assert timeless(result) == timeless(whole)
    assert (result.best, result.last) == (whole.best, whole.last)
    assert same(parameters(fresh), parameters(model))


# --- what it does not go with -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PdADMM(batch_size=0), "batch_size must be positive, not 0"),
        (lambda: DlADMM(batch_size=-3), "batch_size must be positive, not -3"),
        (
            lambda: PdADMMG(batch_size=8, codec="int8"),
            "batch_size: what batches exchange travels in full, not by codec int8",
        ),
        (
            lambda: PdADMMG(batch_size=8, codec="q:grid:auto:256"),
            "batch_size: what batches exchange travels in full, not by codec q:grid:auto:256",
        ),
        (
            lambda: DlADMM(batch_size=8, regularizer="l1"),
            "batch_size: W and b make steps, and regularizer l1 is not smooth",
        ),
        (lambda: Anderson(PdADMM(batch_size=8)), "anderson needs all rows at once: leave out batch_size"),
        (lambda: Anderson(DlADMM(batch_size=8)), "anderson needs all rows at once: leave out batch_size"),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value) == message


@KINDS
def test_no_theorem_speaks_of_batches(kind: Any) -> None:
    settings = {"rho": 100.0, "nu": 1.0}
    assert fit(kind, 1, settings=settings)[1].converges is None
    assert fit(kind, 1, settings={**settings, "batch_size": None})[1].converges is True


@KINDS
def test_a_run_that_is_no_longer_finite_says_so(kind: Any) -> None:
    data, model = bent(), network().float()
    data.x = data.x / data.x.abs().max() * 3e38
    with pytest.raises(FloatingPointError, match="the objective is no longer finite"):
        fit(kind, 1, model=model, data=data, settings={"scale": "none"})
    assert all(p.isfinite().all() for p in model.parameters())

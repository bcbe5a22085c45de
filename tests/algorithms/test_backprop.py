"""Training by gradients, torch's and those of BADM and SISA, against hand-written loops."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from problems import F64, blobs, rand

from gamlp_admm import GAMLP, Backprop, cli
from gamlp_admm.algorithms import backprop
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment
from gamlp_admm.optim import BADM, SISA

LOOPS: dict[str, tuple[Any, float]] = {
    "adam": (torch.optim.Adam, 1e-3),
    "sgd": (torch.optim.SGD, 1e-1),
    "adagrad": (torch.optim.Adagrad, 1e-2),
    "adadelta": (torch.optim.Adadelta, 1.0),
}
CONSENSUS: dict[str, tuple[Any, dict[str, float]]] = {
    "badm": (BADM, {"sigma": 2.0, "rho": 5.0}),
    "sisa": (SISA, {"sigma": 2.0, "rho": 50.0}),
}
NAMES = [*LOOPS, *CONSENSUS]


def networks() -> tuple[GAMLP, GAMLP]:
    a, b = (GAMLP(8, 6, 3, 3, init="kaiming").double() for _ in range(2))
    b.load_state_dict(a.state_dict())
    return a, b


@pytest.mark.parametrize("settings", [{}, {"lr": 0.05}, {"weight_decay": 0.1}])
@pytest.mark.parametrize("name", LOOPS)
def test_it_is_the_torch_loop(name: str, settings: dict[str, float]) -> None:
    torch.manual_seed(0)
    data, (ours, theirs) = blobs(), networks()
    result = Backprop(name, **settings).fit(ours, data, 20, select="last")
    kind, lr = LOOPS[name]
    optimizer = kind(theirs.parameters(), **{"lr": lr, **settings})
    x, y = data.x[data.train_mask], data.y[data.train_mask]
    for record in result.history:
        optimizer.zero_grad()
        loss = F.cross_entropy(theirs(x), y)
        loss.backward()
        optimizer.step()
        assert record["objective"] == pytest.approx(loss.item(), rel=1e-10)
        with torch.no_grad():
            assert record["train_loss"] == pytest.approx(F.cross_entropy(theirs(x), y).item(), rel=1e-10)
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.allclose(s, t, atol=1e-10) for s, t in pairs)


def test_with_row_weights() -> None:
    torch.manual_seed(0)
    data, (ours, theirs) = blobs(), networks()
    weight = rand(60, seed=4)
    Backprop("sgd").fit(ours, data, 10, node_weight=weight, select="last")
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    x, y, w = data.x[data.train_mask], data.y[data.train_mask], weight[data.train_mask]
    for _ in range(10):
        optimizer.zero_grad()
        ((w * F.cross_entropy(theirs(x), y, reduction="none")).sum() / w.sum()).backward()
        optimizer.step()
    assert all(torch.allclose(s, t, atol=1e-12) for s, t in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_the_model_s_gradients_and_grad_mode_are_left_alone() -> None:
    model, _ = networks()
    Backprop().fit(model, blobs(), 2)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert next(model.parameters()).dtype == F64
    with torch.no_grad():
        model(torch.zeros(1, 8, dtype=F64))


# --- batches and sub-batches --------------------------------------------------------------------------------


def epoch(count: int, batches: int, iteration: int) -> tuple[torch.Tensor, ...]:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(iteration))
    return order.tensor_split(batches)


@pytest.mark.parametrize("sub_batches", [1, 3])
@pytest.mark.parametrize(("batch_size", "batches"), [(None, 1), (10, 3), (100, 1)])
@pytest.mark.parametrize("name", CONSENSUS)
def test_it_is_the_optimiser_s_loop(name: str, batch_size: int | None, batches: int, sub_batches: int) -> None:
    torch.manual_seed(0)
    data, (ours, theirs) = blobs(), networks()
    kind, penalties = CONSENSUS[name]
    options = {**penalties, "lr": 0.7, "weight_decay": 0.1}
    trainer = Backprop(name, batch_size=batch_size, sub_batches=sub_batches, **options)
    result = trainer.fit(ours, data, 4, select="last")
    optimizer = kind(theirs.parameters(), **options)
    x, y = data.x[data.train_mask], data.y[data.train_mask]
    for record in result.history:
        losses = []
        rows = torch.arange(len(x))
        for batch in [rows] if batches == 1 else epoch(len(x), batches, record["iteration"]):
            parts = batch.tensor_split(sub_batches)

            def closure(part: Any) -> Any:
                def call() -> Any:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(theirs(x[part]), y[part])
                    loss.backward()
                    return loss

                return call

            weights = [len(part) / len(batch) for part in parts]
            losses.append(float(optimizer.step([closure(part) for part in parts], weights)))
        assert record["objective"] == pytest.approx(sum(losses) / len(losses), rel=1e-10)
    assert all(torch.allclose(s, t, atol=1e-10) for s, t in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("name", LOOPS)
def test_batches_of_torch_s_optimisers(name: str) -> None:
    torch.manual_seed(0)
    data, (ours, theirs) = blobs(), networks()
    weight = rand(60, seed=4)
    Backprop(name, batch_size=7).fit(ours, data, 3, node_weight=weight, select="last")
    kind, lr = LOOPS[name]
    optimizer = kind(theirs.parameters(), lr)
    x, y, w = data.x[data.train_mask], data.y[data.train_mask], weight[data.train_mask]
    for iteration in (1, 2, 3):
        for batch in epoch(len(x), -(-len(x) // 7), iteration):
            optimizer.zero_grad()
            risks = F.cross_entropy(theirs(x[batch]), y[batch], reduction="none")
            ((w[batch] / w.mean() * risks).mean()).backward()  # batches weigh what their rows do
            optimizer.step()
    assert all(torch.allclose(s, t, atol=1e-12) for s, t in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("name", ["sgd", "badm"])
def test_an_epoch_has_every_row_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    original = backprop.BackpropSession._closure
    monkeypatch.setattr(
        backprop.BackpropSession, "_closure", lambda self, *rows: seen.append(rows[0]) or original(self, *rows)
    )
    data, (model, _) = blobs(), networks()
    Backprop(name, batch_size=8).fit(model, data, 2)
    x = data.x[data.train_mask]
    assert {len(part) for part in seen} <= {7, 8}
    half = len(seen) // 2
    first, second = torch.cat(seen[:half]), torch.cat(seen[half:])
    for rows in (first, second):
        assert Counter(map(tuple, rows.tolist())) == Counter(map(tuple, x.tolist()))
    assert not torch.equal(first, second)


def test_batches_neither_take_nor_give_global_randomness() -> None:
    models = networks()
    states = []
    for seed, model in enumerate(models):
        torch.manual_seed(seed)
        data = blobs()
        before = torch.get_rng_state()
        Backprop("badm", batch_size=8).fit(model, data, 2, select="last")
        states.append(torch.equal(torch.get_rng_state(), before))
    assert states == [True, True]
    assert all(torch.equal(s, t) for s, t in zip(*(m.parameters() for m in models), strict=True))


def test_badm_does_not_depend_on_sub_batches_and_sisa_does() -> None:
    for name, alike in (("badm", True), ("sisa", False)):
        one, four = networks()
        Backprop(name, batch_size=16).fit(one, blobs(), 5, select="last")
        Backprop(name, batch_size=16, sub_batches=4).fit(four, blobs(), 5, select="last")
        pairs = zip(one.parameters(), four.parameters(), strict=True)
        assert all(torch.allclose(s, t, atol=1e-10) for s, t in pairs) == alike


@pytest.mark.parametrize("settings", [{}, {"batch_size": 8}])
@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_has_the_same_bits(name: str, settings: dict[str, int], tmp_path: Path) -> None:
    sub_batches = 2 if name in CONSENSUS else 1
    trainer = Backprop(name, weight_decay=1e-3, sub_batches=sub_batches, **settings)
    whole, parts = (model.float() for model in networks())
    data = blobs()
    data.x = data.x.float()
    straight = trainer.fit(whole, data, 9, select="last")
    trainer.fit(parts, data, 4, checkpoint_dir=tmp_path)
    fresh = networks()[0].float()
    resumed = trainer.fit(fresh, data, 9, select="last", checkpoint_dir=tmp_path, resume=True)
    assert all(torch.equal(s, t) for s, t in zip(whole.parameters(), fresh.parameters(), strict=True))
    assert [r["objective"] for r in resumed.history] == [r["objective"] for r in straight.history]


# --- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "adam",
            {"rho": 1.0},
            r"rho does not apply to adam; it takes batch_size, class_weight, loss, lr, scale, weight_decay$",
        ),
        ("sgd", {"sigma": 1.0}, "sigma does not apply to sgd"),
        ("adadelta", {"sub_batches": 2}, "sub_batches does not apply to adadelta"),
        ("badm", {"sigma": 0.0}, "sigma must be positive, not 0.0"),
        ("sisa", {"rho": float("nan")}, "rho must be positive, not nan"),
        ("adam", {"batch_size": 0}, "batch_size must be positive, not 0"),
        ("badm", {"sub_batches": -1}, "sub_batches must be positive, not -1"),
    ],
)
def test_wrong_options_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Backprop(name, **settings)


def test_more_sub_batches_than_rows() -> None:
    with pytest.raises(InputError, match="sub_batches 9: allowed: at most a batch's rows, 7"):
        Backprop("badm", batch_size=8, sub_batches=9).fit(networks()[0], blobs(), 1)


@pytest.mark.parametrize("name", CONSENSUS)
def test_options_as_used(name: str) -> None:
    used = Experiment(algorithm=name).resolve()
    defaults = backprop.OPTIMIZERS[name][1]
    assert {key: getattr(used, key) for key in defaults} == defaults
    assert (used.nu, used.batch_size, used.sub_batches, used.weight_decay) == (None, None, 1, 0.0)
    assert Experiment(algorithm=name, rho=3.0).resolve().rho == 3.0


@pytest.mark.parametrize("more", [[], ["--batch-size", "64"]])
@pytest.mark.parametrize("name", CONSENSUS)
def test_defaults_give_a_good_model(name: str, more: list[str], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    arguments = ["train", "--algorithm", name, "--iterations", "60", "--threads", "1", "--quiet", "--json", str(path)]
    assert cli.main([*arguments, *more]) == 0
    report = json.loads(path.read_text())
    assert (report["algorithm"], report["config"]["sigma"]) == (name, backprop.OPTIMIZERS[name][1]["sigma"])
    assert report["best"]["test_accuracy"] > 0.95
    assert report["last"]["test_accuracy"] > 0.95

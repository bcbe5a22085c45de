"""The fit loop: history, growth, selection, stopping, interruption, and resuming to the same bits."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from problems import F64, blobs, forward, rand
from torch import Tensor

from gamlp_admm import GAMLP, Backprop, PdADMM, PdADMMG, Result
from gamlp_admm.algorithms import ADMMSession, trainer
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.training.result import Progress
from gamlp_admm.training.session import Stage
from gamlp_admm.training.trainer import Trainer

KEYS = [
    "iteration", "layers", "objective", "primal_residual", "dual_residual", "train_loss", "train_accuracy",
    "val_accuracy", "test_accuracy", "seconds", "bytes_sent",
]  # fmt: skip
ADMM: dict[str, Any] = {"rho": 0.1, "nu": 0.1, "mu": 0.05}
TRAINERS: dict[str, Trainer] = {
    "pdadmm-g": PdADMMG(**ADMM),
    "exact": PdADMMG(**ADMM, solver="exact"),
    "backtracking": PdADMM(**ADMM, solver="backtracking", tau=0.1),
    "schedule": PdADMMG(**ADMM, schedule="every:3:2"),
    "stall": PdADMMG(**ADMM, schedule="stall:2:2"),
    "adam": Backprop("adam", lr=1e-2),
    "sgd": Backprop("sgd"),
    "adagrad": Backprop("adagrad", weight_decay=1e-3),
    "adadelta": Backprop("adadelta"),
}


def network(num_layers: int = 3, columns: int = 8, dtype: torch.dtype = F64, **options: Any) -> GAMLP:
    model = GAMLP(columns, 6, 3, num_layers, init=options.pop("init", "kaiming"), **options).to(dtype)
    model.reset_parameters(torch.Generator().manual_seed(1))
    return model


def parameters(model: GAMLP) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(s, t) for s, t in zip(a, b, strict=True))


def timeless(result: Result) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in result.history]


def accuracy(model: GAMLP, data: SimpleNamespace, mask: str) -> float:
    rows = getattr(data, mask)
    return float((model(data.x[rows]).argmax(1) == data.y[rows]).double().mean())


class Raise:
    """A callback that raises at an iteration, once."""

    def __init__(self, iteration: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.iteration, self.error = iteration, error

    def __call__(self, progress: Progress) -> None:
        if progress.record["iteration"] == self.iteration:
            raise self.error


# --- history ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINERS)
def test_history(name: str) -> None:
    model, data = network(), blobs()
    result = TRAINERS[name].fit(model, data, iterations=8)
    assert [list(record) for record in result.history] == [KEYS] * 8
    assert [record["iteration"] for record in result.history] == list(range(1, 9))
    assert {record["layers"] for record in result.history} == {3}
    seconds = [record["seconds"] for record in result.history]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    for record in result.history:
        residuals = record["primal_residual"], record["dual_residual"]
        if isinstance(TRAINERS[name], Backprop):
            assert residuals == (None, None)
        else:
            assert min(residuals) >= 0
        assert math.isfinite(record["objective"])
    assert json.loads(json.dumps(result.history)) == result.history
    assert result.seconds == seconds[-1]
    assert result.bytes_sent_total == result.history[-1]["bytes_sent"]


@pytest.mark.parametrize("name", TRAINERS)
def test_the_trained_model_is_the_history_s_last(name: str) -> None:
    model, data = network(), blobs()
    result = TRAINERS[name].fit(model, data, iterations=8, select="last")
    record = result.history[-1]
    for split in ("train", "val", "test"):
        assert accuracy(model, data, f"{split}_mask") == pytest.approx(record[f"{split}_accuracy"])
        assert result.last[f"{split}_accuracy"] == record[f"{split}_accuracy"]
    assert result.last["iteration"] == 8
    logits = model(data.x[data.train_mask])
    loss = torch.nn.functional.cross_entropy(logits, data.y[data.train_mask]).item()
    assert record["train_loss"] == pytest.approx(loss)


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
@pytest.mark.parametrize("name", ["pdadmm-g", "adam"])
def test_bytes_sent(name: str, dtype: torch.dtype) -> None:
    # p and q, or activations and their gradients, of 30 rows over every boundary.
    result = TRAINERS[name].fit(network(4, dtype=dtype), blobs(dtype=dtype), iterations=3)
    wanted = [k * 3 * 2 * 30 * 6 * dtype.itemsize for k in (1, 2, 3)]
    assert [record["bytes_sent"] for record in result.history] == wanted
    grown = TRAINERS[name].fit(network(4, dtype=dtype), blobs(dtype=dtype), iterations=2, grow=(2, 4))
    assert [r["bytes_sent"] for r in grown.history] == [k * 720 * dtype.itemsize // 2 for k in (1, 2, 5, 8)]


def test_a_single_layer_sends_nothing() -> None:
    result = TRAINERS["pdadmm-g"].fit(network(1), blobs(), iterations=3)
    assert result.bytes_sent_total == 0
    assert result.history[-1]["primal_residual"] == 0


@pytest.mark.parametrize("every", [3, 4, 10, 100])
def test_evaluate_every(every: int) -> None:
    model, seldom = network(), network()
    full = TRAINERS["pdadmm-g"].fit(model, blobs(), iterations=10, select="last")
    result = TRAINERS["pdadmm-g"].fit(seldom, blobs(), iterations=10, evaluate_every=every, select="last")
    wanted = [i for i in range(1, 11) if i % every == 0 or i == 10]
    assert timeless(result) == [timeless(full)[i - 1] for i in wanted]
    assert same(parameters(model), parameters(seldom))  # looking changes nothing


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


def test_without_a_seed_training_goes_on_from_the_model() -> None:
    seen: list[list[tuple[Tensor, Tensor]]] = []
    model = network()
    before = parameters(model)
    recording(seen, scale="none").fit(model, blobs(), 2)
    assert same([t for pair in seen[0] for t in pair], before)
    drawn = network()
    drawn.reset_parameters(torch.Generator().manual_seed(5))
    recording(seen, scale="none").fit(network(), blobs(), 2, seed=5)
    assert same([t for pair in seen[1] for t in pair], parameters(drawn))


def recording(seen: list[list[tuple[Tensor, Tensor]]], **options: Any) -> PdADMMG:
    """Return a trainer that notes the weights that each stage starts from."""

    @dataclass(frozen=True)
    class Recording(PdADMMG):
        def start(self, stage: Stage) -> ADMMSession:
            seen.append([(W.clone(), b.clone()) for W, b in stage.weights])
            return super().start(stage)

    return Recording(**{**ADMM, **options})


# --- growth -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [8, 50])
@pytest.mark.parametrize("activation", ["relu", "hardtanh"])
def test_growth_leaves_the_function_unchanged(activation: str, columns: int) -> None:
    model, data = network(6, columns, activation=activation), blobs(columns=columns)
    seen: list[list[tuple[Tensor, Tensor]]] = []
    last: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def note(progress: Progress) -> None:
        last[progress.record["layers"]] = progress.weights()

    recording(seen, scale="none").fit(model, data, 3, grow=(2, 3, 6), callbacks=[note])
    assert [len(weights) for weights in seen] == [2, 3, 6]
    f = model.f
    for (W, b), *rest in seen[1:]:
        before = last[{2: 2, 5: 3}[len(rest)]]
        # In the stage's coordinates only the first layer differs: compare what it feeds.
        first = torch.eye(6, dtype=F64)
        assert torch.equal(b, before[0][1])
        a = forward(first, [(first, torch.zeros(6, dtype=F64)), *rest], f)
        assert torch.allclose(a, forward(first, [(first, torch.zeros(6, dtype=F64)), *before[1:]], f), atol=1e-14)
        assert W.shape[0] == 6


def test_growth_records() -> None:
    result = TRAINERS["pdadmm-g"].fit(network(5), blobs(), 4, grow=(2, 3, 5))
    assert [record["layers"] for record in result.history] == [2] * 4 + [3] * 4 + [5] * 4
    assert [record["iteration"] for record in result.history] == list(range(1, 13))
    assert result.best["iteration"] > 8


def test_total_iterations_of_progress() -> None:
    totals = []
    TRAINERS["pdadmm-g"].fit(
        network(5), blobs(), 4, grow=(2, 3, 5), callbacks=[lambda p: totals.append(p.total_iterations)]
    )
    assert set(totals) == {12}


# --- selection and stopping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [8, 50])
@pytest.mark.parametrize("name", ["pdadmm-g", "exact", "adam"])
def test_best_on_validation_at_the_final_depth(name: str, columns: int) -> None:
    model, data = network(4, columns), blobs(columns=columns, n=90, train=20)
    seen: dict[int, list[tuple[Tensor, Tensor]]] = {}
    result = TRAINERS[name].fit(
        model, data, 10, grow=(2, 4), callbacks=[lambda p: seen.update({p.record["iteration"]: p.weights()})]
    )
    final = [record for record in result.history if record["layers"] == 4]
    top = max(record["val_accuracy"] for record in final)
    wanted = next(record for record in final if record["val_accuracy"] == top)
    assert result.best == {k: wanted[k] for k in ("iteration", "val_accuracy", "test_accuracy")}
    pairs = [t for pair in seen[wanted["iteration"]] for t in pair]
    assert same(parameters(model), pairs)
    assert accuracy(model, data, "val_mask") == pytest.approx(top)


def test_select_last() -> None:
    model = network()
    seen: list[list[tuple[Tensor, Tensor]]] = []
    TRAINERS["pdadmm-g"].fit(model, blobs(), 6, select="last", callbacks=[lambda p: seen.append(p.weights())])
    assert same(parameters(model), [t for pair in seen[-1] for t in pair])


def test_without_validation_nodes_the_last_is_best() -> None:
    model, data = network(), blobs()
    data.val_mask = None
    result = TRAINERS["pdadmm-g"].fit(model, data, 6, patience=1)
    assert result.best["iteration"] == result.last["iteration"] == 6
    assert result.best["val_accuracy"] is None
    assert accuracy(model, data, "test_mask") == pytest.approx(result.best["test_accuracy"])


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_patience_ends_a_stage(patience: int) -> None:
    result = TRAINERS["pdadmm-g"].fit(network(4), blobs(), 40, grow=(2, 4), patience=patience)
    for depth in (2, 4):
        scores = [record["val_accuracy"] for record in result.history if record["layers"] == depth]
        best = scores.index(max(scores))
        assert len(scores) == min(best + patience + 1, 40)


def test_a_callback_stops() -> None:
    result = TRAINERS["pdadmm-g"].fit(
        network(4), blobs(), 20, callbacks=[lambda p: p.record["iteration"] >= 5, lambda p: "not True"]
    )
    assert len(result.history) == 5


def test_every_callback_is_called() -> None:
    calls: list[str] = []
    TRAINERS["pdadmm-g"].fit(
        network(), blobs(), 3, callbacks=[lambda p: bool(calls.append("a")) or True, lambda p: calls.append("b")]
    )
    assert calls == ["a", "b"]


@pytest.mark.parametrize("name", ["pdadmm-g", "adam"])
@pytest.mark.parametrize("select", ["best", "last"])
def test_interruption_leaves_the_selected_weights(select: str, name: str) -> None:
    model, wanted = network(), network()
    with pytest.raises(KeyboardInterrupt):
        TRAINERS[name].fit(model, blobs(), 20, select=select, callbacks=[Raise(7)])
    TRAINERS[name].fit(wanted, blobs(), 7, select=select)
    assert same(parameters(model), parameters(wanted))


def test_interruption_of_growth_leaves_the_shallow_function() -> None:
    model, data = network(6), blobs()
    seen: list[list[tuple[Tensor, Tensor]]] = []
    with pytest.raises(RuntimeError):
        TRAINERS["pdadmm-g"].fit(
            model, data, 10, grow=(2, 6), callbacks=[lambda p: seen.append(p.weights()), Raise(4, RuntimeError)]
        )
    assert torch.allclose(model(data.x), forward(data.x, seen[-1], torch.relu))


# --- failures -----------------------------------------------------------------------------------------------


def broken_after(good: int) -> Callable[[Any, int], float]:
    return lambda records, elapsed: 1.0 if elapsed < good else float("nan")


@pytest.mark.parametrize("solver", ["linesearch", "backtracking", "exact"])
@pytest.mark.parametrize("select", ["best", "last"])
def test_iterates_that_are_not_finite(select: str, solver: str) -> None:
    model, wanted = network(), network()
    failing = PdADMMG(**ADMM, solver=solver, tau=0.1, schedule=broken_after(5))
    with pytest.raises(FloatingPointError, match="iteration 6: the objective is no longer finite"):
        failing.fit(model, blobs(), 20, select=select)
    PdADMMG(**ADMM, solver=solver, tau=0.1).fit(wanted, blobs(), 5, select=select)
    assert same(parameters(model), parameters(wanted))


def test_the_first_iterate_is_not_finite() -> None:
    model = network()
    before = parameters(model)
    with pytest.raises(FloatingPointError):
        PdADMMG(**ADMM, schedule=broken_after(0)).fit(model, blobs(), 3)
    assert all(torch.isfinite(t).all() for t in parameters(model))
    assert same(parameters(model), before)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"iterations": 0}, "iterations must be a positive integer, not 0"),
        ({"iterations": 2.5}, "iterations must be a positive integer"),
        ({"evaluate_every": 0}, "evaluate_every must be a positive integer"),
        ({"patience": -1}, "patience must be a positive integer"),
        ({"checkpoint_every": 0}, "checkpoint_every must be a positive integer"),
        ({"select": "first"}, "select 'first': allowed: best, last"),
        ({"resume": True}, "resume and checkpoint_every need checkpoint_dir"),
        ({"checkpoint_every": 2}, "resume and checkpoint_every need checkpoint_dir"),
        ({"grow": (2, 4)}, "grow"),
        ({"gather": "some"}, "gather 'some': allowed: all, first, none"),
        ({"node_shards": 2}, "node_shards needs a process_group"),
        ({"node_weight": torch.ones(3)}, "node_weight"),
    ],
)
def test_bad_options(options: dict[str, Any], names: str) -> None:
    model = network()
    before = parameters(model)
    with pytest.raises(InputError, match=names) as error:
        TRAINERS["pdadmm-g"].fit(model, blobs(), **options)
    assert "\n" not in str(error.value)
    assert same(parameters(model), before)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"algorithm": "pdadm"}, r"unknown algorithm 'pdadm': did you mean 'pdadmm'\?"),
        ({"algorithm": "adam", "rho": 1.0}, "rho does not apply to adam; it takes "),
        ({"algorithm": "pdadmm-g", "lr": 1.0}, "lr does not apply to pdadmm-g"),
        ({"algorithm": "pdadmm-g", "rho": 0.0}, "rho must be positive"),
        ({"algorithm": "pdadmm-g", "nu": float("nan")}, "nu must be positive"),
        ({"algorithm": "pdadmm-g", "tau": float("inf")}, "tau must be positive"),
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


def test_whether_the_theorem_holds() -> None:
    assert PdADMMG(rho=1.0, nu=0.2).fit(network(), blobs(), 1).converges is True
    assert PdADMMG(rho=1.0, nu=0.25).fit(network(), blobs(), 1).converges is False
    assert Backprop().fit(network(), blobs(), 1).converges is None


# --- checkpoints --------------------------------------------------------------------------------------------


def resumed(
    the_trainer: Trainer, make: Callable[[], GAMLP], data: Any, folder: Path, stop: int, **options: Any
) -> tuple[Result, GAMLP]:
    """Interrupt a run, and resume it in a fresh model."""
    with pytest.raises(KeyboardInterrupt):
        the_trainer.fit(make(), data, checkpoint_dir=folder, checkpoint_every=2, callbacks=[Raise(stop)], **options)
    fresh = make()
    fresh.reset_parameters(torch.Generator().manual_seed(99))
    return the_trainer.fit(fresh, data, checkpoint_dir=folder, resume=True, **options), fresh


@pytest.mark.parametrize("columns", [8, 50])
@pytest.mark.parametrize("name", TRAINERS)
def test_resumed_runs_give_the_same_bits(name: str, columns: int, tmp_path: Path) -> None:
    data = blobs(columns=columns)
    model = network(4, columns)
    whole = TRAINERS[name].fit(model, data, 6, grow=(2, 3, 4), seed=3)
    for stop in (3, 9, 10, 17):  # within stages, after a stage's end, before the run's end
        result, other = resumed(
            TRAINERS[name], lambda: network(4, columns), data, tmp_path / str(stop), stop,
            iterations=6, grow=(2, 3, 4), seed=3,
        )  # fmt: skip
        assert timeless(result) == timeless(whole)
        assert (result.best, result.last) == (whole.best, whole.last)
        assert same(parameters(other), parameters(model))
        seconds = [record["seconds"] for record in result.history]
        assert seconds == sorted(seconds)


@pytest.mark.parametrize("columns", [8, 50])
@pytest.mark.parametrize("name", ["pdadmm-g", "exact", "adam"])
def test_resumed_runs_in_float32(name: str, columns: int, tmp_path: Path) -> None:
    data = blobs(columns=columns, dtype=torch.float32)
    model = network(4, columns, torch.float32)
    whole = TRAINERS[name].fit(model, data, 8, select="last")
    with pytest.raises(KeyboardInterrupt):
        TRAINERS[name].fit(
            network(4, columns, torch.float32), data, 8, select="last", checkpoint_dir=tmp_path,
            checkpoint_every=3, callbacks=[Raise(5)],
        )  # fmt: skip
    other = network(4, columns, torch.float32)
    result = TRAINERS[name].fit(other, data, 8, select="last", checkpoint_dir=tmp_path, resume=True)
    assert timeless(result) == timeless(whole)
    assert same(parameters(other), parameters(model))


def test_a_run_without_iterations_between_checkpoints_is_saved_at_its_end(tmp_path: Path) -> None:
    model, longer, other = network(), network(), network()
    TRAINERS["pdadmm-g"].fit(model, blobs(), 5, checkpoint_dir=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    again = TRAINERS["pdadmm-g"].fit(other, blobs(), 5, checkpoint_dir=tmp_path, resume=True)
    assert len(again.history) == 5
    assert same(parameters(other), parameters(model))
    more = TRAINERS["pdadmm-g"].fit(other, blobs(), 9, checkpoint_dir=tmp_path, resume=True)
    whole = TRAINERS["pdadmm-g"].fit(longer, blobs(), 9)
    assert timeless(more) == timeless(whole)
    assert same(parameters(other), parameters(longer))


def test_resuming_something_else(tmp_path: Path) -> None:
    TRAINERS["pdadmm-g"].fit(network(), blobs(), 2, checkpoint_dir=tmp_path)

    def resume(the_trainer: Trainer, model: GAMLP, data: Any = None, **options: Any) -> None:
        the_trainer.fit(model, data or blobs(dtype=next(model.parameters()).dtype), 4,
                        checkpoint_dir=tmp_path, resume=True, **options)  # fmt: skip

    for the_trainer, model, data, names in [
        (PdADMMG(**{**ADMM, "rho": 0.2}), network(), None, "was made with rho=0.1, not 0.2"),
        (PdADMM(**ADMM), network(), None, "was made with algorithm=pdadmm-g, not pdadmm"),
        (Backprop(), network(), None, "was made with algorithm=pdadmm-g, not adam"),
        (TRAINERS["pdadmm-g"], network(4), None, "was made with num_layers=3, not 4"),
        (TRAINERS["pdadmm-g"], network(dtype=torch.float32), None, "was made with dtype=torch.float64"),
        (TRAINERS["pdadmm-g"], network(activation="tanh"), None, "was made with activation=relu, not tanh"),
        (TRAINERS["pdadmm-g"], network(), blobs(train=20), r"was made with rows=\[30, 15, 15\]"),
    ]:
        with pytest.raises(InputError, match=names):
            resume(the_trainer, model, data)
    with pytest.raises(InputError, match=r"was made with grow=\[3\], not \[2, 3\]"):
        resume(TRAINERS["pdadmm-g"], network(), grow=(2, 3))
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        TRAINERS["pdadmm-g"].fit(network(), blobs(), 4, checkpoint_dir=tmp_path / "absent", resume=True)


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
    # Of the risk; the mean over 36 rows instead of 30 is made up for by the step.
    data, rows = blobs(), torch.arange(6)
    weight = torch.ones(60, dtype=F64)
    weight[rows] = 2
    a, b = network(), network()
    one = Backprop("sgd", lr=0.1).fit(a, data, 10, node_weight=weight, select="last")
    two = Backprop("sgd", lr=0.1 * 36 / 30).fit(b, doubled(data, rows), 10, select="last")
    assert all(torch.allclose(s, t, atol=1e-12) for s, t in zip(a.parameters(), b.parameters(), strict=True))
    for s, t in zip(one.history, two.history, strict=True):
        assert s["train_loss"] * 30 == pytest.approx(t["train_loss"] * 36)


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

"""The fit loop: evaluations, growth, selection, stopping, interruption, and resuming to the same bits."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fitting import ADMM, TRAINERS, Raise, accuracy, network, parameters, recording, same, timeless
from problems import F64, blobs, forward
from torch import Tensor

from gamlp_admm import GAMLP, Backprop, PdADMM, PdADMMG, Result
from gamlp_admm.errors import Diverged, InputError, NeighbourError
from gamlp_admm.parallel.team import Team
from gamlp_admm.training import gathering, generations
from gamlp_admm.training.loop import Loop
from gamlp_admm.training.result import Progress
from gamlp_admm.training.trainer import Trainer

# --- history ------------------------------------------------------------------------------------------------


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


# --- failures -----------------------------------------------------------------------------------------------


def broken_after(good: int) -> Callable[[Any, int], float]:
    return lambda records, elapsed: 1.0 if elapsed < good else float("nan")


def test_what_goes_wrong_while_the_network_grows_is_what_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*args: Any) -> Any:
        raise NeighbourError("lost another process")

    monkeypatch.setattr(Team, "move", lost)  # when shapes are those of the next stage, and weights those of this
    data, model = blobs(), network(4)
    before = parameters(model)
    with pytest.raises(NeighbourError, match="lost another process"):
        PdADMMG().fit(model, data, 3, seed=0, grow=(2, 4))
    assert same(parameters(model), before)


@pytest.mark.parametrize("solver", ["linesearch", "backtracking", "exact"])
@pytest.mark.parametrize("select", ["best", "last"])
def test_iterates_that_are_not_finite(select: str, solver: str) -> None:
    model, wanted = network(), network()
    failing = PdADMMG(**ADMM, solver=solver, tau=0.1, schedule=broken_after(5))
    what = "iteration 6: the objective is no longer finite"
    with pytest.raises(Diverged, match=f"{what}; the model has the best weights so far") as raised:
        failing.fit(model, blobs(), 20, select=select)
    result = PdADMMG(**ADMM, solver=solver, tau=0.1).fit(wanted, blobs(), 5, select=select)
    assert same(parameters(model), parameters(wanted))
    until = raised.value.result
    assert (until.best, until.last, until.stopped, until.diverged) == (result.best, result.last, 6, what)
    assert pickle.loads(pickle.dumps(raised.value)).result.best == until.best


def lose(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let arithmetic fail in the middle of an iteration."""
    iterate = Loop._iterate

    def failing(self: Loop) -> None:
        if self.position.iteration == after:
            raise OverflowError("too large\nfor words")
        iterate(self)

    monkeypatch.setattr(Loop, "_iterate", failing)


def test_arithmetic_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model, wanted = network(), network()
    result = PdADMMG(**ADMM).fit(wanted, blobs(), 5, seed=0)
    lose(monkeypatch, 5)
    with pytest.raises(Diverged, match=r"^too large; the model has the best weights so far$") as raised:
        PdADMMG(**ADMM).fit(model, blobs(), 20, seed=0)
    assert isinstance(raised.value.__cause__, OverflowError)
    assert same(parameters(model), parameters(wanted))
    assert (raised.value.result.best, raised.value.result.stopped) == (result.best, 5)
    monkeypatch.setattr(Team, "size", 2)  # of which the other knows nothing
    with pytest.raises(FloatingPointError, match=r"^too large; this process's layers have the best weights") as other:
        PdADMMG(**ADMM).fit(model, blobs(), 20, seed=0)
    assert not isinstance(other.value, Diverged)


def test_weights_that_the_model_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    lose(monkeypatch, 2)
    monkeypatch.setattr(gathering, "finite", lambda *_: False)
    model = network()
    before = parameters(model)
    with pytest.raises(FloatingPointError, match=r"^too large; the model is left as it was$") as raised:
        PdADMMG(**ADMM).fit(model, blobs(), 20, seed=0)
    assert not isinstance(raised.value, Diverged)
    assert same(parameters(model), before)


@pytest.mark.parametrize("select", ["best", "last"])
def test_the_first_iterate_is_not_finite(select: str) -> None:
    model = network()
    before = parameters(model)
    with pytest.raises(Diverged) as raised:
        PdADMMG(**ADMM, schedule=broken_after(0)).fit(model, blobs(), 3, select=select)
    assert (raised.value.result.history, raised.value.result.best) == ([], {})
    assert all(torch.isfinite(t).all() for t in parameters(model))
    assert same(parameters(model), before)


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
    assert generations.numbers(tmp_path) == [1]
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

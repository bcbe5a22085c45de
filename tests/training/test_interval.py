"""How often a run is evaluated by itself: what the rule promises, and that nothing else depends on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fitting import ADMM, TRAINERS, Raise, network, parameters, same, timeless
from problems import blobs

from gamlp_admm import GAMLP, PdADMMG, Ridge
from gamlp_admm.training.interval import SHARE, evaluation_cost, interval, iteration_cost
from gamlp_admm.training.schedules import constant

SHAPES = {"small": [(8, 5), (3, 8)], "deep": [(100, 141), *[(100, 100)] * 8, (7, 100)], "wide": [(500, 500)] * 10}
ROWS = [(5, 20), (140, 1_640), (160, 7_650), (5_000, 5_010), (90_000, 169_000)]


def share(shapes: list[tuple[int, int]], rows: int, evaluated: int, every: int, ranked: bool = False) -> float:
    evaluation = evaluation_cost(shapes, rows, evaluated, ranked)
    return evaluation / (evaluation + every * iteration_cost(shapes, rows))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_evaluations_have_their_share_and_no_less(shapes: list[tuple[int, int]], rows: tuple[int, int]) -> None:
    for ranked in (False, True):
        every = interval(shapes, *rows, iterations=10**6, ranked=ranked)
        assert share(shapes, *rows, every, ranked) <= SHARE
        assert every == 1 or share(shapes, *rows, every - 1, ranked) > SHARE


@pytest.mark.parametrize("rows", ROWS)
def test_a_stage_has_at_least_seven_records(rows: tuple[int, int]) -> None:
    for iterations in (1, 10, 39, 40, 100, 207):
        every = interval(SHAPES["deep"], *rows, iterations)
        assert iterations // every >= min(iterations, 7)
        assert every == 1 or iterations >= 40
    for patience in (1, 2, 3, 10, 25):
        every = interval(SHAPES["deep"], *rows, 10**6, patience)
        assert patience // every >= min(patience, 3)


def test_a_metric_that_sorts_costs_more() -> None:
    many = [(256, 100), (112, 256)]
    assert interval(many, 80_000, 100_000, 1_000, ranked=True) > interval(many, 80_000, 100_000, 1_000)


# --- in a run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pdadmm-g", "adam"])
def test_looking_seldom_changes_nothing_else(name: str) -> None:
    often, seldom = network(4), network(4)
    each = TRAINERS[name].fit(often, blobs(), 60, grow=(2, 4), evaluate_every=1, select="last")
    result = TRAINERS[name].fit(seldom, blobs(), 60, grow=(2, 4), select="last")
    seen = [record["iteration"] for record in result.history]
    assert len(seen) < 60
    assert {60, 120} < {*seen}
    assert timeless(result) == [record for record in timeless(each) if record["iteration"] in seen]
    assert same(parameters(often), parameters(seldom))


def test_patience_counts_iterations() -> None:
    data = blobs()
    result = TRAINERS["pdadmm-g"].fit(network(), data, 200, patience=12)
    scores = {record["iteration"]: record["val_accuracy"] for record in result.history}
    best = min(k for k, score in scores.items() if score == max(scores.values()))
    steps = [b - a for a, b in zip([0, *scores], scores, strict=False)]
    assert 12 <= result.last["iteration"] - best < 12 + max(steps)
    assert 1 < max(steps) <= 4
    counted = TRAINERS["pdadmm-g"].fit(network(), data, 200, patience=3, evaluate_every=4)
    scores = {record["iteration"]: record["val_accuracy"] for record in counted.history}
    best = min(k for k, score in scores.items() if score == max(scores.values()))
    assert counted.last["iteration"] == best + 12  # evaluations, where it is said how often


@pytest.mark.parametrize(
    ("trainer", "layers"),
    [
        (Ridge(), 1),  # each iteration is another candidate
        (PdADMMG(**ADMM, schedule="stall:5"), 2),
        (PdADMMG(**ADMM, schedule=lambda records, elapsed: 1.0 + len(records)), 2),
        (PdADMMG(**ADMM, schedule=constant), 2),  # of functions nothing is known
    ],
)
def test_what_reads_records_has_one_an_iteration(trainer: Any, layers: int) -> None:
    assert len(trainer.fit(network(layers), blobs(), 40).history) == 40
    assert len(trainer.fit(network(layers), blobs(), 40, evaluate_every=10).history) == 4


def test_resumed_from_between_evaluations(tmp_path: Path) -> None:
    trainer, options = TRAINERS["pdadmm-g"], {"iterations": 45, "grow": (2, 3), "seed": 3, "patience": 30}
    model, other = network(), network()
    whole = trainer.fit(model, blobs(), **options)
    stop = whole.history[-2]["iteration"]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(network(), blobs(), **options, checkpoint_dir=tmp_path, checkpoint_every=7, callbacks=[Raise(stop)])
    result = trainer.fit(other, blobs(), **options, checkpoint_dir=tmp_path, resume=True)
    assert timeless(result) == timeless(whole)
    assert (result.best, result.last) == (whole.best, whole.last)
    assert same(parameters(model), parameters(other))


def test_a_stage_that_is_over_once_it_is_resumed_has_a_record_of_its_end(tmp_path: Path) -> None:
    trainer, histories = TRAINERS["pdadmm-g"], []
    for every in (1, 20):
        options = {"grow": (2, 3), "seed": 3, "evaluate_every": every, "checkpoint_dir": tmp_path / str(every)}
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(network(), blobs(), 45, checkpoint_every=25, callbacks=[Raise(40)], **options)
        histories.append(timeless(trainer.fit(network(), blobs(), 20, resume=True, **options)))
    each, seldom = histories  # 25 iterations of two layers, and 20 of three
    assert [record["iteration"] for record in seldom] == [20, 25, 45]
    wanted = [record for record in each if record["iteration"] in (20, 25, 45)]
    assert seldom == [wanted[0], {**wanted[1], "dual_residual": None}, wanted[2]]  # of the iterate before 25


def test_a_callback_is_asked_between_evaluations() -> None:
    class Stop:
        calls = 0

        def asked(self) -> bool:
            self.calls += 1
            return self.calls > 6

        def __call__(self, progress: Any) -> None:
            pass

    result = TRAINERS["pdadmm-g"].fit(network(), blobs(), 100, evaluate_every=50, callbacks=[Stop()])
    assert (result.stopped, result.history) == (6, [])


def test_the_start_from_the_data_is_evaluated() -> None:
    model = GAMLP(8, 6, 3, 2, init="ridge").to(torch.float64)
    result = PdADMMG().fit(model, blobs(), 50, seed=0)
    assert [record["iteration"] for record in result.history][:1] == [0]
    assert len(result.history) < 50

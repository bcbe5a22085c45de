"""Replayed iterations are those of a session that computes each. A stand-in for CUDA graphs computes as they replay."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from fitting import ADMM, network, parameters, same, timeless
from problems import blobs

from gamlp_admm import DlADMM, PdADMMG
from gamlp_admm.admm import blocks
from gamlp_admm.admm.engine import iterate
from gamlp_admm.admm.fusing import fusing
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import captured
from gamlp_admm.algorithms.base import ADMMSession
from gamlp_admm.algorithms.captured import CapturedSession, CompiledSession
from gamlp_admm.errors import InputWarning
from gamlp_admm.nn.activations import activation
from gamlp_admm.parallel.channel import LocalChannel


@dataclass(frozen=True, kw_only=True, repr=False)
class CapturedPdADMMG(PdADMMG):
    session = CapturedSession


@dataclass(frozen=True, kw_only=True, repr=False)
class PlainPdADMMG(PdADMMG):
    session = ADMMSession


@dataclass(frozen=True, kw_only=True, repr=False)
class CompiledPdADMMG(PdADMMG):
    session = CompiledSession


@dataclass(frozen=True, kw_only=True, repr=False)
class PlainDlADMM(DlADMM):
    session = ADMMSession


@dataclass(frozen=True, kw_only=True, repr=False)
class CapturedDlADMM(DlADMM):
    session = CapturedSession


RUNS: dict[str, tuple[type, type, dict[str, Any], dict[str, Any]]] = {
    "plain": (PlainPdADMMG, CapturedPdADMMG, {}, {}),
    "differences, penalties that change": (
        *(PlainPdADMMG, CapturedPdADMMG),
        {"codec": "int8-delta", "schedule": "every:4:2"},
        {"evaluate_every": 3},
    ),
    "rounded": (PlainPdADMMG, CapturedPdADMMG, {"matmul": "bf16", "solver": "linesearch"}, {"dtype": torch.float32}),
    "sweeps, best": (PlainDlADMM, CapturedDlADMM, {"solver": "linesearch"}, {"select": "best"}),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, replayed, settings, options = RUNS[name]
    counted, captures, replays = [], [], []

    def record(run: Callable[[], list[Block]]) -> tuple[captured.Replay, list[Block]]:
        captures.clear()
        made = run()
        captures.append(made)
        counted.append(made)

        def replay() -> None:
            replays.append(made)  # which sends nothing, as far as Python knows
            for old, new in zip(made, run(), strict=True):
                for field, t in new.tensors().items():
                    if old.tensors()[field] is not t:
                        old.tensors()[field].copy_(t)

        return replay, made

    def iterated(state: Any, phases: Any, problem: Any, channel: LocalChannel) -> list[Block]:
        return iterate(state, phases, problem, LocalChannel() if captures else channel)

    monkeypatch.setattr(captured, "record", record)
    monkeypatch.setattr(captured, "iterate", iterated)
    monkeypatch.setattr(captured, "capturable", lambda problem, channel: True)
    monkeypatch.setattr("gamlp_admm.admm.matmul.multiplies_bfloat16", lambda: True)
    dtype = options.pop("dtype", torch.float64)
    results, ends = [], []
    for kind in (plain, replayed):
        model = network(4, dtype=dtype)
        given = {"evaluate_every": 1, "grow": None, **options}
        results.append(kind(**{**ADMM, **settings}).fit(model, blobs(dtype=dtype), 14, seed=0, **given))
        ends.append(parameters(model))
    assert timeless(results[0]) == timeless(results[1])
    assert same(*ends)
    assert len(counted) == (3 if "schedule" in settings else 1)
    assert len(replays) == 14 - captured.EAGER * (4 if "schedule" in settings else 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    results = []
    for kind in (PlainPdADMMG, CapturedPdADMMG):
        model = network(4, dtype=torch.float32).cuda()
        results.append(kind(**ADMM).fit(model, blobs(dtype=torch.float32), 14, seed=0, grow=None, evaluate_every=1))
    for plain, replayed in zip(*(result.history for result in results), strict=True):
        assert replayed["objective"] == pytest.approx(plain["objective"], rel=1e-5)


def test_what_cannot_be_captured_is_sent_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(run: Callable[[], list[Block]]) -> tuple[captured.Replay, list[Block]]:
        run()
        raise RuntimeError("operation not permitted when stream is capturing\nand so on")

    monkeypatch.setattr(captured, "record", fails)
    monkeypatch.setattr(captured, "capturable", lambda problem, channel: True)
    wanted = PlainPdADMMG(**ADMM).fit(network(4), blobs(), 8, seed=0, grow=None, evaluate_every=1)
    with pytest.warns(InputWarning, match=r"are not replayed: operation not permitted when stream is capturing$"):
        result = CapturedPdADMMG(**ADMM).fit(network(4), blobs(), 8, seed=0, grow=None, evaluate_every=1)
    assert timeless(result) == timeless(wanted)


def test_compiled_updates_are_the_same_functions() -> None:
    x, y, z = (torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    made = []
    for how in (nullcontext(), fusing("eager")):
        with how:
            W = y[:, :4]
            b = blocks.b_update(x, y, 30.0)
            hidden = blocks.z_hidden(x, b, y, z, activation("relu"))
            q = blocks.q_update((x,), hidden, y, activation("relu"), 0.1, 0.2)
            made.append([b, hidden, q, blocks.p_gradient(x[..., :4], W, y, (z,), (x,), 0.1, 0.2)])
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_compiled_iterates_are_those_that_are_not() -> None:
    results = []
    for kind in (PlainPdADMMG, CompiledPdADMMG):
        model = network(4, dtype=torch.float32).cuda()
        results.append(kind(**ADMM).fit(model, blobs(dtype=torch.float32), 14, seed=0, grow=None, evaluate_every=1))
    for plain, compiled in zip(*(result.history for result in results), strict=True):
        assert compiled["objective"] == pytest.approx(plain["objective"], rel=1e-4)

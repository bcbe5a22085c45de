"""Censoring: which rows are sent, and that training ends where it does when everything is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from problems import lagrangian, randn, random_problem, start
from torch import Tensor

from gamlp_admm.admm.engine import advance
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import pdadmm
from gamlp_admm.codecs import Changed, codec
from gamlp_admm.codecs.plan import Codecs, Plan
from gamlp_admm.errors import InputError
from gamlp_admm.parallel.channel import LocalChannel


def moved(distances: list[float], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return rows of norm 1, and the same moved by these distances, at right angles."""
    before = torch.nn.functional.normalize(randn(len(distances), 40, seed=seed), dim=-1)
    away = randn(len(distances), 40, seed=seed + 1)
    away -= (away * before).sum(-1, keepdim=True) * before
    return before, before + torch.tensor(distances, dtype=before.dtype)[:, None] * away / away.norm(dim=1, keepdim=True)


def test_rows_that_moved_far_enough_are_sent() -> None:
    before, x = moved([0.0, 0.05, 0.15, 0.5, 0.09])
    known = codec("changed:0.1:0.9:fp64").project(x, before)
    assert torch.equal(known[[0, 1, 4]], before[[0, 1, 4]])
    assert torch.equal(known[[2, 3]], x[[2, 3]])
    assert len(codec("changed:0.1:0.9:fp64").encode(x, before)) == 2 * 40 * 8 + 1
    later = codec("changed:0.1:0.9:fp64").during(3)  # 0.081
    assert torch.equal(later.project(x, before)[4], x[4])
    assert torch.equal(later.project(10 * x, 10 * before), 10 * later.project(x, before))


def test_differences_that_are_small_are_kept_until_they_have_grown() -> None:
    coder, known = codec("changed:0.1:0.99:int4-delta"), torch.ones(1, 16)
    sent = []
    for step in range(1, 40):
        x = torch.ones(1, 16) * (1 + 0.02 * step)
        again = coder.project(x, known)
        sent.append(not torch.equal(again, known))
        known = again
        assert float((x - known).norm() / x.norm()) <= 0.1
    assert 3 <= sum(sent) <= 8


def test_what_is_held_comes_to_what_rests() -> None:
    coder, x = codec("changed:0.5:0.9:ternary-delta"), randn(20, 30)
    known = torch.zeros_like(x)
    for k in range(1, 120):
        known = coder.during(k).project(x, known)
    assert float((x - known).norm() / x.norm()) < 1e-4


def trained(spec: str, iterations: int) -> tuple[list[Block], float, int]:
    """Return the blocks, objective and bytes after iterations of pdADMM-G with two layers."""
    x, weights, problem = random_problem([6, 5, 3], 12, rho=1.0, nu=0.1, mu=0.1)
    codecs, channel = Codecs(Plan.of(spec)), LocalChannel()
    state = start(pdadmm, x, weights, problem)
    for k in range(1, iterations + 1):
        advance(state, pdadmm.PHASES, replace(problem, codecs=replace(codecs, iteration=k)), channel)
    return state, lagrangian(pdadmm, state, problem), channel.bytes_sent


def test_training_ends_where_it_does_when_everything_is_sent() -> None:
    _, full, everything = trained("full", 600)
    state, objective, sent = trained("changed:0.5:0.96:int2-delta", 600)
    assert objective == pytest.approx(full, rel=0.005)
    assert sent < everything / 10
    for field, block in (("q", state[0]), ("p", state[1])):
        value, known = getattr(block, field), block.sent(field)
        assert float((value - known).norm() / value.norm()) < 1e-3
    _, stuck, _ = trained("changed:0.5:0.9999:int2-delta", 300)  # thresholds that hardly fall
    assert stuck > 2 * full


def test_what_it_needs() -> None:
    with pytest.raises(InputError, match="needs before"):
        codec("changed:int4").project(torch.ones(2, 3))
    assert codec("changed:0.5") == Changed(codec("int2-delta"), 0.5)  # type: ignore[arg-type]

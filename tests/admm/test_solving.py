"""The way to solve a first layer: what is counted, and what is chosen by it."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from problems import randn

from gamlp_admm.admm.normal import Dual, Primal
from gamlp_admm.admm.nystrom import Iterative
from gamlp_admm.admm.solving import WORTH, plan, shared_equations


@pytest.mark.parametrize(
    ("rows", "columns", "targets", "iterations", "kind"),
    [
        (4_590, 2_980, 256, 200, "primal"),
        (8_252, 3_068, 256, 100, "primal"),
        (140, 141, 64, 200, "dual"),
        (4_590, 2_980, 32, 20, "iterative"),
        (100_000, 50_000, 256, 200, "iterative"),
        (10_999, 13_610, 64, 200, "iterative"),
        (10_999, 13_610, 512, 1_000, "dual"),
        (10_999, 13_610, 8, 3, "linesearch"),
    ],
)
def test_what_is_chosen(rows: int, columns: int, targets: int, iterations: int, kind: str) -> None:
    chosen = plan(rows, columns, targets, iterations)
    assert chosen.kind == kind
    assert f"{kind}: " in str(chosen)
    if kind != "linesearch":
        assert chosen.total <= WORTH * chosen.step * iterations
        assert chosen.memory > 0


def test_rows_that_are_divided_are_never_multiplied_with_each_other() -> None:
    assert plan(10_999, 13_610, 512, 1_000, sharded=True).kind in ("primal", "iterative")


def test_what_must_be_solved_is_solved() -> None:
    assert plan(10_999, 13_610, 8, 3, must=True).kind == "dual"
    assert plan(100_000, 50_000, 8, 3, must=True).kind == "iterative"
    assert plan(100_000, 50_000, 8, 3, must=True).steps > plan(100_000, 50_000, 8, 300).steps


def test_many_ratios_need_many_factors() -> None:
    one, many = plan(4_590, 2_980, 64, 200), plan(4_590, 2_980, 64, 200, ratios=200)
    assert one.kind == "primal"
    assert many.kind == "iterative"


def test_memory_decides_too() -> None:
    assert plan(8_252, 3_068, 256, 1_000, most_bytes=1 << 20).kind == "iterative"
    chosen = plan(8_252, 3_068, 256, 1_000)
    assert chosen.memory <= 8 * 8_252 * 3_068 * 4  # eight times the rows in float32


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (0, 5, 3, 10), (5, 0, 3, 10), (3, 3, 3, 0)])
def test_the_smallest_sizes(sizes: tuple[int, int, int, int]) -> None:
    assert plan(*sizes).kind in ("primal", "dual", "iterative", "linesearch")


class Owner:
    pass


def test_owners_share_what_was_made_and_take_it_with_them() -> None:
    owner, other = Owner(), Owner()
    P = randn(9, 4)
    primal, dual = plan(9, 4, 3), plan(4, 9, 3)
    first = shared_equations(owner, primal, P)
    assert shared_equations(owner, primal, P) is first
    assert isinstance(first, Primal)
    assert isinstance(shared_equations(owner, dual, P), Dual)
    assert isinstance(shared_equations(other, plan(9, 4, 3, most_bytes=0), P), Iterative)
    assert shared_equations(other, primal, P) is not first
    with pytest.raises(ValueError, match="needs no normal equations"):
        plan(10_999, 13_610, 8, 3).equations(P)
    seen = weakref.ref(first)
    del owner, first
    gc.collect()
    assert seen() is None
    assert torch.equal(P, randn(9, 4))

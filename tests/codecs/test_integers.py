"""Integers and coded differences: how far off they are."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from coders import made
from hypothesis import given
from hypothesis import strategies as st
from problems import randn

from gamlp_admm.codecs import Delta, Scaled, codec
from gamlp_admm.errors import InputError


def scales(x: torch.Tensor, bits: int) -> torch.Tensor:
    return x.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)


@given(
    st.sampled_from([8, 4]),
    st.integers(-30, 30),
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40),
)
def test_integers_are_off_by_half_a_scale(bits: int, exponent: int, entries: list[float]) -> None:
    x = torch.tensor([entries]) * 2.0**exponent
    s = scales(x, bits).clamp(min=torch.finfo(torch.bfloat16).tiny)
    assert bool(((made(f"int{bits}").project(x) - x).abs() <= 0.502 * s).all())  # the scale itself is rounded to bf16


@given(st.sampled_from(["int8", "int4", "int2", "int2:3"]), st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_no_entry_goes_farther_from_its_place_than_zero(name: str, entries: list[float]) -> None:
    # So a coded difference always brings p̂ nearer to p, whatever was sent before.
    x = torch.tensor([entries], dtype=torch.float64)
    off = (made(name).project(x) - x).abs()
    assert bool((off <= x.abs() * (1 + 1e-9) + torch.finfo(torch.bfloat16).tiny).all())


def test_two_bits_keep_ternary_numbers() -> None:
    x = torch.tensor([[0.5, 0, -0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 0, 0, -3.0]])
    assert torch.equal(made("int2").project(x), x)


def test_two_bits_are_near_the_best_for_normal_numbers() -> None:
    # The best three-level quantiser of a normal variable leaves 0.190 of its variance (Max, 1960).
    x = randn(200, 1000)
    assert float((made("int2").project(x) - x).square().mean()) < 0.193


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_differences_feed_errors_back(bits: int) -> None:
    # A field that comes to rest is known exactly in the end; without differences the error stays.
    coder, target = made(f"int{bits}-delta"), randn(30, 50, seed=9)
    known, rest = torch.zeros_like(target), []
    for _ in range(40):
        known = coder.project(target, known)
        rest.append(float((target - known).norm() / target.norm()))
    assert rest[-1] < 1e-4
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(rest))
    plain = made(f"int{bits}").project(target)
    assert float((target - plain).norm() / target.norm()) > 30 * rest[-1]


def test_differences_need_what_they_differ_from() -> None:
    with pytest.raises(InputError, match="int4-delta needs before"):
        made("int4-delta").encode(torch.ones(2, 3))


def test_scaled_codecs_are_dataclasses() -> None:
    assert codec("int4:64-delta") == Delta(Scaled(4, 64))

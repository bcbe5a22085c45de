"""Activations: f, its derivatives and bounds, and the global minimiser of the hidden z-block."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from problems import F64, randn
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.nn.activations import ACTIVATIONS, Activation, PiecewiseLinear, Smooth, activation

ALL = sorted(ACTIVATIONS)
SMOOTH = [name for name in ALL if isinstance(ACTIVATIONS[name], Smooth)]


def objective(f: Activation, z: Tensor, c: Tensor, q: Tensor, a: float) -> Tensor:
    return a * (z - c) ** 2 + (f(z) - q) ** 2


def brute_force(f: Activation, c: Tensor, q: Tensor, a: float) -> Tensor:
    """Return the lowest value that dense grids and golden sections find, entry by entry, in float64."""
    radius = (f(c) - q).abs() / math.sqrt(a) + 1e-9
    wide = (c - radius) + torch.linspace(0, 1, 1001, dtype=F64)[:, None] * 2 * radius
    bend = torch.linspace(-15, 15, 3001, dtype=F64)[:, None].expand(-1, len(c))
    lowest = objective(f, c, c, q, a)
    for grid in (wide, bend):
        values, where = objective(f, grid, c, q, a).min(0)
        z, h = grid.gather(0, where[None])[0], grid[1] - grid[0]
        low, high = z - h, z + h
        for _ in range(60):
            left, right = low + 0.381966 * (high - low), low + 0.618034 * (high - low)
            go_left = objective(f, left, c, q, a) < objective(f, right, c, q, a)
            low, high = torch.where(go_left, low, left), torch.where(go_left, right, high)
        lowest = torch.minimum(torch.minimum(lowest, values), objective(f, (low + high) / 2, c, q, a))
    return lowest


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("a", [1.0, 2.0])
@pytest.mark.parametrize("name", ALL)
def test_argmin_is_the_global_minimiser(name: str, a: float, scale: float, dtype: torch.dtype) -> None:
    f = ACTIVATIONS[name]
    c = scale * randn(300, seed=1)
    q = scale * randn(300, seed=2)
    c[:150], q[150:200] = c[:150] / scale, q[150:200] / scale  # near the bend, too
    c, q = c.to(dtype).double(), q.to(dtype).double()
    z = f.argmin(c.to(dtype), q.to(dtype), a)
    assert z.dtype == dtype
    excess = objective(f, z.double(), c, q, a) - brute_force(f, c, q, a)
    # Near-ties between two minima of a smooth f may go either way; both values are then all but the same.
    assert (excess / (1 + q**2 + a * c**2)).max() < 1e-6


@given(
    name=st.sampled_from(ALL),
    a=st.sampled_from([1.0, 2.0]),
    c=st.floats(-1e3, 1e3),
    q=st.floats(-1e3, 1e3),
)
def test_argmin_beats_any_point(name: str, a: float, c: float, q: float) -> None:
    f = ACTIVATIONS[name]
    at, value = torch.tensor([c], dtype=F64), torch.tensor([q], dtype=F64)
    best = objective(f, f.argmin(at, value, a), at, value, a)
    assert best <= brute_force(f, at, value, a) + 1e-6 * (1 + q * q + a * c * c)


@pytest.mark.parametrize("name", ALL)
def test_argmin_where_the_target_is_met_already(name: str) -> None:
    f = ACTIVATIONS[name]
    c = randn(200, seed=3) * 5
    assert torch.allclose(f.argmin(c, f(c), 2.0), c, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_an_argmin_does_not_depend_on_what_is_solved_beside_it(name: str) -> None:
    f = ACTIVATIONS[name]
    c, q = (3 * randn(448, seed=seed).float() for seed in (1, 2))
    whole = f.argmin(c, q, 0.1)
    for part in (slice(0, 64), slice(64, 448)):  # whole vectors: torch may round the last few otherwise
        assert torch.equal(f.argmin(c[part].clone(), q[part].clone(), 0.1), whole[part])


@pytest.mark.parametrize("name", ALL)
def test_argmin_keeps_shapes_and_arguments(name: str) -> None:
    f = ACTIVATIONS[name]
    for shape in ((0,), (0, 3), (2, 3, 4), ()):
        c, q = torch.randn(shape, generator=torch.Generator().manual_seed(0)), torch.ones(shape)
        kept = c.clone(), q.clone()
        assert f.argmin(c, q, 1.0).shape == shape
        assert torch.equal(c, kept[0])
        assert torch.equal(q, kept[1])


@pytest.mark.parametrize("a", [0.5, 1.0, 2.0])
def test_relu_closed_form_is_the_two_candidates(a: float) -> None:
    relu = ACTIVATIONS["relu"]
    assert isinstance(relu, PiecewiseLinear)
    c, q = 3 * randn(5000, seed=4), 3 * randn(5000, seed=5)
    generic = PiecewiseLinear.argmin(relu, c, q, a)
    assert torch.allclose(relu.argmin(c, q, a), generic, atol=1e-14)


def test_relu_candidates_of_the_papers() -> None:
    # c = (m + z)/2 = −1, q = 3: z⁻ = −1 costs 9; z⁺ = (2·(−1) + 3)/3 = 1/3 costs 2·16/9 + 64/9 = 32/3.
    f = ACTIVATIONS["relu"]
    c, q = torch.tensor([-1.0], dtype=F64), torch.tensor([3.0], dtype=F64)
    assert f.argmin(c, q, 2.0).item() == -1.0
    # With q = 5 they cost 25 and 24.
    assert f.argmin(c, q + 2, 2.0).item() == pytest.approx(1.0)


@pytest.mark.parametrize(("name", "theirs"), [(n, getattr(F, n, getattr(torch, n, None))) for n in ALL])
def test_functions_are_torchs(name: str, theirs: Any) -> None:
    z = 4 * randn(500, seed=6)
    assert torch.allclose(ACTIVATIONS[name](z), theirs(z), rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_lipschitz_is_a_tight_bound(name: str) -> None:
    f = ACTIVATIONS[name]
    z = torch.linspace(-20, 20, 400_001, dtype=F64)
    steepest = (f(z).diff() / z.diff()).abs().max().item()
    assert 0.99 * f.lipschitz <= steepest <= f.lipschitz * (1 + 1e-9)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_are_autograds(name: str) -> None:
    f = ACTIVATIONS[name]
    assert isinstance(f, Smooth)
    z = torch.linspace(-12, 12, 2001, dtype=F64, requires_grad=True)
    value, d1, d2 = f.derivatives(z.detach())
    (first,) = torch.autograd.grad(f(z).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z)
    assert torch.allclose(value, f(z.detach()), atol=1e-14)
    assert torch.allclose(d1, first.detach(), atol=1e-13)
    assert torch.allclose(d2, second, atol=1e-13)


def test_lookup() -> None:
    f = activation("gelu")
    assert activation(f) is f
    assert repr(f) == "activation('gelu')"
    with pytest.raises(InputError, match=r"unknown activation 'rellu': did you mean 'relu'\?"):
        activation("rellu")


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
@pytest.mark.parametrize("name", ALL)
def test_an_entry_does_not_depend_on_those_beside_it(name: str, dtype: torch.dtype) -> None:
    f, x = ACTIVATIONS[name], (3 * randn(300, seed=1)).to(dtype)
    c, q = x.flip(0), (randn(300, seed=2) / 2).to(dtype)
    wholes = f(x), f.argmin(c, q, 2.0), *(f.preimage(q, q + 0.1) if f.inverse else ())
    for start, size in ((0, 1), (0, 7), (1, 18), (3, 33), (100, 61)):
        part = slice(start, start + size)
        low, high = q[part].clone(), q[part] + 0.1
        parts = f(x[part].clone()), f.argmin(c[part].clone(), low, 2.0), *(f.preimage(low, high) if f.inverse else ())
        for whole, alone in zip(wholes, parts, strict=True):
            assert torch.equal(whole[part], alone)


@pytest.mark.parametrize("name", ALL)
def test_far_out_values_and_slopes_are_finite(name: str) -> None:
    z = torch.tensor([-1e30, -1000.0, -90.0, 90.0, 1000.0, 1e30], requires_grad=True)
    y = ACTIVATIONS[name](z)
    y.sum().backward()
    assert y.isfinite().all()
    assert z.grad is not None
    assert z.grad.isfinite().all()

"""The memory of batches: what it keeps of a layer's inputs, and the steps of W and b that it holds back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, randn
from torch import Tensor

from gamlp_admm.admm.memory import KEPT, RANK, Accumulated, Memory, stream_step
from gamlp_admm.admm.stacked import RowSum, all_rows_here

DAMPING = 0.3


def inputs(N: int = 60, n: int = 12, seed: int = 0) -> Tensor:
    """Return rows with a mean, and with columns of different sizes."""
    return randn(N, n, seed=seed) * torch.linspace(0.5, 2, n, dtype=F64) + 1


def spiked(N: int, n: int, directions: int) -> Tensor:
    """Return rows that are large in a few directions, and small in all others."""
    return 0.3 * randn(N, n) + 10 * randn(N, directions, seed=1) @ torch.linalg.qr(randn(n, directions, seed=2))[0].T


def moments(P: Tensor) -> Tensor:
    """Return H, the mean of [p, 1]ᵀ[p, 1]."""
    P = torch.cat([P, P.new_ones(len(P), 1)], 1)
    return P.T @ P / len(P)


def seen(P: Tensor, last: Memory | None = None, cuts: tuple[int, ...] = ()) -> Memory:
    """Return the memory of a pass over rows in batches that end at ``cuts``."""
    sums = Accumulated(Memory.blank(P.shape[1], P) if last is None else last)
    for batch in P.tensor_split(cuts):
        sums.add(batch)
    return sums.memory(len(P), all_rows_here)


def kept(memory: Memory) -> Tensor:
    return memory.directions * memory.values @ memory.directions.T


def held_back(G: Tensor, H: Tensor, damping: float = DAMPING) -> Tensor:
    """Return G (κH + λd̄I)⁻¹, written out."""
    held = damping * KEPT * H + damping * H.diagonal().mean() * torch.eye(len(H), dtype=F64)
    return torch.linalg.solve(held, G.T).T


# --- what is kept -----------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=6).map(lambda cuts: tuple(sorted(cuts))), n=st.sampled_from([3, 50]))
def test_batches_of_any_sizes_leave_the_same(cuts: tuple[int, ...], n: int) -> None:
    P = inputs(n=n)
    whole, parts = seen(P), seen(P, cuts=cuts)
    torch.testing.assert_close(kept(parts), kept(whole), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-12, atol=0)


def test_few_inputs_are_kept_whole() -> None:
    P = inputs()
    H, memory = moments(P), seen(P, seen(P))
    U = memory.directions
    torch.testing.assert_close(kept(memory), H, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(U.T @ U, torch.eye(13, dtype=F64), rtol=0, atol=1e-12)
    torch.testing.assert_close(memory.values, torch.linalg.eigvalsh(H).flip(0), rtol=1e-8, atol=0)
    assert float(memory.mean) == pytest.approx(float(H.diagonal().mean()), rel=1e-12)
    G = randn(4, 13, seed=5)
    torch.testing.assert_close(memory.step(G, DAMPING), held_back(G, H), rtol=1e-8, atol=1e-8)


def test_of_many_inputs_the_large_directions_are_kept() -> None:
    P = spiked(300, 100, 5)
    memory, G = seen(P, seen(P)), randn(4, 101, seed=5)
    assert memory.directions.shape == (101, RANK)
    wanted = held_back(G, moments(P))
    assert (memory.step(G, DAMPING) - wanted).norm() < 0.01 * wanted.norm()
    torch.testing.assert_close(memory.values[:5], torch.linalg.eigvalsh(moments(P)).flip(0)[:5], rtol=1e-6, atol=0)


def test_another_pass_sharpens_them() -> None:
    P = inputs(300, 100)  # whose directions are about equally large, but for their mean
    H, memory, distances = moments(P), Memory.blank(100, P), []
    for _ in range(4):
        memory = seen(P, memory)
        distances.append(float((kept(memory) - H).norm()))
    assert distances == sorted(distances, reverse=True)


def other_shard(*held: Tensor) -> RowSum:
    """Return the sum over two shards, of which the other one holds these tensors, in the order of the sums."""
    tensors = iter(held)
    return lambda x: x + next(tensors)


def test_shards_of_the_rows_leave_what_all_rows_do() -> None:
    P = inputs(n=50)
    one, two = Accumulated(Memory.blank(50, P)), Accumulated(Memory.blank(50, P))
    one.add(P[:23])
    two.add(P[23:])
    both = one.memory(60, other_shard(two.products, two.squares))
    torch.testing.assert_close(kept(both), kept(seen(P)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(both.mean, seen(P).mean, rtol=1e-12, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e200])
def test_what_is_not_finite_is_not_kept(bad: float) -> None:
    P = inputs()
    last = seen(P)
    P[7, 3] = bad
    assert seen(P, last) is last


def test_a_blank_memory_is_the_same_for_all() -> None:
    before = torch.get_rng_state()
    one, two = Memory.blank(100, randn(1)), Memory.blank(100, randn(1, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.tensors(), two.tensors(), strict=True))
    torch.testing.assert_close(one.directions.T @ one.directions, torch.eye(RANK, dtype=F64), rtol=0, atol=1e-12)
    G = randn(4, 101, seed=5)
    torch.testing.assert_close(one.step(G, DAMPING), G / DAMPING, rtol=1e-12, atol=0)
    assert Memory.blank(3, torch.zeros(1)).directions.dtype == torch.float32
    assert Memory.blank(3, torch.zeros(1)).directions.shape == (4, 4)


# --- steps ------------------------------------------------------------------------------------------------------


def minimiser(P: Tensor, T: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Return argmin 1/2B ‖P Wᵀ + 1bᵀ − T‖² + ratio/2 ‖W‖²."""
    A = moments(P)
    A[:-1, :-1] += ratio * torch.eye(P.shape[1], dtype=F64)
    P = torch.cat([P, P.new_ones(len(P), 1)], 1)
    Wb = torch.linalg.solve(A, P.T @ T / len(P)).T
    return Wb[:, :-1], Wb[:, -1]


@pytest.mark.parametrize("ratio", [0.0, 0.1])
def test_the_minimiser_stays_where_it_is(ratio: float) -> None:
    P, T = inputs(), randn(60, 4, seed=5)
    W, b = minimiser(P, T, ratio)
    for step in stream_step(P @ W.T + b - T, P, W, ratio, seen(P), DAMPING, 60, all_rows_here):
        assert step.abs().max() < 1e-12


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999),
    ratio=st.sampled_from([0.0, 0.01, 1.0]),
    damping=st.sampled_from([0.125, 1.0, 8.0]),
    n=st.sampled_from([3, 50]),
)
def test_elsewhere_a_step_descends(seed: int, ratio: float, damping: float, n: int) -> None:
    P, T = inputs(n=n, seed=seed), randn(60, 4, seed=seed + 1)
    W, b = randn(4, n, seed=seed + 2).requires_grad_(), randn(4, seed=seed + 3).requires_grad_()
    objective = (P @ W.T + b - T).square().sum() / 120 + ratio / 2 * W.square().sum()
    gradients = torch.autograd.grad(objective, (W, b))
    W, b = W.detach(), b.detach()
    steps = stream_step(P @ W.T + b - T, P, W, ratio, seen(inputs(n=n)), damping, 60, all_rows_here)
    assert sum(float((g * step).sum()) for g, step in zip(gradients, steps, strict=True)) > 0


def test_weight_decay_is_of_w_alone() -> None:
    P, W = inputs(), randn(4, 12, seed=5)
    blank = Memory.blank(12, P)
    of_W, of_b = stream_step(P.new_zeros(60, 4), P, W, 0.2, blank, DAMPING, 60, all_rows_here)
    torch.testing.assert_close(of_W, 0.2 * W / DAMPING, rtol=1e-12, atol=0)
    assert not of_b.any()


def test_shards_of_a_batch_make_its_step() -> None:
    P, r, W = inputs(n=50), randn(60, 4, seed=5), randn(4, 50, seed=6)
    memory = seen(P)
    whole = stream_step(r, P, W, 0.2, memory, DAMPING, 60, all_rows_here)
    there = torch.cat([r[23:].T @ P[23:], r[23:].sum(0)[:, None]], 1)
    parts = stream_step(r[:23], P[:23], W, 0.2, memory, DAMPING, 60, other_shard(there))
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(parts, whole, strict=True))

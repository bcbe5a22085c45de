"""Block updates: each held to what it promises, against autograd of a plainly written augmented Lagrangian."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from problems import (
    F64,
    Plain,
    gradient,
    labels,
    make_problem,
    naive_lagrangian,
    one_hot,
    randn,
    random_state,
    to_blocks,
)
from spectra import gap
from spectra import rows as spectral_rows
from torch import Tensor

from gamlp_admm.admm import blocks, stacked
from gamlp_admm.admm.blocks import RULES, Rule
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block
from gamlp_admm.nn.activations import ACTIVATIONS
from gamlp_admm.nn.losses import risk

N, WIDTH, DEPTH = 9, 5, 6
STACK = range(2, 5)  # three layers, neither the first nor the last
STEPS = [Rule("linesearch"), Rule("backtracking", 1e-3), Rule("backtracking", 20.0)]


def setup(seed: int = 0, rows: int = N, **settings: Any) -> tuple[Plain, Problem, Block]:
    """Return a state in which no constraint holds, its problem, and the block of the layers in STACK."""
    widths = [4, *[WIDTH] * (DEPTH - 1), 3]
    s = random_state(widths, rows, seed)
    problem = make_problem(s.P[0], one_hot(rows, 3, seed), **settings)
    (block,) = to_blocks(s, [STACK])
    return s, problem, block


def put(s: Plain, field: str, layer: int, value: Tensor) -> Plain:
    tensors = list(getattr(s, field))
    tensors[layer] = value
    return replace(s, **{field: tensors})


def p_grad(block: Block, problem: Problem) -> Tensor:
    r = blocks.residual(block.M, block.b, block.z)
    return blocks.p_gradient(r, block.W, block.p, block.below("q"), block.below("u"), problem.nu, problem.rho)


def W_grad(block: Block, problem: Problem) -> Tensor:
    r = blocks.residual(block.M, block.b, block.z)
    return blocks.W_gradient(r, block.p, block.W, problem.nu, problem.mu)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> bool:
    return bool((a - b).abs().max() <= tolerance * (1 + b.abs().max()))


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_gradients_are_autograds(seed: int) -> None:
    s, problem, block = setup(seed, rho=0.7, nu=0.3, mu=0.2)
    g, G = p_grad(block, problem), W_grad(block, problem)
    for i, l in enumerate(STACK):
        assert close(g[i], gradient(s, problem, "P", l))
        assert close(G[i], gradient(s, problem, "W", l))


# --- steps --------------------------------------------------------------------------------------------------


def test_linesearch_is_the_minimiser_along_the_gradient() -> None:
    s, problem, block = setup(1, rho=0.7, nu=0.3, mu=0.2)
    g, G = p_grad(block, problem), W_grad(block, problem)
    P, _ = blocks.p_step(g, block.p, block.W, block.M, problem.nu, problem.rho, Rule())
    W, _ = blocks.W_step(G, block.p, block.W, block.M, problem.nu, problem.mu, Rule())
    for i, l in enumerate(STACK):
        for field, new, direction in (("P", P[i], g[i]), ("W", W[i], G[i])):
            dims = (-1,) if field == "W" else (-2, -1)  # each neuron's weights have a step of their own
            slope = (gradient(put(s, field, l, new), problem, field, l) * direction).sum(dims)
            assert (slope.abs() < 1e-11 * direction.square().sum(dims)).all()
            moved = getattr(s, field)[l] - new
            norms = [torch.linalg.vector_norm(t, dim=dims, keepdim=True) for t in (direction, moved)]
            assert close(moved * (norms[0] / norms[1]), direction)


@pytest.mark.parametrize("start", [1e-4, 0.3, 20.0])
def test_backtracking_takes_the_first_doubling_that_majorises(start: float) -> None:
    s, problem, block = setup(2, rho=0.7, nu=0.3, mu=0.2)
    g, G = p_grad(block, problem), W_grad(block, problem)
    rule = Rule("backtracking", start)
    P, _ = blocks.p_step(g, block.p, block.W, block.M, problem.nu, problem.rho, rule)
    W, _ = blocks.W_step(G, block.p, block.W, block.M, problem.nu, problem.mu, rule)

    def allowed(field: str, l: int, d: Tensor, tau: float) -> bool:
        new = naive_lagrangian(put(s, field, l, getattr(s, field)[l] - d / tau), problem)
        return bool(new <= naive_lagrangian(s, problem) - d.square().sum() / (2 * tau) + 1e-12)

    for i, l in enumerate(STACK):
        for field, new, d in (("P", P[i], g[i]), ("W", W[i], G[i])):
            tau = (d.norm() / (getattr(s, field)[l] - new).norm()).item()
            doublings = torch.log2(torch.tensor(tau / start, dtype=F64)).item()
            assert doublings == pytest.approx(round(doublings), abs=1e-6)
            assert allowed(field, l, d, tau)
            assert tau == pytest.approx(start) or not allowed(field, l, d, tau / 2)


def test_step_lengths_of_known_curvatures() -> None:
    curvature = torch.tensor([0.0, 1.0, 20.0, 20.1, 40.0, 41.0, 5000.0], dtype=F64)
    taus = [torch.inf, 20, 20, 40, 40, 80, 5120]
    step = Rule("backtracking", 20.0).step(curvature[:, None])
    assert step.shape == (7, 1, 1)
    assert torch.equal(step.flatten(), torch.tensor([1 / t for t in taus], dtype=F64))
    exact = Rule("linesearch").step(curvature).flatten()
    assert torch.equal(exact[1:], 1 / curvature[1:])
    assert exact[0] == 0


@pytest.mark.parametrize("rule", STEPS, ids=str)
def test_steps_at_a_stationary_point_stay(rule: Rule) -> None:
    _, problem, block = setup(3)
    zero_p, zero_W = torch.zeros_like(block.p), torch.zeros_like(block.W)
    for mu in (0.0, 0.1):
        P, M = blocks.p_step(zero_p, block.p, block.W, block.M, problem.nu, problem.rho, rule)
        W, M2 = blocks.W_step(zero_W, block.p, block.W, block.M, problem.nu, mu, rule)
        assert torch.equal(P, block.p)
        assert torch.equal(M, block.M)
        assert torch.equal(W, block.W)
        assert torch.equal(M2, block.M)


@pytest.mark.parametrize("rule", STEPS, ids=str)
def test_one_stationary_layer_does_not_stop_the_others(rule: Rule) -> None:
    _, problem, block = setup(3)
    g = p_grad(block, problem)
    g[1] = 0
    P, _ = blocks.p_step(g, block.p, block.W, block.M, problem.nu, problem.rho, rule)
    assert torch.equal(P[1], block.p[1])
    assert not torch.equal(P[0], block.p[0])
    assert torch.isfinite(P).all()


# --- exact blocks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [1e-6, 0.5, 100.0])
def test_exact_p_is_the_minimiser(rho: float) -> None:
    s, problem, block = setup(4, rho=rho, nu=0.3)
    P, M = blocks.p_exact(p_grad(block, problem), block.p, block.W, problem.nu, rho)
    assert close(M, P @ block.W.mT)
    for i, l in enumerate(STACK):
        H = problem.nu * s.W[l].T @ s.W[l] + rho * torch.eye(WIDTH, dtype=F64)
        right = problem.nu * (s.Z[l] - s.b[l]) @ s.W[l] - s.U[l - 1] + rho * s.Q[l - 1]
        assert close(P[i], torch.linalg.solve(H, right.T).T, 1e-8)
        assert gradient(put(s, "P", l, P[i]), problem, "P", l).abs().max() < 1e-9


def exact_W(block: Block, problem: Problem) -> tuple[Tensor, Tensor]:
    r = blocks.residual(block.M, block.b, block.z)
    return blocks.W_exact(r, block.p, block.W, block.W, problem.nu, problem.mu)


@pytest.mark.parametrize("rows", [3, 9])
@pytest.mark.parametrize("mu", [1e-3, 0.5, 100.0])
def test_exact_W_is_the_minimiser(mu: float, rows: int) -> None:
    s, problem, block = setup(5, rows, nu=0.3, mu=mu)
    W, M = exact_W(block, problem)
    assert close(M, block.p @ W.mT)
    for i, l in enumerate(STACK):
        H = s.P[l].T @ s.P[l] + mu / problem.nu * torch.eye(WIDTH, dtype=F64)
        assert close(W[i], torch.linalg.solve(H, s.P[l].T @ (s.Z[l] - s.b[l])).T, 1e-9)
        assert gradient(put(s, "W", l, W[i]), problem, "W", l).abs().max() < 1e-9


def degenerate(kind: str, P: Tensor) -> Tensor:
    P = P.clone()
    if kind == "equal columns":
        P[..., 1] = P[..., 0]
    elif kind == "zero column":
        P[..., 2] = 0
    elif kind == "equal rows":
        P[:, 1:3] = P[:, :1]
    else:
        P.zero_()
    return P


@pytest.mark.parametrize("rows", [3, 9])
@pytest.mark.parametrize("kind", ["equal columns", "zero column", "equal rows", "zero"])
def test_exact_W_of_a_singular_matrix_without_decay(kind: str, rows: int) -> None:
    s, problem, block = setup(6, rows, nu=0.3, mu=0.0)
    P = degenerate(kind, block.p)
    block = replace(block, p=P, M=P @ block.W.mT)
    W, _ = exact_W(block, problem)
    assert torch.isfinite(W).all()
    for i, l in enumerate(STACK):
        new = put(put(s, "P", l, P[i]), "W", l, W[i])
        assert gradient(new, problem, "W", l).abs().max() < 1e-8


@pytest.mark.parametrize("c", [0.0, 1e-3, 0.1, 10.0, 1e4])
@pytest.mark.parametrize("shape", ["tall", "wide", "square"])
def test_exact_W_in_single_precision(shape: str, c: float) -> None:
    # Inputs that are far from centred, as what comes out of ReLUs: one eigenvalue is most of the trace.
    P = (spectral_rows(shape, 5) + 5).float()
    T, W, nu = randn(len(P), 3, seed=5).float(), randn(3, P.shape[1], seed=6).float(), 0.01
    r = (P @ W.T - T)[None]
    new, M = blocks.W_exact(r, P[None], W[None], W[None], nu, c * nu)
    assert new.dtype == M.dtype == torch.float32
    assert gap(P, new[0], T, c) < 1e-5


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_exact_p_in_single_precision(scale: float) -> None:
    # argmin_P ν/2 ‖Z − P Wᵀ‖² + ρ/2 ‖P − Q‖² is a fit of Zᵀ − W Qᵀ by (P − Q)ᵀ, with W as rows.
    W, nu, rho = (scale * spectral_rows("wide", 4) / 30).float(), 0.3, 0.01
    Z, Q = randn(9, 20, seed=1).float(), randn(9, 60, seed=2).float()
    P = torch.zeros(9, 60)
    g = blocks.p_gradient((P @ W.T - Z)[None], W[None], P[None], (Q,), None, nu, rho)
    new, _ = blocks.p_exact(g, P[None], W[None], nu, rho)
    assert new.dtype == torch.float32
    assert gap(W, new[0] - Q, Z.T - W @ Q.T, rho / nu) < 1e-5


def test_a_layer_that_needs_double_precision_changes_no_bit_of_the_others() -> None:
    P, W, r = (randn(3, 16, 16, seed=s).float() for s in (1, 2, 3))
    P[1], W[1] = 1e4 * P[1], 1e4 * W[1]
    g = randn(3, 16, 16, seed=4).float()
    for update in (
        lambda s: blocks.W_exact(r[s], P[s], W[s], W[s], 0.3, 0.1),
        lambda s: blocks.p_exact(g[s], P[s], W[s], 0.3, 0.1),
    ):
        together, alone = update(slice(0, 3)), [update(slice(s, s + 1)) for s in range(3)]
        assert all(torch.equal(t[s], alone[s][i][0]) for i, t in enumerate(together) for s in range(3))


# --- b, z, q, u ---------------------------------------------------------------------------------------------


def test_b_is_the_minimiser() -> None:
    s, problem, block = setup(7)
    b = blocks.b_update(block.M, block.z, N)
    for i, l in enumerate(STACK):
        assert gradient(put(s, "b", l, b[i]), problem, "b", l).abs().max() < 1e-12


def test_q_is_the_minimiser() -> None:
    s, problem, block = setup(8, f="tanh")
    assert block.u is not None
    q = blocks.q_update(block.above("p"), block.z, block.u, problem.f, problem.nu, problem.rho)
    for i, l in enumerate(STACK):
        assert gradient(put(s, "Q", l, q[i]), problem, "Q", l).abs().max() < 1e-12


def test_u_is_the_ascent_step() -> None:
    # ∂L_ρ/∂U = P₊ − Q, and the step is ρ of it.
    s, problem, block = setup(9)
    assert block.u is not None
    assert block.q is not None
    u = blocks.u_update(block.u, block.above("p"), block.q, problem.rho)
    for i, l in enumerate(STACK):
        assert close(u[i], s.U[l] + problem.rho * gradient(s, problem, "U", l))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_hidden_z_minimises_its_three_terms(name: str) -> None:
    _, problem, block = setup(10, f=name)
    assert block.q is not None
    q, f, m = 3 * block.q, problem.f, block.M + block.b[:, None]

    def value(z: Tensor) -> Tensor:
        return (z - m) ** 2 + (q - f(z)) ** 2 + (z - block.z) ** 2

    best = value(blocks.z_hidden(block.M, block.b, block.z, q, f))
    grid = torch.linspace(-20, 20, 20_001, dtype=F64)[:, None, None, None]
    lowest = torch.stack([value(part).amin(0) for part in grid.split(500)]).amin(0)
    assert (best <= lowest + 1e-9).all()
    assert (best >= lowest - 0.01).all()  # the grid is fine enough to have found it, too


# --- M, purity, shards --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES[1:])
def test_products_stay_up_to_date(name: str) -> None:
    _, problem, block = setup(11)
    rule = Rule(name, 0.01)
    for _ in range(20):
        g = p_grad(block, problem)
        if name == "exact":
            P, M = blocks.p_exact(g, block.p, block.W, problem.nu, problem.rho)
        else:
            P, M = blocks.p_step(g, block.p, block.W, block.M, problem.nu, problem.rho, rule)
        block = replace(block, p=P, M=M)
        G = W_grad(block, problem)
        if name == "exact":
            W, M = exact_W(block, problem)
        else:
            W, M = blocks.W_step(G, block.p, block.W, block.M, problem.nu, problem.mu, rule)
        block = replace(block, W=W, M=M)
        assert close(block.M, block.p @ block.W.mT, 1e-11)


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_the_last_z_by_slices_of_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    R, (M, Z, U) = risk(name), (randn(1, 50, 4, seed=s) for s in range(3))
    b, Y = randn(1, 4), R.target(labels(50, 4), 4, F64)
    whole = [blocks.z_last(M, b, Z, Y, R, 0.3), blocks.z_last(M, b, Z, Y, R, 0.3, U)]
    assert torch.equal(whole[0], R.prox((M + b)[0], Y, 0.3, Z[0])[None])
    assert close(whole[1], R.prox((M + b - U / 0.3)[0], Y, 0.3, Z[0])[None])
    monkeypatch.setattr(blocks, "SLICE", 28)
    sliced = [blocks.z_last(M, b, Z, Y, R, 0.3), blocks.z_last(M, b, Z, Y, R, 0.3, U)]
    assert all(torch.equal(s, w) for s, w in zip(sliced, whole, strict=True))


def test_no_argument_is_modified() -> None:
    _, problem, block = setup(12)
    nu, rho, mu, f, rule = problem.nu, problem.rho, problem.mu, problem.f, Rule()
    b = block
    assert b.q is not None
    assert b.u is not None
    kept = {name: t.clone() for name, t in b.tensors().items()}
    r, g, G, up = blocks.residual(b.M, b.b, b.z), p_grad(b, problem), W_grad(b, problem), b.above("p")
    extra = [r, g, G, *up]
    copies = [t.clone() for t in extra]
    blocks.p_step(g, b.p, b.W, b.M, nu, rho, rule)
    blocks.p_exact(g, b.p, b.W, nu, rho)
    blocks.p_gradient(r, b.W, b.p, b.below("q"), b.below("u"), nu, rho)
    blocks.W_step(G, b.p, b.W, b.M, nu, mu, rule)
    blocks.W_exact(r, b.p, b.W, b.W, nu, mu)
    blocks.b_update(b.M, b.z, N)
    blocks.z_hidden(b.M, b.b, b.z, b.q, f)
    blocks.q_update(up, b.z, b.u, f, nu, rho)
    blocks.u_update(b.u, up, b.q, rho)
    blocks.coupling_terms(up, b.q, b.u, rho)
    blocks.fit_terms(b.M, b.b, b.z, nu)
    assert all(torch.equal(t, kept[name]) for name, t in b.tensors().items())
    assert all(torch.equal(t, copy) for t, copy in zip(extra, copies, strict=True))


@pytest.mark.parametrize("name", RULES[1:])
def test_shards_of_rows_give_the_updates_of_all_rows(name: str) -> None:
    _, problem, block = setup(13)
    nu, rho, mu, rule = problem.nu, problem.rho, problem.mu, Rule(name, 0.01)

    def updates(row_sum: Any, rows: slice) -> tuple[Tensor, ...]:
        p, z, M = (t[:, rows] for t in (block.p, block.z, block.M))
        r = blocks.residual(M, block.b, z)
        g = p_grad(block, problem)[:, rows]
        G = blocks.W_gradient(r, p, block.W, nu, mu, row_sum)
        b = blocks.b_update(M, z, N, row_sum)
        if name == "exact":
            return G, b, *blocks.W_exact(r, p, block.W, block.W, nu, mu, row_sum)
        steps = blocks.W_step(G, p, block.W, M, nu, mu, rule, row_sum)
        return G, b, *steps, *blocks.p_step(g, p, block.W, M, nu, rho, rule, row_sum)

    def by_shards(cuts: list[slice]) -> list[tuple[Tensor, ...]]:
        # As processes would: every sum waits for the sums of all shards, so each is run until it has them.
        sums: list[Tensor] = []
        while True:
            pending: list[Tensor] = []
            results = []
            for rows in cuts:
                seen = iter(sums)

                def row_sum(t: Tensor, seen: Any = seen, pending: list[Tensor] = pending) -> Tensor:
                    known = next(seen, None)
                    if known is None:
                        pending.append(t)
                        raise StopAsyncIteration
                    return known.clone()

                try:
                    results.append(updates(row_sum, rows))
                except StopAsyncIteration:
                    continue
            if not pending:
                return results
            sums.append(torch.stack(pending).sum(0))

    whole = updates(stacked.all_rows_here, slice(None))
    shards = by_shards([slice(0, 4), slice(4, N)])
    for i, wanted in enumerate(whole):
        parts = [shard[i] for shard in shards]
        if parts[0].shape == wanted.shape:  # the same on every shard
            assert torch.equal(parts[0], parts[1])
            assert close(parts[0], wanted, 1e-9)
        else:
            assert close(torch.cat(parts, 1), wanted, 1e-9)

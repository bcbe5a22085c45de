"""pdADMM-G: a whole iteration against a plain reference, the convergence theorem, stacks, and the exchange."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import problems
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import (
    F64,
    forward,
    forward_state,
    from_blocks,
    iterated,
    lagrangian,
    naive_lagrangian,
    rand,
    random_problem,
    random_state,
    reference_iteration,
    singles,
    to_blocks,
)
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gamlp_admm.admm.blocks import RULES
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block, block_weights, stacks
from gamlp_admm.algorithms import pdadmm
from gamlp_admm.nn.activations import ACTIVATIONS
from gamlp_admm.nn.network import Weights
from gamlp_admm.parallel.channel import LocalChannel


def groups_of(weights: Weights) -> list[range]:
    """Return the largest stacks: runs of equal layers between the first and the last."""
    groups, last = [range(1)], len(weights) - 1
    for l in range(1, len(weights)):
        if 1 < l < last and weights[l][0].shape == weights[l - 1][0].shape:
            groups[-1] = range(groups[-1].start, l + 1)
        else:
            groups.append(range(l, l + 1))
    return groups


def start(x: Tensor, weights: Weights, problem: Problem, groups: Sequence[range] | None = None) -> list[Block]:
    return problems.start(pdadmm, x, weights, problem, groups or groups_of(weights))


run = partial(iterated, pdadmm)


def close(a: Sequence[Tensor], b: Sequence[Tensor], tolerance: float) -> bool:
    pairs = zip(a, b, strict=True)
    return all(bool((s - t).abs().max() <= tolerance * (1 + t.abs().max())) for s, t in pairs)


FIELDS = ("P", "W", "b", "Z", "Q", "U")
WIDTHS = {
    1: [4, 3],
    2: [4, 5, 3],
    3: [4, 5, 6, 3],
    5: [4, 5, 5, 5, 5, 3],
    10: [4, 5, 5, 5, 6, 6, 6, 6, 5, 5, 3],
}


# --- one iteration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [4, 12])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("depth", WIDTHS)
def test_iterations_are_those_of_the_plain_reference(depth: int, rule: str, rows: int) -> None:
    weight = 0.5 + rand(rows, seed=7) if depth == 3 else None
    x, weights, problem = random_problem(WIDTHS[depth], rows, seed=depth, rule=rule, tau=0.02, weight=weight)
    plain, state = forward_state(x, weights, problem.f), start(x, weights, problem)
    for _ in range(3):
        plain, state = reference_iteration(plain, problem), run(state, problem, 1)
        for field in FIELDS:
            assert close(getattr(from_blocks(state), field), getattr(plain, field), 1e-9), field


@pytest.mark.parametrize("f", ["leaky_relu", "tanh", "gelu"])
@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy", "squared_hinge"])
def test_iterations_with_other_risks_and_activations(loss: str, f: str) -> None:
    x, weights, problem = random_problem(WIDTHS[3], 7, loss=loss, f=f)
    plain, state = forward_state(x, weights, problem.f), start(x, weights, problem)
    for _ in range(2):
        plain, state = reference_iteration(plain, problem), run(state, problem, 1)
    for field in FIELDS:
        assert close(getattr(from_blocks(state), field), getattr(plain, field), 1e-7), field


@pytest.mark.parametrize("rule", RULES)
def test_iteration_from_any_state(rule: str) -> None:
    # Nothing but Z_L's prox and ReLU's z use that a forward pass came before.
    widths = WIDTHS[5]
    _, _, problem = random_problem(widths, 9, rule=rule)
    plain = random_state(widths, 9, seed=3)
    problem = replace(problem, normal=None)
    state = to_blocks(plain, [range(1), range(1, 4), range(4, 5)])
    after, wanted = from_blocks(run(state, problem, 1)), reference_iteration(plain, problem)
    for field in FIELDS:
        assert close(getattr(after, field), getattr(wanted, field), 1e-8), field


def test_initial_state_is_a_forward_pass() -> None:
    x, weights, problem = random_problem(WIDTHS[10], 8)
    state = start(x, weights, problem)
    plain, wanted = from_blocks(state), forward_state(x, weights, problem.f)
    for field in FIELDS:
        assert close(getattr(plain, field), getattr(wanted, field), 1e-13), field
    assert close([plain.Z[-1]], [forward(x, weights, torch.relu)], 1e-13)
    assert all(torch.equal(W, V) for (W, _), (V, _) in zip(block_weights(state), weights, strict=True))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("f", sorted(ACTIVATIONS))
def test_multipliers_follow_from_the_activation(f: str, rule: str) -> None:
    # Lemma 4: U = ν (Q − f(Z)) after every iteration.
    x, weights, problem = random_problem(WIDTHS[5], 8, f=f, rule=rule, rho=0.7, nu=0.2)
    state = start(x, weights, problem)
    for _ in range(3):
        state = run(state, problem, 1)
        s = from_blocks(state)
        wanted = [problem.nu * (q - problem.f(z)) for q, z in zip(s.Q, s.Z, strict=False)]
        assert close(s.U, wanted, 1e-13)


def test_products_are_kept_up_to_date() -> None:
    for rule in RULES:
        x, weights, problem = random_problem(WIDTHS[10], 8, rule=rule)
        for block in run(start(x, weights, problem), problem, 30):
            assert close([block.M], [block.p @ block.W.mT], 1e-11)


def test_iterate_leaves_the_state_before_it_alone() -> None:
    x, weights, problem = random_problem(WIDTHS[5], 8)
    before = run(start(x, weights, problem), problem, 1)
    kept = [{name: t.clone() for name, t in block.tensors().items()} for block in before]
    run(before, problem, 2)
    for block, copies in zip(before, kept, strict=True):
        assert all(torch.equal(t, copies[name]) for name, t in block.tensors().items())


# --- stacks and the exchange --------------------------------------------------------------------------------


def layouts(depth: int) -> list[list[range]]:
    middle = depth // 2
    return [
        [range(l, l + 1) for l in range(depth)],
        [range(1), range(1, middle), range(middle, depth - 1), range(depth - 1, depth)],
        [range(1), range(1, 2), range(2, depth - 1), range(depth - 1, depth)],
    ]


@pytest.mark.parametrize("rule", RULES)
def test_how_layers_are_stacked_changes_rounding_at_most(rule: str) -> None:
    x, weights, problem = random_problem([4, *[7] * 9, 3], 13, rule=rule)
    wanted = from_blocks(run(start(x, weights, problem), problem, 5))
    for groups in layouts(10):
        plain = from_blocks(run(start(x, weights, problem, groups), problem, 5))
        for field in FIELDS:
            assert close(getattr(plain, field), getattr(wanted, field), 1e-8), field


def trained_weights(rows: int, width: int, rule: str, dtype: torch.dtype, parts: list[range]) -> list[Tensor]:
    """Return the weights after two iterations, with stacks as processes have them that own these layers."""
    x, weights, problem = random_problem([width, *[width] * 5, 4], rows, dtype=dtype, scale=0.3, rule=rule)
    shapes = [tuple(W.shape) for W, _ in weights]
    groups = [group for part in parts for group in stacks(shapes, part, rows, x)]
    state = run(start(x, weights, problem, groups), problem, 2)
    return [t for pair in block_weights(state) for t in pair]


SPLITS = [
    [range(3), range(3, 6)],
    [range(2), range(2, 3), range(3, 6)],
    [range(l, l + 1) for l in range(6)],
]


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("rows", "width"), [(64, 32), (16, 16), (13, 7), (13, 16), (5, 100)])
def test_which_process_owns_which_layers_changes_no_bit(rows: int, width: int, rule: str, dtype: torch.dtype) -> None:
    wanted = trained_weights(rows, width, rule, dtype, [range(6)])
    for parts in SPLITS:
        weights = trained_weights(rows, width, rule, dtype, parts)
        assert all(torch.equal(t, w) for t, w in zip(weights, wanted, strict=True))


def test_which_process_owns_which_layers_changes_no_bit_with_two_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for rows, width in ((64, 32), (5, 100)):
            wanted = trained_weights(rows, width, "linesearch", torch.float32, [range(6)])
            weights = trained_weights(rows, width, "linesearch", torch.float32, SPLITS[0])
            assert all(torch.equal(t, w) for t, w in zip(weights, wanted, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("groups", layouts(6))
def test_copies_of_the_neighbours_fields_are_exact(groups: list[range]) -> None:
    x, weights, problem = random_problem([4, *[5] * 5, 3], 9)
    state = run(start(x, weights, problem, groups), problem, 3)
    for below, above in pairwise(state):
        assert below.q is not None
        assert below.u is not None
        assert above.q_prev is not None
        assert above.u_prev is not None
        assert below.p_next is not None
        assert torch.equal(above.q_prev, below.q[-1:])
        assert torch.equal(above.u_prev, below.u[-1:])  # both sides computed it
        assert torch.equal(below.p_next, above.p[:1])


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
@pytest.mark.parametrize("depth", WIDTHS)
def test_bytes_are_p_and_q_of_every_boundary(depth: int, dtype: torch.dtype) -> None:
    x, weights, problem = random_problem(WIDTHS[depth], 6, dtype=dtype)
    for groups in (groups_of(weights), singles(weights)):
        channel = LocalChannel()
        state = start(x, weights, problem, groups)
        run(state, problem, 3, channel)
        assert channel.bytes_sent == 3 * sum(2 * 6 * n * dtype.itemsize for n in WIDTHS[depth][1:-1])
        assert channel.wire_bytes == {}


class Products(TorchDispatchMode):
    """Counts the N·n_in·n_out products of matrices, a product of a stack of S as S."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows, self.count = rows, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("bmm", "baddbmm", "baddbmm_"):
            A, B = args[-2:]
            if self.rows in (*A.shape[1:], *B.shape[1:]):
                self.count += len(A)
        else:
            assert name not in ("mm", "addmm", "addmm_", "matmul", "linear"), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("rule", ["linesearch", "backtracking"])
@pytest.mark.parametrize("depth", [1, 2, 5, 10])
def test_four_products_a_layer_and_iteration(depth: int, rule: str, stacked: bool) -> None:
    widths = [4, *[5] * (depth - 1), 3]
    x, weights, problem = random_problem(widths, 17, rule=rule)
    state = start(x, weights, problem, None if stacked else singles(weights))
    with Products(17) as counted:
        run(state, problem, 1)
    assert counted.count == 2 + 4 * (depth - 1)  # the first layer's p is constant


# --- the objective and the theorem --------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("depth", WIDTHS)
def test_lagrangian_is_the_papers(depth: int, weighted: bool) -> None:
    weight = rand(9, seed=5) if weighted else None
    _, weights, problem = random_problem(WIDTHS[depth], 9, weight=weight, f="tanh")
    plain = random_state(WIDTHS[depth], 9)
    for groups in (groups_of(weights), singles(weights)):
        state = to_blocks(plain, groups)
        assert lagrangian(pdadmm, state, problem) == pytest.approx(naive_lagrangian(plain, problem).item())
        assert pdadmm.layer_terms(state, state, problem).shape == (3, depth)


def test_residuals_are_those_of_the_variables() -> None:
    x, weights, problem = random_problem(WIDTHS[5], 9)
    before = run(start(x, weights, problem), problem, 2)
    after = run(before, problem, 1)
    s, t = from_blocks(after), from_blocks(before)
    _, primal, dual = pdadmm.layer_terms(before, after, problem).sum(1).tolist()
    gaps = [((p - q) ** 2).sum().item() for p, q in zip(s.P[1:], s.Q, strict=True)]
    changes = [((q - r) ** 2).sum().item() for q, r in zip(s.Q, t.Q, strict=True)]
    assert primal == pytest.approx(sum(gaps))
    assert dual == pytest.approx(problem.rho**2 * sum(changes))


def rises(x: Tensor, weights: Weights, problem: Problem, iterations: int) -> tuple[float, list[float], float]:
    """Return the largest relative rise of L_ρ, its values, and the last primal residual."""
    state = start(x, weights, problem)
    values = [lagrangian(pdadmm, state, problem)]
    for _ in range(iterations):
        state = run(state, problem, 1)
        values.append(lagrangian(pdadmm, state, problem))
    steps = pairwise(values)
    worst = max((after - before) / (1 + abs(before)) for before, after in steps)
    return worst, values, pdadmm.layer_terms(state, state, problem)[1].sum().item()


@settings(max_examples=100)
@given(
    depth=st.integers(1, 6),
    width=st.integers(1, 7),
    inputs=st.integers(1, 9),
    classes=st.integers(2, 4),
    rows=st.integers(1, 12),
    nu=st.sampled_from([1e-4, 1e-2, 1.0, 30.0]),
    ratio=st.sampled_from([4.001, 5.0, 100.0]),
    mu=st.sampled_from([0.0, 1e-2, 10.0]),
    scale=st.sampled_from([0.01, 0.5, 3.0]),
    loss=st.sampled_from(["cross_entropy", "squared_error", "squared_hinge"]),
    f=st.sampled_from(["relu", "hardtanh"]),
    rule=st.sampled_from(["linesearch", "backtracking", "exact"]),
    seed=st.integers(0, 1000),
)
def test_lagrangian_never_rises_where_the_theorem_holds(
    depth: int, width: int, inputs: int, classes: int, rows: int, nu: float, ratio: float, mu: float,
    scale: float, loss: str, f: str, rule: str, seed: int,
) -> None:  # fmt: skip
    widths = [inputs, *[width] * (depth - 1), classes]
    x, weights, problem = random_problem(
        widths, rows, seed, scale=scale, loss=loss, f=f, rho=ratio * nu, nu=nu, mu=mu, rule=rule, tau=0.1
    )
    assert pdadmm.converges(problem.rho, problem.nu, problem.f.lipschitz)
    worst, values, _ = rises(x, weights, problem, 15)
    assert math.isfinite(values[-1])
    assert worst < 1e-9


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("f", ["relu", "hardtanh", "tanh"])
def test_lagrangian_falls_and_layers_agree_in_the_end(f: str, rule: str) -> None:
    lipschitz = ACTIVATIONS[f].lipschitz
    rho = 0.05 * 1.05 * max(4 * lipschitz**2, (math.sqrt(17) + 1) / 2)
    x, weights, problem = random_problem([6, 5, 5, 5, 3], 12, f=f, rho=rho, nu=0.05, mu=1e-3, rule=rule, tau=0.1)
    worst, values, primal = rises(x, weights, problem, 120)
    assert worst < 1e-10
    assert values[-1] < 0.8 * values[0]
    first = rises(x, weights, problem, 3)[2]
    assert primal < 0.1 * first


@pytest.mark.parametrize("rows", [3, 9])
def test_exact_W_of_a_dead_layer_without_decay(rows: int) -> None:
    # All inputs of a layer are zero: with μ = 0 any W is a minimiser, but it must be finite.
    plain = random_state([4, 6, 6, 3], rows)
    plain.P[1], plain.Z[1] = torch.zeros(rows, 6, dtype=F64), 30 * plain.Z[1]
    _, _, problem = random_problem([4, 6, 6, 3], rows, mu=0.0, rule="exact")
    for block in to_blocks(plain, [range(1, 2)]):
        assert torch.isfinite(pdadmm.update_W_b_z(block, problem).W).all()


def test_convergence_condition() -> None:
    converges = pdadmm.converges
    for nu in (1e-4, 0.25, 8.0):  # powers of two: 4ν is exact
        nu = 2.0 ** round(math.log2(nu))
        assert not converges(4 * nu, nu, 1.0)
        assert converges(math.nextafter(4 * nu, math.inf), nu, 1.0)
        assert not converges(4.1 * nu, nu, 1.1)
    # A flat activation leaves the other bound, (√17 + 1)/2 = 2.56….
    assert not converges(2.56, 1.0, 0.25)
    assert converges(2.57, 1.0, 0.25)
    assert not converges(1e-4, 1e-4, 1.0)  # the papers' accuracy runs
    assert converges(1.0, 0.01, 1.0)  # their convergence runs


def test_shards_of_rows_iterate_as_one() -> None:
    # Two shards of the rows in lockstep: every sum over rows is completed from the other shard's term.
    x, weights, problem = random_problem(WIDTHS[5], 11, rule="linesearch")
    wanted = block_weights(run(start(x, weights, problem), problem, 1))
    cuts = [slice(0, 6), slice(6, 11)]
    sums: list[Tensor] = []
    while True:
        pending, results = [], []
        for cut in cuts:
            seen = iter(sums)

            def row_sum(t: Tensor, seen: Any = seen, pending: list[Tensor] = pending) -> Tensor:
                known = next(seen, None)
                if known is None:
                    pending.append(t)
                    raise StopAsyncIteration
                return known.clone()

            part = replace(problem, y=problem.y[cut], total=11, row_sum=row_sum)
            try:
                results.append(run(start(x[cut], weights, part), part, 1))
            except StopAsyncIteration:
                continue
        if not pending:
            break
        sums.append(torch.stack(pending).sum(0))
    assert len(sums) > 0
    for state in results:
        assert close([t for pair in block_weights(state) for t in pair], [t for pair in wanted for t in pair], 1e-10)


# --- penalties that follow from one another -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({}, (1e-2, 1e-2, 1e-3)),
        ({"nu": 0.5}, (0.5, 0.5, 0.05)),
        ({"rho": 0.5}, (0.5, 0.5, 0.05)),
        ({"rho": 1.0, "nu": 0.1}, (1.0, 0.1, 0.01)),
        ({"mu": 0.0}, (1e-2, 1e-2, 0.0)),
    ],
)
def test_penalties(given: dict[str, float], used: tuple[float, float, float]) -> None:
    made = pdadmm.PdADMMG(**given)
    assert (made.rho, made.nu, made.mu) == pytest.approx(used)

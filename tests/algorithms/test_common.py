"""What algorithms share: the W-block with its regulariser, and weight decay to the identity."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from problems import F64, blobs, iterated, lagrangian, make_problem, one_hot, randn, random_problem, start
from torch import Tensor

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.admm import normal
from gamlp_admm.admm.blocks import RULES, Rule
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import pdadmm
from gamlp_admm.algorithms.base import changes
from gamlp_admm.algorithms.common import regularizer_terms, rule_of, update_W
from gamlp_admm.errors import InputError

# --- the W-block is a ridge regression ------------------------------------------------------------------------


def fitted_weights(P: Tensor, T: Tensor, ridge: float, nu: float, regularizer: str) -> Tensor:
    """Return the exact W of a hidden layer with inputs P and targets T, whatever weights it had."""
    problem = make_problem(P, one_hot(len(P), 3), nu=nu, mu=ridge * nu, rule="exact")
    n = P.shape[1]
    W, empty = randn(1, n, n, seed=5), P.new_zeros(1, len(P), n)
    block = Block(1, P[None], W, P.new_zeros(1, n), empty, P @ W.mT, q=empty, u=empty)
    found, _ = update_W(block, W, block.M, T[None], nu, replace(problem, regularizer=regularizer))
    return found[0]


@pytest.mark.parametrize("nu", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("ridge", [0.1, 100.0])
def test_the_w_block_is_a_ridge_regression_of_mu_over_nu(ridge: float, nu: float) -> None:
    P, T = randn(12, 5), randn(12, 5, seed=1)
    expected = torch.linalg.solve(P.T @ P + ridge * torch.eye(5, dtype=F64), P.T @ T).T
    assert torch.allclose(fitted_weights(P, T, ridge, nu, "l2"), expected, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.1, 100.0])
def test_decay_to_the_identity_is_decay_of_the_residual_branch(ridge: float) -> None:
    P, T = randn(12, 5), randn(12, 5, seed=1)
    branch = fitted_weights(P, T - P, ridge, 0.3, "l2")
    expected = torch.eye(5, dtype=F64) + branch
    assert torch.allclose(fitted_weights(P, T, ridge, 0.3, "identity"), expected, atol=1e-9)


def test_a_layer_that_has_nothing_to_do_shrinks_its_input_unless_it_decays_to_the_identity() -> None:
    P = torch.nn.functional.normalize(randn(140, 5))
    s = torch.linalg.svdvals(P)
    W = fitted_weights(P, P, 100.0, 1e-4, "l2")  # μ = 0.01 at ν = 1e-4
    assert torch.linalg.svdvals(W) == pytest.approx((s**2 / (s**2 + 100)).tolist())
    assert torch.linalg.norm(P @ W.T) < 0.3 * torch.linalg.norm(P)
    assert torch.allclose(fitted_weights(P, P, 100.0, 1e-4, "identity"), torch.eye(5, dtype=F64), atol=1e-9)


# --- how blocks are solved ------------------------------------------------------------------------------------


@pytest.mark.parametrize("solved", [True, False])
def test_auto_solves_the_first_weights_alone(solved: bool) -> None:
    x, weights, problem = random_problem([4, 5, 5, 3], 8, rule="auto")
    problem = problem if solved else replace(problem, normal=None)
    state = start(pdadmm, x, weights, problem)
    names = {(l, kind): rule_of(kind, block, problem).name for l, block in enumerate(state) for kind in ("p", "W")}
    assert {at for at, name in names.items() if name == "exact"} == ({(0, "W")} if solved else set())
    assert set(names.values()) <= {"exact", "linesearch"}
    for name in RULES[1:]:  # others are what they are called
        assert rule_of("p", state[0], replace(problem, rule=Rule(name))).name == name


def test_the_first_weights_are_the_minimiser_whatever_they_were() -> None:
    x, weights, problem = random_problem([4, 5, 5, 3], 8, rule="auto")
    block = start(pdadmm, x, weights, problem)[0]
    found = []
    for W in (block.W, block.W + 3):
        new, M = update_W(block, W, block.p @ W.mT, block.z, 0.3, problem)
        assert torch.allclose(M, block.p @ new.mT, atol=1e-12)
        found.append(new[0])
    ridge = problem.mu / 0.3 * torch.eye(4, dtype=F64)
    expected = torch.linalg.solve(x.T @ x + ridge, x.T @ (block.z[0] - block.b[0])).T
    assert all(torch.allclose(W, expected, atol=1e-10) for W in found)


def stage_of(rows: int, columns: int, hidden: int, iterations: int = 200) -> Any:
    # What a plan looks at.
    features = SimpleNamespace(train=torch.empty(1).expand(rows, columns))
    team = SimpleNamespace(num_shards=1)
    return SimpleNamespace(
        features=features, num_train=rows, shapes=[(hidden, columns)], team=team, iterations=iterations
    )


def test_what_trainers_plan() -> None:
    stage, brief = stage_of(4590, 2980, 64), stage_of(4590, 2980, 4, 2)
    chosen = PdADMMG().plan(stage)
    assert chosen is not None
    assert chosen.kind == "primal"
    for name in ("linesearch", "backtracking"):
        assert PdADMMG(solver=name).plan(stage) is None
    short, forced = PdADMMG().plan(brief), PdADMMG(solver="exact").plan(brief)
    assert short is not None
    assert forced is not None
    assert short.kind == "linesearch"
    assert forced.kind != "linesearch"
    changing = PdADMMG(schedule="every:1:1.1").plan(stage)  # a factor an iteration
    assert changing is not None
    assert changing.kind == "iterative"


@pytest.mark.parametrize(
    ("schedule", "count"),
    [("constant", 1), ("every:20:2", 11), ("every", 21), ("stall:50", 5), (lambda records, elapsed: 1.0, 201)],
)
def test_how_often_penalties_change(schedule: Any, count: int) -> None:
    assert changes(schedule, 200) == count


def test_stages_of_growth_share_the_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []
    plain = normal.cholesky
    monkeypatch.setattr(normal, "cholesky", lambda H, c, scale: made.append(c) or plain(H, c, scale))
    PdADMMG().fit(GAMLP(8, 6, 3, 5, init="kaiming").double(), blobs(), 3, seed=0, grow=(2, 3, 5))
    assert len(made) == 1


# --- decay to the identity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["linesearch", "backtracking", "exact"])
def test_decay_to_the_identity(rule: str) -> None:
    x, weights, problem = random_problem([4, 5, 5, 5, 3], 8, rule=rule)
    problem = replace(problem, regularizer="identity", mu=0.7)
    blocks = start(pdadmm, x, weights, problem, [range(1), range(1, 3), range(3, 4)])
    identity = torch.eye(5, dtype=F64)
    for block, centre in zip(blocks, (0.0, identity, 0.0), strict=True):
        expected = 0.35 * (block.W - centre).square().sum((1, 2))
        assert torch.allclose(regularizer_terms(block, block.W, problem), expected)
        target = randn(*block.z.shape, seed=5)
        W, M = update_W(block, block.W, block.M, target, problem.nu, problem)
        assert torch.allclose(M, block.p @ W.mT)

        def value(W: Tensor, block: Any = block, centre: Any = centre, target: Tensor = target) -> Tensor:
            fit = block.p @ W.mT + block.b[:, None] - target
            return problem.nu / 2 * fit.square().sum() + 0.35 * (W - centre).square().sum()

        assert value(W) < value(block.W)
        if rule == "exact":
            W = W.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(value(W), W)
            assert gradient.abs().max() < 1e-9


def test_the_objective_falls_with_decay_to_the_identity() -> None:
    x, weights, problem = random_problem([4, 5, 5, 5, 3], 8, rho=3.0, nu=0.3)
    problem = replace(problem, regularizer="identity", rule=Rule("linesearch"))
    blocks = start(pdadmm, x, weights, problem, [range(1), range(1, 3), range(3, 4)])
    values = [lagrangian(pdadmm, blocks, problem)]
    for _ in range(30):
        blocks = iterated(pdadmm, blocks, problem)
        values.append(lagrangian(pdadmm, blocks, problem))
    assert all(b <= a + 1e-12 for a, b in pairwise(values))


def test_all_decay_leaves_the_shallow_function() -> None:
    # With nothing but decay, hidden layers become the identity, not zero.
    model = GAMLP(8, 6, 3, 5, init="kaiming").double()
    PdADMMG(mu=1e4, solver="exact").fit(model, blobs(), 30, seed=0, grow=None, select="last")
    hidden = [layer.weight for layer in model.linears[1:-1]]
    assert all(torch.allclose(W, torch.eye(6, dtype=F64), atol=1e-3) for W in hidden)
    PdADMMG(mu=1e4, solver="exact", decay_to="zero").fit(model, blobs(), 30, seed=0, grow=None, select="last")
    assert all(layer.weight.abs().max() < 1e-3 for layer in model.linears)


def test_decay_to_something_else() -> None:
    with pytest.raises(InputError, match="unknown decay_to 'one'"):
        PdADMMG(decay_to="one")

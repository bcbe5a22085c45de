"""Residual connections: the blocks against the Lagrangian written out, the forward passes against each other."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from problems import F64, iterated, labels, lagrangian, randn, random_weights, start
from torch import Tensor

from gamlp_admm import GAMLP, MDLAM, DlADMM, PdADMM, PdADMMG
from gamlp_admm.admm.blocks import Rule
from gamlp_admm.admm.engine import iterate
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import PdADMMGQ, pdadmm
from gamlp_admm.algorithms.backprop import Backprop
from gamlp_admm.errors import InputError
from gamlp_admm.nn.activations import activation
from gamlp_admm.nn.losses import risk
from gamlp_admm.nn.network import Network
from gamlp_admm.parallel.channel import LocalChannel
from gamlp_admm.training.trainer import Trainer

N, WIDTHS = 9, [4, 5, 5, 5, 5, 3]  # layers 1 to 3 have residual connections


def problem(rule: str = "exact", f: str = "relu", **settings: Any) -> Problem:
    y = risk("cross_entropy").target(labels(N, 3), 3, F64)
    options: dict[str, Any] = {"rho": 0.5, "nu": 0.3, "mu": 0.05, **settings}
    network = Network(activation(f), residual=True)
    return Problem(y=y, risk=risk("cross_entropy"), network=network, rule=Rule(rule), **options)


def state(p: Problem, groups: list[range] | None = None) -> list[Block]:
    """Return blocks somewhere in the middle of a run."""
    groups = groups or [range(1), range(1, 4), range(4, 5)]
    return iterated(pdadmm, start(pdadmm, randn(N, 4), random_weights(WIDTHS), p, groups), p, 3)


def naive(s: dict[str, list[Tensor]], p: Problem) -> Tensor:
    """L_ρ, written out; the lists hold a tensor a layer."""
    value = p.risk.value(s["z"][-1], p.y)
    for l in range(5):
        value = value + p.mu / 2 * s["W"][l].square().sum()
        value = value + p.nu / 2 * (s["z"][l] - s["p"][l] @ s["W"][l].T - s["b"][l]).square().sum()
        if l < 4:
            output = p.f(s["z"][l]) + (s["p"][l] if 1 <= l <= 3 else 0)
            gap = s["p"][l + 1] - s["q"][l]
            value = value + p.nu / 2 * (s["q"][l] - output).square().sum()
            value = value + (s["u"][l] * gap).sum() + p.rho / 2 * gap.square().sum()
    return value


def listed(blocks: list[Block]) -> dict[str, list[Tensor]]:
    names = ("p", "W", "b", "z", "q", "u")
    return {n: [t.clone() for s in blocks if getattr(s, n) is not None for t in getattr(s, n)] for n in names}


def test_the_objective_is_the_lagrangian() -> None:
    p = problem()
    blocks = state(p)
    assert lagrangian(pdadmm, blocks, p) == pytest.approx(float(naive(listed(blocks), p)), rel=1e-12)


@pytest.mark.parametrize(("field", "phases"), [("p", 1), ("q", 3)])
@pytest.mark.parametrize("f", ["relu", "tanh"])
def test_exact_blocks_are_stationary(field: str, phases: int, f: str) -> None:
    p = problem(f=f)
    s = listed(iterate(state(p), pdadmm.PHASES[:phases], p, LocalChannel()))
    s[field] = [t.requires_grad_(not (field == "p" and l == 0)) for l, t in enumerate(s[field])]
    naive(s, p).backward()
    assert all(t.grad.abs().max() < 1e-10 for t in s[field] if t.grad is not None)
    assert sum(t.grad is not None for t in s[field]) == 4


@pytest.mark.parametrize("rule", ["linesearch", "backtracking", "exact"])
def test_p_never_raises_the_objective(rule: str) -> None:
    p = problem(rule)
    blocks = state(p)
    after = [pdadmm.update_p(block, p) for block in blocks]
    s = listed(blocks)
    assert naive(s | {"p": listed(after)["p"]}, p) <= naive(s, p)


@pytest.mark.parametrize("f", ["relu", "hardtanh", "sigmoid"])
def test_z_is_a_minimiser(f: str) -> None:
    p = problem(f=f)
    blocks = state(p)
    block = blocks[1]
    after = pdadmm.update_W_b_z(block, p)
    assert block.q is not None
    m, a, old = after.M + after.b[:, None], block.p, block.z

    def value(z: Tensor) -> Tensor:
        assert block.q is not None
        return (z - m).square() + (block.q - a - p.f(z)).square() + (z - old).square()

    grid = torch.linspace(-8, 8, 4001, dtype=F64).view(-1, 1, 1, 1)
    assert (value(after.z) <= value(grid).amin(0) + 1e-9).all()


def test_stacks_and_single_layers_agree() -> None:
    p = problem("linesearch")
    stacked = listed(state(p))
    single = listed(state(p, [range(l, l + 1) for l in range(5)]))
    pairs = [(a, b) for n in stacked for a, b in zip(stacked[n], single[n], strict=True)]
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in pairs)


def test_under_the_theorem_s_condition_the_objective_falls() -> None:
    p = problem("linesearch", rho=3.0, nu=0.3)
    blocks = state(p)
    values = []
    for _ in range(30):
        blocks = iterated(pdadmm, blocks, p)
        values.append(lagrangian(pdadmm, blocks, p))
    assert all(b <= a + 1e-12 for a, b in pairwise(values))


# --- networks -------------------------------------------------------------------------------------------------


def data(columns: int = 8) -> SimpleNamespace:
    y = labels(60, 3)
    x = randn(60, columns, seed=1) + 2 * randn(3, columns, seed=2)[y]
    split = torch.arange(60)
    masks = {"train_mask": split < 30, "val_mask": (split >= 30) & (split < 45), "test_mask": split >= 45}
    return SimpleNamespace(x=x, y=y, **masks)


def network(num_layers: int = 6, columns: int = 8, **options: Any) -> GAMLP:
    return GAMLP(columns, 6, 3, num_layers, residual=True, **{"init": "kaiming", **options}).double()


TRAINERS: list[Trainer] = [PdADMMG(), PdADMM(solver="exact"), PdADMMGQ(), PdADMMG(codec="int8"), Backprop("adam")]


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda t: f"{t.algorithm} {getattr(t, 'solver', '')}")
@pytest.mark.parametrize("columns", [8, 50])
def test_the_model_is_what_was_evaluated(trainer: Trainer, columns: int) -> None:
    model, d = network(columns=columns), data(columns)
    result = trainer.fit(model, d, 20, seed=0, select="last")
    with torch.no_grad():
        z = model(d.x)
    loss = torch.nn.functional.cross_entropy(z[d.train_mask], d.y[d.train_mask])
    assert float(loss) == pytest.approx(result.history[-1]["train_loss"], rel=1e-6)
    for split in ("train", "val", "test"):
        mask = getattr(d, f"{split}_mask")
        accuracy = float((z[mask].argmax(1) == d.y[mask]).double().mean())
        assert accuracy == pytest.approx(result.last[f"{split}_accuracy"])


def test_forward() -> None:
    model = network(4, 6)  # as wide as its input: the first layer still adds nothing
    x = randn(5, 6)
    first, second, third, last = model.linears
    a = torch.relu(first(x))
    b = torch.relu(second(a)) + a
    c = torch.relu(third(b)) + b
    assert torch.allclose(model(x), last(c))


@pytest.mark.parametrize("f", ["relu", "tanh", "gelu"])
def test_growth_leaves_the_function_as_it_is(f: str) -> None:
    # f(0) = 0 is enough; without residual connections f must be the identity on its own values.
    d, seen = data(), []

    def note(progress: Any) -> bool:
        seen.append(progress.record["layers"])
        return len(seen) == 5

    stopped = network(activation=f)
    PdADMMG().fit(stopped, d, 5, grow=(2, 6), seed=0, callbacks=[note])  # ends at depth 2, and is filled up to 6
    assert seen == [2] * 5
    weights = [(l.weight, l.bias) for l in stopped.linears]
    assert all(not W.any() and not b.any() for W, b in weights[1:-1])
    plain = GAMLP(8, 6, 3, 2, activation=f).double()
    plain.set_layer(0, *weights[0])
    plain.set_layer(1, *weights[-1])
    assert torch.allclose(stopped(d.x), plain(d.x), atol=1e-12)


def test_decay_leaves_residual_layers_to_zero() -> None:
    p = replace(problem(), regularizer="identity")
    blocks = state(p)
    assert lagrangian(pdadmm, blocks, p) == pytest.approx(lagrangian(pdadmm, blocks, replace(p, regularizer="l2")))


def test_a_saved_model_keeps_its_connections(tmp_path: Any) -> None:
    model = network()
    model.save(tmp_path / "model.safetensors")
    loaded, _ = GAMLP.load(tmp_path / "model.safetensors")
    x = randn(3, 8)
    assert torch.equal(loaded(x), model(x))
    assert loaded.config["residual"]


@pytest.mark.parametrize("trainer", [DlADMM(), MDLAM()])
def test_sweeps_refuse_them(trainer: Trainer) -> None:
    with pytest.raises(InputError, match="does not train networks with residual connections"):
        trainer.fit(network(), data(), 2)


def test_nothing_is_proved_of_them() -> None:
    assert PdADMMG(nu=0.01, rho=1.0).fit(network(), data(), 2, seed=0).converges is None

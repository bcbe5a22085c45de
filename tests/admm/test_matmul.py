"""Products of rounded operands: how far off they are, what they leave alone, and where they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from problems import randn
from torch import Tensor

from gamlp_admm import DlADMM, PdADMMG, load_dataset
from gamlp_admm.admm import matmul as module
from gamlp_admm.admm.blocks import Rule, W_gradient, W_step, p_gradient, p_step
from gamlp_admm.admm.matmul import FULL, BFloat16, check_available, matmul
from gamlp_admm.algorithms import base
from gamlp_admm.errors import InputError
from gamlp_admm.nn import GAMLP
from gamlp_admm.system import processor

F32 = torch.float32
KARATE = load_dataset("karate").data
HALF = 2.0**-8
"""Half of the distance of neighbouring bfloat16 numbers, beside them."""


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor be one that multiplies bfloat16, which all do, if slowly."""
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda: True)


def stack(*shape: int, seed: int) -> Tensor:
    return randn(*shape, seed=seed, dtype=F32)


@pytest.mark.parametrize("rows", [0, 1, 90])
def test_bfloat16_rounds_operands_and_the_sum(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES", 700)  # of 90 rows, several parts
    A, B, C = stack(2, rows, 20, seed=1), stack(2, 20, 7, seed=2), stack(2, rows, 7, seed=3)
    rounded = torch.bmm(A.bfloat16().double(), B.bfloat16().double())
    made = matmul("bf16").bmm(A, B)
    assert made.dtype == F32
    assert bool(((made - rounded).abs() <= HALF * rounded.abs() + 1e-5).all())
    assert torch.equal(matmul("bf16").baddbmm_(C.clone(), A, B, 0.5), C.add(made, alpha=0.5))


def test_the_bits_of_a_layer_do_not_depend_on_the_stack() -> None:
    A, B = stack(3, 40, 24, seed=1), stack(3, 24, 16, seed=2)
    both = BFloat16().bmm(A, B), BFloat16().bmm(A.mT, A)
    for s in range(3):
        assert torch.equal(BFloat16().bmm(A[s : s + 1], B[s : s + 1])[0], both[0][s])
        assert torch.equal(BFloat16().bmm(A[s : s + 1].mT, A[s : s + 1])[0], both[1][s])


def test_rounded_steps_descend_and_carry_their_product_along() -> None:
    P, W, Z, b = stack(1, 50, 12, seed=1), stack(1, 9, 12, seed=2), stack(1, 50, 9, seed=3), stack(1, 9, seed=4)
    Q, nu, rho, mu, rule = stack(1, 50, 12, seed=5), 0.5, 0.2, 0.1, Rule(matmul=matmul("bf16"))

    def phi(P: Tensor, W: Tensor) -> float:
        fit = (Z - P @ W.mT - b[:, None]).double().square().sum()
        return float(nu / 2 * fit + rho / 2 * (P - Q).square().sum() + mu / 2 * W.square().sum())

    M = P @ W.mT
    r = M + b[:, None] - Z
    g = p_gradient(r, W, P, tuple(Q), None, nu, rho, rule.matmul)
    G = W_gradient(r, P, W, nu, mu, matmul=rule.matmul)
    exact = p_gradient(r, W, P, tuple(Q), None, nu, rho), W_gradient(r, P, W, nu, mu)
    for made, wanted in zip((g, G), exact, strict=True):
        assert 0 < (made - wanted).norm() < 4 * HALF * wanted.norm()
    P_new, M_of_P = p_step(g, P, W, M, nu, rho, rule)
    W_new, M_of_W = W_step(G, P, W, M, nu, mu, rule)
    assert phi(P_new, W) < phi(P, W)
    assert phi(P, W_new) < phi(P, W)
    for made, wanted in ((M_of_P, P_new @ W.mT), (M_of_W, P @ W_new.mT)):
        assert 0 < (made - wanted).norm() < 4 * HALF * (wanted - M).norm()  # of the step, not of M


def fitted(trainer: Any, **options: Any) -> Any:
    model = GAMLP(KARATE.num_features, 16, 4, 3, init="kaiming")
    return trainer.fit(model, KARATE, 12, seed=0, grow=None, **options)


@pytest.mark.parametrize("kind", [PdADMMG, DlADMM])
def test_training_comes_near_that_in_float32(kind: Any, fast: None, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed: list[int] = []
    monkeypatch.setattr(base, "products", lambda P, W: renewed.append(len(W)) or P @ W.mT)
    full, rounded = (fitted(kind(matmul=name, solver="linesearch")) for name in ("fp32", "bf16"))
    assert sum(renewed) == 3  # M of three layers, once in twelve iterations, and never in float32
    ends = [result.history[-1]["objective"] for result in (full, rounded)]
    assert ends[0] != ends[1]
    assert ends[1] == pytest.approx(ends[0], rel=0.02)


def test_tf32_leaves_torch_as_it_was() -> None:
    before = torch.get_float32_matmul_precision()
    A, B = stack(1, 4, 4, seed=1), stack(1, 4, 4, seed=2)
    assert torch.equal(matmul("tf32").baddbmm_(A.clone(), A, B, 2.0), A.clone().baddbmm_(A, B, alpha=2.0))
    with pytest.raises(RuntimeError):
        matmul("tf32").bmm(A, B[:, :3])
    assert torch.get_float32_matmul_precision() == before


def test_it_is_refused_where_it_does_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda: False)
    here = r"this processor \(cpu\) has no fast products of such numbers; allowed here: fp32$"
    for name in ("bf16", "tf32"):
        with pytest.raises(InputError, match=f"matmul '{name}': {here}"):
            fitted(PdADMMG(matmul=name))
    check_available("fp32", torch.empty(0))
    monkeypatch.setattr(module, "multiplies_bfloat16", lambda: True)
    check_available("bf16", torch.empty(0))
    with pytest.raises(InputError, match=r"'tf32'.* allowed here: fp32, bf16$"):
        check_available("tf32", torch.empty(0))
    with pytest.raises(InputError, match=r"'bf16' is for models in float32, not torch\.float64"):
        check_available("bf16", torch.empty(0, dtype=torch.float64))


def test_it_is_for_steps() -> None:
    with pytest.raises(InputError, match=r"matmul 'bf16' is for steps, .* allowed: auto, linesearch, backtracking"):
        DlADMM(matmul="bf16")
    with pytest.raises(InputError, match=r"matmul 'half'.*fp32, tf32, bf16"):
        PdADMMG(matmul="half")
    assert matmul("fp32") is FULL


def test_flags_are_those_that_all_cores_have(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor : 0\nflags\t: fpu avx512_bf16 amx_bf16\n\nprocessor : 1\nflags\t: fpu avx512_bf16\n")
    assert processor.flags(told) == {"fpu", "avx512_bf16"}
    assert processor.flags(tmp_path / "none") == frozenset()

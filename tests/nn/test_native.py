"""Kernels in place of operators: the same bits, of every kind of number and of whole runs, or they do not serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gamlp_admm import GAMLP, DlADMM, PdADMMG, PdADMMGQ, load_dataset
from gamlp_admm.admm import blocks
from gamlp_admm.bench.counts import Counts
from gamlp_admm.errors import InputWarning
from gamlp_admm.nn import losses, native
from gamlp_admm.system import compiled

pytest.importorskip("numba")

SHAPES = [(1, 1, 1, 1), (1, 33, 7, 100), (2, 140, 100, 100), (3, 16, 40, 9), (1, 300, 17, 700), (1, 5, 129, 4)]
"""S, N, n_out, n_in: sums of few and many, of whole vectors and what is left over."""


def operands(S: int, N: int, n: int, inputs: int, unusual: bool) -> dict[str, tuple[Any, ...]]:
    """Return operands by update."""
    seed = 0

    def made(*shape: int) -> Tensor:
        nonlocal seed
        seed += 1
        return native.numbers(torch.Size(shape), seed, unusual)

    def stack() -> Tensor:
        return made(S, N, n)

    def parts() -> tuple[Tensor, ...]:
        return (made(1, N, n), made(S - 1, N, n)) if S > 1 else (stack(),)

    def inputs_in_parts() -> tuple[Tensor, ...]:
        return (made(1, N, inputs), made(S - 1, N, inputs)) if S > 1 else (made(S, N, inputs),)

    P, W, given = made(S, N, inputs), made(S, n, inputs), (stack(), made(S, n), stack())
    rows = [made(N, n) for _ in range(3)]
    return {
        "residual": (stack(), made(S, n), stack()),
        "_scaled_gap": (stack(), parts(), parts(), 0.3),
        "p_update": (*given, P, W, inputs_in_parts(), inputs_in_parts(), 0.3, 0.01),
        "W_b_update": (P, W, *given, 0.3, 1e-3, float(N), float(n == inputs)),
        "_column_means": (stack(), stack(), float(N)),
        "_relu_z": (stack(), made(S, n), stack(), stack()),
        "_relu_q": (parts(), stack(), stack(), 0.3, 0.01),
        "_penalized": (*rows, 0.15),
        "_newton": (*rows, made(N), 0.3),
    }


BY_BLAS = {"p_update", "W_b_update"}
UPDATES: dict[str, Callable[..., Any]] = {
    name: update for module in (blocks, losses) for name, update in vars(module).items() if hasattr(update, "forms")
}


@pytest.mark.parametrize("unusual", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_give_the_bits_of_the_operators(shape: tuple[int, int, int, int], unusual: bool) -> None:
    found = operands(*shape, unusual)
    assert found.keys() == UPDATES.keys()
    for name, given in found.items():
        if name in BY_BLAS and (shape[0] * shape[1] * shape[2] * shape[3] < 400 or shape == (3, 16, 40, 9)):
            continue  # torch multiplies little by itself; layers that are not aligned are no stacks
        results = []
        for form in UPDATES[name].forms:
            result = form(*native._copied(given))
            results.append((result,) if isinstance(result, Tensor) else result)
        assert all(map(native.same_bits, *results)), name


def run(trainer: Any, layers: int, residual: bool) -> list[Any]:
    data = load_dataset("karate").data
    model = GAMLP(data.num_features, 16, 4, layers, residual=residual)
    history = trainer.fit(model, data, iterations=6, seed=0, grow=None).history
    return [{**record, "seconds": 0} for record in history] + [W.tolist() for W in model.parameters()]


@pytest.mark.parametrize(
    ("trainer", "layers", "residual"),
    [
        (PdADMMG(), 5, False),
        (PdADMMG(solver="linesearch", codec="int2-delta", class_weight="balanced"), 2, False),
        (PdADMMG(solver="linesearch"), 4, True),
        (PdADMMGQ(codec="grid:auto:16", quantize="pq"), 4, False),
        (DlADMM(), 3, False),
    ],
)
def test_runs_have_the_bits_they_have_without(
    trainer: Any, layers: int, residual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = run(trainer, layers, residual)
    monkeypatch.setattr(native, "_shapes", lambda operands: None)
    assert run(trainer, layers, residual) == served


def doubled(x: Tensor) -> Tensor:
    return 2 * x


def test_a_kernel_serves_where_it_agrees() -> None:
    served = native.native(lambda x: x + x)(doubled)
    x = torch.ones(100)
    calls: list[Tensor] = []
    wrong = native.native(lambda x: calls.append(x) or (2 * x).clamp_(max=1e30))(doubled)  # but for a few numbers
    for _ in range(2):
        assert served(x).equal(2 * x)
        assert wrong(x).equal(2 * x)
    assert len(calls) == 1


def test_only_plain_small_tensors_are_for_kernels() -> None:
    calls: list[Tensor] = []
    update = native.native(lambda x: calls.append(x) or 2 * x)(doubled)
    for x in (
        torch.ones(3, dtype=torch.float64),
        torch.ones(4, 3).T,
        torch.ones(native.MOST + 1),
        torch.nn.Parameter(),
    ):
        update(x)
    with Counts() as counts:  # which counts what operators do, as ever
        update(torch.ones(3))
    assert not calls
    assert counts.calls == 2
    update(torch.ones(3))
    assert len(calls) > 1


def test_without_numba_operators_are_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "available", lambda: False)
    assert native.native(lambda x: x)(doubled) is doubled


@pytest.mark.skipif(not compiled.available(), reason="needs numba")
def test_kernels_that_cannot_be_had_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Any:
        raise ImportError("Numba needs NumPy 2.4 or less\nand so on")

    monkeypatch.setattr(native, "loaded", fails)
    native._ready.cache_clear()
    try:
        update = native.native(lambda x: native.loaded().doubled(x))(doubled)
        with pytest.warns(InputWarning, match="kernels are not used: Numba needs NumPy 2.4 or less; operators give"):
            assert torch.equal(update(torch.ones(3)), doubled(torch.ones(3)))
        assert torch.equal(update(torch.ones(4)), doubled(torch.ones(4)))  # said once
    finally:
        native._ready.cache_clear()

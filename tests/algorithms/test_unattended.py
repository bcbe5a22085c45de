"""An iteration on a GPU never waits for it, and gives what the CPU gives.

There need be no GPU: tensors on the CPU that say that they are on one take its branches. Whatever would make the host
wait for a device, to learn a value or the size of a result, or to copy from or to it, fails.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from problems import F64, labels, rand, randn, random_problem, start
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gamlp_admm.admm.engine import iterate
from gamlp_admm.admm.matmul import MATMULS
from gamlp_admm.admm.normal import Dual, NormalEquations, Primal, gram_matrix
from gamlp_admm.admm.nystrom import Iterative
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms import dladmm, mdlam, pdadmm
from gamlp_admm.codecs.plan import Codecs, Plan
from gamlp_admm.nn.losses import risk
from gamlp_admm.parallel.channel import LocalChannel

WAITING = {
    *("item", "tolist", "numpy", "cpu", "cuda", "__bool__", "__float__", "__int__", "__index__", "is_nonzero", "equal"),
    *("allclose", "nonzero", "argwhere", "unique", "masked_select", "repeat_interleave", "bincount", "histc", "wait"),
    *("tensor", "as_tensor", "asarray", "from_numpy", "frombuffer", "new_tensor"),
    *("cholesky", "linalg_cholesky", "linalg_inv", "linalg_solve", "linalg_lstsq", "linalg_svd", "linalg_svdvals"),
    *("linalg_eigh", "linalg_eigvalsh", "linalg_qr", "linalg_matrix_rank", "linalg_pinv"),
}
"""Functions that read values of a device, copy from or to it, or look whether a factor was found."""


class OnGPU(TorchFunctionMode):
    """Tensors say that they are on a GPU, which may not be waited for."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function == Tensor.is_cuda.__get__:
            return True
        name, kwargs = function.__name__, dict(kwargs or {})
        masks = name == "__getitem__" and any(getattr(t, "dtype", None) == torch.bool for t in _flat(args[1]))
        moves = name == "to" and any(isinstance(x, Tensor | torch.device | str) for x in args[1:])
        if name in WAITING or masks or moves:
            raise AssertionError(f"{name} waits for the GPU")
        if "out_dtype" in kwargs:  # which torch has for GPUs alone
            args = [x.to(kwargs.pop("out_dtype", torch.float32)) if isinstance(x, Tensor) else x for x in args]
            args = [x.to(args[0].dtype) for x in args]
        return function(*args, **kwargs)


def _flat(x: Any) -> list[Any]:
    return [t for each in x for t in _flat(each)] if isinstance(x, tuple | list) else [x]


ROWS = 300  # more than a step of p looks at


def problem_of(algorithm: ModuleType, normal: type[NormalEquations] = Primal, **settings: Any) -> tuple[Any, Any]:
    """Return blocks, and their problem with all that is made once."""
    codec, matmul, residual = settings.pop("codec", "full"), settings.pop("matmul", "fp32"), settings.pop("residual", 0)
    weight = rand(ROWS) + 0.5 if settings.pop("weighted", False) else None
    if algorithm is mdlam:
        settings |= {"kind": mdlam.MDLAMProblem, "momentum": 0.5, "epsilon": 1.0}
    x, weights, problem = random_problem([6, 5, 5, 3], ROWS, 0, weight=weight, **settings)
    changes: dict[str, Any] = {
        "rule": replace(problem.rule, matmul=MATMULS[matmul]),
        "codecs": Codecs(Plan.of(codec)),
        "network": replace(problem.network, residual=bool(residual)),
    }
    if problem.normal is not None:
        changes["normal"] = made = normal(x, weight)
        ratio = problem.mu / (problem.rho if algorithm is mdlam else problem.nu)
        made.update(weights[0][0], x @ weights[0][0].T, randn(ROWS, 5), ratio)
    if settings.get("regularizer") == "l1":
        changes["gram"] = gram_matrix(x, weight)[None]
    problem = replace(problem, **changes)
    return start(algorithm, x, weights, problem), problem


def distance(made: list[Block], wanted: list[Block]) -> float:
    """Return by how much fields differ at most, beside their norm."""
    pairs = [(a.tensors()[name], t) for a, b in zip(made, wanted, strict=True) for name, t in b.tensors().items()]
    return max(float((a - b).norm() / b.norm().clamp(min=1e-3)) for a, b in pairs)


def moved(x: Any, device: str) -> Any:
    """Return a copy of something, all tensors in it on a device."""
    if isinstance(x, Tensor):
        return x.to(device)
    if isinstance(x, list | tuple):
        return type(x)(moved(each, device) for each in x)
    if isinstance(x, dict):
        made = copy.copy(x)
        made.update((key, moved(value, device)) for key, value in x.items())
        return made
    if type(x).__module__.startswith("gamlp_admm") and hasattr(x, "__dict__"):
        made = copy.copy(x)
        made.__dict__.update(moved(vars(x), device))
        return made
    return x


CASES: list[tuple[ModuleType, float, dict[str, Any]]] = [
    (pdadmm, 1e-9, {"rule": "auto", "weighted": True}),
    (pdadmm, 1e-9, {"rule": "auto", "normal": Dual, "loss": "binary_cross_entropy"}),
    (pdadmm, 1e-9, {"rule": "auto", "normal": Iterative, "loss": "squared_error"}),
    (pdadmm, 1e-9, {"rule": "exact", "weighted": True, "loss": "squared_hinge"}),
    (pdadmm, 1e-9, {"rule": "backtracking", "codec": "int8-delta", "residual": 1, "f": "tanh"}),
    (pdadmm, 5e-2, {"rule": "linesearch", "codec": "bf16", "matmul": "bf16", "f": "leaky_relu"}),
    (pdadmm, 5e-2, {"rule": "linesearch", "codec": "grid:auto:256", "matmul": "tf32", "weighted": True, "f": "gelu"}),
    (dladmm, 1e-9, {"rule": "exact"}),
    (dladmm, 1e-9, {"rule": "linesearch", "weighted": True, "regularizer": "l1"}),
    (dladmm, 1e-3, {"rule": "exact", "regularizer": "l1"}),
    (mdlam, 1e-2, {"rule": "linesearch", "weighted": True}),
    (mdlam, 1e-9, {"rule": "exact"}),
]


@pytest.mark.parametrize(("algorithm", "tolerance", "settings"), CASES, ids=lambda x: getattr(x, "__name__", str(x)))
def test_an_iteration_waits_for_nothing(algorithm: ModuleType, tolerance: float, settings: dict[str, Any]) -> None:
    wanted, problem = problem_of(algorithm, **settings)
    made = wanted
    for _ in range(3):
        wanted = iterate(wanted, algorithm.PHASES, problem, LocalChannel())
        with OnGPU():
            made = iterate(made, algorithm.PHASES, problem, LocalChannel())
    assert distance(made, wanted) <= tolerance


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("algorithm", "tolerance", "settings"), CASES, ids=lambda x: getattr(x, "__name__", str(x)))
def test_on_a_gpu_torch_finds_nothing_that_waits(
    algorithm: ModuleType, tolerance: float, settings: dict[str, Any]
) -> None:
    wanted, problem = problem_of(algorithm, **settings)
    made, there = moved((wanted, problem), "cuda")
    warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
    for iteration in range(4):
        wanted = iterate(wanted, algorithm.PHASES, problem, LocalChannel())
        torch.cuda.set_sync_debug_mode("error" if iteration > 1 else "default")  # factors and workspaces are made once
        try:
            made = iterate(made, algorithm.PHASES, there, LocalChannel())
        finally:
            torch.cuda.set_sync_debug_mode("default")
    here = [block.with_fields({name: t.cpu() for name, t in block.tensors().items()}) for block in made]
    assert distance(here, wanted) <= 10 * tolerance


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool((x > 0).any()),
        lambda x: 0 if (x > 0).any() else 1,
        lambda x: float(x[0, 0]),
        lambda x: torch.equal(x, x),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x[x > 0],
        lambda x: x[x.diagonal() > 0, 1:],
        lambda x: x.new_tensor([1.0, 2.0]),
        lambda x: torch.zeros(4).to(x),
        lambda x: torch.linalg.cholesky(x),
        lambda x: torch.linalg.eigvalsh(x),
    ],
)
def test_what_waits_is_found(waits: Callable[[Tensor], object]) -> None:
    x = torch.eye(4)
    with OnGPU(), pytest.raises(AssertionError, match="waits for the GPU"):
        waits(x)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("nu", [1e-4, 1e-2, 1.0, 100.0])
def test_a_prox_in_a_fixed_number_of_steps_never_rises_and_arrives(loss: str, nu: float) -> None:
    R, m, begin = risk(loss), 5 * randn(60, 4), 20 * randn(60, 4, seed=1)
    y = R.target(labels(60, 4), 4, F64)

    def values(z: Tensor) -> Tensor:
        return R.rows(z, y) + nu / 2 * (z - m).square().sum(-1)

    wanted, z = values(R.prox(m, y, nu, m)), begin
    for _ in range(4):  # iterations, each from where the last one ended
        before = values(z)
        with OnGPU():
            z = R.prox(m, y, nu, z)
        assert bool((values(z) <= before * (1 + 1e-12)).all())
    torch.testing.assert_close(values(z), wanted, rtol=1e-9, atol=1e-9)


def test_unknown_labels_have_no_part_in_a_prox_on_a_gpu() -> None:
    R, m = risk("binary_cross_entropy"), randn(6, 3)
    y = torch.full((6, 3), torch.nan, dtype=F64)
    with OnGPU():
        assert R.prox(m, y, 0.1, torch.zeros_like(m)) is not m
        made = R.prox(m, y, 0.1, torch.zeros_like(m))
    assert torch.equal(made, m)

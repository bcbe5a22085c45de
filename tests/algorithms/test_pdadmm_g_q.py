"""pdADMM-G-Q and coded exchange: descent on grids, the same numbers at both ends of a boundary, bytes, and training."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from types import SimpleNamespace
from typing import Any

import problems
import processes
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import F64, iterated, lagrangian, randn, random_problem, singles
from torch import Tensor

from gamlp_admm import GAMLP, PdADMMG, PdADMMGQ
from gamlp_admm.admm.blocks import RULES, p_gradient, residual
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.proximal import p_on_grid
from gamlp_admm.admm.stacked import products
from gamlp_admm.admm.state import block_weights, stacks
from gamlp_admm.algorithms import pdadmm
from gamlp_admm.codecs import UniformGrid
from gamlp_admm.codecs.plan import Codecs, Plan
from gamlp_admm.errors import InputError
from gamlp_admm.nn.activations import activation
from gamlp_admm.parallel.channel import LocalChannel

LOSSY = ["fp16", "bf16", "int8", "int4", "int2", "int8-delta", "int4-delta", "int2-delta", "int4:8-delta"]
GRIDS = ["grid:-1:3:16", "grid:-2;-1;0;0.1;0.5;4", "p:grid:auto:256", "q:grid:auto:64", "grid:auto:1000"]
PLANS = [*LOSSY, *GRIDS, "fp32", "int2-delta/q:int8", "int4-delta/at=2-3:fp16", "fp32/from=2:int2-delta/from=3:int8"]


def coded(spec: Any, problem: Problem) -> Problem:
    return replace(problem, codecs=Codecs(Plan.of(spec)))


start, run = partial(problems.start, pdadmm), partial(iterated, pdadmm)


def points(grid: UniformGrid) -> Tensor:
    out = torch.empty(1, grid.points, dtype=F64)
    grid.at(torch.arange(grid.points, dtype=torch.int32)[None], out)
    return out[0]


# --- pdADMM-G-Q ---------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(
    depth=st.integers(2, 6),
    width=st.integers(1, 7),
    rows=st.integers(1, 12),
    nu=st.sampled_from([1e-4, 1e-2, 1.0, 30.0]),
    ratio=st.sampled_from([4.001, 5.0, 100.0]),
    mu=st.sampled_from([0.0, 1e-2, 10.0]),
    scale=st.sampled_from([0.01, 0.5, 3.0]),
    grid=st.sampled_from(["grid:-1:3:16", "grid:paper", "grid:released", "grid:auto:256", "grid:-2;-1;0;0.1;0.5;4"]),
    f=st.sampled_from(["relu", "hardtanh"]),
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 1000),
)
def test_quantised_lagrangian_never_rises_where_the_theorem_holds(
    depth: int, width: int, rows: int, nu: float, ratio: float, mu: float, scale: float, grid: str, f: str,
    rule: str, seed: int,
) -> None:  # fmt: skip
    widths = [4, *[width] * (depth - 1), 3]
    x, weights, problem = random_problem(
        widths, rows, seed, scale=scale, f=f, rho=ratio * nu, nu=nu, mu=mu, rule=rule, tau=0.1
    )
    problem = coded(f"p:{grid}", problem)
    state = start(x, weights, problem, singles(weights))
    before = lagrangian(pdadmm, state, problem)
    for _ in range(15):
        state = run(state, problem, 1)
        after = lagrangian(pdadmm, state, problem)
        assert after <= before + 1e-9 * (1 + abs(before))
        before = after
        for block in state[1:]:
            boundary = range(block.first - 1, block.first)
            assert torch.equal(problem.codecs.land("p", boundary, block.p), block.p)


def random_block(n: int, m: int, rows: int, seed: int, grid: UniformGrid) -> tuple[Tensor, ...]:
    P = grid.project(randn(1, rows, n, seed=seed))
    W, b, Z = randn(1, m, n, seed=seed + 1), randn(1, m, seed=seed + 2), randn(1, rows, m, seed=seed + 3)
    Q, U = randn(1, rows, n, seed=seed + 4), randn(1, rows, n, seed=seed + 5)
    return P, W, b, Z, Q, U


def phi(P: Tensor, W: Tensor, b: Tensor, Z: Tensor, Q: Tensor, U: Tensor, nu: float, rho: float) -> Tensor:
    fit = nu / 2 * (Z - P @ W.mT - b[:, None]).square().sum()
    return fit + (U * (P - Q)).sum() + rho / 2 * (P - Q).square().sum()


@pytest.mark.parametrize("count", [2, 7, 300, 65536])
@pytest.mark.parametrize("nu", [1e-3, 1.0, 1e3])
def test_step_onto_the_grid_descends_to_it(nu: float, count: int) -> None:
    grid = UniformGrid(-2.0, 2.0, count)
    for seed in range(10):
        n, m, rows = 1 + seed % 6, 1 + seed % 4, 1 + 37 * (seed % 3) ** 3
        P, W, b, Z, Q, U = random_block(n, m, rows, 10 * seed, grid)
        here = phi(P, W, b, Z, Q, U, nu, 0.3)
        for _ in range(5):
            M = products(P, W)
            g = p_gradient(residual(M, b, Z), W, P, (Q[0],), (U[0],), nu, 0.3)
            P_new, M_new = p_on_grid(g, P, W, M, nu, 0.3, grid.project)
            assert torch.equal(grid.project(P_new), P_new)
            torch.testing.assert_close(M_new, products(P_new, W))
            after = phi(P_new, W, b, Z, Q, U, nu, 0.3)
            # The step is the nearest point to P − g/τ for a τ that majorises along it, hence a descent of its own size.
            d = P_new - P
            if d.any():
                along = float((0.3 * d.square().sum() + nu * (d @ W.mT).square().sum()) / d.square().sum())
                assert float((g * d).sum()) <= -along / 2 * float(d.square().sum()) * (1 - 1e-9)
            assert after <= here + 1e-12 * abs(here)
            P, here = P_new, after


def test_step_onto_the_grid_reaches_the_minimum_of_a_single_entry() -> None:
    # With one input the Hessian is a number, so that τ need not be larger: the best point is next to the minimum.
    grid = UniformGrid(-2.0, 2.0, 9)
    for seed in range(30):
        P, W, b, Z, Q, U = random_block(1, 3, 1, 100 + seed, grid)
        for _ in range(40):
            M = products(P, W)
            g = p_gradient(residual(M, b, Z), W, P, (Q[0],), (U[0],), 0.5, 0.3)
            P, _ = p_on_grid(g, P, W, M, 0.5, 0.3, grid.project)
        values = [float(phi(at.view(1, 1, 1), W, b, Z, Q, U, 0.5, 0.3)) for at in points(grid)]
        reached = float(phi(P, W, b, Z, Q, U, 0.5, 0.3))
        assert reached in sorted(values)[:2] or reached == pytest.approx(min(values))


def test_multipliers_follow_from_the_activation_on_a_grid_of_p() -> None:
    # Lemma 4 needs q exact, not p.
    x, weights, problem = random_problem([4, 5, 5, 3], 8, rho=0.7, nu=0.2)
    problem = coded("p:grid:auto:32", problem)
    state = start(x, weights, problem, singles(weights))
    for _ in range(3):
        state = run(state, problem, 1)
        for block in state[:-1]:
            assert block.q is not None
            assert block.u is not None
            torch.testing.assert_close(block.u, problem.nu * (block.q - problem.f(block.z)), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("spec", "fields"), [("p:grid:auto:8", "p"), ("q:grid:auto:8", "q"), ("grid:auto:8", "pq")])
def test_variants_keep_their_variables_on_the_grid(spec: str, fields: str) -> None:
    x, weights, problem = random_problem([4, 6, 6, 6, 3], 10)
    problem = coded(spec, problem)
    state = start(x, weights, problem, singles(weights))
    for _ in range(4):
        for field, (block, offset) in product("pq", [(b, o) for b in state for o in (1,)]):
            value = getattr(block, field)
            if value is None or (field == "p" and block.is_first):
                continue
            boundary = block.first - offset if field == "p" else block.first
            grid = problem.codecs.at(field if field in fields else fields[0], boundary)
            assert (torch.unique(value).numel() <= 8) == (field in fields)
            assert torch.equal(grid.project(value), value) == (field in fields)
        state = run(state, problem, 1)


# --- both ends of a boundary --------------------------------------------------------------------------------

WIDTHS = [4, *[16] * 5, 3]
LAYOUTS = [
    [range(l, l + 1) for l in range(6)],
    [range(1), range(1, 5), range(5, 6)],
    [range(1), range(1, 3), range(3, 5), range(5, 6)],
]


@pytest.mark.parametrize("spec", PLANS)
@pytest.mark.parametrize("groups", LAYOUTS)
def test_both_ends_hold_the_same_numbers(groups: list[range], spec: str) -> None:
    x, weights, problem = random_problem(WIDTHS, 8)
    problem = coded(spec, problem)
    state = run(start(x, weights, problem, groups), problem, 3)
    for below, above in pairwise(state):
        assert below.u is not None
        assert above.q_prev is not None
        assert above.u_prev is not None
        assert below.p_next is not None
        assert torch.equal(above.q_prev, below.sent("q")[-1:])
        assert torch.equal(above.u_prev, below.u[-1:])
        assert torch.equal(below.p_next, above.sent("p")[:1])


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
@pytest.mark.parametrize("spec", PLANS)
def test_which_process_owns_which_layers_changes_no_bit(spec: str, dtype: torch.dtype) -> None:
    def trained(parts: list[range]) -> list[Tensor]:
        x, weights, problem = random_problem(WIDTHS, 16, dtype=dtype, scale=0.3)
        problem = coded(spec, problem)
        groups = [g for part in parts for g in stacks([tuple(W.shape) for W, _ in weights], part, 16, x)]
        return [t for pair in block_weights(run(start(x, weights, problem, groups), problem, 4)) for t in pair]

    wanted = trained([range(6)])
    for parts in ([range(3), range(3, 6)], [range(l, l + 1) for l in range(6)]):
        assert all(torch.equal(t, w) for t, w in zip(trained(parts), wanted, strict=True))


@pytest.mark.parametrize("spec", PLANS)
def test_bytes_are_those_of_the_payloads(spec: str) -> None:
    x, weights, problem = random_problem(WIDTHS, 8, dtype=torch.float32)
    problem = coded(spec, problem)
    sizes = 0
    for k in range(3):
        codecs = replace(problem.codecs, iteration=k + 1)
        sizes += sum(
            codecs.plan.choice(field, l + 1, k + 1).size((8, 16))
            if not hasattr(codecs.plan.choice(field, l + 1, k + 1), "between")
            else UniformGrid(0, 1, codecs.plan.choice(field, l + 1, k + 1).count).size((8, 16))
            for field in "pq"
            for l in range(5)
        )
    for groups in LAYOUTS:
        channel = LocalChannel()
        run(start(x, weights, problem, groups), problem, 3, channel)
        assert channel.bytes_sent == sizes


def test_coded_differences_lose_nothing_in_the_end() -> None:
    # As the iterates come to rest, what both ends hold becomes the variables themselves.
    x, weights, problem = random_problem([6, 8, 8, 3], 12, rho=0.5, nu=0.1, mu=1e-3)
    exact = run(start(x, weights, problem, singles(weights)), problem, 600)
    wanted = lagrangian(pdadmm, exact, problem)
    for spec, gap in (("int8-delta", 1e-4), ("int4-delta", 1e-4), ("int2-delta", 1e-3)):
        lossy = coded(spec, problem)
        state = run(start(x, weights, lossy, singles(weights)), lossy, 600)
        assert lagrangian(pdadmm, state, lossy) == pytest.approx(wanted, rel=0.05)
        for block in state[1:]:
            assert float((block.p - block.sent("p")).norm() / block.p.norm()) < gap


# --- trainers -----------------------------------------------------------------------------------------------


def fit(trainer: PdADMMG, data: SimpleNamespace | None = None, layers: int = 3, **options: Any) -> tuple[Any, Any]:
    model = GAMLP(30, 16, 4, layers, init="kaiming")
    return model, trainer.fit(model, data or processes.data(), **({"iterations": 8, "seed": 0} | options))


def test_codecs_of_full_precision_change_nothing() -> None:
    (model, result), (other, again) = fit(PdADMMG()), fit(PdADMMG(codec="fp32"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert result.bytes_sent_total == again.bytes_sent_total == 8 * 2 * 2 * 61 * 16 * 4
    assert fit(PdADMMG(codec="fp64"))[1].bytes_sent_total == 2 * result.bytes_sent_total


@pytest.mark.parametrize("codec", ["int2-delta", "grid:auto:256", "int8/from=6:int2-delta", "int4-delta/q:bf16"])
def test_resuming_gives_the_same_bits(codec: str, tmp_path: Any) -> None:
    trainer = PdADMMG(rho=0.1, nu=0.1, codec=codec)
    options = {"layers": 5, "grow": (2, 5)}
    whole, result = fit(trainer, **options)
    fit(
        trainer,
        **options,
        checkpoint_dir=tmp_path,
        checkpoint_every=3,
        callbacks=[lambda p: p.record["iteration"] == 12],
    )
    resumed, again = fit(trainer, **options, checkpoint_dir=tmp_path, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    strip = [{k: v for k, v in record.items() if k != "seconds"} for record in result.history]
    assert [{k: v for k, v in record.items() if k != "seconds"} for record in again.history] == strip


def test_a_checkpoint_belongs_to_its_codec(tmp_path: Any) -> None:
    fit(PdADMMG(codec="int8"), checkpoint_dir=tmp_path)
    with pytest.raises(InputError, match="codec"):
        fit(PdADMMG(codec="int4"), checkpoint_dir=tmp_path, resume=True)


def test_codec_changes_during_a_run() -> None:
    _, result = fit(PdADMMG(codec="int2-delta/from=5:int8-delta"))
    steps = [b["bytes_sent"] - a["bytes_sent"] for a, b in pairwise([{"bytes_sent": 0}, *result.history])]
    assert steps == [2 * 2 * 61 * (2 + 4)] * 4 + [2 * 2 * 61 * (2 + 16)] * 4


def test_a_function_chooses_the_codec() -> None:
    def choice(field: str, boundary: int, iteration: int) -> str:
        return "int8" if field == "p" else f"int{2 if boundary == 1 else 4}"

    _, result = fit(PdADMMG(codec=choice))
    assert result.bytes_sent_total == 8 * 61 * (2 * 18 + (2 + 4) + (2 + 8))


def test_pdadmm_g_q_is_pdadmm_g_on_a_grid() -> None:
    model, result = fit(PdADMMGQ(codec="grid:-1:4:256"))
    other, again = fit(PdADMMG(codec="p:grid:-1:4:256"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert result.bytes_sent_total == again.bytes_sent_total == 8 * 2 * 61 * 16 * (1 + 4)
    assert PdADMMGQ().algorithm == "pdadmm-g-q"


def test_what_the_theorem_covers() -> None:
    relu = activation("relu")
    within = {"rho": 0.5, "nu": 0.1}
    assert PdADMMGQ(**within).converges(relu) is True
    assert PdADMMGQ().converges(relu) is False
    for quantize in ("q", "pq"):
        assert PdADMMGQ(**within, quantize=quantize).converges(relu) is None
    assert PdADMMG(**within, codec="int8").converges(relu) is None
    assert PdADMMG(**within, codec="fp32").converges(relu) is True


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PdADMMG(codec="int5"), "unknown codec 'int5'"),
        (lambda: PdADMMGQ(codec="int4"), "pdadmm-g-q takes grids"),
        (lambda: PdADMMGQ(codec="q:grid:paper"), "pdadmm-g-q takes grids"),
        (lambda: PdADMMGQ(quantize="u"), "unknown quantize 'u': allowed: p, q, pq"),
    ],
)
def test_wrong_settings_are_named(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_overflow_ends_a_run_as_ever() -> None:
    data = processes.data()
    data.x = data.x * 1e7
    with pytest.raises(FloatingPointError, match="no longer finite"):
        fit(PdADMMG(codec="fp16", scale="none"), data)


def test_few_bits_learn_as_well() -> None:
    # 61 training nodes of 4 classes, to be learnt by heart through 5 layers.
    options = {"layers": 5, "iterations": 60, "grow": (2, 5), "evaluate_every": 10}
    settings = {"rho": 0.1, "nu": 0.1, "mu": 0.01}
    _, full = fit(PdADMMG(**settings), **options)
    _, two_bits = fit(PdADMMG(**settings, codec="int2-delta"), **options)
    _, on_grid = fit(PdADMMGQ(**settings), **options)
    assert two_bits.history[-1]["objective"] == pytest.approx(full.history[-1]["objective"], rel=0.05)
    for few, times in ((two_bits, 10.6), (on_grid, 1.6)):
        assert few.last["train_accuracy"] == full.last["train_accuracy"] == 1.0
        assert few.history[-1]["train_loss"] < 0.05
        assert full.bytes_sent_total / few.bytes_sent_total == pytest.approx(times, rel=0.01)


# --- processes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3])
def test_processes_give_the_bits_of_one_under_every_codec(size: int, tmp_path: Any) -> None:
    processes.spawn(size, tmp_path, processes.coded)
    ranks = [torch.load(tmp_path / f"coded-{rank}.pt") for rank in range(size)]
    for spec in processes.CODECS:
        wanted = processes.outcome(*processes.train_coded(spec))
        for rank in ranks:
            mine = rank[spec]
            assert mine["history"] == wanted["history"], spec
            assert all(torch.equal(mine["weights"][name], t) for name, t in wanted["weights"].items()), spec
    for rank, saved in enumerate(ranks):
        for spec, (counted, handed, written) in saved["bytes"].items():
            # What the run counted went into torch.distributed, and into the kernel with a header a message.
            assert counted == handed, (rank, spec)
            if written is not None and counted:
                assert counted <= written <= counted + 200 * saved["messages"][spec], (rank, spec)


def test_shards_of_rows_have_one_grid(tmp_path: Any) -> None:
    processes.spawn(2, tmp_path, processes.coded_shards)
    first, second = (torch.load(tmp_path / f"coded-shards-{rank}.pt") for rank in range(2))
    for spec, weights in first.items():
        assert all(torch.equal(t, second[spec][name]) for name, t in weights.items())
        whole, _ = processes.train_coded(spec, torch.float64)
        for name, t in whole.state_dict().items():
            torch.testing.assert_close(weights[name], t, rtol=1e-6, atol=1e-7)

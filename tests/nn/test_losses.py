"""Risks: values against torch's own, gradients' bounds, and the prox by its optimality condition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from problems import F64, labels, rand, randn
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.nn.losses import RISKS, CrossEntropy, Risk, risk

ALL = sorted(RISKS)
NUS = [1e-6, 1e-3, 1.0, 1e3]


def targets(name: str, n: int, classes: int, seed: int = 0) -> Tensor:
    return RISKS[name].target(labels(n, classes, seed), classes, F64)


def optimality(r: Risk, z: Tensor, m: Tensor, y: Tensor, nu: float) -> tuple[Tensor, Tensor]:
    """Return the gradient ∇R(z) + ν (z − m) by autograd in float64, and the scale its rounding has."""
    z, m, y = (t.detach().double() for t in (z, m, y))
    leaf = z.requires_grad_()
    (fit,) = torch.autograd.grad(r.rows(leaf, y).sum(), leaf)
    residual = fit + nu * (z.detach() - m)
    reach = y.abs().amax(1) + z.detach().abs().amax(1) if r.name.startswith("squared") else 1
    return residual, reach + nu * (m.abs().amax(1) + z.detach().abs().amax(1)) + nu


def starts(m: Tensor, y: Tensor) -> dict[str, Tensor]:
    return {"centre": m, "zero": torch.zeros_like(m), "wrong": -1e3 * y, "far right": 50 * y}


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("name", ALL)
def test_prox_satisfies_its_optimality_condition(name: str, nu: float, scale: float) -> None:
    r = RISKS[name]
    for classes in (2, 3, 10, 50):
        m, y = scale * randn(40, classes, seed=1), targets(name, 40, classes)
        for start in starts(m, y).values():
            residual, rounding = optimality(r, r.prox(m, y, nu, start), m, y, nu)
            assert (residual.abs().amax(1) / rounding).max() < 1e-10


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("nu", NUS)
@pytest.mark.parametrize("name", ALL)
def test_prox_in_float32(name: str, nu: float, scale: float) -> None:
    r = RISKS[name]
    for classes in (2, 10, 50):
        m, y = (scale * randn(40, classes, seed=1)).float(), targets(name, 40, classes).float()
        for start in starts(m, y).values():
            z = r.prox(m, y, nu, start)
            assert z.dtype == torch.float32
            # The value is ν-strongly convex: its excess is at most ‖gradient‖²/(2ν).
            residual, _ = optimality(r, z, m, y, nu)
            d = z.double() - m
            value = 1 + r.rows(z.double(), y.double()) + nu / 2 * d.square().sum(1)
            rounding = 1e-6 * nu * (m.double().square().sum(1) + z.double().square().sum(1))
            assert (residual.square().sum(1) / (2 * nu) < 2e-5 * value + rounding).all()


@pytest.mark.parametrize("name", ALL)
def test_prox_lowers_the_value_of_every_other_point(name: str) -> None:
    r = RISKS[name]
    m, y = 3 * randn(30, 4, seed=1), targets(name, 30, 4)

    def value(z: Tensor) -> Tensor:
        return r.rows(z, y) + 0.1 / 2 * (z - m).square().sum(1)

    best = value(r.prox(m, y, 0.1, m))
    for seed in range(50):
        assert (value(m + 5 * randn(30, 4, seed=seed)) >= best).all()


@pytest.mark.parametrize("name", ALL)
def test_prox_without_rows(name: str) -> None:
    empty = torch.zeros(0, 3, dtype=F64)
    assert RISKS[name].prox(empty, empty, 0.1, empty).shape == (0, 3)


@pytest.mark.parametrize("name", [name for name, each in RISKS.items() if each.row_by_row])
@pytest.mark.parametrize(("classes", "nu"), [(2, 1e-2), (10, 1.0), (47, 1e-4)])
def test_prox_gives_a_row_the_same_bits_beside_any_others(name: str, classes: int, nu: float) -> None:
    N, R = 700, risk(name)
    y = R.target(labels(N, classes), classes, torch.float32)
    m, start = (randn(N, classes, seed=s).float() * torch.logspace(-3, 3, N)[:, None] for s in (1, 2))
    apart = [R.prox(a, b, nu, c) for a, b, c in zip(m.split(33), y.split(33), start.split(33), strict=True)]
    assert torch.equal(R.prox(m, y, nu, start), torch.cat(apart))


@pytest.mark.parametrize("name", ALL)
def test_prox_leaves_its_arguments_alone(name: str) -> None:
    arguments = 5 * randn(6, 3, seed=1), targets(name, 6, 3), randn(6, 3, seed=3)
    kept = [t.clone() for t in arguments]
    m, y, start = arguments
    RISKS[name].prox(m, y, 0.1, start)
    assert all(torch.equal(a, b) for a, b in zip(arguments, kept, strict=True))


@given(
    classes=st.integers(2, 6),
    nu=st.floats(1e-6, 1e3),
    scale=st.sampled_from([0.01, 1.0, 100.0, 1000.0]),
    seed=st.integers(0, 10_000),
    name=st.sampled_from(ALL),
)
def test_prox_of_random_rows(classes: int, nu: float, scale: float, seed: int, name: str) -> None:
    r, y = RISKS[name], targets(name, 5, classes, seed)
    m, start = scale * randn(5, classes, seed=seed), scale * randn(5, classes, seed=seed + 1)
    residual, rounding = optimality(r, r.prox(m, y, nu, start), m, y, nu)
    assert (residual.abs().amax(1) / rounding).max() < 1e-10


@pytest.mark.parametrize("classes", [2, 7, 40])
@pytest.mark.parametrize("nu", [1e-4, 1e-3, 1e-2, 1.0])
def test_cross_entropy_prox_takes_few_steps(nu: float, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # From the previous z, as in training: every evaluation of the value is one call of rows.
    r, calls = CrossEntropy(), 0

    def counted(z: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return CrossEntropy.rows(r, z, y)

    monkeypatch.setattr(r, "rows", counted)
    m, y = 2 * randn(200, classes, seed=1), targets("cross_entropy", 200, classes)
    start = r.prox(m + 0.3 * randn(200, classes, seed=2), y, nu, m)
    calls = 0
    r.prox(m, y, nu, start)
    assert calls <= 12
    calls = 0
    r.prox(m, y, nu, m)
    assert calls <= 25


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("cross_entropy", lambda z, y: F.cross_entropy(z, y.argmax(1), reduction="none")),
        ("squared_error", lambda z, y: F.mse_loss(z, y, reduction="none").sum(1) / 2),
        (
            "binary_cross_entropy",
            lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(1),
        ),
        # torch's hinge is averaged over columns and not squared: written out.
        ("squared_hinge", lambda z, y: torch.relu(1 - z * y).pow(2).sum(1)),
    ],
)
def test_value_is_torchs(name: str, theirs: Any) -> None:
    r, w = RISKS[name], rand(50, seed=2)
    z, y = 4 * randn(50, 5, seed=1), targets(name, 50, 5)
    assert torch.allclose(r.rows(z, y), theirs(z, y), rtol=1e-12)
    assert torch.allclose(r.value(z, y), theirs(z, y).sum())
    assert torch.allclose(r.value(z, y, w), (w * theirs(z, y)).sum())


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
def test_value_of_large_outputs(name: str, dtype: torch.dtype) -> None:
    # A confident correct row costs e^{-z}, not zero and not what is left of cancellation; a wrong one costs z.
    r, y = RISKS[name], torch.tensor([[1.0, 0.0]], dtype=dtype)
    assert r.rows(torch.tensor([[30.0, -30.0]], dtype=dtype), y).item() == pytest.approx(
        {"cross_entropy": 8.7565e-27, "binary_cross_entropy": 2 * 9.3576e-14}[name], rel=1e-3, abs=1e-17
    )
    assert r.rows(torch.tensor([[-1e4, 1e4]], dtype=dtype), y).item() == pytest.approx(2e4)


@pytest.mark.parametrize("name", ALL)
def test_smoothness_bounds_the_hessian(name: str) -> None:
    r, tightest = RISKS[name], 0.0
    for seed in range(20):
        z, y = 2 * randn(1, 3, seed=seed) * (seed > 0), targets(name, 1, 3, seed)
        H = torch.autograd.functional.hessian(lambda z, y=y: r.rows(z[None], y)[0], z[0])
        tightest = max(tightest, torch.linalg.matrix_norm(H, 2).item())
    assert tightest <= r.smoothness * (1 + 1e-12)
    assert tightest >= 0.3 * r.smoothness


def test_smoothness_of_cross_entropy_is_reached() -> None:
    y = torch.tensor([[1.0, 0.0]], dtype=F64)
    H = torch.autograd.functional.hessian(
        lambda z: RISKS["cross_entropy"].rows(z[None], y)[0], torch.zeros(2, dtype=F64)
    )
    assert torch.linalg.matrix_norm(H, 2).item() == pytest.approx(RISKS["cross_entropy"].smoothness)


# --- targets, scores, probabilities -------------------------------------------------------------------------


def test_targets() -> None:
    y = torch.tensor([2, 0])
    matrix = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    for name in ("cross_entropy", "squared_error", "binary_cross_entropy"):
        assert torch.equal(RISKS[name].target(y, 3, torch.float32), matrix)
    assert torch.equal(RISKS["squared_hinge"].target(y, 3, torch.float32), 2 * matrix - 1)
    values = torch.tensor([[1.5, -2.0]], dtype=F64)
    assert torch.equal(RISKS["squared_error"].target(values, 2, torch.float32), values.float())
    several = torch.tensor([[1, 1, 0]])
    assert torch.equal(RISKS["binary_cross_entropy"].target(several, 3, F64), several.double())


@pytest.mark.parametrize("name", ALL)
def test_score_of_classes_is_accuracy(name: str) -> None:
    y = targets(name, 40, 4)
    z = randn(40, 4, seed=1)
    wanted = (z.argmax(1) == y.argmax(1)).double().mean()
    if name == "binary_cross_entropy":
        wanted = ((z > 0) == (y == 1)).double().mean()
    assert RISKS[name].score(RISKS[name].score_sums(z, y)) == pytest.approx(wanted.item(), abs=1e-15)


def test_score_of_regression_is_r2() -> None:
    r, y = RISKS["squared_error"], 3 * randn(40, 2, seed=1)

    def score(z: Tensor) -> float:
        return r.score(r.score_sums(z, y))

    assert score(y) == 1
    assert score(y.mean(0).expand_as(y)) == pytest.approx(0, abs=1e-12)
    z = y + 0.1
    wanted = 1 - ((z - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()
    assert score(z) == pytest.approx(wanted.item())


@pytest.mark.parametrize("name", ALL)
def test_scores_of_parts_add_up(name: str) -> None:
    r, y, z = RISKS[name], targets(name, 40, 4), randn(40, 4, seed=1)
    parts = r.score_sums(z[:13], y[:13]) + r.score_sums(z[13:], y[13:]) + r.score_sums(z[:0], y[:0])
    assert r.score(parts) == pytest.approx(r.score(r.score_sums(z, y)))


@pytest.mark.parametrize("name", ALL)
def test_probabilities(name: str) -> None:
    z = torch.cat([3 * randn(20, 4, seed=1), -torch.ones(1, 4, dtype=F64), torch.zeros(1, 4, dtype=F64)])
    p = RISKS[name].probabilities(z)
    assert ((p >= 0) & (p <= 1)).all()
    if name != "binary_cross_entropy":
        assert torch.allclose(p.sum(1), torch.ones(22, dtype=F64))
    sure = (z.argmax(1) == p.argmax(1)) | (z.amax(1) <= 0)
    assert sure.all()


def test_lookup() -> None:
    r = risk("squared_hinge")
    assert risk(r) is r
    assert repr(r) == "risk('squared_hinge')"
    with pytest.raises(InputError, match=r"unknown loss 'crossentropy': did you mean 'cross_entropy'\?"):
        risk("crossentropy")

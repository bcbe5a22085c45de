"""Scaling principal components: what linear algebra promises of it, and its way through an experiment."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, prepare, run
from gamlp_admm.experiment.prediction import predict
from gamlp_admm.transforms.scale_components import ScaleComponents

KARATE = Experiment(dataset="karate", operator="ppr", layers=2, hidden=8, iterations=5)


def matrix(rows: int = 30, columns: int = 7, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return x * torch.linspace(1, 3, columns, dtype=torch.float64) + 5


def scaled(x: Tensor, *args: Any, **options: Any) -> Tensor:
    result: Tensor = ScaleComponents(*args, **options)(Data(x=x)).x
    return result


def centred(x: Tensor) -> Tensor:
    return x - x.mean(0)


def power(A: Tensor, exponent: float) -> Tensor:
    """Return a power of a positive semidefinite matrix, by its eigenvalues."""
    values, vectors = torch.linalg.eigh(A)
    values = torch.where(values > 1e-10 * values.max(), values, 0)
    return (vectors * torch.where(values > 0, values**exponent, 0)) @ vectors.T


@pytest.mark.parametrize("shape", [(30, 7), (7, 30)])
@pytest.mark.parametrize("p", [-1.0, -0.3, 0.5, 1.0, 2.0])
def test_it_multiplies_by_a_power_of_the_covariance(shape: tuple[int, int], p: float) -> None:
    x = centred(matrix(*shape))
    largest = torch.linalg.matrix_norm(x, 2)
    assert torch.allclose(scaled(x, p), x @ power(x.T @ x, p / 2) / largest**p)


def test_power_one_propagates_over_similarities_of_features() -> None:
    x = centred(matrix())
    assert torch.allclose(scaled(x, 1.0), power(x @ x.T, 0.5) @ x / torch.linalg.matrix_norm(x, 2))


def test_whitened_components_count_alike() -> None:
    sigma = torch.linalg.svdvals(scaled(matrix(), -1.0))
    assert torch.allclose(sigma, sigma[:1])


def test_one_power_after_another() -> None:
    x = matrix()  # singular values s become s^(1 + p), and these s^((1 + p) (1 + q))
    largest = torch.linalg.matrix_norm(centred(x), 2)
    twice = scaled(scaled(x, 0.7), -0.3)
    assert torch.allclose(twice / torch.linalg.matrix_norm(twice, 2), scaled(x, 0.7 - 1.7 * 0.3) / largest)


def test_power_zero_only_centres() -> None:
    x = matrix()
    assert torch.equal(scaled(x), centred(x))
    assert torch.equal(scaled(x, components=2), centred(x))


@pytest.mark.parametrize("p", [-0.5, 1.0])
def test_it_turns_with_the_features_and_scales_with_them(p: float) -> None:
    x = matrix()
    turn = torch.linalg.qr(matrix(7, 7, 1))[0]
    assert torch.allclose(scaled(x @ turn, p), scaled(x, p) @ turn)
    assert torch.allclose(scaled(1000 * x, p), 1000 * scaled(x, p))
    assert torch.allclose(scaled(x + 100, p), scaled(x, p))


@pytest.mark.parametrize("p", [-0.5, 1.0])
def test_only_the_largest_components_are_kept(p: float) -> None:
    x = centred(matrix())
    U, sigma, Vh = torch.linalg.svd(x, full_matrices=False)
    best = U[:, :3] * sigma[:3] * (sigma[:3] / sigma[0]) ** p @ Vh[:3]
    assert torch.allclose(scaled(x, p, components=3), best)


def test_a_large_matrix_by_random_subspaces() -> None:
    spectrum = torch.logspace(0, -4, 200, dtype=torch.float64)
    U, V = (torch.linalg.qr(centred(matrix(n, 200, s)))[0] for n, s in ((700, 0), (300, 1)))
    x = U * spectrum @ V.T
    best = U[:, :40] * spectrum[:40] ** 1.5 @ V[:, :40].T
    assert torch.linalg.matrix_norm(scaled(x, 0.5, components=40) - best, 2) < 1.01 * spectrum[40] ** 1.5


def test_rows_get_length_one_unless_they_are_the_mean() -> None:
    assert scaled(torch.tensor([[1.0], [2.0], [3.0]]), unit_rows=True).flatten().tolist() == [-1, 0, 1]
    directions = centred(matrix()) / centred(matrix()).norm(dim=1, keepdim=True)
    largest = torch.linalg.matrix_norm(directions, 2)
    assert torch.allclose(scaled(matrix(), unit_rows=True), directions)
    expected = directions @ power(directions.T @ directions, 0.5) / largest
    assert torch.allclose(scaled(matrix(), 1.0, unit_rows=True), expected)


def test_features_without_differences_become_zero() -> None:
    for options in ({"power": 1.0}, {"power": -1.0}, {"unit_rows": True}):
        assert torch.equal(scaled(torch.ones(5, 3), **options), torch.zeros(5, 3))
    assert scaled(torch.ones(0, 3), 1.0).shape == (0, 3)


def test_a_direction_without_spread_stays_without() -> None:
    x = matrix(30, 3)
    flat = torch.cat([x, x[:, :1]], 1)
    white = scaled(flat, -1.0)
    assert torch.isfinite(white).all()
    assert torch.linalg.matrix_rank(white, atol=1e-6) == 3


def test_data_and_random_numbers_stay_as_they_were() -> None:
    x = matrix().float()
    data, before = Data(x=x), x.clone()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first = ScaleComponents(0.5, 3)(data).x
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(data.x, before)
    assert torch.equal(first, ScaleComponents(0.5, 3)(data).x)
    assert first.dtype == torch.float32


def test_sparse_features() -> None:
    x = matrix().clamp_min(5)
    assert torch.equal(scaled(x.to_sparse(), 1.0), scaled(x, 1.0))


def test_its_text() -> None:
    assert repr(ScaleComponents()) == "ScaleComponents()"
    assert repr(ScaleComponents(0.5, unit_rows=True)) == "ScaleComponents(power=0.5, unit_rows=True)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"power": float("nan")}, "power is nan: it must be finite"),
        ({"power": 1.0, "components": 0}, "components must be a positive integer, not 0"),
    ],
)
def test_what_is_not_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScaleComponents(**options)
    names = {"power": "component_power"}
    with pytest.raises(InputError, match=message):
        dataclasses.replace(KARATE, **{names.get(name, name): value for name, value in options.items()}).resolve()


# in an experiment


def test_an_experiment_scales_after_propagation_and_before_labels() -> None:
    features = prepare(KARATE).data.x
    used = dataclasses.replace(KARATE, component_power=0.5, components=4, unit_rows=True, label_operator="ppr")
    x = prepare(used).data.x
    assert torch.equal(x[:, : features.shape[1]], scaled(features, 0.5, 4, True))
    labels = prepare(dataclasses.replace(KARATE, label_operator="ppr")).data.x[:, features.shape[1] :]
    assert torch.equal(x[:, features.shape[1] :], labels)


def test_several_operators_are_scaled_together() -> None:
    together = dataclasses.replace(KARATE, operator="ppr/10+sym/1")
    x = prepare(dataclasses.replace(together, component_power=1.0)).data.x
    assert torch.equal(x, scaled(prepare(together).data.x, 1.0))


def test_what_is_reported() -> None:
    assert KARATE.resolve().components is None
    assert dataclasses.replace(KARATE, unit_rows=True).resolve().components is None
    assert dataclasses.replace(KARATE, component_power=1.0).resolve().components == 256
    assert dataclasses.replace(KARATE, components=9).resolve().components is None


def test_a_saved_model_predicts_as_it_was_evaluated(tmp_path: Any) -> None:
    done = run(dataclasses.replace(KARATE, component_power=0.5, components=8, unit_rows=True))
    done.save(tmp_path / "model.safetensors")
    accuracy = predict(tmp_path / "model.safetensors").accuracy
    assert accuracy["test"] == pytest.approx(done.report["best"]["test_accuracy"])

"""What can be trained, and that a result says what the returned model is worth."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from fitting import accuracy, network, parameters, same
from problems import blobs
from torch.nn.utils import parametrizations, prune

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.algorithms import trainer
from gamlp_admm.errors import InputError


def freeze(layer: Any) -> None:
    layer.weight.requires_grad_(False)


def without_bias(layer: Any) -> None:
    layer.bias = None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (parametrizations.weight_norm, "layers.1 is parametrised"),
        (parametrizations.spectral_norm, "layers.1 is parametrised"),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "layers.1 is parametrised"),
        (lambda layer: torch.nn.utils.spectral_norm(layer), "layers.1 is parametrised"),
        (without_bias, "layers.1 is parametrised, pruned or has no bias"),
        (freeze, "layers.1.weight is frozen"),
        (lambda layer: layer.double() and layer.half(), "layers.1.weight is torch.float16"),
    ],
)
@pytest.mark.parametrize("algorithm", ["pdadmm-g", "adam"])
def test_layers_that_training_cannot_set_are_refused(algorithm: str, change: Any, says: str) -> None:
    model = network()
    change(model.layers[1])
    with pytest.raises(InputError, match=says):
        trainer(algorithm).fit(model, blobs(), 2, seed=0)


def test_only_a_gamlp_of_its_own_layers_is_trained() -> None:
    for model in (torch.nn.Linear(8, 3), None, torch.nn.Sequential(network())):
        with pytest.raises(InputError, match=r"allowed: a gamlp_admm\.GAMLP"):
            PdADMMG().fit(model, blobs(), 2)  # type: ignore[arg-type]
    tied = network(4)
    tied.layers[2] = tied.layers[1]
    with pytest.raises(InputError, match="3 different layers; allowed: 4"):
        PdADMMG().fit(tied, blobs(), 2)
    other = network()
    other.layers[1] = torch.nn.Linear(6, 7).double()
    with pytest.raises(InputError, match=r"weight \(7, 6\); allowed: torch.nn.Linear, \(6, 6\)"):
        PdADMMG().fit(other, blobs(), 2)


@pytest.mark.filterwarnings("ignore:the model computes")
@pytest.mark.parametrize("select", ["best", "last"])
@pytest.mark.parametrize("offset", [0.0, 1e6, 1e7])
def test_figures_are_those_of_the_returned_model(offset: float, select: str) -> None:
    data, model = blobs(dtype=torch.float32), network(dtype=torch.float32)
    data.x = data.x + offset
    result = PdADMMG().fit(model, data, 20, seed=0, select=select)
    told = result.best if select == "best" else result.last
    for split in ("val", "test"):
        assert told[f"{split}_accuracy"] == pytest.approx(accuracy(model, data, f"{split}_mask"))


def test_a_run_stopped_before_its_final_depth_says_what_its_model_is_worth() -> None:
    # Layers that pass their input on change the function of tanh networks.
    model, data = network(6, activation="tanh"), blobs()
    stop = [lambda progress: progress.record["layers"] == 2 and progress.record["iteration"] == 3]
    result = PdADMMG().fit(model, data, 3, seed=0, grow=(2, 6), callbacks=stop)
    assert result.best["test_accuracy"] == pytest.approx(accuracy(model, data, "test_mask"))


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("kind", ["numpy", "scipy", "coo", "csr"])
def test_features_may_be_sparse_or_arrays(kind: str) -> None:
    data, model, plain = blobs(), network(), network()
    PdADMMG().fit(plain, data, 3, seed=0)
    x = data.x.numpy()
    to_coo, to_csr = data.x.to_sparse, data.x.to_sparse_csr
    forms = {"scipy": scipy.sparse.csr_matrix, "coo": lambda _: to_coo(), "csr": lambda _: to_csr()}
    arrays = {name: np.asarray(value) for name, value in vars(data).items()} if kind == "numpy" else vars(data)
    PdADMMG().fit(model, SimpleNamespace(**{**arrays, "x": forms.get(kind, np.asarray)(x)}), 3, seed=np.int64(0))  # type: ignore[arg-type]
    assert same(parameters(model), parameters(plain))


@pytest.mark.parametrize("seed", [-1, 0.5, "0", 2**64])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(InputError, match="seed must be an integer"):
        PdADMMG().fit(network(), blobs(), 2, seed=seed)


@pytest.mark.parametrize("algorithm", ["pdadmm-g", "dladmm", "adam"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_trains(algorithm: str, dtype: torch.dtype) -> None:
    data, model = blobs(dtype=torch.float32), network(dtype=dtype)
    result = trainer(algorithm).fit(model, data, 10, seed=0)
    assert model.layers[0].weight.dtype == dtype
    rows = data.test_mask
    hits = model(data.x[rows].to(dtype)).argmax(1) == data.y[rows]
    assert result.best["test_accuracy"] == pytest.approx(float(hits.double().mean()))


def test_any_default_device() -> None:
    plain, model = network(), network()
    PdADMMG().fit(plain, blobs(), 3, seed=0)
    data = blobs()
    with torch.device("meta"):
        PdADMMG().fit(model, data, 3, seed=0)
    assert same(parameters(model), parameters(plain))


def test_a_model_is_never_left_with_numbers_that_are_not_finite() -> None:
    data = blobs(dtype=torch.float32)
    data.x = data.x * 1e19
    for layers in (1, 2, 4):
        model = GAMLP(8, 6, 3, layers, init="kaiming")
        before = parameters(model)
        with suppress(FloatingPointError):
            trainer("mdlam", scale="none").fit(model, data, 3)
        assert all(bool(torch.isfinite(p).all()) for p in before + parameters(model))


def test_extreme_penalties_are_refused() -> None:
    for settings in ({"rho": 1e-20}, {"nu": 1e300}, {"mu": 1e13}, {"nu": 0.0}):
        with pytest.raises(InputError, match=next(iter(settings))):
            PdADMMG(**settings)

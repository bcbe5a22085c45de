"""Networks for other programs: the same function, whatever the activation, the precision and the number of rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gamlp_admm import GAMLP
from gamlp_admm.errors import InputError
from gamlp_admm.nn import exporting
from gamlp_admm.nn.activations import ACTIVATIONS

DTYPES = [torch.float32, torch.float64]


def model(activation: str = "relu", residual: bool = True, layers: int = 4, dtype: Any = torch.float32) -> GAMLP:
    torch.manual_seed(0)
    return GAMLP(7, 5, 3, layers, activation, "kaiming", residual).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnx_is_the_same_function(activation: str, dtype: torch.dtype, tmp_path: Path) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    for residual in (False, True):
        network = model(activation, residual, dtype=dtype)
        assert exporting.export(network, "onnx", tmp_path / "m.onnx") < 1e-6
        session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
        for rows in (0, 1, 5):
            x = 4 * torch.randn(rows, 7, dtype=dtype)
            (z,) = session.run(["outputs"], {"features": x.numpy()})
            torch.testing.assert_close(torch.from_numpy(z), network(x).detach(), rtol=1e-5, atol=1e-5)
    shape = onnx.load(tmp_path / "m.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [shape[0].dim_param, shape[1].dim_value] == ["rows", 7]


@pytest.mark.parametrize(("activation", "dtype"), [("silu", torch.float64), ("gelu", torch.float32)], ids=str)
def test_a_program_is_the_same_function(activation: str, dtype: torch.dtype, tmp_path: Path) -> None:
    network = model(activation, dtype=dtype)
    assert exporting.export(network, "torch", tmp_path / "m.pt2") < 1e-6
    program = torch.export.load(tmp_path / "m.pt2").module()
    for rows in (1, 2, 5):
        x = torch.randn(rows, 7, dtype=dtype)
        torch.testing.assert_close(program(x), network(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_what_differs_is_not_written(wrong: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, path = model(), tmp_path / "m.onnx"
    path.write_text("before")
    monkeypatch.setattr(exporting, "KINDS", {"onnx": (lambda _: b"", lambda _: lambda x: network(x) + wrong)})
    with pytest.raises(RuntimeError, match="nothing was written"):
        exporting.export(network, "onnx", path)
    assert path.read_text() == "before"


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_without_the_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "onnxruntime":
        pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"needs the package {name}: pip install 'gamlp-admm\[onnx\]'"):
        exporting.export(model(), "onnx", tmp_path / "m.onnx")


def test_what_onnx_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(InputError, match=r"takes models of float32 and float64, not torch\.float16"):
        exporting.export(model(dtype=torch.float16), "onnx", tmp_path / "m.onnx")
    monkeypatch.setattr(exporting, "MOST_BYTES", 100)
    with pytest.raises(InputError, match="allowed: --to torch"):
        exporting.export(model(), "onnx", tmp_path / "m.onnx")

"""Exporting a saved model, with a card."""

import pytest
import torch

from gamlp_admm.nn.gamlp import GAMLP


def test_a_program_and_a_card(gamlp, model, tmp_path):
    status, out, _ = gamlp(
        "export", model, "--to", "torch", "--output", tmp_path / "m.pt2", "--card", tmp_path / "m.md"
    )
    network, _ = GAMLP.load(model)
    takes = network.config["in_channels"]
    assert status == 0
    assert out.startswith(f"{tmp_path}/m.pt2: [rows, {takes}] to [rows, 4]; largest difference from the model ")
    x = torch.randn(3, takes)
    assert torch.allclose(torch.export.load(tmp_path / "m.pt2").module()(x), network(x), atol=1e-6)
    card = (tmp_path / "m.md").read_text()
    for said in ("karate", "AugmentFeatures(hops=", "test accuracy 0.", "`layers`: ", "gamlp-admm 0", "load_predictor"):
        assert said in card
    assert str(tmp_path) not in card


def test_onnx_and_what_is_wrong(gamlp, model, tmp_path):
    pytest.importorskip("onnxruntime")
    assert gamlp("export", model, "--to", "onnx", "--output", tmp_path / "m.onnx")[0] == 0
    assert (tmp_path / "m.onnx").stat().st_size > 1000
    status, _, err = gamlp("export", model, "--to", "onnx", "--output", tmp_path / "no" / "m.onnx")
    assert (status, err.count("\n")) == (2, 1)
    assert "output" in err
    assert gamlp("export", model, "--to", "tflite", "--output", tmp_path / "m")[0] == 2
    assert gamlp("export", tmp_path / "none", "--to", "torch", "--output", tmp_path / "m")[0] == 2

"""Predictions of a saved model, as CSV and JSON."""

import csv
import io
import json

import pytest
import torch

from gamlp_admm.experiment import Experiment, prepare
from gamlp_admm.nn.gamlp import GAMLP


def test_predict_csv(gamlp, model, tmp_path):
    status, out, err = gamlp("predict", model)
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    network, _ = GAMLP.load(model)
    z = network(prepare(Experiment(dataset="karate")).data.x).detach()
    assert [int(row["node"]) for row in rows] == list(range(34))
    assert [int(row["class"]) for row in rows] == z.argmax(1).tolist()
    assert float(rows[3]["p1"]) == pytest.approx(torch.softmax(z, 1)[3, 1].item())
    assert err.startswith("accuracy on karate: train ")
    _, message, _ = gamlp("predict", model, "--out", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == out
    assert message == err


def test_predict_json_of_a_split(gamlp, model):
    status, out, err = gamlp("predict", model, "--format", "json", "--split", "test")
    assert status == 0
    prediction = json.loads(out)
    assert prediction.keys() == {"dataset", "split", "accuracy", "nodes"}
    assert len(prediction["nodes"]) == 20
    assert sum(prediction["nodes"][0]["probabilities"]) == pytest.approx(1)
    assert err == f"accuracy on karate: test {prediction['accuracy']['test']:.4f}\n"


def test_predict_with_other_features(gamlp, model):
    status, _, err = gamlp("predict", model, "--dataset", "digits")
    assert (status, err.count("\n")) == (2, 1)
    assert "features a node; " in err

"""Predictions of a saved model, as CSV and JSON."""

import csv
import io
import json

import pytest
import torch
from attributed import NODES, graph

from gamlp_admm import load_predictor
from gamlp_admm.datasets import load_graph
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


NAMES = ["ash", "birch", "cedar"]


def write(folder, nodes, labelled):
    """Write the tables of the first nodes of a graph of trees, of which some have a label."""
    data = graph(nodes)
    folder.mkdir()
    rows = zip(data.x.tolist(), data.y.tolist(), strict=True)
    lines = [f"tree{i},{NAMES[y] if i < labelled else ''},{','.join(map(str, x))}" for i, (x, y) in enumerate(rows)]
    (folder / "nodes.csv").write_text("\n".join(["id,kind,a,b,c,d,e", *lines]))
    ends = [f"tree{a},tree{b}" for a, b in data.edge_index.T.tolist()]
    (folder / "edges.csv").write_text("\n".join(["source,target", *ends]))
    return folder


def test_new_nodes_of_a_graph_of_ones_own(gamlp, tmp_path):
    old, grown = write(tmp_path / "old", NODES, NODES), write(tmp_path / "grown", NODES + 20, NODES)
    options = ["--hops", 1, "--unit-rows", "--label-operator", "sym", "--label-hops", 1, "--iterations", 3]
    assert gamlp("train", "--data", old, "--label", "kind", *options, "--save", tmp_path / "model", "--quiet")[0] == 0
    status, out, err = gamlp("predict", tmp_path / "model", "--data", grown)
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("accuracy on grown: all ")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["id"] for row in rows] == [f"tree{i}" for i in range(NODES + 20)]
    assert all(row["name"] == NAMES[int(row["class"])] for row in rows)
    data = load_graph(grown, label="kind", classes=NAMES).data
    data.train_mask = data.y >= 0  # no split came with it: all labels that are known are features of other nodes
    assert torch.equal(data.train_mask, torch.arange(NODES + 20) < NODES)
    expected = load_predictor(tmp_path / "model")(data)
    assert [row["name"] for row in rows] == expected.names
    assert float(rows[50]["p1"]) == pytest.approx(expected.probabilities[50, 1].item())
    _, out, _ = gamlp("predict", tmp_path / "model", "--data", grown, "--format", "json", "--split", "test")
    assert {"class_names": NAMES, "nodes": []}.items() <= json.loads(out).items()
    bare = write(tmp_path / "bare", NODES, 0)
    warning, told = gamlp("predict", tmp_path / "model", "--data", bare)[2].splitlines()
    assert told == "bare: no labels are known"
    assert "warning:" in warning
    assert "takes training labels as features: bare has none" in warning
    (bare / "nodes.csv").write_text((bare / "nodes.csv").read_text().replace(",d,e", ",d,f"))
    status, _, err = gamlp("predict", tmp_path / "model", "--data", bare)
    assert (status, err.count("\n")) == (2, 1)
    assert "'e'" in err
    status, _, err = gamlp("predict", tmp_path / "model")
    assert status == 2
    assert "names no data set that it was trained on; allowed: dataset, or data" in err
    assert gamlp("predict", tmp_path / "model", "--data", bare, "--dataset", "karate")[0] == 2

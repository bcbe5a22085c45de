"""A saved model that takes a graph: the bits of doing it by hand, on any graph."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from attributed import CLASSES, FEATURES, NODES, graph
from safetensors import safe_open
from safetensors.torch import save_file
from torch_geometric import transforms as T
from torch_geometric.data import Data

from gamlp_admm import GAMLP, load_predictor
from gamlp_admm.datasets import load_dataset, load_graph
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.experiment import Experiment, prepare, run
from gamlp_admm.transforms import (
    AugmentFeatures,
    AugmentLabels,
    CombineFeatures,
    CorrectAndSmooth,
    ScaleComponents,
    fit_features,
)

FULL = T.Compose([CombineFeatures.parse("sym/1+ppr/5"), ScaleComponents(0.5, 6, unit_rows=True), AugmentLabels(2)])
KARATE = Experiment(dataset="karate", hidden=8, layers=2, iterations=3)


def saved(path: Path, features: Any = FULL, dtype: torch.dtype = torch.float32, **more: Any) -> tuple[GAMLP, Any]:
    """Save a model of the features of the graph; return it with the fitted features."""
    fitted, data = fit_features(features, graph(dtype=dtype))
    torch.manual_seed(1)
    model = GAMLP(data.num_features, 8, CLASSES, 3, init="kaiming").to(dtype)
    model.save(path, features=fitted, **more)
    return model, fitted


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("nodes", [NODES, NODES + 20, 25])
def test_bits_are_those_of_the_transform_and_the_model(nodes: int, dtype: torch.dtype, tmp_path: Path) -> None:
    model, fitted = saved(tmp_path / "model", dtype=dtype)
    data = graph(nodes, dtype)
    prediction = load_predictor(tmp_path / "model")(data)
    z = model(fitted(data).x)
    assert torch.equal(prediction.outputs, z)
    assert torch.equal(prediction.probabilities, z.softmax(-1))
    assert torch.equal(prediction.classes, z.argmax(-1))
    assert prediction.names == [str(c) for c in z.argmax(-1).tolist()]
    before = graph(nodes, dtype)
    assert data.keys() == before.keys()
    assert all(torch.equal(data[key], value) for key, value in before)


@pytest.mark.parametrize(
    "options",
    [
        {"operator": "row", "normalize_features": True, "dtype": "float64"},
        {"operator": "heat/10/2+sym/0-1", "unit_rows": True},
        {"operator": "ppr", "component_power": 0.5, "components": 8, "label_operator": "sym", "label_hops": 2},
        {"correct_and_smooth": True, "operator": "sym", "hops": 1},
        {"init": "ridge"},  # features are chosen
        {"loss": "binary_cross_entropy", "operator": "none"},
    ],
    ids=str,
)
def test_a_run_is_kept_as_it_was(options: dict[str, Any], tmp_path: Path) -> None:
    experiment = dataclasses.replace(KARATE, **options)
    prepared = prepare(experiment)
    done = run(experiment, prepared=prepared)
    done.save(tmp_path / "model")
    predictor = load_predictor(tmp_path / "model")
    karate = load_dataset(predictor.options["dataset"])
    prediction, z = predictor(karate), done.model(prepared.data.x)
    assert torch.equal(prediction.outputs, z)
    if (way := done.report.get("correct_and_smooth", {}).get("chosen")) is not None:
        expected = CorrectAndSmooth(**way)(z.softmax(-1), prepared.data)
        assert torch.equal(prediction.probabilities, expected)
        assert torch.equal(prediction.classes, expected.argmax(-1))
    else:
        likely = z.sigmoid() if options.get("loss") else z.softmax(-1)
        assert torch.equal(prediction.probabilities, likely)
        assert torch.equal(prediction.classes, z.argmax(-1))


def test_correct_and_smooth_takes_the_labels_of_the_graph(tmp_path: Path) -> None:
    way = CorrectAndSmooth(10, 0.8, 10, 0.5)
    features = AugmentFeatures(1, weight_attr="cost")
    model, fitted = saved(tmp_path / "m", features, correct_and_smooth=dataclasses.asdict(way), weight_attr="cost")
    data = graph(NODES + 20)
    data.edge_weight = data.cost
    expected = way(model(fitted(data).x).softmax(-1), data)
    predictor = load_predictor(tmp_path / "m")
    assert torch.equal(predictor(graph(NODES + 20)).probabilities, expected)
    bare = Data(x=data.x, edge_index=data.edge_index, cost=data.cost)
    with pytest.raises(
        InputError, match=r"m takes training labels .* Correct and Smooth: the graph has no y and no train_mask"
    ):
        predictor(bare)
    alone = dataclasses.replace(predictor, correct_and_smooth=None)
    assert torch.equal(alone(bare).outputs, predictor(data).outputs)


def test_labels_as_features_where_none_is_known_are_said(tmp_path: Path) -> None:
    _, fitted = saved(tmp_path / "model")
    predictor, data = load_predictor(tmp_path / "model"), graph()
    data.y = torch.where(data.train_mask, -1, data.y)  # those that are known do not train
    with pytest.warns(InputWarning, match="takes training labels as features: the graph has none, and their col") as w:
        prediction = predictor(data)
    assert [each.filename for each in w] == [__file__]
    assert torch.equal(prediction.outputs, predictor.model(fitted(data).x))
    data.y[0] = 1
    predictor(data)  # warnings are errors here


def test_names_of_classes_and_features(tmp_path: Path) -> None:
    columns, names = [f"f{i}" for i in range(FEATURES)], ["ash", "birch", "cedar"]
    saved(tmp_path / "model", class_names=names, feature_names=columns)
    predictor = load_predictor(tmp_path / "model")
    prediction = predictor(graph())
    assert prediction.names == [names[c] for c in prediction.classes.tolist()]
    data = graph()  # the same in another order, with one column more and a class that the model does not know
    data.x = torch.cat([torch.ones(NODES, 1), data.x.flip(1)], 1)
    data.feature_names = ["more", *reversed(columns)]
    data.class_names = ["oak", *reversed(names)]
    data.y = 3 - data.y
    data.y[0], data.train_mask[0] = 0, False
    reference = graph()
    reference.train_mask[0] = False
    with pytest.warns(InputWarning, match="class 'oak' is none of the model's") as heard:
        other = predictor(data)
    assert heard[0].filename == __file__
    assert torch.equal(other.outputs, predictor(reference).outputs)
    data.feature_names[2] = "f33"
    with pytest.raises(InputError, match=r"unknown feature of the model in the graph: 'f3': did you mean 'f33'"):
        predictor(data)


def test_what_load_graph_returns(tmp_path: Path) -> None:
    saved(tmp_path / "model")
    predictor, data = load_predictor(tmp_path / "model"), graph()
    assert torch.equal(predictor(load_graph(data)).outputs, predictor(data).outputs)


def test_a_model_from_an_open_file() -> None:
    buffer = io.BytesIO()
    GAMLP(2 * FEATURES, 4, 2, 2).save(buffer, features=AugmentFeatures(1))
    predictor = load_predictor(io.BytesIO(buffer.getvalue()))
    assert predictor.num_features == FEATURES
    assert predictor(Data(x=torch.ones(0, FEATURES), edge_index=torch.zeros(2, 0, dtype=torch.long))).names == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.ones(NODES, 7)}, "^the graph has 7 features a node; .*model takes 5$"),
        ({"x": None}, r"^the graph: data.x is missing; allowed: a tensor \[nodes, 5\]$"),
        ({"x": torch.ones(NODES)}, r"^the graph: data.x is of shape \[40\]; allowed"),
        ({"x": torch.full((NODES, 5), float("nan"))}, "data.x has 200 NaN or infinite values"),
        ({"edge_index": None}, "data.edge_index is missing"),
        ({"y": None}, r"model takes training labels .*: the graph has no y$"),
        ({"train_mask": None}, "the graph has no train_mask$"),
        ({"y": torch.full((NODES,), 3)}, "a training node has label 3: allowed: 0 to 2"),
    ],
)
def test_graphs_that_lack_something(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    saved(tmp_path / "model")
    data = graph()
    data.update(changes)
    with pytest.raises(InputError, match=message):
        load_predictor(tmp_path / "model")(data)


def test_what_is_no_graph(tmp_path: Path) -> None:
    saved(tmp_path / "model")
    with pytest.raises(InputError, match="or what load_graph returns, not Tensor"):
        load_predictor(tmp_path / "model")(torch.ones(3, 5))  # type: ignore[arg-type]


def rewritten(path: Path, metadata: Any = None, tensors: Any = None) -> None:
    """Write a model's file again with other metadata, and tensors replaced or left out."""
    with safe_open(path, framework="pt") as file:
        header, found = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if metadata is not None:
        header["metadata"] = json.dumps({**json.loads(header["metadata"]), **metadata})
    found = {key: value for key, value in (found | (tensors or {})).items() if value is not None}
    save_file(found, path, metadata=header)


NO_TENSORS = dict.fromkeys([f"metadata.{i}" for i in range(4)])


@pytest.mark.parametrize(
    ("metadata", "tensors", "message"),
    [
        ({}, {"metadata.1": torch.ones(3)}, r"metadata\.1 has shape \[3\], not \[15\]"),
        ({}, {"metadata.2": None}, "is not a model saved by gamlp_admm"),
        ({}, {"metadata.9": torch.ones(3)}, "7 tensors for 3 layers"),
        ({}, {"metadata.1": torch.full((15,), float("nan"))}, "centre of ScaleComponents has NaN or infinite values"),
        ({}, {"metadata.2": torch.full((15, 6), float("inf"))}, "components of ScaleComponents has NaN"),
        ({"features": [{"__tensor__": "layers.0.weight", "shape": [8, 21]}]}, {}, "is not a model saved by"),
        ({"features": [{"__tensor__": ["x"]}]}, {}, "is not a model saved by"),
        (
            {"features": "sym"},
            NO_TENSORS,
            "model: a transform must be a table, not str",
        ),
        ({"loss": "hinge"}, {}, "model: unknown loss 'hinge'"),
        ({"class_names": ["a", "b"]}, {}, "model: class_names must be a list of 3 texts"),
        ({"feature_names": [1, 2, 3, 4, 5]}, {}, "model: feature_names must be a list of 5 texts"),
        ({"weight_attr": 7}, {}, "model: weight_attr must be a text, not 7"),
        ({"correct_and_smooth": {"layers": 1}}, {}, "model: its correct_and_smooth is not usable"),
    ],
)
def test_damaged_files(metadata: Any, tensors: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    saved(path)
    rewritten(path, metadata, tensors)
    with pytest.raises(InputError, match=message) as error:
        load_predictor(path)
    assert "\n" not in str(error.value)


def test_a_file_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "model"
    saved(path)
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 40):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="is not a model saved by gamlp_admm"):
            load_predictor(path)


def test_names_that_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 class_names for a model of 3 outputs"):
        saved(tmp_path / "model", class_names=["a", "b"])
    assert not (tmp_path / "model").exists()


def test_a_predictor_can_be_copied_and_sent(tmp_path: Path) -> None:
    saved(tmp_path / "model")
    predictor, data = load_predictor(tmp_path / "model"), graph()
    for other in (copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))):
        assert torch.equal(other(data).outputs, predictor(data).outputs)


@pytest.mark.slow
def test_new_nodes_in_a_fresh_process(tmp_path: Path) -> None:
    saved(tmp_path / "model")
    grown = graph(NODES + 20)
    torch.save(grown, tmp_path / "grown.pt")
    code = (
        "import sys, torch, gamlp_admm\n"
        "from gamlp_admm.datasets import load_dataset, load_graph\n"
        "grown = load_graph(sys.argv[2])\n"
        "torch.save(gamlp_admm.load_predictor(sys.argv[1])(grown).outputs, sys.argv[3])\n"
    )
    files = [str(tmp_path / name) for name in ("model", "grown.pt", "outputs.pt")]
    subprocess.run([sys.executable, "-c", code, *files], check=True, timeout=100)
    assert torch.equal(torch.load(files[2]), load_predictor(files[0])(grown).outputs)

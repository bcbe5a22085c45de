"""Predictions of saved models."""

import dataclasses
import json

import pytest
import torch

from gamlp_admm.datasets import load_dataset
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.experiment import Experiment, predict, prepare, run
from gamlp_admm.nn import GAMLP
from gamlp_admm.transforms import AugmentFeatures

KARATE = Experiment(dataset="karate", operator="sym", hops=2, hidden=8, layers=3, iterations=6, nu=0.1, init="kaiming")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hops": (0, 2)},
        {"dtype": "float64", "normalize_features": True},
        {"split_seed": 5},
        {"split": "40/20/40", "split_seed": 5},
    ],
)
def test_predictions_are_those_of_the_model(tmp_path, options):
    experiment = dataclasses.replace(KARATE, **options)
    trained = run(experiment)
    trained.save(tmp_path / "model")
    prediction = predict(tmp_path / "model")
    data = prepare(experiment).data
    z = trained.model(data.x).detach()
    assert torch.equal(prediction.classes, z.argmax(1))
    assert torch.equal(prediction.probabilities, torch.softmax(z, 1))
    assert prediction.accuracy["test"] == trained.report["best"]["test_accuracy"]
    assert torch.equal(prediction.rows["val"], data.val_mask.nonzero()[:, 0])
    assert prediction.accuracy["all"] == (z.argmax(1) == data.y).double().mean().item()


def test_models_of_before_there_were_shares_have_the_usual_split(tmp_path):
    trained = run(KARATE)
    trained.save(tmp_path / "new")
    _, metadata = GAMLP.load(tmp_path / "new")
    assert metadata["experiment"].pop("split") == "usual"
    for name in ("features", "loss", "weight_attr"):
        del metadata[name]
    trained.model.save(tmp_path / "old", **metadata)
    assert predict(tmp_path / "old").accuracy == predict(tmp_path / "new").accuracy


def test_prediction_needs_fitting_data(tmp_path):
    run(KARATE).save(tmp_path / "model")
    with pytest.raises(InputError, match=r"digits has 64 features a node; .*model takes 34$"):
        predict(tmp_path / "model", dataset="digits")
    GAMLP(4, 3, 2, 2).save(tmp_path / "bare")
    with pytest.raises(InputError, match="bare: it does not say what features it takes"):
        predict(tmp_path / "bare")
    GAMLP(4, 3, 2, 2).save(tmp_path / "plain", features=AugmentFeatures(1))
    with pytest.raises(InputError, match="plain names no data set that it was trained on; allowed: dataset, or data"):
        predict(tmp_path / "plain")


def test_metadata_does_not_name_the_machine(tmp_path):
    run(dataclasses.replace(KARATE, root=str(tmp_path))).save(tmp_path / "model")
    _, metadata = GAMLP.load(tmp_path / "model")
    assert str(tmp_path) not in json.dumps(metadata)
    assert metadata["classes"] == 4


NONE = {"hops": None, "normalize_features": None}


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves a model of karate as version 0.1.0 did, with changed metadata."""
    trained = run(KARATE)

    def save(**changes):
        trained.save(tmp_path / "model")
        _, metadata = GAMLP.load(tmp_path / "model")
        for name in ("features", "loss", "weight_attr"):
            del metadata[name]
        new, old = changes.pop("experiment", {}), metadata["experiment"]
        metadata["experiment"] = {**old, **new} if isinstance(new, dict) else new
        trained.model.save(tmp_path / "model", **{**metadata, **changes})
        return tmp_path / "model"

    return save


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experiment": {"hops": 10**9}}, "10000"),
        ({"experiment": {"hops": [0, 10**9]}}, "10,000"),
        ({"experiment": {**NONE, "operator": "sym/0-1000000000"}}, "operator sym/0-1000000000: allowed"),
        ({"experiment": {"hops": 9_999}}, "its transforms never make 102 columns"),
        ({"experiment": {"label_operator": "sym", "label_hops": 9_000}}, "its transforms never make 102 columns"),
        ({"experiment": {"hops": "two"}}, "model: its options: hops must be an integer or a list of integers, not"),
        ({"experiment": {"unit_rows": "no"}}, "model: its options: unit_rows must be true or false, not 'no'"),
        ({"experiment": {"checkpoint": "there"}}, "model: unknown option 'checkpoint'"),
        ({"experiment": {"recipe": "/etc/passwd"}}, "model: unknown option 'recipe'"),
        ({"experiment": [1]}, r"model: its options are no table, but \[1\]"),
        ({"correct_and_smooth": {"num_correction_layers": 10**9}}, "model: its correct_and_smooth is not usable"),
        ({"correct_and_smooth": {"layers": 1}}, "model: its correct_and_smooth is not usable"),
        ({"correct_and_smooth": "yes"}, "model: its correct_and_smooth is not usable"),
    ],
)
def test_what_a_model_says_of_its_features_is_checked_before_they_are_made(saved, changes, message, monkeypatch):
    def never(*_):
        raise AssertionError("propagated")

    path = saved(**changes)
    monkeypatch.setattr("gamlp_admm.propagation.Scheme.matrix", never)
    with pytest.raises(InputError, match=message):
        predict(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    trained = run(KARATE)
    with torch.no_grad():
        trained.model.linears[1].weight[0, 0] = value
    trained.save(tmp_path / "model")
    with pytest.raises(InputError, match="model has weights that are NaN or infinite"):
        predict(tmp_path / "model")


def test_weights_of_edges_are_those_that_the_option_names(tmp_path, monkeypatch):
    def weighted_karate(*_, **__):
        loaded = load_dataset("karate")
        E = loaded.data.num_edges
        loaded.data.edge_attr = 1 + torch.arange(E).remainder(5).float()[:, None]
        return loaded

    monkeypatch.setattr("gamlp_admm.experiment.source.load_dataset", weighted_karate)
    named = dataclasses.replace(KARATE, weight="edge_attr")
    data = weighted_karate().data
    expected = AugmentFeatures(2, weight_attr="edge_attr")(data).x
    assert torch.equal(prepare(named).data.x, expected)
    with pytest.warns(InputWarning, match="train has --weight"):
        assert not torch.equal(prepare(KARATE).data.x, expected)
    trained = run(named)
    trained.save(tmp_path / "model")
    assert torch.equal(predict(tmp_path / "model").classes, trained.model(expected).argmax(1))
    with pytest.raises(InputError, match=r"data\.weights is missing, which weight_attr names"):
        prepare(dataclasses.replace(KARATE, weight="weights"))

"""Predictions of saved models."""

import dataclasses
import json

import pytest
import torch

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, predict, prepare, run
from gamlp_admm.nn import GAMLP

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
    trained.model.save(tmp_path / "old", **metadata)
    assert predict(tmp_path / "old").accuracy == predict(tmp_path / "new").accuracy


def test_prediction_needs_fitting_data(tmp_path):
    run(KARATE).save(tmp_path / "model")
    with pytest.raises(InputError, match=r"digits has 192 features .* takes 102"):
        predict(tmp_path / "model", dataset="digits")
    GAMLP(4, 3, 2, 2).save(tmp_path / "bare")
    with pytest.raises(InputError, match="dataset must be given"):
        predict(tmp_path / "bare")


def test_metadata_does_not_name_the_machine(tmp_path):
    run(dataclasses.replace(KARATE, root=str(tmp_path))).save(tmp_path / "model")
    _, metadata = GAMLP.load(tmp_path / "model")
    assert str(tmp_path) not in json.dumps(metadata)
    assert metadata["classes"] == 4

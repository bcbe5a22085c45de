"""Runs from end to end."""

import dataclasses

import pytest
import torch

from gamlp_admm.experiment import Experiment, predict, prepare, run

KARATE = Experiment(dataset="karate", operator="sym", hops=2, hidden=8, layers=3, iterations=6, nu=0.1)


def test_the_default_experiment_is_quick_and_accurate():
    report = run(Experiment(evaluate_every=5)).report
    assert report["best"]["test_accuracy"] >= 0.95


def test_callbacks_see_every_evaluation():
    seen = []
    result = run(KARATE, [lambda progress: seen.append(progress.record)])
    assert seen == result.report["history"]


def test_operator_none_trains_on_the_features_as_they_are():
    data = prepare(Experiment(dataset="karate", operator="none")).data
    assert torch.equal(data.x, torch.eye(34))


def test_dtype_reaches_the_model():
    model = run(dataclasses.replace(KARATE, dtype="float64")).model
    assert {p.dtype for p in model.parameters()} == {torch.float64}


def test_threads_are_restored():
    before = torch.get_num_threads()
    report = run(dataclasses.replace(KARATE, threads=before + 1)).report
    assert report["environment"]["threads"] == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("dataset", "algorithm"),
    [
        ("digits-knn", "pdadmm-g"),
        ("karate", "adam"),
        ("karate", "pdadmm-g"),
    ],
)
def test_resume_gives_the_same_bits(tmp_path, dataset, algorithm):
    base = Experiment(dataset=dataset, algorithm=algorithm, hidden=8, layers=5, iterations=6, grow="2,5")
    whole = run(base)
    part = dataclasses.replace(base, checkpoint=str(tmp_path))
    interrupted = run(part, [lambda progress: progress.record["iteration"] == 8])
    assert interrupted.report["last"]["iteration"] == 8
    resumed = run(dataclasses.replace(part, resume=True))
    assert timeless(resumed.report["history"]) == timeless(whole.report["history"])
    assert resumed.report["best"] == whole.report["best"]
    for a, b in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)


def timeless(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def test_labels_are_appended():
    features = prepare(KARATE).data.x
    data = prepare(dataclasses.replace(KARATE, label_operator="row", label_hops=(1, 3), label_scale=2.0)).data
    assert data.x.shape == (34, features.shape[1] + 2 * 4)
    assert torch.equal(data.x[:, : features.shape[1]], features)
    assert 0 < data.x[:, features.shape[1] :].max() <= 2


def test_labels_share_the_operator_s_numbers():
    def columns(**options):
        return prepare(Experiment(dataset="karate", label_operator="ppr", **options)).data.x[:, -4:]

    assert not torch.equal(columns(operator="ppr", alpha=0.5), columns(operator="ppr"))
    assert torch.equal(columns(operator="sym"), columns(operator="ppr"))


def test_a_saved_model_with_labels_predicts_as_it_was_evaluated(tmp_path):
    done = run(dataclasses.replace(KARATE, label_operator="sym", label_hops=2))
    done.save(tmp_path / "model.safetensors")
    accuracy = predict(tmp_path / "model.safetensors").accuracy
    assert accuracy["test"] == pytest.approx(done.report["best"]["test_accuracy"])


def test_correct_and_smooth(tmp_path):
    done = run(dataclasses.replace(KARATE, correct_and_smooth=True, iterations=2))
    said = done.report["correct_and_smooth"]
    assert set(said) == {"chosen", "val_accuracy", "test_accuracy"}
    assert said["chosen"] is not None  # after two iterations there is much to correct
    assert said["val_accuracy"] > done.report["best"]["val_accuracy"]
    done.save(tmp_path / "model.safetensors")
    accuracy = predict(tmp_path / "model.safetensors").accuracy
    assert accuracy["val"] == pytest.approx(said["val_accuracy"])
    assert accuracy["test"] == pytest.approx(said["test_accuracy"])
    assert "correct_and_smooth" not in run(KARATE).report


def test_correct_and_smooth_never_validates_worse():
    done = run(Experiment(dataset="digits-knn", correct_and_smooth=True, iterations=3, hidden=16))
    assert done.report["correct_and_smooth"]["val_accuracy"] >= done.report["best"]["val_accuracy"]


@pytest.mark.parametrize("algorithm", ["pdadmm-g", "pdadmm-g-q", "adam"])
def test_residual_connections(algorithm, tmp_path):
    done = run(dataclasses.replace(KARATE, nu=None, algorithm=algorithm, residual=True))
    assert done.model.config["residual"]
    done.save(tmp_path / "model.safetensors")
    assert predict(tmp_path / "model.safetensors").accuracy["test"] == done.report["best"]["test_accuracy"]

"""Options and how they resolve; runs, seeds, checkpoints, predictions."""

import dataclasses
import json

import pytest
import torch

from gamlp_admm.algorithms import ALGORITHMS
from gamlp_admm.datasets import dataset_info, dataset_names
from gamlp_admm.datasets.info import DatasetInfo
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import prepare, run, run_seeds, seeded, summarize
from gamlp_admm.experiment.options import DEFAULTS, RECIPE, Experiment
from gamlp_admm.experiment.prediction import predict
from gamlp_admm.nn.gamlp import GAMLP

KARATE = Experiment(dataset="karate", operator="sym", hops=2, hidden=8, layers=3, iterations=6, nu=0.1)


@pytest.fixture
def recipe(monkeypatch):
    """Return a function that gives every data set a recipe."""

    def use(**settings):
        def info(name: str) -> DatasetInfo:
            return dataclasses.replace(dataset_info(name), recipe=settings)

        monkeypatch.setattr("gamlp_admm.experiment.options.dataset_info", info)

    return use


# options


@pytest.mark.parametrize("name", dataset_names())
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_recipes_hold_known_options_that_resolve(name, algorithm):
    assert set(dataset_info(name).recipe) <= RECIPE
    Experiment(dataset=name, algorithm=algorithm).resolve()


def test_recipe_options_and_defaults_are_options():
    fields = {field.name for field in dataclasses.fields(Experiment)}
    assert fields >= RECIPE
    assert fields >= DEFAULTS.keys()


@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(),
        Experiment(layers=10),
        Experiment(operator="ppr", grow="2,5"),
        Experiment(algorithm="adam", operator="none"),
        Experiment(operator="heat", hops=(4, 8), class_weight="balanced"),
        Experiment(operator="ppr/10/0.2+row/1-2/normalized"),
        Experiment(label_operator="ppr", residual=True),
    ],
)
def test_resolve_is_idempotent(experiment):
    assert experiment.resolve().resolve() == experiment.resolve()


def test_options_without_a_recipe(recipe):
    recipe()
    used = Experiment().resolve()
    assert (used.operator, used.hops, used.alpha, used.t) == ("sym", 4, None, None)
    assert (used.layers, used.hidden, used.iterations, used.grow) == (2, 100, 100, "none")
    assert (used.rho, used.nu, used.mu, used.lr) == (1e-2, 1e-2, 1e-3, None)


def test_baselines_take_only_augmentation_and_sizes_of_a_recipe(recipe):
    recipe(operator="ppr", hops=7, alpha=0.2, layers=3, hidden=9, nu=0.5, mu=0.1, iterations=7, init="identity")
    ours, adam = Experiment().resolve(), Experiment(algorithm="adam").resolve()
    for used in (ours, adam):
        assert (used.operator, used.hops, used.alpha, used.layers, used.hidden) == ("ppr", 7, 0.2, 3, 9)
    assert (ours.rho, ours.nu, ours.mu, ours.iterations, ours.init) == (0.5, 0.5, 0.1, 7, "identity")
    assert (adam.rho, adam.nu, adam.mu, adam.iterations, adam.init) == (None, None, None, 100, "kaiming")
    assert (adam.lr, adam.weight_decay) == (1e-3, 0.0)


@pytest.mark.parametrize(("operator", "hops"), [("row", 4), ("ppr", 10), ("heat", 10), ("sym", 7), ("none", None)])
def test_hops_of_the_recipe_stay_with_its_operator(recipe, operator, hops):
    recipe(operator="sym", hops=7)
    assert Experiment(operator=operator).resolve().hops == hops


def test_one_given_penalty_sets_both(recipe):
    recipe(rho=1.0, nu=0.01)
    assert Experiment().resolve().rho == 1.0
    for given in ({"rho": 0.3}, {"nu": 0.3}):
        used = Experiment(**given).resolve()
        assert (used.rho, used.nu) == (0.3, 0.3)


@pytest.mark.parametrize(
    ("options", "layers", "grow"),
    [
        ({"layers": 4}, 4, "none"),
        ({"layers": 5}, 5, (2, 5)),
        ({"layers": 12}, 12, (2, 5, 10, 12)),
        ({"layers": 12, "grow": "none"}, 12, "none"),
        ({"layers": 12, "algorithm": "adam"}, 12, "none"),
        ({"grow": "2,3,6"}, 6, (2, 3, 6)),
        ({"grow": (2, 4), "layers": 4}, 4, (2, 4)),
    ],
)
def test_growth(recipe, options, layers, grow):
    recipe(layers=3)
    used = Experiment(**options).resolve()
    assert (used.layers, used.grow) == (layers, grow)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "coar"}, "did you mean 'cora'"),
        ({"algorithm": "adan"}, "did you mean 'adam'"),
        ({"operator": "sim"}, "did you mean 'sym'"),
        ({"activation": "rleu"}, "did you mean 'relu'"),
        ({"loss": "cross-entropy"}, "did you mean 'cross_entropy'"),
        ({"class_weight": "even"}, "allowed: none, balanced"),
        ({"dtype": "float16"}, "allowed: float32, float64"),
        ({"layers": 0}, "layers must be a positive integer, not 0"),
        ({"patience": -1}, "patience must be"),
        ({"grow": "2,x"}, "allowed: auto, none, or rising depths"),
        ({"grow": "5,2"}, "must rise"),
        ({"rho": 0.0}, "rho must be positive"),
        ({"lr": 0.1}, "lr does not apply to pdadmm-g"),
        ({"algorithm": "sgd", "nu": 0.1}, "nu does not apply to sgd"),
        ({"operator": "none", "hops": 3}, "hops does not apply to operator none"),
        ({"operator": "sym", "alpha": 0.3}, "alpha does not apply to operator sym; it is for ppr"),
        ({"resume": True}, "need checkpoint"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        Experiment(**options).resolve()


# runs


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


def test_seeds_share_the_data_and_are_summarized():
    runs = run_seeds(KARATE, [3, 5])
    report = summarize(runs)
    assert [r["seed"] for r in report["runs"]] == [3, 5]
    alone = run(dataclasses.replace(KARATE, seed=5)).report
    assert report["runs"][1]["last"] == alone["last"]
    first, second = (r["best"]["test_accuracy"] for r in report["runs"])
    assert report["summary"]["test_accuracy_mean"] == pytest.approx((first + second) / 2)
    assert report["summary"]["test_accuracy_std"] == pytest.approx(abs(first - second) / 2**0.5)
    assert report["summary"].keys() == {
        f"{prefix}{split}_accuracy_{statistic}"
        for prefix in ("", "last_")
        for split in ("test", "val")
        for statistic in ("mean", "std")
    }
    assert summarize(runs[:1])["summary"]["test_accuracy_std"] == 0


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


@pytest.mark.parametrize("change", [{"seed": 1}, {"operator": "row"}, {"nu": 0.2}, {"split_seed": 7}])
@pytest.mark.parametrize("resume", [True, False])
def test_a_checkpoint_belongs_to_one_experiment(tmp_path, change, resume):
    base = dataclasses.replace(KARATE, checkpoint=str(tmp_path))
    run(base)
    (name,) = change
    with pytest.raises(InputError, match=rf"belongs to a run with (rho|{name})="):
        run(dataclasses.replace(base, **change, resume=resume))


def test_a_finished_run_can_be_continued(tmp_path):
    base = dataclasses.replace(KARATE, checkpoint=str(tmp_path))
    run(base)
    longer = run(dataclasses.replace(base, iterations=9, resume=True)).report
    assert longer["last"]["iteration"] == 9


def test_each_seed_has_its_checkpoint(tmp_path):
    base = dataclasses.replace(KARATE, checkpoint=str(tmp_path))
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        run_seeds(dataclasses.replace(base, resume=True), [0])
    first = run_seeds(base, [0])
    plan = seeded(dataclasses.replace(base, resume=True), [0, 1])
    assert [each.resume for each in plan] == [True, False]
    again = run_seeds(dataclasses.replace(base, resume=True), [0, 1])
    assert again[0].report["history"] == first[0].report["history"]
    assert again[1].report["last"]["iteration"] == 6


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_differ(seeds):
    with pytest.raises(InputError, match="seeds"):
        seeded(KARATE, seeds)


# predictions


@pytest.mark.parametrize(
    "options", [{}, {"hops": (0, 2)}, {"dtype": "float64", "normalize_features": True}, {"split_seed": 5}]
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


# labels as features, Correct and Smooth, residual connections


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_operator": "pprr"}, "unknown label operator 'pprr': did you mean 'ppr'"),
        ({"label_hops": 3}, "label_hops does not apply without label_operator"),
        ({"label_scale": 3.0, "label_operator": "none"}, "label_scale does not apply without label_operator"),
    ],
)
def test_bad_label_options(options, message):
    with pytest.raises(InputError, match=message):
        Experiment(dataset="karate", **options).resolve()


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

"""From the options that are given to those that are used."""

import dataclasses

import pytest

from gamlp_admm.algorithms import ALGORITHMS
from gamlp_admm.datasets import DatasetInfo, dataset_info, dataset_names
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment
from gamlp_admm.experiment.options import declared, recipe_names

KARATE = Experiment(dataset="karate", operator="sym", hops=2, hidden=8, layers=3, iterations=6, nu=0.1)


@pytest.fixture
def recipe(monkeypatch):
    """Return a function that gives every data set a recipe."""

    def use(**settings):
        def info(name: str) -> DatasetInfo:
            return dataclasses.replace(dataset_info(name), recipe=settings)

        monkeypatch.setattr("gamlp_admm.experiment.resolve.dataset_info", info)

    return use


# options


@pytest.mark.parametrize("name", dataset_names())
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_recipes_hold_known_options_that_resolve(name, algorithm):
    assert set(dataset_info(name).recipe) <= recipe_names()
    Experiment(dataset=name, algorithm=algorithm).resolve()


@pytest.mark.parametrize("given", [{"algorithm": "pdadmm-g-q"}, {"codec": "int8"}, {"anderson": 3}])
def test_batches_of_a_recipe_are_for_what_can_have_them(given):
    assert Experiment(dataset="mnist-knn").resolve().batch_size == dataset_info("mnist-knn").recipe["batch_size"]
    assert Experiment(dataset="mnist-knn", **given).resolve().batch_size is None


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
    used = experiment.resolve()
    assert used.resolve() is used
    assert Experiment.of(used.values()).resolve() == used


def test_none_is_as_if_it_were_not_given():
    nothing = Experiment(**dict.fromkeys(declared()))
    assert nothing.resolve() == Experiment().resolve()


@pytest.mark.parametrize("algorithm", ["pdadmm-g", "adam"])
def test_a_recipe_may_set_the_metric(recipe, algorithm):
    recipe(metric="f1_macro")
    assert Experiment(dataset="karate", algorithm=algorithm).resolve().metric == "f1_macro"
    assert Experiment(dataset="karate", algorithm=algorithm, metric="loss").resolve().metric == "loss"
    recipe()
    assert Experiment(dataset="karate", algorithm=algorithm).resolve().metric == "accuracy"


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
        ({"layers": 5}, 5, "none"),
        ({"layers": 5, "init": "kaiming"}, 5, (2, 5)),
        ({"layers": 12, "init": "identity"}, 12, (2, 5, 10, 12)),
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
        ({"resume": True, "overwrite": True, "checkpoint": "there"}, "resume and overwrite exclude each other"),
        ({"split": "60/20/30"}, "split '60/20/30': allowed: usual; per cents"),
        ({"split": "stratified"}, "split 'stratified': allowed: usual; per cents"),
        ({"split": 60}, "split must be a text"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        Experiment(**options).resolve()


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


# devices


@pytest.fixture
def gpus(monkeypatch):
    """Return a function that lets torch find so many CUDA devices."""

    def find(count):
        monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda: count)

    return find


@pytest.mark.parametrize(
    ("count", "asked", "device"),
    [
        (0, {}, "cpu"),
        (1, {}, "cuda"),
        (1, {"device": "cpu"}, "cpu"),
        (1, {"processes": 2}, "cpu"),  # no device for each
        (2, {"processes": 2}, "cuda"),
    ],
)
def test_the_default_device_is_cuda_where_there_is_one_for_each_process(gpus, count, asked, device):
    gpus(count)
    used = dataclasses.replace(KARATE, **asked).resolve()
    assert used.device == used.values()["device"] == device


@pytest.mark.parametrize(
    ("environment", "device"),
    [
        ({"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}, "cuda"),  # two machines of two
        ({"LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "1"}, "cpu"),
        ({}, "cpu"),  # nothing says which device is whose
    ],
)
def test_processes_that_torchrun_started_share_the_devices_of_their_machine(gpus, monkeypatch, environment, device):
    gpus(2)
    for name in ("LOCAL_WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"RANK": "1", "WORLD_SIZE": "4", **environment}.items():
        monkeypatch.setenv(name, value)
    assert dataclasses.replace(KARATE, layers=4, grow="none", processes=4).resolve().device == device

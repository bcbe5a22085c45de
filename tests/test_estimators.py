"""The estimators keep scikit-learn's contract, and what they promise beyond it."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_wine, make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from gamlp_admm.algorithms import ALGORITHMS
from gamlp_admm.errors import InputError
from gamlp_admm.estimators import SUGGESTED, ADMMClassifier, ADMMRegressor
from gamlp_admm.nn.gamlp import GAMLP

PENALTY_METHODS = ("dladmm", "pdadmm", "mdlam")
ESTIMATORS = (ADMMClassifier, ADMMRegressor)
WINE, CULTIVAR = load_wine(return_X_y=True)
WINE = StandardScaler().fit_transform(WINE)


def curve(rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.RandomState(seed).uniform(-1.7, 1.7, (rows, 2))
    return X, 1000 + 50 * (np.sin(2 * X[:, 0]) + X[:, 1] ** 2)


def same_bits(a: Any, b: Any) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.model_.parameters(), b.model_.parameters(), strict=True))


# --- scikit-learn's own checks ------------------------------------------------------------------------------


@parametrize_with_checks(
    [
        estimator(algorithm=algorithm, hidden=10, iterations=iterations)
        for estimator in ESTIMATORS
        for algorithm, iterations in (*((name, 12) for name in PENALTY_METHODS), ("badm", 25), ("sisa", 25))
    ]
)
def test_contract(estimator: Any, check: Any) -> None:
    check(estimator)


# --- results ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_all_algorithms_learn_as_they_come(algorithm: str) -> None:
    assert ADMMClassifier(algorithm=algorithm, random_state=0).fit(WINE, CULTIVAR).score(WINE, CULTIVAR) > 0.9


def test_a_curve_with_a_unit_of_its_own() -> None:
    X, y = curve()
    model = ADMMRegressor(random_state=0).fit(X, y)
    assert model.score(*curve(seed=1)) > 0.75
    assert ADMMRegressor(init="kaiming", random_state=0).fit(X, y).score(*curve(seed=1)) > 0.9
    assert ADMMRegressor(layers=1, random_state=0).fit(X, y).score(X, y) < 0.6  # needs the hidden layer
    with torch.no_grad():
        assert np.array_equal(model.model_(torch.from_numpy(X))[:, 0], model.predict(X))  # in the unit of y


def test_units_of_targets_change_nothing() -> None:
    X, y = curve()
    one, other = (ADMMRegressor(random_state=0, iterations=30).fit(X, t) for t in (y, 1e-3 * y - 7))
    np.testing.assert_allclose(1e-3 * one.predict(X) - 7, other.predict(X), atol=1e-8)


def test_several_targets() -> None:
    X, y = curve()
    both = np.column_stack([y, X @ [1, -2]])
    model = ADMMRegressor(random_state=0).fit(X, both)
    assert model.predict(X).shape == both.shape
    assert model.score(X, both) > 0.75
    assert ADMMRegressor(iterations=5).fit(X, y[:, None]).predict(X).shape == (len(X),)


def test_depth_and_width_are_those_of_the_network() -> None:
    model = ADMMClassifier(hidden=7, layers=4, activation="tanh", init="kaiming", iterations=2).fit(WINE, CULTIVAR)
    assert isinstance(model.model_, GAMLP)
    assert [tuple(layer.weight.shape) for layer in model.model_.linears] == [(7, 13), (7, 7), (7, 7), (3, 7)]
    assert (model.n_iter_, len(model.loss_curve_), len(model.history_)) == (2, 2, 2)
    assert model.history_ is model.result_.history
    assert model.validation_scores_ is model.best_validation_score_ is None


def test_probabilities_agree() -> None:
    names = np.array(["Barolo", "Grignolino", "Barbera"])[CULTIVAR]
    model = ADMMClassifier(random_state=0, iterations=30).fit(WINE, names)
    assert model.classes_.tolist() == ["Barbera", "Barolo", "Grignolino"]
    proba = model.predict_proba(WINE)
    np.testing.assert_allclose(proba.sum(1), 1)
    np.testing.assert_allclose(model.predict_log_proba(WINE), np.log(proba), atol=1e-12)
    assert (model.classes_[model.decision_function(WINE).argmax(1)] == model.predict(WINE)).all()
    assert model.score(WINE, names) > 0.9
    two = ADMMClassifier(random_state=0, iterations=5).fit(WINE, names == "Barolo")
    odds, proba = two.decision_function(WINE), two.predict_proba(WINE)
    np.testing.assert_allclose(odds, np.log(proba[:, 1] / proba[:, 0]))


# --- data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_sparse_equals_dense(estimator: Any, kind: str) -> None:
    X = np.where(WINE > 0.5, WINE, 0)
    dense = estimator(random_state=0, iterations=5).fit(X, CULTIVAR)
    other = estimator(random_state=0, iterations=5).fit(getattr(sparse, f"{kind}_array")(X), CULTIVAR)
    assert same_bits(dense, other)
    assert np.array_equal(dense.predict(X), other.predict(sparse.csr_matrix(X)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_precision_is_that_of_the_features(estimator: Any) -> None:
    for given, kept in (("float32", "float32"), ("float64", "float64"), ("float16", "float64"), ("int64", "float64")):
        X = WINE.astype(given)
        model = estimator(random_state=0, iterations=3).fit(X, CULTIVAR)
        assert next(model.model_.parameters()).dtype == getattr(torch, kept)
        values = model.predict_proba if estimator is ADMMClassifier else model.predict
        assert values(X).dtype == values(WINE).dtype == kept


def test_torch_tensors_are_taken() -> None:
    X, y = torch.from_numpy(WINE), torch.from_numpy(CULTIVAR)
    data = SimpleNamespace(x=X, y=y, train_mask=torch.arange(len(y)) % 2 == 0)
    one = ADMMClassifier(random_state=0, iterations=5).fit(data.x[data.train_mask], data.y[data.train_mask])
    assert same_bits(one, ADMMClassifier(random_state=0, iterations=5).fit(WINE[::2], CULTIVAR[::2]))


# --- weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_rows_of_weight_zero_are_not_there(estimator: Any, early_stopping: bool) -> None:
    weight = np.random.RandomState(0).choice([0, 1, 2], len(WINE))
    model = estimator(random_state=0, iterations=20, early_stopping=early_stopping)
    whole = clone(model).fit(WINE, CULTIVAR, weight)
    assert same_bits(whole, clone(model).fit(WINE[weight > 0], CULTIVAR[weight > 0], weight[weight > 0]))
    assert not same_bits(whole, clone(model).fit(WINE[weight > 0], CULTIVAR[weight > 0]))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("algorithm", ["dladmm", "pdadmm", "mdlam", "adam"])
def test_a_row_of_weight_two_is_a_row_twice(estimator: Any, algorithm: str) -> None:
    weight = np.random.RandomState(1).choice([0, 1, 2, 3], len(WINE))
    model = estimator(algorithm=algorithm, hidden=10, random_state=0, iterations=20)
    weighted = clone(model).fit(WINE, CULTIVAR, weight)
    copied = clone(model).fit(WINE.repeat(weight, 0), CULTIVAR.repeat(weight))
    values = "predict_proba" if estimator is ADMMClassifier else "predict"
    np.testing.assert_allclose(getattr(weighted, values)(WINE), getattr(copied, values)(WINE), rtol=1e-6)
    np.testing.assert_allclose(weighted.loss_curve_, copied.loss_curve_, rtol=1e-8)


@pytest.mark.parametrize("algorithm", ["dladmm", "sisa"])
def test_balanced_weights_are_those_of_the_classes_as_rows_weigh(algorithm: str) -> None:
    weight = np.random.RandomState(1).choice([0.5, 2], len(WINE))
    of_class = weight.sum() / (3 * np.bincount(CULTIVAR, weight))
    model = ADMMClassifier(algorithm=algorithm, hidden=10, random_state=0, iterations=5)
    given = [
        clone(model).set_params(class_weight="balanced").fit(WINE, CULTIVAR, weight),
        clone(model).set_params(class_weight=dict(enumerate(of_class))).fit(WINE, CULTIVAR, weight),
        clone(model).fit(WINE, CULTIVAR, weight * of_class[CULTIVAR]),
    ]
    for other in given[1:]:
        np.testing.assert_allclose(given[0].predict_proba(WINE), other.predict_proba(WINE), rtol=1e-8)


@pytest.mark.parametrize(("algorithm", "layers", "gain"), [("dladmm", 1, 0.3), ("dladmm", 2, 0.3), ("sisa", 2, 0.3)])
def test_class_weight_favours_the_rare(algorithm: str, layers: int, gain: float) -> None:
    X, y = make_blobs([200, 20], centers=[[0, 0], [1.5, 0]], random_state=0)
    recall = {}
    for weight in (None, "balanced"):
        model = ADMMClassifier(algorithm=algorithm, layers=layers, random_state=0, class_weight=weight).fit(X, y)
        recall[str(weight)] = model.predict(X)[y == 1].mean()
    assert recall["balanced"] > recall["None"] + gain


# --- early stopping -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_early_stopping_stops_and_keeps_the_best(estimator: Any) -> None:
    y = CULTIVAR if estimator is ADMMClassifier else CULTIVAR + np.random.RandomState(0).randn(len(WINE))
    model = estimator(
        iterations=400, early_stopping=True, validation_fraction=0.3, n_iter_no_change=5, random_state=0, hidden=20
    ).fit(WINE, y)
    scores = model.validation_scores_
    assert model.n_iter_ == len(scores) == len(model.loss_curve_) < 400
    assert model.n_iter_ == 1 + int(np.argmax(scores)) + 5
    assert model.best_validation_score_ == pytest.approx(max(scores), rel=1e-5)  # of the model that is returned
    classes = y if estimator is ADMMClassifier else None
    held_out = ~model._training_rows(len(WINE), classes, np.random.RandomState(0))
    assert held_out.sum() == 54
    assert model.score(WINE[held_out], y[held_out]) == pytest.approx(max(scores))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_rows_held_out_count_as_often_as_they_weigh(estimator: Any) -> None:
    y = CULTIVAR if estimator is ADMMClassifier else CULTIVAR + np.random.RandomState(0).randn(len(WINE))
    weight = np.random.RandomState(1).exponential(size=len(WINE))
    model = estimator(iterations=12, early_stopping=True, validation_fraction=0.4, random_state=0, hidden=20)
    model.fit(WINE, y, sample_weight=weight)
    classes = y if estimator is ADMMClassifier else None
    held_out = ~model._training_rows(len(WINE), classes, np.random.RandomState(0))
    score = model.score(WINE[held_out], y[held_out], sample_weight=weight[held_out])
    assert model.best_validation_score_ == pytest.approx(score, rel=1e-9)
    assert max(model.validation_scores_) == pytest.approx(score, rel=1e-9)


def test_rows_held_out_are_drawn_class_by_class() -> None:
    model = ADMMClassifier(early_stopping=True, validation_fraction=0.2)
    held_out = ~model._training_rows(len(WINE), CULTIVAR, np.random.RandomState(0))
    assert np.bincount(CULTIVAR[held_out]).tolist() == [12, 14, 10]  # of 59, 71, 48


def test_nothing_is_learnt_from_rows_held_out() -> None:
    X, y = curve()
    model = ADMMRegressor(early_stopping=True, iterations=15, n_iter_no_change=15, random_state=0, hidden=20)
    held_out = ~model._training_rows(len(X), None, np.random.RandomState(0))
    wrong = np.where(held_out, 1e6, y)
    one, other = clone(model).fit(X, y), clone(model).fit(X, wrong)
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ != other.validation_scores_


# --- as an estimator ----------------------------------------------------------------------------------------


def test_grid_search_over_a_pipeline() -> None:
    pipeline = make_pipeline(StandardScaler(), ADMMClassifier(iterations=20, random_state=0))
    grid = {"admmclassifier__nu": np.geomspace(0.1, 1, 2), "admmclassifier__hidden": np.array([5, 20])}
    X, y = load_wine(return_X_y=True)
    train, test = train_test_split(np.arange(len(y)), stratify=y, random_state=0)
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X[train], y[train])
    assert search.score(X[test], y[test]) > 0.9
    assert search.best_estimator_[-1].model_.config["hidden_channels"] == search.best_params_["admmclassifier__hidden"]


def test_clone_and_repr() -> None:
    model = ADMMClassifier(nu=0.5, settings={"regularizer": "l1"}, class_weight={0: 2.0})
    assert clone(model).get_params() == model.get_params()
    assert repr(ADMMRegressor(nu=0.5)) == "ADMMRegressor(nu=0.5)"
    assert "class_weight" not in ADMMRegressor().get_params()
    with pytest.raises(NotFittedError):
        model.predict(WINE)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "hardtanh", "tanh", "sigmoid", "gelu", "silu"])
def test_pickles(activation: str) -> None:
    model = ADMMClassifier(activation=activation, iterations=2).fit(WINE, CULTIVAR)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(model.predict_proba(WINE), again.predict_proba(WINE))
    assert again.history_ == model.history_


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_seed_gives_the_same_bits(estimator: Any) -> None:
    fit = [
        estimator(random_state=seed, iterations=5, early_stopping=True).fit(WINE, CULTIVAR)
        for seed in (3, 3, np.random.RandomState(3), 4, None)
    ]
    assert same_bits(fit[0], fit[1])
    assert same_bits(fit[0], fit[2])
    assert not same_bits(fit[0], fit[3])
    assert not same_bits(fit[0], fit[4])


def test_settings_reach_the_trainer() -> None:
    sgd = {lr: ADMMClassifier(algorithm="sgd", settings={"lr": lr}, iterations=5, random_state=0) for lr in (1e-3, 0.1)}
    losses = {lr: model.fit(WINE, CULTIVAR).loss_curve_[-1] for lr, model in sgd.items()}
    assert losses[0.1] < losses[1e-3]
    l1 = ADMMClassifier(settings={"regularizer": "l1"}, mu=5.0, iterations=20, random_state=0).fit(WINE, CULTIVAR)
    assert (l1.model_.linears[0].weight == 0).double().mean() > 0.1
    assert ADMMClassifier(rho=2.0, iterations=1).fit(WINE, CULTIVAR).result_.converges is True
    assert ADMMClassifier(settings={"rho": 2.0}, iterations=1).fit(WINE, CULTIVAR).result_.converges is True


def test_suggested_settings_are_of_algorithms() -> None:
    assert set(SUGGESTED) <= set(ALGORITHMS)


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"algorithm": "dlamm"}, "unknown algorithm 'dlamm': did you mean 'dladmm'"),
        ({"hidden": 0}, "hidden must be a positive integer, not 0"),
        ({"layers": True}, "layers must be a positive integer, not True"),
        ({"iterations": 1.5}, "iterations must be a positive integer, not 1.5"),
        ({"activation": "rely"}, "unknown activation 'rely': did you mean 'relu'"),
        ({"init": "zeros"}, "unknown init 'zeros'"),
        ({"rho": -1.0}, "rho must be positive, not -1.0"),
        ({"solver": "exat"}, "unknown solver 'exat'"),
        ({"schedule": "never"}, "unknown schedule 'never'"),
        ({"algorithm": "mdlam", "nu": 1.0}, "nu does not apply to mdlam; it takes"),
        ({"algorithm": "adam", "solver": "exact"}, "solver does not apply to adam; it takes"),
        ({"settings": {"codex": "int8"}}, "codex does not apply to dladmm; it takes"),
        ({"settings": ["lr"]}, r"settings must be a dict of settings of dladmm, not \['lr'\]"),
        ({"rho": 1.0, "settings": {"rho": 2.0}}, "settings has 'rho', which the estimator sets itself"),
        ({"settings": {"loss": "squared_hinge"}}, "settings has 'loss', which the estimator sets itself"),
        ({"early_stopping": True, "validation_fraction": 1.5}, "validation_fraction must be a number between 0 and 1"),
        ({"early_stopping": True, "n_iter_no_change": 0}, "n_iter_no_change must be a positive integer, not 0"),
        ({"class_weight": {0: -1.0, 1: -1.0, 2: -1.0}}, "sample_weight times class_weight must be 0 or more"),
        ({"class_weight": {0: 0.0, 1: 0.0, 2: 0.0}}, "not 0 in all rows trained on"),
    ],
)
def test_wrong_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ADMMClassifier(**parameters).fit(WINE, CULTIVAR)


def test_wrong_data() -> None:
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        ADMMClassifier().fit(WINE, WINE[:, 0])
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        ADMMClassifier().fit(WINE, CULTIVAR, -np.ones(len(WINE)))
    with pytest.raises(ValueError, match="at least one non-zero number"):
        ADMMRegressor().fit(WINE, CULTIVAR, np.zeros(len(WINE)))
    with pytest.raises(ValueError, match="least populated class"):
        ADMMClassifier(early_stopping=True).fit(WINE[:60], np.arange(60) == 59)
    with pytest.raises(ValueError, match="13 features"):
        ADMMClassifier(iterations=1).fit(WINE, CULTIVAR).predict(WINE[:, :5])

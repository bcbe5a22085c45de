"""What a search gives: the winner, and the recipe that holds its options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from searches import KARATE

from gamlp_admm.datasets import dataset_info
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment
from gamlp_admm.experiment import recipe as recipes
from gamlp_admm.experiment.options import recipe_names
from gamlp_admm.experiment.recipe import read_recipe
from gamlp_admm.tuning import Space, check_recipe, tune
from gamlp_admm.tuning.result import settings


def test_what_stands_is_kept_if_nothing_is_better(made_up: list[Experiment]) -> None:
    experiment = replace(KARATE, nu=0.03)
    found = tune(experiment, {"mu": "0.1:1"}, 5, finalists=1)
    assert found.winner is not None
    assert found.winner["standing"]
    assert found.best["mu"] == experiment.resolve().mu


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"operator": "ppr", "hops": 5, "alpha": 0.2},
        {"hops": (1, 2), "nu": 0.5, "rho": 0.25},
        {"layers": 10},
        {"layers": 10, "grow": "none"},
        {"grow": (2, 4)},
        {"solver": "backtracking", "tau": 10.0, "class_weight": "balanced", "activation": "tanh", "hidden": 20},
        {"normalize_features": True, "iterations": 7, "patience": 3, "schedule": "every:10:2:1"},
    ],
)
def test_a_recipe_gives_what_was_measured(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = Experiment(dataset="karate", **options).resolve()
    recipe = {name: value for name, value in settings(used).items() if name in recipe_names()}
    path = tmp_path / "recipe.toml"
    path.write_text(recipes.with_recipe("", recipe, "a comment\nof two lines"))
    read = read_recipe(path)
    assert read == recipe
    description = replace(dataset_info("karate"), recipe=read)
    monkeypatch.setattr("gamlp_admm.experiment.resolve.dataset_info", lambda _: description)
    assert Experiment(dataset="karate").resolve() == used


def test_what_no_recipe_holds() -> None:
    with pytest.raises(InputError, match="recipes are for pdadmm-g, "):
        check_recipe(Experiment(algorithm="adam"))
    with pytest.raises(InputError, match="cannot hold codec"):
        check_recipe(Experiment(codec="int4"))
    with pytest.raises(InputError, match="cannot hold anderson"):
        check_recipe(Experiment(), Space({"anderson": "none,3"}))
    check_recipe(Experiment(evaluate_every=5), Space({"nu": "1:2"}))

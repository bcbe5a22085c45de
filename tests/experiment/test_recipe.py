"""Recipes: how they are written into a description, and what is wrong in one that is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gamlp_admm.cli import main
from gamlp_admm.datasets import info
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment
from gamlp_admm.experiment import recipe as recipes
from gamlp_admm.experiment.recipe import read_recipe


@pytest.mark.parametrize("name", ["cora", "digits-knn", "karate"])
def test_only_the_recipe_of_a_description_changes(name: str) -> None:
    path = info.catalogue_folder() / f"{name}.toml"
    text = path.read_bytes().decode()
    recipe = {"operator": "ppr", "hops": [1, 2], "nu": 1e-05, "normalize_features": True}
    made = recipes.with_recipe(text, recipe, "how")
    before, _, after = text.partition("[recipe]\n")
    _, blank, rest = after.partition("\n\n[[")
    head = '[recipe]\n# how\noperator = "ppr"\nhops = [1, 2]\nnu = 1e-05\nnormalize_features = true\n'
    assert made == before + head + (blank + rest)[1:]
    assert recipes.with_recipe(made, recipe, "how") == made
    windows = recipes.with_recipe(text.replace("\n", "\r\n"), recipe, "how")
    assert windows == made.replace("\n", "\r\n")


def test_a_description_without_a_recipe_or_with_an_odd_one() -> None:
    assert recipes.with_recipe("a = 1", {"nu": 1.0}, "c") == "a = 1\n\n[recipe]\n# c\nnu = 1.0\n"
    comment = '[recipe]\nnu = 1.0\n\n# of the next\n[next]\nb = "x"\n'
    assert recipes.with_recipe(comment, {}, "c") == '[recipe]\n# c\n\n# of the next\n[next]\nb = "x"\n'
    with pytest.raises(InputError, match="cannot be replaced"):
        recipes.with_recipe("recipe = {nu = 1.0}\n[other]\nc = 2\n".replace("recipe =", "[recipe.more]\nx ="), {}, "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "is not TOML"),
        ("nu = 1", "has no table"),
        ("recipe = 3", "has no table"),
        ("[recipe]\nnoo = 1", "unknown option in recipe .*noo"),
        ("[recipe]\nnu = {a = 1}", "nu must be a number, not"),
        ("[recipe]\nhops = [[1]]", "hops must be an integer or a list of integers, not"),
    ],
)
def test_wrong_recipes(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(path)
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_recipe(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[recipe]\nlayers = "3"\n', "layers must be an integer, not '3'"),
        ('[recipe]\nnu = "0.1"\n', "nu must be a number, not '0.1'"),
        ('[recipe]\nresidual = "no"\n', "residual must be true or false, not 'no'"),
        ("[recipe]\nresidual = 1\n", "residual must be true or false, not 1"),
        ("[recipe]\nlr = 0.1\n", "unknown option in recipe"),
    ],
)
def test_a_wrong_recipe_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    assert main(["train", "--recipe", str(file), "--iterations", "3"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"recipe {file}: " in said
    assert message in said


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_bytes(b"\xef\xbb\xbf[recipe]\nlayers = 3\n")
    assert Experiment(dataset="karate", recipe=str(file)).resolve().layers == 3

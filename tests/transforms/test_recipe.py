"""Chains of transforms: fitted to a graph, told as a recipe, and made from one again."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from attributed import CLASSES, FEATURES, NODES, graph
from torch_geometric import transforms as T
from torch_geometric.data import Data

from gamlp_admm.errors import InputError
from gamlp_admm.nn.metadata import packed
from gamlp_admm.transforms import AugmentFeatures, AugmentLabels, CombineFeatures, ScaleComponents, fit_features
from gamlp_admm.transforms.recipe import Transform, chain, from_recipe, input_columns

CHAINS: dict[str, Transform] = {
    "sym": AugmentFeatures(2),
    "row": AugmentFeatures((0, 2), "row", normalize_features=True, direction="along"),
    "ppr": AugmentFeatures(5, "ppr", alpha=0.2, keep_original=True, dtype=torch.float64),
    "heat": AugmentFeatures(8, "heat", t=2.0, weight_attr="cost"),
    "combined": CombineFeatures([AugmentFeatures(5, "ppr"), AugmentFeatures((1, 2), "row")]),
    "labels": T.Compose([AugmentFeatures(1), AugmentLabels(2, scale=3.0)]),
    "folds": T.Compose([AugmentFeatures(1), AugmentLabels(2, "ppr", num_classes=4, folds=3, seed=1)]),
    "components": T.Compose([AugmentFeatures(1), ScaleComponents(0.5, 4)]),
    "unit rows": T.Compose([AugmentFeatures(1), T.Compose([ScaleComponents(unit_rows=True), AugmentLabels(1)])]),
    "all": T.Compose([CombineFeatures.parse("sym/1+heat/10/2"), ScaleComponents(-1.0, 3, unit_rows=True)]),
    "as they are": T.Compose([]),
}


def kept(transform: Transform) -> Any:
    """Return what a file has of a transform, with its tensors in their places."""
    text, tensors = packed({"features": transform})

    def decode(table: dict[str, Any]) -> Any:
        return tensors[table["__tensor__"]] if "__tensor__" in table else table

    return json.loads(text, object_hook=decode)["features"]


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_fitted_kept_and_made_again(name: str) -> None:
    before, other = graph(), graph(NODES + 20)
    data = copy.copy(before)
    expected = CHAINS[name](data).x
    fitted, made = fit_features(CHAINS[name], data)
    assert torch.equal(made.x, expected)
    assert torch.equal(fitted(data).x, expected)
    again = from_recipe(kept(fitted), expected.shape[1])
    assert torch.equal(again(data).x, expected)
    assert torch.equal(again(other).x, fitted(other).x)
    assert input_columns(again, expected.shape[1]) == FEATURES
    assert data.keys() == before.keys()
    assert all(torch.equal(data[key], value) for key, value in before)


@pytest.mark.parametrize(
    "transform",
    [
        ScaleComponents(),
        ScaleComponents(1.0, 3),
        ScaleComponents(0.5, unit_rows=True),
        CombineFeatures([AugmentFeatures(0)]),
    ],
    ids=repr,
)
def test_a_fitted_transform_does_not_see_who_else_is_there(transform: Any) -> None:
    fitted, made = transform.fit(graph(dtype=torch.float64))
    part = graph(dtype=torch.float64).subgraph(torch.arange(7))
    assert torch.allclose(fitted(part).x, made.x[:7])
    assert not torch.allclose(transform(part).x, made.x[:7])
    assert transform.fitted is None
    again, _ = fitted.fit(part)
    assert torch.equal(again(part).x, transform(part).x)


def test_fitted_labels_have_the_classes_that_were_there() -> None:
    fitted, _ = AugmentLabels(1).fit(graph())
    other = graph()
    other.train_mask = other.y == 0
    assert fitted(other).x.shape[1] == FEATURES + CLASSES
    assert AugmentLabels(1)(other).x.shape[1] == FEATURES + 1


def test_fitted_to_one_precision_and_applied_in_another() -> None:
    fitted, _ = fit_features(CHAINS["all"], graph())
    precise = fitted(graph(dtype=torch.float64)).x
    assert precise.dtype == torch.float64
    assert torch.allclose(precise.float(), fitted(graph()).x, atol=1e-4)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (AugmentFeatures(1, lambda A: A), r"AugmentFeatures has the operator <lambda>, which a file cannot keep"),
        (AugmentFeatures(1, torch.eye(3).to_sparse()), "AugmentFeatures has the operator Tensor, which a file cannot"),
        (CombineFeatures([AugmentFeatures(1, lambda A: A)]), "CombineFeatures is not fitted to a graph"),
        (ScaleComponents(), r"ScaleComponents is not fitted to a graph.*fit_features\(features, graph\)"),
        (AugmentLabels(1), "AugmentLabels has no num_classes: give it, or fit_features"),
        (T.Compose([T.NormalizeFeatures()]), "transforms of gamlp_admm, not NormalizeFeatures"),
        (len, "transforms of gamlp_admm, not len"),
    ],
)
def test_what_a_file_cannot_keep(transform: Transform, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kept(transform)


def test_other_transforms_may_be_in_a_chain_that_is_fitted() -> None:
    own = T.Compose([T.NormalizeFeatures(), AugmentFeatures(1), ScaleComponents()])
    assert torch.equal(fit_features(own, graph())[1].x, own(graph()).x)


def recipe(**changes: Any) -> dict[str, Any]:
    return {"transform": "AugmentFeatures", "hops": 1, **changes}


CENTRE = {"centre": torch.zeros(10)}


def scaling(**fitted: Any) -> list[Any]:
    return [recipe(), {"transform": "ScaleComponents", "power": 1.0, "fitted": CENTRE | fitted}]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (3, "a transform must be a table, not int"),
        (recipe(transform="Compost"), "unknown transform 'Compost'"),
        (recipe(transform=["x"]), "features are not usable"),
        (recipe(speed=3), "unknown option of AugmentFeatures 'speed'"),
        (recipe(hops="two"), "hops is 'two'"),
        (recipe(hops=10**9), "10,000"),
        (recipe(hops=3), "its transforms never make 10 columns"),
        (recipe(operator="sum"), "unknown operator 'sum'"),
        (recipe(operator=None), "operator must be str, not None"),
        (recipe(alpha="x"), "alpha must be int or float, not 'x'"),
        (recipe(alpha=7), "alpha is 7: it must be"),
        (recipe(normalize_features="no"), "normalize_features must be bool, not 'no'"),
        (recipe(dtype="int8"), "unknown dtype 'int8'"),
        (recipe(weight_attr=3), "weight_attr must be str, not 3"),
        (recipe(fitted={"centre": torch.ones(5)}), r"AugmentFeatures was fitted to \['centre'\]; needed: \[\]"),
        ({"transform": "CombineFeatures"}, "at least one transform"),
        ({"transform": "CombineFeatures", "parts": [recipe(transform="AugmentLabels")]}, "not AugmentLabels"),
        ({"transform": "CombineFeatures", "parts": 3}, "features are not usable"),
        ({"transform": "CombineFeatures", "parts": [recipe()]}, r"fitted to \[\]; needed: \['spread'\]"),
        ({"transform": "AugmentLabels", "num_classes": 2.5}, "num_classes must be int, not 2.5"),
        ({"transform": "AugmentLabels", "num_classes": None}, "AugmentLabels has no num_classes"),
        ({"transform": "AugmentLabels", "num_classes": 10**12}, "its transforms never make 10 columns"),
        ([recipe(), {"transform": "ScaleComponents"}], r"ScaleComponents was fitted to \[\]; needed: \['centre'\]"),
        (scaling(), r"fitted to \['centre'\]; needed: \['centre', 'components', 'factors'\]"),
        (scaling(components=torch.ones(9, 3), factors=torch.ones(3)), r"shape \[9, 3\], not \[10, None\]"),
        (scaling(components=torch.ones(10, 3), factors=torch.ones(2)), r"different numbers of components: \[2, 3\]"),
        (scaling(components=torch.ones(10, 3), factors=torch.ones(3, 1)), "factors of ScaleComponents is no tensor of"),
        (scaling(components=[[1.0]], factors=torch.ones(3)), "components of ScaleComponents is no tensor of"),
        (scaling(components=torch.ones(10, 3), factors=torch.tensor([1, float("nan"), 1])), "factors .* has NaN"),
    ],
)
def test_what_is_no_recipe(wrong: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_recipe(wrong, 10)


def test_chains_are_flat() -> None:
    steps = chain(AugmentFeatures(1), T.Compose([T.Compose([ScaleComponents()]), AugmentLabels(1)])).transforms
    assert [type(step).__name__ for step in steps] == ["AugmentFeatures", "ScaleComponents", "AugmentLabels"]
    assert chain()(data := Data(x=torch.ones(1, 1))).x is data.x

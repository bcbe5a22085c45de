"""Transforms that take features from the cache: the same bits, no propagation, and nothing that is out of date."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_geometric.transforms as T
from scipy import sparse
from torch_geometric.data import Data, InMemoryDataset

from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.propagation import diffuse, features_first
from gamlp_admm.propagation.store import caching
from gamlp_admm.transforms import AugmentFeatures, AugmentLabels, CombineFeatures, ScaleComponents, fit_features


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GAMLP_ADMM_CACHE", str(tmp_path / "cache"))


def graph(nodes: int = 30) -> Data:
    generator = torch.Generator().manual_seed(nodes)
    edges = torch.randint(nodes, (2, 3 * nodes), generator=generator)
    x = torch.rand(nodes, 6, generator=generator).round(decimals=1)
    y, mask = torch.arange(nodes) % 3, torch.arange(nodes) % 2 == 0
    weight = torch.rand(3 * nodes, generator=generator)
    return Data(x=x, edge_index=edges, edge_weight=weight, y=y, train_mask=mask)


def changed(data: Data, **values: Any) -> Data:
    data = copy.copy(data)
    for name, value in values.items():
        setattr(data, name, value)
    return data


def no_product(*_: Any, **__: Any) -> None:
    raise AssertionError("something was propagated")


GRAPH = graph()
SPARSE = sparse.random_array((30, 30), density=0.2, rng=0, format="csr")
CHAINS: list[Callable[[], Any]] = [
    *(lambda name=name: AugmentFeatures(operator=name) for name in ("sym", "row", "ppr", "heat")),
    lambda: AugmentFeatures((0, 3), "row", direction="along", normalize_features=True, keep_original=True),
    lambda: AugmentFeatures(2, dtype=torch.bfloat16),
    lambda: AugmentFeatures(2, dtype=torch.float64),
    lambda: AugmentFeatures(2, lambda A: A @ A),
    lambda: AugmentFeatures(2, SPARSE),
    lambda: AugmentLabels(2),
    lambda: AugmentLabels(2, "ppr", folds=3, scale=2.0),
    lambda: CombineFeatures.parse("ppr/10+row/1-2"),
    lambda: T.Compose([CombineFeatures.parse("sym/2+row/2"), ScaleComponents(0.5), AugmentLabels((1, 2), scale=0.5)]),
]


@pytest.mark.parametrize("make", CHAINS, ids=range(len(CHAINS)))
def test_the_same_bits_without_propagation(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (recipe, plain) = fit_features(make(), GRAPH)
    with caching("all") as first:
        fit_features(make(), GRAPH)
    monkeypatch.setattr(diffuse, "product", no_product)
    monkeypatch.setattr(features_first, "write_powers", no_product)
    with caching("all") as second:
        fitted, made = fit_features(make(), GRAPH)
    assert first.made == second.found == len(second.keys) > second.made == 0
    assert first.keys == second.keys
    assert torch.equal(made.x, plain.x)
    assert (made.x.dtype, made.x.stride(), made.x.device) == (plain.x.dtype, plain.x.stride(), plain.x.device)
    assert made.feature_blocks == plain.feature_blocks
    assert made.to_dict().keys() == plain.to_dict().keys()
    for ours, theirs in zip(fitted.transforms, recipe.transforms, strict=True):  # type: ignore[attr-defined]
        assert (ours.fitted or {}).keys() == (theirs.fitted or {}).keys()
        assert all(torch.equal(value, theirs.fitted[name]) for name, value in (ours.fitted or {}).items())


def looks_up(transform: Any, data: Data) -> int:
    """Return how many features are not in the cache, which keeps them."""
    with warnings.catch_warnings(), caching("all") as use:
        warnings.simplefilter("ignore", InputWarning)
        transform(data)
    return use.made


def factor(value: float) -> Callable[[Any], Any]:
    return lambda A: value * A


def test_whatever_decides_features_decides_the_key() -> None:
    x, edges, weight = GRAPH.x, GRAPH.edge_index, GRAPH.edge_weight
    assert x is not None
    assert edges is not None
    graphs = [
        GRAPH,
        changed(GRAPH, x=x + 1),
        changed(GRAPH, x=x.double()),
        changed(GRAPH, x=x[:, :5]),
        changed(GRAPH, edge_index=edges.flip(0)),
        changed(GRAPH, edge_index=edges.flip(1)),
        changed(GRAPH, edge_weight=weight + 1),
        changed(GRAPH, edge_weight=None),
    ]
    assert [looks_up(AugmentFeatures(2), each) for each in graphs] == [1] * len(graphs)
    transforms = [
        *(AugmentFeatures(3), AugmentFeatures((0, 2)), AugmentFeatures(2, "row"), AugmentFeatures(2, "ppr")),
        *(
            AugmentFeatures(2, "ppr", alpha=0.2),
            AugmentFeatures(operator="heat"),
            AugmentFeatures(operator="heat", t=2.0),
        ),
        *(AugmentFeatures(2, direction="along"), AugmentFeatures(2, normalize_features=True)),
        *(AugmentFeatures(2, dtype=torch.float64), AugmentFeatures(2, SPARSE), AugmentFeatures(2, 2 * SPARSE)),
        *(AugmentFeatures(2, lambda A: A @ A), AugmentFeatures(2, lambda A: A + A)),
        *(AugmentFeatures(2, factor(0.5)), AugmentFeatures(2, factor(0.25))),
    ]
    assert [looks_up(each, GRAPH) for each in transforms] == [1] * len(transforms)
    same = [
        (AugmentFeatures(hops=(0, 1, 2), alpha=0.5, keep_original=True), GRAPH),
        (AugmentFeatures(2, weight_attr="edge_weight"), GRAPH),
        (AugmentFeatures(2, weight_attr="strength"), changed(GRAPH, edge_weight=None, strength=weight[:, None])),
        (AugmentFeatures(2, factor(0.25)), changed(GRAPH, y=None)),
        (AugmentFeatures(2, SPARSE.copy()), changed(GRAPH, edge_index=None, edge_weight=None)),
    ]
    assert [looks_up(*each) for each in same] == [0] * len(same)


def test_whatever_decides_labels_decides_the_key() -> None:
    y, mask = GRAPH.y, GRAPH.train_mask
    assert isinstance(y, torch.Tensor)
    other = torch.where(torch.arange(30) == 2, 1, y)  # a training node
    graphs = [GRAPH, changed(GRAPH, y=other), changed(GRAPH, train_mask=~mask), changed(GRAPH, edge_weight=None)]
    assert [looks_up(AugmentLabels(2), each) for each in graphs] == [1] * 4
    transforms = [
        AugmentLabels(3),
        AugmentLabels(2, folds=2),
        AugmentLabels(2, folds=2, seed=1),
        AugmentLabels(2, "row"),
    ]
    transforms += [AugmentLabels(2, num_classes=4)]
    assert [looks_up(each, GRAPH) for each in transforms] == [1] * 5
    hidden = torch.where(mask, y, -1)  # of nodes that are not trained on
    same = [changed(GRAPH, y=hidden), changed(GRAPH, x=torch.ones(30, 2))]
    assert [looks_up(AugmentLabels(2, scale=3.0), each) for each in same] == [0, 0]


def test_a_kept_graph_warns_and_refuses_as_any_other() -> None:
    unused = changed(GRAPH, edge_weight=None, edge_attr=torch.rand(90, 1))
    assert looks_up(AugmentFeatures(2), unused) == 1
    for mode in ("none", "all"):
        with caching(mode), pytest.warns(InputWarning, match="data.edge_attr has one column") as said:
            AugmentFeatures(2)(unused)
        assert len(said) == 1
        for data, message in (
            (changed(GRAPH, x=torch.full((30, 2), float("nan"))), "data.x has 60 NaN"),
            (changed(GRAPH, x=None), "data.x must be a real tensor"),
            (changed(GRAPH, x=[object()]), "data.x must be a real tensor"),
            (changed(GRAPH, edge_index=None), "data.edge_index is missing"),
            (changed(GRAPH, edge_index=[1, 2]), "edge_index must be a tensor"),
        ):
            with caching(mode), pytest.raises(InputError, match=message):  # and no warning, which would be an error
                AugmentFeatures(2)(data)


def test_an_operator_that_cannot_be_told_apart_is_not_kept() -> None:
    lock = threading.Lock()

    def locked(A: Any) -> Any:
        with lock:
            return A

    with (
        caching("all") as use,
        pytest.warns(InputWarning, match=r"features are not kept: a lock.*version=.*cache 'none'"),
    ):
        x = AugmentFeatures(2, locked)(GRAPH).x
    assert torch.equal(x, AugmentFeatures(2, lambda A: A)(GRAPH).x)
    assert use.told() == {"cached": False, "found": 0, "made": 1, "keys": []}
    assert repr(AugmentFeatures(2, locked)) != repr(AugmentFeatures(2, locked))


class Made(InMemoryDataset):
    """A data set of one made graph, as PyG processes and keeps it."""

    def __init__(self, root: Path, **options: Any) -> None:
        super().__init__(str(root), **options)
        self.load(self.processed_paths[0])

    @property
    def processed_file_names(self) -> list[str]:
        return ["data.pt"]

    def process(self) -> None:
        self.save([GRAPH if self.pre_transform is None else self.pre_transform(GRAPH)], self.processed_paths[0])


PAIRS: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
    (lambda: AugmentFeatures(1, lambda A: A @ A), lambda: AugmentFeatures(1, lambda A: A + A)),
    (lambda: AugmentFeatures(1, factor(2.0)), lambda: AugmentFeatures(1, factor(3.0))),
    (lambda: AugmentFeatures(1, SPARSE, direction="along"), lambda: AugmentFeatures(1, 2 * SPARSE, direction="along")),
    (
        lambda: T.Compose([AugmentFeatures(1, factor(2.0)), AugmentFeatures(1, factor(2.0))]),
        lambda: T.Compose([AugmentFeatures(1, factor(2.0)), AugmentFeatures(1, factor(3.0))]),
    ),
]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=["code", "closure", "matrix", "chain"])
@pytest.mark.filterwarnings("ignore:.*weights_only.*")
def test_pyg_notices_another_pre_transform(tmp_path: Path, first: Any, second: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = Made(tmp_path, pre_transform=first())[0].x
        assert torch.equal(Made(tmp_path, pre_transform=first())[0].x, made)  # no word of the same one
    with pytest.warns(UserWarning, match="`pre_transform` argument differs"):  # PyG does no more: what it has is old
        assert torch.equal(Made(tmp_path, pre_transform=second())[0].x, made)
    fresh = Made(tmp_path, pre_transform=second(), force_reload=True)[0].x
    assert torch.equal(fresh, second()(GRAPH).x)
    assert not torch.equal(fresh, made)


def test_after_pyg_s_processing_nothing_is_out_of_date(tmp_path: Path) -> None:
    # What docs/cache.md says to do in place of a pre_transform.
    for value in (2.0, 3.0, 2.0):
        with caching("all") as use:
            x = AugmentFeatures(1, factor(value))(Made(tmp_path)[0]).x
        assert torch.equal(x, AugmentFeatures(1, factor(value))(GRAPH).x)
    assert use.found == 1

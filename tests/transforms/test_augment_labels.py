"""AugmentLabels: no label reaches its own row; what it computes, by dense formulas; what it reads; what it refuses."""

from __future__ import annotations

import math
import pickle
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from gamlp_admm import propagation
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.transforms import AugmentFeatures
from gamlp_admm.transforms import augment_labels as module
from gamlp_admm.transforms.augment_labels import AugmentLabels

OPERATORS: list[Any] = [*propagation.OPERATORS, lambda A: A @ A]
C = 3


def random_graph(seed: int = 0, nodes: int = 14, *, weighted: bool = True, dtype: torch.dtype = torch.float64) -> Data:
    """A directed graph with self-loops and repeated edges; about half of the nodes train, some without a label."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(-1, C, (nodes,), generator=generator)
    train = torch.rand(nodes, generator=generator) < 0.6
    train[:2] = True
    index = torch.randint(nodes, (2, 3 * nodes), generator=generator)
    index[:, :2] = torch.tensor([[0, 1], [0, 0]])
    data = Data(x=torch.randn(nodes, 2, generator=generator).to(dtype), edge_index=index, y=y, train_mask=train)
    if weighted:
        data.edge_weight = torch.rand(3 * nodes, generator=generator)
    return data


def new_columns(data: Data, *args: Any, **options: Any) -> Tensor:
    options = {"num_classes": C if data.y.dim() == 1 else None, "t": 1.0} | options
    x = AugmentLabels(*args, **options)(data).x
    assert torch.equal(x[:, :2], data.x)
    return x[:, 2:]


def targets(data: Data) -> Tensor:
    known = data.train_mask & (data.y >= 0)
    return F.one_hot(data.y.clamp(min=0), C).double() * known[:, None]


def dense_operators(data: Data, transform: AugmentLabels) -> list[Tensor]:
    """T_k for each state, from AugmentFeatures: what it makes of the identity."""
    eye = Data(x=torch.eye(len(data.y)).double(), edge_index=data.edge_index, edge_weight=data.edge_weight)
    options = {name: getattr(transform, name) for name in ("operator", "alpha", "t", "direction")}
    return list(AugmentFeatures(transform.states, **options)(eye).x.split(len(data.y), dim=1))


def exact(data: Data, transform: AugmentLabels) -> Tensor:
    Y, blocks = targets(data), []
    for operator in dense_operators(data, transform):
        own = torch.where(data.train_mask, operator.diagonal(), 0)
        blocks.append(operator @ Y - own[:, None] * Y)
    return torch.cat(blocks, dim=1)


def test_by_hand() -> None:
    """The path 0 - 1 - 2, of which 0 and 1 train."""
    data = Data(x=torch.zeros(3, 1), edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), y=torch.tensor([0, 1, 1]))
    data.train_mask = torch.tensor([True, True, False])
    x = AugmentLabels(1, "row")(data).x
    torch.testing.assert_close(x, torch.tensor([[0, 0, 1 / 2], [0, 1 / 3, 0], [0, 0, 1 / 2]]))


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("direction", propagation.DIRECTIONS)
@pytest.mark.parametrize("hops", [2, (1, 4)])
def test_exact_equals_the_dense_formula(operator: Any, direction: str, hops: Any) -> None:
    for seed, weighted in product(range(3), (False, True)):
        data = random_graph(seed, weighted=weighted)
        transform = AugmentLabels(hops, operator, t=0.5, direction=direction, num_classes=C)
        torch.testing.assert_close(transform(data).x[:, 2:], exact(data, transform), rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:heat with")
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("folds", [None, 2, 5])
@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    weighted=st.booleans(),
    direction=st.sampled_from(propagation.DIRECTIONS),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    label=st.integers(-1, C - 1),
)
def test_no_label_reaches_its_own_row(
    operator: Any, folds: int | None, seed: int, weighted: bool, direction: str, dtype: torch.dtype, label: int
) -> None:
    data = random_graph(seed, nodes=9, weighted=weighted, dtype=dtype)
    options = {"folds": folds, "direction": direction, "seed": seed}
    before = new_columns(data, (1, 3), operator, **options)
    for node in data.train_mask.nonzero()[:, 0].tolist():
        changed = data.clone()
        changed.y[node] = label
        assert torch.equal(new_columns(changed, (1, 3), operator, **options)[node], before[node])


@pytest.mark.parametrize("folds", [None, 3])
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), value=st.sampled_from([0.0, 0.3, 1e6, -1.0, math.nan]))
def test_no_label_of_several_reaches_its_own_row(folds: int | None, seed: int, value: float) -> None:
    data = random_graph(seed, nodes=9)
    data.y = torch.rand(9, C, generator=torch.Generator().manual_seed(seed))
    before = new_columns(data, 2, folds=folds)
    for node in data.train_mask.nonzero()[:, 0].tolist():
        changed = data.clone()
        changed.y[node, seed % C] = value
        assert torch.equal(new_columns(changed, 2, folds=folds)[node], before[node])


@pytest.mark.parametrize("folds", [None, 3])
@pytest.mark.parametrize("num_classes", [None, C])
def test_labels_of_other_nodes_are_never_read(folds: int | None, num_classes: int | None) -> None:
    data = random_graph()
    before = new_columns(data, folds=folds, num_classes=num_classes)
    for value in (-7, 0, 10**9):
        data.y[~data.train_mask] = value
        assert torch.equal(new_columns(data, folds=folds, num_classes=num_classes), before)
    data.y = F.one_hot(data.y.clamp(0, C - 1), C).float()
    before = new_columns(data, folds=folds)
    for wrong in (math.nan, math.inf, -1.0):
        data.y[~data.train_mask] = wrong
        assert torch.equal(new_columns(data, folds=folds), before)


def test_labels_of_training_nodes_reach_others() -> None:
    data = random_graph()
    before = new_columns(data, 2, folds=3)
    data.y[0] = (data.y[0] + 1) % C
    assert not torch.equal(new_columns(data, 2, folds=3), before)


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_fold_gets_the_labels_of_the_other_folds(operator: Any) -> None:
    data = random_graph()
    transform = AugmentLabels((1, 2), operator, folds=3, t=0.5, num_classes=C, seed=4)
    x, Y, operators = transform(data).x[:, 2:], targets(data), dense_operators(data, transform)
    train = data.train_mask.nonzero()[:, 0]
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(4))
    parts = [train[fold] for fold in order.tensor_split(3)] + [(~data.train_mask).nonzero()[:, 0]]
    assert torch.cat(parts).sort().values.tolist() == list(range(len(Y)))
    for nodes in parts:
        others = Y.index_fill(0, nodes, 0)
        torch.testing.assert_close(x[nodes], torch.cat([A @ others for A in operators], dim=1)[nodes])


def test_a_fold_for_each_node_is_exact() -> None:
    data = random_graph()
    alone = new_columns(data, 3, "ppr", folds=int(data.train_mask.sum()))
    torch.testing.assert_close(alone, new_columns(data, 3, "ppr"))


def test_folds_are_deterministic_and_depend_on_the_seed() -> None:
    data = random_graph()
    first, again, other = (new_columns(data, folds=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_many_training_nodes_are_divided_into_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_graph(nodes=40)
    in_folds = new_columns(data, folds=10)
    assert not torch.equal(new_columns(data), in_folds)
    monkeypatch.setattr(module, "EXACT", int(data.train_mask.sum()) - 1)
    assert torch.equal(new_columns(data), in_folds)


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_graph()
    whole = new_columns(data)
    for budget in (1, 14 * 6 * 3):
        monkeypatch.setattr(module, "_BUDGET", budget)
        torch.testing.assert_close(new_columns(data), whole)


def test_several_labels_are_taken_as_they_are() -> None:
    data = random_graph()
    data.y[data.train_mask & (data.y < 0)] = 0
    expected = new_columns(data)
    data.y = F.one_hot(data.y.clamp(min=0), C).double()
    torch.testing.assert_close(new_columns(data), expected)
    data.y = data.y.where(data.y > 0, math.nan)
    torch.testing.assert_close(new_columns(data), expected)
    data.y = data.y > 0
    torch.testing.assert_close(new_columns(data), expected)


def test_classes_in_a_column() -> None:
    data = random_graph()
    expected = new_columns(data)
    data.y = data.y[:, None]
    assert torch.equal(new_columns(data, num_classes=C), expected)


def test_scale_multiplies_the_new_columns() -> None:
    data = random_graph()
    torch.testing.assert_close(new_columns(data, scale=10.0), 10 * new_columns(data))


def test_states() -> None:
    assert AugmentLabels().states == (1, 2, 3, 4)
    assert AugmentLabels(2, "row").states == (1, 2)
    assert AugmentLabels(operator="ppr").states == (10,)
    assert AugmentLabels((2, 5), "ppr").states == (2, 5)
    assert new_columns(random_graph(), (1, 3)).shape == (14, 2 * C)


def test_a_graph_without_edges_has_nothing_to_tell() -> None:
    data = random_graph()
    data.edge_index, data.edge_weight = torch.empty(2, 0, dtype=torch.int64), None
    assert not new_columns(data, 2).any()
    data.train_mask[:] = False
    assert not new_columns(data, 2, folds=2).any()


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_features(layout: torch.layout) -> None:
    data = random_graph()
    expected = AugmentLabels(2)(data).x
    data.x = data.x.to_sparse(layout=layout)
    assert torch.equal(AugmentLabels(2)(data).x, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.int64])
def test_dtypes(dtype: torch.dtype) -> None:
    data = random_graph()
    expected = AugmentLabels(2)(data).x
    data.x = data.x.to(dtype)
    x = AugmentLabels(2)(data).x
    assert x.dtype == (dtype if dtype.is_floating_point else torch.float32)
    torch.testing.assert_close(x[:, 2:].double(), expected[:, 2:], rtol=2e-3, atol=1e-4)


def test_the_input_is_copied() -> None:
    data = random_graph()
    before = data.clone()
    AugmentLabels()(data).x.zero_()
    assert all(torch.equal(data[key], before[key]) for key in before.keys())  # noqa: SIM118
    assert AugmentLabels().forward(data) is data


def test_composes() -> None:
    data = random_graph()
    transform = T.Compose([AugmentFeatures(2), AugmentLabels(2, "ppr", num_classes=C, folds=2)])
    assert transform(data).x.shape == (14, 6 + C)
    assert "AugmentLabels(hops=2, operator='ppr', num_classes=3, folds=2)" in repr(transform)
    assert torch.equal(pickle.loads(pickle.dumps(AugmentLabels(2)))(data).x, AugmentLabels(2)(data).x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("folds", [None, 2])
def test_cuda(folds: int | None) -> None:
    data = random_graph()
    x = AugmentLabels(2, folds=folds)(data.clone().to("cuda")).x
    assert x.is_cuda
    torch.testing.assert_close(x.cpu(), AugmentLabels(2, folds=folds)(data).x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operator": "symm"}, "unknown operator 'symm': did you mean 'sym'?"),
        ({"hops": 0}, "hops is 0: it must be a number of steps, 1 or more, or an increasing set"),
        ({"hops": (0, 2)}, "hops is (0, 2): it must be a number of steps, 1 or more"),
        ({"alpha": 0.0}, "alpha is 0.0: it must be"),
        ({"scale": math.inf}, "scale is inf: it must be finite"),
        ({"num_classes": 0}, "num_classes is 0: it must be an integer, 1 or more"),
        ({"folds": 1}, "folds is 1: it must be an integer, 2 or more"),
        ({"seed": -1}, "seed is -1: it must be an integer, 0 or more"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        AugmentLabels(**options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x": None}, "data.x must be a real tensor of shape [nodes, features], got NoneType"),
        ({"edge_index": None}, "data.edge_index is missing"),
        ({"train_mask": None}, "data.train_mask must be a bool tensor [14], got NoneType"),
        (
            {"train_mask": torch.ones(13, dtype=torch.bool)},
            "data.train_mask must be a bool tensor [14], got torch.bool",
        ),
        ({"train_mask": torch.zeros(14, dtype=torch.bool)}, "no training node has a label: num_classes must be given"),
        ({"y": None}, "data.y must be a tensor [14] or [14, C], got NoneType"),
        ({"y": torch.zeros(13)}, "data.y must be a tensor [14] or [14, C], got torch.float32 [13]"),
        ({"y": torch.zeros(14)}, "data.y has real values: AugmentLabels takes one class a node"),
        ({"y": torch.full((14, 2), math.inf)}, "data.y has infinite values at training nodes"),
    ],
)
def test_wrong_data(wrong: dict[str, Any], message: str) -> None:
    data = random_graph()
    for name, value in wrong.items():
        data[name] = value
    with pytest.raises(InputError) as error:
        AugmentLabels()(data)
    assert str(error.value).startswith(message)


def test_wrong_classes() -> None:
    data = random_graph()
    data.y[0] = 2
    with pytest.raises(InputError, match="a training node has label 2: allowed: 0 to 1"):
        AugmentLabels(num_classes=2)(data)
    data.y = torch.zeros(14, 2)
    with pytest.raises(InputError, match=r"data\.y has 2 columns: num_classes is 3"):
        AugmentLabels(num_classes=3)(data)
    with pytest.raises(InputError, match=r"AugmentLabels takes a torch_geometric\.data\.Data, got a HeteroData"):
        AugmentLabels()(HeteroData())


def test_warns_when_the_heat_series_is_cut_short() -> None:
    with pytest.warns(InputWarning, match=r"heat with t=10.0 and 10 steps") as record:
        AugmentLabels(operator="heat", t=10.0)
    assert record[0].filename == __file__

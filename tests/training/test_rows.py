"""Data sets: what is taken over, and one clear line for everything that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from problems import F64, blobs, rand, randn
from torch import Tensor

from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.nn.losses import risk
from gamlp_admm.training.rows import NodeData, node_data

NAN, INF = float("nan"), float("inf")


def check(
    data: Any, classes: int = 3, loss: str = "cross_entropy", dtype: torch.dtype = F64, **options: Any
) -> NodeData:
    return node_data(data, 8, classes, risk(loss), torch.empty(0, dtype=dtype), **options)


def test_rows_come_by_split() -> None:
    data = blobs()
    nodes = check(data)
    order = torch.cat([m.nonzero()[:, 0] for m in (data.train_mask, data.val_mask, data.test_mask)])
    assert nodes.sizes == (30, 15, 15)
    assert nodes.num_train == 30
    assert nodes.x is not None
    assert torch.equal(nodes.x, data.x[order])
    assert torch.equal(nodes.y.argmax(1), data.y[order])
    assert nodes.weight is None


def test_validation_and_test_masks_are_optional() -> None:
    data = blobs()
    del data.val_mask
    data.test_mask = None
    assert check(data).sizes == (30, 0, 0)


def test_nodes_outside_the_splits_may_be_anything() -> None:
    data = blobs()
    unused = int(data.test_mask.nonzero()[-1])
    data.test_mask[unused] = False
    data.x[unused], data.y[unused] = NAN, 99
    assert check(data).sizes == (30, 15, 14)


def test_dtypes() -> None:
    data = blobs()
    wanted = check(data)
    for dtype in (torch.int32, torch.uint8, torch.int16):
        data.y = data.y.to(dtype)
        assert torch.equal(check(data).y, wanted.y)
    data.y = data.y[:, None].long()
    assert torch.equal(check(data).y, wanted.y)
    data.x = data.x.float()
    nodes = check(data)
    assert nodes.x is not None
    assert nodes.x.dtype == F64
    two = blobs(classes=2)
    two.y = two.y.bool()
    assert check(two, 2).y.shape == (60, 2)


def test_the_caller_s_data_is_left_alone() -> None:
    data = blobs()
    kept = {name: t.clone() for name, t in vars(data).items()}
    check(data, node_weight=rand(60), class_weight="balanced")
    assert all(torch.equal(t, kept[name]) for name, t in vars(data).items())


def spoil(**changes: Any) -> Callable[[SimpleNamespace], None]:
    return lambda data: vars(data).update(changes)


def put(name: str, index: Any, value: Any) -> Callable[[SimpleNamespace], None]:
    def change(data: SimpleNamespace) -> None:
        getattr(data, name)[index] = value

    return change


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (spoil(x=None), "data.x is missing"),
        (spoil(y=None), "data.y is missing"),
        (spoil(x=[[1.0]]), "data.x is a list; allowed"),
        (spoil(train_mask=None), "data.train_mask is missing"),
        (spoil(train_mask=torch.zeros(60, dtype=torch.bool)), "train_mask selects no node"),
        (spoil(train_mask=torch.ones(60)), "data.train_mask has dtype torch.float32"),
        (spoil(train_mask=torch.ones(59, dtype=torch.bool)), r"data.train_mask has .*shape \(59,\)"),
        (spoil(val_mask=torch.ones(60, 10, dtype=torch.bool)), r"data.val_mask .*shape \(60, 10\)"),
        (spoil(test_mask=[True] * 60), "data.test_mask is a list"),
        (spoil(x=torch.zeros(60)), r"data.x has shape \(60,\); the model takes \[N, 8\]"),
        (spoil(x=torch.zeros(60, 7)), r"data.x has shape \(60, 7\)"),
        (spoil(x=torch.zeros(61, 8)), r"data.y has shape \(60,\) for 61 nodes"),
        (spoil(y=torch.tensor(1)), r"data.y has shape \(\)"),
        (spoil(y=torch.zeros(60, 2, 2, dtype=torch.long)), r"data.y has shape \(60, 2, 2\)"),
        (spoil(y=torch.zeros(60)), "data.y has real values; cross_entropy takes one class a node"),
        (spoil(y=torch.zeros(60, 3)), "data.y has 3 columns; cross_entropy takes one class a node"),
        (put("x", (5, 2), NAN), "data.x has NaN or infinite values in 1 of .*row 5"),
        (put("x", (40, 0), -INF), "data.x has NaN or infinite values in 1 of .*row 40"),
        (put("y", 4, 3), "data.y has label 3 at node 4; allowed: 0 to 2"),
        (put("y", 50, -1), "data.y has label -1 at node 50"),
    ],
)
def test_bad_data(change: Callable[[SimpleNamespace], None], names: str) -> None:
    data = blobs()
    change(data)
    with pytest.raises(InputError, match=names) as error:
        check(data)
    assert "\n" not in str(error.value)


def test_finite_features_whose_sum_overflows_are_fine() -> None:
    data = blobs(dtype=torch.float32)
    data.x[:, 0] = 3e38
    assert check(data).sizes == (30, 15, 15)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"node_weight": torch.ones(59)}, "node_weight must be .*60"),
        ({"node_weight": -torch.ones(60)}, "node_weight must be .*non-negative"),
        ({"node_weight": torch.full((60,), NAN)}, "node_weight must be .*finite"),
        ({"node_weight": torch.full((60,), INF)}, "node_weight must be .*finite"),
        ({"node_weight": [1.0] * 60}, "node_weight must be a tensor"),
        ({"class_weight": torch.ones(4)}, "class_weight must be .*3"),
        ({"class_weight": torch.tensor([1.0, 1.0, -1.0])}, "class_weight must be .*non-negative"),
        ({"class_weight": torch.tensor([1.0, 1.0, INF])}, "class_weight must be .*finite"),
        ({"class_weight": [1.0, 1.0, 1.0]}, "class_weight must be a tensor"),
        ({"class_weight": "balance"}, "class_weight 'balance' is unknown; allowed: 'balanced'"),
    ],
)
def test_bad_weights(options: dict[str, Any], names: str) -> None:
    with pytest.raises(InputError, match=names) as error:
        check(blobs(), **options)
    assert "\n" not in str(error.value)


def test_weights() -> None:
    data = blobs()
    train, y = data.train_mask, data.y[data.train_mask]
    w, c = rand(60, seed=9), torch.tensor([0.5, 2.0, 0.0], dtype=F64)
    assert torch.equal(weights(data, node_weight=w), w[train])
    assert torch.equal(weights(data, class_weight=c), c[y][y < 2])
    assert torch.allclose(weights(data, node_weight=w, class_weight=c), (w[train] * c[y])[y < 2])
    balanced = weights(data, class_weight="balanced")
    totals = torch.zeros(3, dtype=F64).index_add_(0, y, balanced)
    assert torch.allclose(totals, torch.full((3,), 10.0, dtype=F64))  # every class weighs N/C
    totals = torch.zeros(3, dtype=F64).index_add_(0, y, weights(data, node_weight=w, class_weight="balanced"))
    assert torch.allclose(totals, w[train].sum().expand(3) / 3)  # and with weights of nodes as much as the others
    whole = torch.arange(60)
    assert torch.equal(weights(data, node_weight=whole), whole[train].double()[1:])


def test_nodes_of_weight_zero_are_left_out() -> None:
    data, weight = blobs(), torch.ones(60, dtype=F64)
    weight[[0, 7, 31]] = 0  # of which one is a validation node
    given = check(data, node_weight=weight)
    assert given.weight is None  # all others weigh 1
    assert given.sizes[0] == given.total_weight == 28
    left = SimpleNamespace(**{**vars(data), "train_mask": data.train_mask & (weight > 0)})
    plain = check(left)
    assert given.x is not None
    assert plain.x is not None
    assert torch.equal(given.x, plain.x)
    assert torch.equal(given.y, plain.y)
    assert given.sizes == plain.sizes
    data.x[7] = torch.nan
    check(data, node_weight=weight)
    with pytest.raises(InputError, match="all training nodes have weight 0"):
        check(data, node_weight=torch.zeros(60))
    with pytest.raises(InputError, match="too large for"):
        check(data, node_weight=torch.full((60,), 1e39, dtype=F64), dtype=torch.float32)
    assert [part.total_weight for part in check(data, node_weight=2 * weight).shards(3)] == [56] * 3


def weights(data: SimpleNamespace, **options: Any) -> Tensor:
    weight = check(data, **options).weight
    assert weight is not None
    return weight


def test_warnings() -> None:
    data = blobs()
    data.y[data.train_mask & (data.y == 2)] = 0
    with pytest.warns(InputWarning, match="no training node has class 2; the model cannot learn it"):
        check(data)
    data = blobs()
    data.val_mask[:3] = True
    with pytest.warns(InputWarning, match="train_mask and val_mask share 3 nodes"):
        check(data)
    data = blobs()
    data.test_mask |= data.val_mask
    with pytest.warns(InputWarning, match="val_mask and test_mask share 15 nodes"):
        check(data)


def test_several_labels_a_node() -> None:
    data = blobs()
    data.y = (rand(60, 4, seed=1) < 0.5).long()
    nodes = check(data, 4, "binary_cross_entropy")
    assert torch.equal(nodes.y[:30], data.y[:30].double())
    data.y[3, 1] = 2
    with pytest.raises(InputError, match=r"data\.y has values outside 0 to 1"):
        check(data, 4, "binary_cross_entropy")
    data.y = data.y.double()
    data.y[3, 1] = NAN  # not known
    assert torch.equal(check(data, 4, "binary_cross_entropy").y[:30].isnan(), data.y[:30].isnan())
    data.y[3] = NAN
    with pytest.raises(InputError, match=r"data\.y has no known label at node 3"):
        check(data, 4, "binary_cross_entropy")
    with pytest.raises(InputError, match=r"data\.y has 4 columns; the model gives 3"):
        check(data, 3, "binary_cross_entropy")
    data.y[3] = 1
    with pytest.raises(InputError, match="class_weight needs one class a node"):
        check(data, 4, "binary_cross_entropy", class_weight="balanced")


@pytest.mark.parametrize("dtype", [F64, torch.long], ids=str)
@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 2)], ids=str)
def test_regression(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    data = blobs()
    data.y = (5 * randn(*shape, seed=2)).to(dtype)
    width = shape[1] if len(shape) == 2 else 1
    nodes = check(data, width, "squared_error")
    assert torch.equal(nodes.y[:30], data.y[:30].reshape(30, width).double())
    data.y = data.y.double()
    data.y[0] = INF
    with pytest.raises(InputError, match=r"data\.y has NaN or infinite values"):
        check(data, width, "squared_error")


def test_one_label_a_node() -> None:
    data = blobs()
    data.y = data.y % 2
    nodes = check(data, 1, "binary_cross_entropy")
    assert torch.equal(nodes.y[:30, 0], data.y[:30].double())


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_shards_are_a_partition_of_every_split(parts: int) -> None:
    nodes = check(blobs(), node_weight=rand(60))
    shards = nodes.shards(parts)
    assert len(shards) == parts
    for i in range(3):
        sizes = [shard.sizes[i] for shard in shards]
        assert sum(sizes) == nodes.sizes[i]
        assert max(sizes) - min(sizes) <= 1
    for name in ("x", "y"):
        pieces = [torch.split(getattr(shard, name), shard.sizes) for shard in shards]
        joined = torch.cat([torch.cat(rows) for rows in zip(*pieces, strict=True)])
        assert torch.equal(joined, getattr(nodes, name))
    assert nodes.weight is not None
    assert torch.equal(torch.cat([s.weight for s in shards if s.weight is not None]), nodes.weight)

"""AugmentFeatures(rows=…): the wanted nodes of what it makes of all, and nothing else."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from gamlp_admm.errors import InputError
from gamlp_admm.transforms import AugmentFeatures, from_recipe

N = 30


def words() -> Data:
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(N, (2, N), generator=generator)  # as many edges as nodes
    x = (torch.rand(N, 300, generator=generator) < 0.02).double()
    data = Data(x=x, edge_index=edges, y=torch.arange(N), edge_weight=torch.rand(N, generator=generator))
    data.train_mask, data.val_mask = torch.arange(N) < 4, torch.arange(N) == 11
    data.test_mask = (torch.arange(N) > 26)[:, None].repeat(1, 3)  # of three splits
    data.names, data.source, data.num_nodes = [f"node {i}" for i in range(N)], "made", N
    return data


@pytest.mark.parametrize("operator", ["sym", "row", "ppr", "heat", lambda A: A @ A])
@pytest.mark.parametrize("layout", [torch.strided, torch.sparse_coo, torch.sparse_csr])
@pytest.mark.parametrize(
    ("rows", "numbers"),
    [
        ("labelled", [0, 1, 2, 3, 11, 27, 28, 29]),
        (torch.tensor([9, 2, 17], dtype=torch.int32), [9, 2, 17]),
        (torch.arange(N) % 10 == 3, [3, 13, 23]),
    ],
)
def test_the_wanted_nodes_of_all(operator: Any, layout: Any, rows: Any, numbers: list[int]) -> None:
    given = words()
    everything = AugmentFeatures(operator=operator, keep_original=True)(given)
    if layout is not torch.strided:
        given.x = given.x.to_sparse(layout=layout)
    before = copy.copy(given).to_dict()
    data = AugmentFeatures(operator=operator, keep_original=True, rows=rows)(given)
    torch.testing.assert_close(data.x, everything.x[numbers], rtol=1e-12, atol=1e-12)
    assert data.feature_blocks == everything.feature_blocks
    assert data.n_id.tolist() == data.y.tolist() == numbers
    original = data.x_original if layout is torch.strided else data.x_original.to_dense()
    assert original.equal(everything.x_original[numbers])
    assert data.train_mask.equal(given.train_mask[numbers])
    assert data.test_mask.equal(given.test_mask[numbers])
    assert data.names == [f"node {i}" for i in numbers]
    assert (data.source, data.num_nodes, data.num_edges) == ("made", len(numbers), 0)
    assert "edge_weight" not in data
    assert given.to_dict().keys() == before.keys()
    assert all(given[name] is value for name, value in before.items())


def test_nodes_of_a_part_of_a_graph_keep_their_numbers() -> None:
    data = words()
    data.n_id = torch.arange(N) + 100
    assert AugmentFeatures(rows=torch.tensor([5, 4]))(data).n_id.tolist() == [105, 104]


def test_nodes_of_one_type() -> None:
    graph = HeteroData()
    graph["paper"].x, graph["paper"].y = torch.randn(4, 2), torch.arange(4)
    graph["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1, 2], [1, 2, 3]])
    options: dict[str, Any] = {"hops": 2, "metapaths": [[("paper", "cites", "paper")]], "keep_original": True}
    everything = AugmentFeatures(**options)(graph)
    some = AugmentFeatures(**options, rows=torch.tensor([3, 1]))(graph)
    assert some.x.equal(everything.x[[3, 1]])
    assert some.y.tolist() == some.n_id.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("train", "rows is 'train': allowed: 'labelled', a tensor of the numbers of nodes, a bool mask"),
        ([1, 2], "rows is [1, 2]: allowed"),
        (torch.tensor([[1]]), "rows is a tensor torch.int64 [1, 1]: allowed"),
        (torch.tensor([1.0]), "rows is a tensor torch.float32 [1]: allowed"),
        (torch.ones(5, dtype=torch.bool), "rows is a mask of 5 nodes: the graph has 30"),
        (torch.zeros(N, dtype=torch.bool), "rows has no node"),
        (torch.tensor([3, N]), "rows has 30: a graph of 30 nodes allows 0 to 29"),
        (torch.tensor([-1]), "rows has -1"),
        (torch.tensor([4, 2, 4]), "rows has node 4 more than once"),
    ],
)
def test_what_stands_for_no_nodes_is_refused(rows: Any, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        AugmentFeatures(rows=rows)(words())


def test_labelled_needs_masks() -> None:
    data = words()
    for name in ("train_mask", "val_mask", "test_mask"):
        del data[name]
    with pytest.raises(InputError, match="rows is 'labelled', and data has none of train_mask, val_mask, test_mask"):
        AugmentFeatures(rows="labelled")(data)
    data.train_mask = torch.tensor([1, 2])
    with pytest.raises(InputError, match="the masks must be bool tensors of 30 nodes"):
        AugmentFeatures(rows="labelled")(data)


def test_a_model_makes_features_of_all_nodes() -> None:
    transform = AugmentFeatures(2, rows=torch.tensor([1, 2]))
    fitted, data = transform.fit(words())
    assert isinstance(fitted, AugmentFeatures)
    assert len(data.x) == 2
    again = from_recipe([fitted.recipe()], 3 * 300)
    made: Tensor = again(words()).x
    assert made.equal(AugmentFeatures(2)(words()).x)


def test_text_tells_nodes_apart() -> None:
    # PyG compares it to tell whether a processed data set is of the same transform.
    rows = torch.arange(2000)
    other = torch.where(rows == 1000, 2000, rows)
    assert repr(AugmentFeatures(rows=rows)) == repr(AugmentFeatures(rows=rows.clone()))
    assert len({repr(AugmentFeatures(rows=each)) for each in (rows, other, rows.int())}) == 3
    assert repr(AugmentFeatures(rows="labelled")).endswith("rows='labelled')")

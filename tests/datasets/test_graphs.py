"""A graph of one's own, in every form that is accepted: the same graph comes out."""

from __future__ import annotations

import sys
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from torch_geometric.data import Data, HeteroData
from torch_geometric.transforms import GCNNorm, ToSparseTensor

from gamlp_admm.datasets import load_graph
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.system.memory import is_mapped
from gamlp_admm.transforms import AugmentFeatures

N, CLASSES = 30, 3
NAMES = ["apple", "banana", "cherry"]


def sample(seed: int = 0) -> Data:
    """An undirected graph with weights, three masks and all labels."""
    random = torch.Generator().manual_seed(seed)
    upper = (torch.rand(N, N, generator=random) < 0.2).triu(1)
    one_way = upper.nonzero().T
    index = torch.cat([one_way, one_way.flip(0)], 1)
    order = (index[0] * N + index[1]).argsort()
    weight = (1 + torch.arange(one_way.shape[1]) % 5).float().repeat(2)[order]
    part = torch.arange(N) % 5
    return Data(
        x=torch.randn(N, 4, generator=random),
        edge_index=index[:, order],
        edge_weight=weight,
        y=torch.arange(N) % CLASSES,
        train_mask=part < 3,
        val_mask=part == 3,
        test_mask=part == 4,
    )


def tables(folder: Path, data: Data, *, ids: bool = True, split: bool = True) -> Path:
    """Write it as tables, each edge once, nodes and classes by name, in an order of their own."""
    nodes = pd.DataFrame(data.x.numpy(), columns=[f"f{i}" for i in range(4)])
    nodes["label"] = [NAMES[label] for label in data.y]
    if ids:
        nodes["id"] = [f"node {i}" for i in range(N)]
    if split:
        nodes["split"] = np.select([data.train_mask, data.val_mask], ["train", "valid"], "test")
    once = data.edge_index[:, data.edge_index[0] < data.edge_index[1]]
    weight = data.edge_weight[data.edge_index[0] < data.edge_index[1]]
    edges = pd.DataFrame({"source": once[0], "target": once[1], "weight": weight})
    if ids:
        edges["source"], edges["target"] = ("node " + edges[end].astype(str) for end in ("source", "target"))
    folder.mkdir()
    nodes.to_csv(folder / "nodes.csv", index=False)
    edges.to_csv(folder / "edges.csv", index=False)
    return folder


def as_torch(folder: Path, data: Data) -> Path:
    torch.save(data, folder / "graph.pt")
    return folder / "graph.pt"


def as_dictionary(folder: Path, data: Data) -> Path:
    torch.save(data.to_dict(), folder / "graph.pt")
    return folder / "graph.pt"


def as_arrays(folder: Path, data: Data) -> Path:
    np.savez(folder / "graph.npz", **{name: value.numpy() for name, value in data.to_dict().items()})
    return folder / "graph.npz"


def as_benchmark(folder: Path, data: Data) -> Path:
    """Write the layout of gnn-benchmark's files, with masks beside."""
    matrix = csr_matrix((data.edge_weight.numpy(), data.edge_index.numpy()), (N, N))
    x = csr_matrix(data.x.numpy())
    parts = {f"{name}_{part}": getattr(m, part) for name, m in (("adj", matrix), ("attr", x)) for part in PARTS}
    masks = {f"{part}_mask": data[f"{part}_mask"].numpy() for part in ("train", "val", "test")}
    np.savez(folder / "graph.npz", labels=data.y.numpy(), **parts, **masks)
    return folder / "graph.npz"


PARTS = ("data", "indices", "indptr", "shape")


def as_tables(folder: Path, data: Data) -> Path:
    return tables(folder / "graph", data)


def as_transposed(folder: Path, data: Data) -> Data:
    """As ``ToSparseTensor`` leaves it without torch_sparse, with labels [N, 1]."""
    matrix = torch.sparse_coo_tensor(data.edge_index.flip(0), data.edge_weight, (N, N)).to_sparse_csr()
    masks = {f"{part}_mask": data[f"{part}_mask"] for part in ("train", "val", "test")}
    return Data(x=data.x, adj_t=matrix, y=data.y[:, None].double(), **masks)


@pytest.mark.parametrize("form", [as_torch, as_dictionary, as_arrays, as_benchmark, as_tables, as_transposed])
def test_every_form_gives_the_same_graph(form: Any, tmp_path: Path) -> None:
    data = sample()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse")  # torch, of its compressed rows
        found = load_graph(form(tmp_path, data)).data
    for name in ("x", "edge_index", "edge_weight", "y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(found[name], data[name]), name


def test_names_of_classes_and_nodes_are_kept(tmp_path: Path) -> None:
    loaded = load_graph(tables(tmp_path / "graph", sample()))
    assert loaded.data.class_names == NAMES
    assert loaded.data.node_ids[7] == "node 7"
    assert (loaded.info.classes, loaded.info.features, loaded.info.nodes) == (3, 4, N)
    assert "as they came with the data" in loaded.split


def test_columns_are_named(tmp_path: Path) -> None:
    folder = tables(tmp_path / "graph", sample(), ids=False, split=False)
    nodes = pd.read_csv(folder / "nodes.csv").rename(columns={"label": "kind"})
    nodes["year"] = 1
    nodes.to_csv(folder / "nodes.csv", index=False)
    assert load_graph(folder, label="kind").data.num_features == 5
    assert load_graph(folder, label="kind", features="f1,f3").data.feature_names == ["f1", "f3"]
    assert load_graph(folder, label="kind", features="f*").data.num_features == 4
    loaded = load_graph(folder, label="kind", weight="weight", features="degree", split="per-class:2:3")
    assert loaded.data.num_features == 2
    assert [loaded.info.train, loaded.info.val, loaded.info.test] == [6, 9, 15]
    with pytest.raises(InputError, match=r"column of label 'klass'.*kind"):
        load_graph(folder, label="klass")
    with pytest.raises(InputError, match="column of features 'g"):
        load_graph(folder, label="kind", features="g*")
    with pytest.raises(InputError, match="no labels"):
        load_graph(folder)


def test_unknown_labels_are_not_a_class(tmp_path: Path) -> None:
    folder = tables(tmp_path / "graph", sample(), split=False)
    nodes = pd.read_csv(folder / "nodes.csv")
    nodes.loc[:4, "label"] = None
    nodes.to_csv(folder / "nodes.csv", index=False)
    data = load_graph(folder).data
    assert data.class_names == NAMES
    assert data.y[:6].tolist() == [-1] * 5 + [2]
    assert not (data.train_mask | data.val_mask | data.test_mask)[:5].any()
    plain = sample()
    del plain.train_mask, plain.val_mask, plain.test_mask
    given = load_graph(plain, label=torch.tensor([float("nan")] * 5 + [0.0, 1.0, 2.0] * 8 + [0.0])).data
    assert given.y[:6].tolist() == [-1] * 5 + [0]


def test_numbers_as_names_of_classes_stay_in_their_order(tmp_path: Path) -> None:
    folder = tables(tmp_path / "graph", sample())
    nodes = pd.read_csv(folder / "nodes.csv")
    nodes["label"] = nodes["label"].map({"apple": 1980, "banana": 9, "cherry": 200})
    nodes.to_csv(folder / "nodes.csv", index=False)
    data = load_graph(folder).data
    assert data.class_names == ["9", "200", "1980"]
    assert data.y[:3].tolist() == [2, 0, 1]


def test_networkx_and_scipy() -> None:
    data = sample()
    once = data.edge_index[:, data.edge_index[0] < data.edge_index[1]].T.tolist()
    graph = nx.Graph()
    graph.add_nodes_from((f"n{i}", {"kind": NAMES[data.y[i]], "vector": data.x[i].tolist()}) for i in range(N))
    graph.add_edges_from((f"n{u}", f"n{v}") for u, v in once)
    found = load_graph(graph, label="kind", features="vector").data
    assert torch.equal(found.edge_index, data.edge_index)
    assert torch.equal(found.x, data.x)
    assert found.class_names == NAMES
    matrix = csr_matrix((data.edge_weight.numpy(), data.edge_index.numpy()), (N, N))
    found = load_graph(matrix, label=data.y, features=data.x).data
    assert torch.equal(found.edge_index, data.edge_index)
    assert torch.equal(found.edge_weight, data.edge_weight)
    one_way = csr_matrix((np.ones(1), ([2], [5])), (N, N))
    assert load_graph(one_way, label=data.y, features=data.x).data.edge_index.tolist() == [[2], [5]]
    with pytest.raises(InputError, match="attribute of nodes 'klass'"):
        load_graph(graph, label="klass")


def test_directions(tmp_path: Path) -> None:
    data = sample()
    folder = tables(tmp_path / "graph", data)
    assert load_graph(folder, directed=True).data.num_edges * 2 == data.num_edges
    data.edge_index, data.edge_weight = torch.tensor([[0, 1], [1, 2]]), None
    assert load_graph(data).data.num_edges == 2
    assert load_graph(data, directed=False).data.num_edges == 4


def test_splits() -> None:
    data = sample()
    numbers = {"train": torch.arange(5), "valid": torch.arange(5, 9), "test": np.arange(9, 12)}
    found = load_graph(data, split=numbers).data
    assert [found[f"{part}_mask"].nonzero().view(-1).tolist() for part in ("train", "val", "test")] == [
        [*range(5)],
        [*range(5, 9)],
        [*range(9, 12)],
    ]
    del data.train_mask, data.val_mask, data.test_mask
    assert load_graph(data).split.startswith("60/20/20")
    many = torch.stack([torch.arange(N) % 4 == k for k in range(4)], 1)
    data.train_mask, data.val_mask, data.test_mask = many, many.roll(1, 1), many.roll(2, 1)
    assert torch.equal(load_graph(data, split_index=2).data.train_mask, many[:, 2])
    with pytest.raises(InputError, match="split_index 4: the graph has the splits 0 to 3"):
        load_graph(data, split_index=4)
    with pytest.raises(InputError, match="part of a split 'dev'"):
        load_graph(data, split={"dev": [1]})
    with pytest.raises(InputError, match="per-class:0:3"):
        load_graph(data, split="per-class:0:3")


@pytest.mark.parametrize(("features", "columns"), [("degree", 2), ("identity", N), ("random:7", 7), ("random", 128)])
def test_features_where_there_are_none(features: str, columns: int) -> None:
    data = sample()
    del data.x
    assert load_graph(data, features=features).data.x.shape == (N, columns)
    with pytest.raises(InputError, match="the nodes have no features; allowed features: degree"):
        load_graph(data)
    with pytest.raises(InputError, match="identity: 20,001 columns are too many"):
        load_graph(csr_matrix((20_001, 20_001)), label=np.arange(20_001) % 2, features="identity")


def test_the_callers_data_are_left_as_they_are() -> None:
    data = sample()
    del data.train_mask, data.val_mask, data.test_mask
    before = data.to_dict()
    load_graph(data, features="degree", directed=False)
    assert data.to_dict().keys() == before.keys()
    assert torch.equal(data.x, before["x"])


class Evil:
    """Its pickle would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_what_is_refused(tmp_path: Path) -> None:
    def refused(source: Any, match: str) -> None:
        with pytest.raises(InputError, match=match):
            load_graph(source)

    refused(tmp_path / "none.pt", "no such file")
    refused(tmp_path, r"has no nodes\.csv")
    (tmp_path / "graph.gml").write_text("graph")
    refused(tmp_path / "graph.gml", r"kind of file graph\.gml '\.gml'.*\.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    refused(tmp_path / "broken.npz", "cannot be read")
    np.savez(tmp_path / "objects.npz", x=np.array([Evil(tmp_path / "run")], dtype=object))
    refused(tmp_path / "objects.npz", "cannot be read")
    torch.save({"x": Evil(tmp_path / "run")}, tmp_path / "evil.pt")
    refused(tmp_path / "evil.pt", r"holds a \S+, which could run code and is not read")
    torch.save(Data(x=Fraction(1, 2)), tmp_path / "other.pt")
    refused(tmp_path / "other.pt", r"holds a fractions\.Fraction, which")
    assert not (tmp_path / "run").exists()
    torch.save(torch.nn.Linear(2, 2).state_dict()["weight"], tmp_path / "tensor.pt")
    refused(tmp_path / "tensor.pt", "holds a Tensor")
    refused(HeteroData(), "not HeteroData")
    refused(Data(x=torch.ones(3, 1), y=torch.zeros(3)), "no edges")
    folder = tables(tmp_path / "graph", sample())
    edges = pd.read_csv(folder / "edges.csv")
    edges.loc[3, "target"] = "node 99"
    edges.to_csv(folder / "edges.csv", index=False)
    refused(folder, "an edge has the target 'node 99', which is no node")
    outside = sample()
    outside.edge_index = torch.tensor([[0], [N]])
    refused(outside, "data")


def test_a_graph_to_predict_needs_no_labels(tmp_path: Path) -> None:
    folder = tables(tmp_path / "graph", sample())
    nodes = pd.read_csv(folder / "nodes.csv")
    nodes.drop(columns=["label", "split"]).to_csv(folder / "nodes.csv", index=False)
    loaded = load_graph(folder, classes=NAMES)
    assert loaded.class_names == NAMES
    assert loaded.info.classes == 3
    assert loaded.data.y.tolist() == [-1] * N
    assert not any(loaded.data[f"{part}_mask"].any() for part in ("train", "val", "test"))
    nodes.loc[:4, "label"] = None
    nodes.to_csv(folder / "nodes.csv", index=False)
    loaded = load_graph(folder, classes=["cherry", "banana", "apple", "date"])  # a model's order, and one more
    assert loaded.data.y[:9].tolist() == [-1] * 5 + [0, 2, 1, 0]
    assert (loaded.info.classes, loaded.info.train) == (4, 18)  # masks as they came, of unknown classes too
    unlabelled = sample()
    del unlabelled.y
    assert load_graph(unlabelled, classes=5).info.classes == 5
    with pytest.raises(InputError, match="no labels"):
        load_graph(unlabelled)
    for source, label, split in ((folder, "kind", "column:fold"), (unlabelled, "kind", "masks")):  # as in training
        assert load_graph(source, label=label, split=split, classes=NAMES).data.y.tolist() == [-1] * N


def test_attributes_are_named() -> None:
    data = sample()
    other = Data(feat=data.x, kind=data.y[:, None], edge_index=data.edge_index, names=[f"n{i}" for i in range(N)])
    other.edge_attr = data.edge_weight[:, None]
    loaded = load_graph(other, label="kind", features="feat", weight="edge_attr", id="names")
    assert torch.equal(loaded.data.x, data.x)
    assert torch.equal(loaded.data.y, data.y)
    assert torch.equal(loaded.data.edge_weight, data.edge_weight)
    assert loaded.node_ids == other.names
    for wrong, match in (
        ("edge_atr", "attribute of weight 'edge_atr': did you mean 'edge_attr'"),
        ("feat", "one weight"),
    ):
        with pytest.raises(InputError, match=match):
            load_graph(other, label="kind", features="feat", weight=wrong)


def test_a_column_of_edge_attr_is_not_dropped_in_silence() -> None:
    data = sample()
    data.edge_attr, data.edge_weight = data.edge_weight[:, None], None
    with pytest.warns(InputWarning, match="edge_attr has one column, but is not used"):
        AugmentFeatures(1)(load_graph(data).data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for weight in ("edge_attr", "edge_weight"):  # used, or by word not
            AugmentFeatures(1)(load_graph(data, weight=weight).data)
    one_way = data.edge_index[0] < data.edge_index[1]
    data.edge_index, data.edge_attr = data.edge_index[:, one_way], data.edge_attr[one_way]
    assert torch.equal(load_graph(data, directed=False).data.edge_attr, sample().edge_weight[:, None])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loops", [False, True])
def test_a_normalised_graph_is_recognised(weighted: bool, loops: bool) -> None:
    data = sample()
    if not weighted:
        data.edge_weight = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_graph(data)
    if weighted and not loops:  # its degrees are no longer known
        return
    with pytest.warns(InputWarning, match="normalised already"):
        load_graph(GCNNorm(add_self_loops=loops)(data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse")  # torch, of its compressed rows
        transposed = ToSparseTensor(attr="edge_weight", layout=torch.sparse_csr)
        data = transposed(GCNNorm(add_self_loops=loops)(data))
    with pytest.warns(InputWarning, match="normalised already"):
        load_graph(data)


def test_numbers_of_nodes_are_checked() -> None:
    data = sample()
    for nodes in ([-1], [N], [0.5]):
        with pytest.raises(InputError, match=f"the split's valid must have numbers of nodes, from 0 to {N - 1}"):
            load_graph(data, split={"train": [0, 1], "valid": nodes, "test": [2]})
    by_name = {"train": torch.arange(10), "valid": torch.arange(10, 20), "test": torch.arange(20, N)}
    kept = Data(x=data.x, y=data.y, edge_index=data.edge_index, split_idx=by_name)
    assert load_graph(kept, split="masks").data.val_mask.nonzero().view(-1).tolist() == [*range(10, 20)]
    del kept.split_idx
    with pytest.raises(InputError, match="split_index 0: the data come with no split"):
        load_graph(kept, split_index=0)
    with pytest.raises(InputError, match="split_index 0: the data come with one split"):
        load_graph(data, split_index=0)


@pytest.mark.parametrize(
    ("change", "options", "match"),
    [
        ({"y": torch.full((N,), -1)}, {}, "no node whose class is known"),
        ({"edge_index": torch.zeros(7, 2, dtype=torch.long)}, {}, r"edge_index must be numbers of nodes \[2, E\]"),
        ({"edge_index": torch.zeros(2, 7)}, {}, r"edge_index must be numbers of nodes \[2, E\], got torch\.float32"),
        ({"y": torch.zeros(5)}, {}, "30 rows of features and 5 labels"),
        ({"y": 5}, {}, "labels must be one a node"),
        ({}, {"features": np.zeros((5, 2))}, "5 rows of features and 30 labels"),
        ({}, {"features": np.array([["a"]] * N)}, "features must be numbers"),
        ({}, {"split": 5}, "split 5: allowed"),
        ({}, {"classes": 0}, "classes 0: allowed"),
        ({}, {"classes": "abc"}, "classes 'abc': allowed"),
        ({"train_mask": torch.arange(4)}, {}, "train_mask must be a bool tensor"),
    ],
)
def test_what_cannot_be_a_graph(change: dict[str, Any], options: dict[str, Any], match: str) -> None:
    data = sample()
    for name, value in change.items():
        data[name] = value
    with pytest.raises(InputError, match=match):
        load_graph(data, **options)


def test_arrays_of_every_kind() -> None:
    data = sample()
    data.edge_index = data.edge_index.numpy().astype(np.int32)
    frame = pd.DataFrame(data.x.numpy())
    for features in (frame, csr_matrix(frame), frame.to_numpy().tolist(), data.x.to_sparse()):
        found = load_graph(data, features=features, label=pd.Series(data.y.numpy())).data
        assert torch.equal(found.x, data.x)
        assert torch.equal(found.edge_index, sample().edge_index)
        assert torch.equal(found.y, data.y)
    with pytest.raises(InputError, match="5 nodes and 20 labels"):
        load_graph(csr_matrix((5, 5)), label=["a", "b"] * 10, features="degree")
    with pytest.raises(InputError, match="as many rows as columns, not 5 and 6"):
        load_graph(csr_matrix((5, 6)), label=["a"] * 5)


def test_what_a_data_set_of_pyg_keeps(tmp_path: Path) -> None:
    data = sample()
    torch.save((data.to_dict(), None, Data), tmp_path / "data.pt")
    assert torch.equal(load_graph(tmp_path / "data.pt").data.x, data.x)


def test_several_labels_a_node_stay_as_they_are() -> None:
    data = sample()
    many = torch.eye(3)[data.y]
    many[0] = float("nan")
    for part in ("train", "val", "test"):
        del data[f"{part}_mask"]
    data.y = many
    loaded = load_graph(data)
    assert loaded.data.y is many
    assert (loaded.info.nodes, loaded.info.classes) == (N, 3)
    assert loaded.info.train + loaded.info.val + loaded.info.test == N - 1


def test_directed_networks_stay_so() -> None:
    graph = nx.DiGraph([(0, 1), (1, 2)])
    assert load_graph(graph, label=["a", "b", "a"], features="degree").data.num_edges == 2
    with pytest.raises(InputError, match="attribute of edges 'w'"):
        load_graph(graph, label=["a", "b", "a"], features="degree", weight="w")


def test_tensors_of_a_file_can_stay_there(tmp_path: Path) -> None:
    path = as_torch(tmp_path, sample())
    for file in (path, tmp_path / "old.pt"):
        if not file.exists():  # whose format cannot be mapped
            torch.save(sample().to_dict(), file, _use_new_zipfile_serialization=False)
        there, here = load_graph(file, mmap=True), load_graph(file)
        assert is_mapped(there.data.x.data_ptr()) == (file == path and sys.platform == "linux")
        assert not is_mapped(here.data.x.data_ptr())
        assert torch.equal(there.data.x, here.data.x)
        assert torch.equal(there.data.train_mask, here.data.train_mask)

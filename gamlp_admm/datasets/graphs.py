"""A graph of one's own, in whatever form it lies: made into what a named data set is.

Accepted are a PyG ``Data`` (also with ``adj_t``, ``edge_attr``, labels ``[N, 1]``, ten splits ``[N, 10]``), a NetworkX
graph, a SciPy adjacency, and files (:mod:`gamlp_admm.datasets.graph_files`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import degree, is_undirected, sort_edge_index, to_undirected

from gamlp_admm.datasets.graph_files import Columns, edges_of, read
from gamlp_admm.datasets.info import DatasetInfo
from gamlp_admm.datasets.loading import LoadedDataset
from gamlp_admm.datasets.splits import USUAL, default_rule, known_labels, told_split
from gamlp_admm.errors import InputError, unknown

SHARES = "60/20/20"
"""How nodes are divided where neither the graph nor the caller says it."""

PARTS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
PROJECTED = 128
MADE_FEATURES = ("degree", "identity", "random")


def load_graph(
    source: Any,
    *,
    label: Any = None,
    features: Any = None,
    id: str | None = None,
    weight: str | None = None,
    directed: bool | None = None,
    split: str | Mapping[str, Any] | None = None,
    split_index: int | None = None,
    seed: int | None = None,
) -> LoadedDataset:
    """Load a graph of one's own, checked, with masks set: what :func:`load_dataset` gives for a named one.

    Args:
        source: A file or folder (:mod:`gamlp_admm.datasets.graph_files`), a PyG ``Data``, a NetworkX graph, or a SciPy
            sparse adjacency ``[N, N]`` whose entry i, j is an edge from i to j.
        label: Of tables the column, of NetworkX the attribute of the nodes, that has the class; else labels ``[N]``,
            numbers or texts. Negative, NaN, ``None`` and empty: not known.
        features: Of tables the columns (``"age,f*"``), of NetworkX the attribute; else an array ``[N, F]``. Or what is
            made of the graph where nodes have none: ``"degree"``, ``"identity"``, or ``"random:64"``, a random
            projection of the identity to 64 columns.
        id: Of a table of nodes the column that edges refer to.
        weight: Of a table of edges the column, of NetworkX the attribute, that has an edge's weight.
        directed: Whether edges are kept in the direction that they have. Default: of tables and undirected graphs no,
            of others yes.
        split: A rule, as for :func:`load_dataset`; ``"per-class:20:30"`` draws 20 nodes a class to train and 30 to
            validate; or a mapping from ``"train"``, ``"val"`` (or ``"valid"``) and ``"test"`` to the numbers of nodes,
            as OGB's ``get_idx_split`` gives. Default, ``"usual"``: the masks that come with the graph, what is missing
            drawn (:mod:`gamlp_admm.datasets.splits`); where none come, 60/20/20 at random.
        split_index: Which of several splits ``[N, S]`` that come with the graph.
        seed: Seed of a random split.

    Returns:
        The data, with ``class_names`` where classes have names, ``node_ids`` where nodes have them, and a description.

    Raises:
        InputError: Something is wrong or missing.
    """
    data, name = _opened(source, Columns(label if isinstance(label, str) else None, _text(features), id, weight))
    data = copy.copy(data)
    if not isinstance(label, str | None):
        data.y = label
    if _made(features):
        data.x = None
    elif not isinstance(features, str | None):
        data.x = features
    _numbered_classes(data)
    data.num_nodes = data.y.numel()
    _edges(data, directed)
    _features(data, features if isinstance(features, str) else None, seed)
    if isinstance(split, Mapping):
        _masks_of(data, split)
        split = None
    _masks_of(data, {part: data[f"{part}_idx"] for part in PARTS if f"{part}_idx" in data})
    _choose_split(data, split_index)
    try:
        data.validate()
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    return _divided(data, name, split, seed)


def _made(features: Any) -> bool:
    return isinstance(features, str) and features.partition(":")[0] in MADE_FEATURES


def _text(given: Any) -> str | None:
    return given if isinstance(given, str) and not _made(given) else None


def _opened(source: Any, columns: Columns) -> tuple[Data, str]:
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        return read(path, columns), path.name
    if isinstance(source, Data):
        return source, "data"
    if hasattr(source, "tocoo") and hasattr(source, "shape"):
        return Data(**edges_of(source), num_nodes=source.shape[0]), "adjacency"
    if hasattr(source, "nodes") and hasattr(source, "edges"):
        return _networkx(source, columns), "graph"
    raise InputError(
        f"a graph is a file, a folder, a PyG Data, a NetworkX graph or a SciPy adjacency, not {type(source).__name__}"
    )


def _networkx(graph: Any, columns: Columns) -> Data:
    ids = list(graph.nodes)
    number = {node: i for i, node in enumerate(ids)}
    found = list(graph.edges(data=True))
    ends = torch.tensor([[number[u] for u, *_ in found], [number[v] for _, v, *_ in found]], dtype=torch.long)
    data = Data(edge_index=ends, num_nodes=len(ids), node_ids=[str(node) for node in ids])
    if columns.weight is not None:
        data.edge_weight = torch.tensor([float(each[-1].get(columns.weight, 1.0)) for each in found])
    if not graph.is_directed():
        data.edge_index, data.edge_weight = _both_ways(data)

    def attributes(name: str) -> list[Any]:
        values = [graph.nodes[node].get(name) for node in ids]
        if all(value is None for value in values):
            raise unknown("attribute of nodes", name, sorted({key for node in ids for key in graph.nodes[node]}))
        return values

    if columns.label is not None:
        data.y = attributes(columns.label)
    if columns.features is not None:
        data.x = torch.tensor(np.asarray(attributes(columns.features), dtype=np.float32).reshape(len(ids), -1))
    return data


def _both_ways(data: Data) -> tuple[Tensor, Tensor | None]:
    weight = data.edge_weight
    if weight is None:
        return to_undirected(data.edge_index, num_nodes=data.num_nodes), None
    index, weight = to_undirected(data.edge_index, weight, num_nodes=data.num_nodes, reduce="max")
    return index, weight


def _edges(data: Data, directed: bool | None) -> None:
    # Edges as edge_index and edge_weight, whatever they came as.
    if data.edge_index is None and data.get("adj_t") is not None:
        if hasattr(data.adj_t, "coo"):  # torch_sparse
            row, col, value = data.adj_t.coo()
        else:
            entries = data.adj_t.to_sparse_coo().coalesce()
            (row, col), value = entries.indices(), entries.values()
        value = torch.ones(len(row)) if value is None else value.float()
        index, value = sort_edge_index(torch.stack([col, row]), value)  # an entry i, j of Aᵀ is an edge from j to i
        data.edge_index = index
        if not bool((value == 1).all()):
            data.edge_weight = value
        del data.adj_t
    if data.edge_index is None:
        raise InputError("the graph has no edges: allowed are edge_index, adj_t, or an adjacency")
    from_tables = data.get("feature_names") is not None or data.get("node_ids") is not None
    if directed is False or (directed is None and from_tables and not is_undirected(data.edge_index)):
        data.edge_index, data.edge_weight = _both_ways(data)


def _numbered_classes(data: Data) -> None:
    # Labels as numbers from 0, -1 where not known; names beside them where they are no such numbers already.
    y = data.y
    if y is None:
        raise InputError("the graph has no labels: name their column, or give label, one class a node")
    if isinstance(y, Tensor) or (isinstance(y, np.ndarray) and y.dtype.kind in "iufb"):
        data.y = torch.as_tensor(y)
        return
    known = [None if value is None or value != value or value == "" else value for value in y]
    names = sorted({str(value) for value in known if value is not None}, key=_natural)
    numbers = {name: i for i, name in enumerate(names)}
    data.y = torch.tensor([-1 if value is None else numbers[str(value)] for value in known])
    data.class_names = names


def _natural(name: str) -> tuple[int, float, str]:
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)


def _features(data: Data, made: str | None, seed: int | None) -> None:
    if data.x is not None:
        x = torch.as_tensor(data.x)
        x = x.to_dense() if x.layout is not torch.strided else x
        data.x = x.float().reshape(len(x), -1)
        return
    N = int(data.num_nodes)
    kind, _, width = (made or "").partition(":")
    if kind == "degree":
        counts = degree(data.edge_index[1], N)
        data.x = torch.stack([counts, counts.log1p()], 1)
    elif kind == "identity":
        data.x = torch.eye(N)
    elif kind == "random":
        if width and not (width.isdigit() and int(width)):
            raise InputError(f"features {made!r}: allowed: a positive number of columns, as random:64")
        generator = torch.Generator().manual_seed(0 if seed is None else seed)
        columns = int(width) if width else PROJECTED
        data.x = torch.randn(N, columns, generator=generator) / columns**0.5
    else:
        raise InputError(
            f"the nodes have no features; allowed features: {', '.join(MADE_FEATURES)}, or an array [N, F]"
        )


def _masks_of(data: Data, split: Mapping[str, Any]) -> None:
    for name, nodes in split.items():
        if name not in PARTS:
            raise unknown("part of a split", name, list(PARTS))
        mask = torch.zeros(int(data.num_nodes), dtype=torch.bool)
        mask[torch.as_tensor(nodes)] = True
        data[f"{PARTS[name]}_mask"] = mask


def _choose_split(data: Data, number: int | None) -> None:
    if number is None:
        return
    for part in ("train", "val", "test"):
        mask = data.get(f"{part}_mask")
        if mask is not None and mask.dim() == 2:
            if not 0 <= number < mask.size(1):
                raise InputError(f"split_index {number}: the graph has the splits 0 to {mask.size(1) - 1}")
            data[f"{part}_mask"] = mask[:, number]


def _divided(data: Data, name: str, split: str | None, seed: int | None) -> LoadedDataset:
    names: Sequence[str] = data.get("class_names") or ()
    classes = len(names) or None
    rule = split
    if split is None or split == USUAL:
        rule = default_rule(data, seed, classes)
        rule = SHARES if rule == "per-class" else rule
    assert rule is not None
    masks, text = told_split(rule, data, seed, classes)
    data.y = known_labels(data.y, classes)
    data.update({f"{part}_mask": mask for part, mask in masks._asdict().items()})
    train, val, test = (int(mask.sum()) for mask in masks)
    info = DatasetInfo(
        name=name,
        title="a graph of one's own",
        kind="graph",
        loader="graph",
        split=rule,
        licence="",
        origin="",
        url="",
        nodes=int(data.num_nodes),
        edges=int(data.num_edges),
        features=int(data.num_features),
        classes=classes or int(data.y.max()) + 1,
        train=train,
        val=val,
        test=test,
        download_bytes=0,
    )
    return LoadedDataset(data, info, f"{rule}: {text}")

"""A graph of one's own, in whatever form it lies: made into what a named data set is.

Accepted are a PyG ``Data`` (also with ``adj_t``, ``edge_attr``, labels ``[N, 1]``, ten splits ``[N, 10]``), a NetworkX
graph, a SciPy adjacency, and files (:mod:`gamlp_admm.datasets.graph_files`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import degree, is_undirected, sort_edge_index, to_undirected

from gamlp_admm.datasets.classes import numbered
from gamlp_admm.datasets.graph_files import edges_of, read, with_attributes
from gamlp_admm.datasets.graph_splits import SHARES, count_of, divided, set_masks
from gamlp_admm.datasets.info import DatasetInfo
from gamlp_admm.datasets.loading import LoadedDataset
from gamlp_admm.datasets.splits import choose_split
from gamlp_admm.datasets.stored import from_store, refuse, store_at, stored
from gamlp_admm.datasets.tables import Columns
from gamlp_admm.datasets.targets import target_kind
from gamlp_admm.errors import InputError, InputWarning, random_seed, unknown

PROJECTED = 128
MOST_IDENTITY = 20_000
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
    classes: Sequence[str] | int | None = None,
    mmap: bool = False,
) -> LoadedDataset:
    """Load a graph of one's own, checked, with masks set: what :func:`load_dataset` gives for a named one.

    Args:
        source: A file or folder (:mod:`gamlp_admm.datasets.graph_files`), a PyG ``Data``, a NetworkX graph, or a SciPy
            sparse adjacency ``[N, N]`` whose entry i, j is an edge from i to j. Or a directory of stored features
            (:class:`gamlp_admm.propagation.StoredFeatures`), which stay on the disk: a graph without edges, with
            the split that was stored, to which only ``split``, ``split_index``, ``seed`` and ``classes`` apply.
        label: Name of what has the class of a node: of tables a column, of ``Data`` and arrays an attribute, of
            NetworkX an attribute of the nodes; else labels ``[N]``, numbers or texts. Negative, NaN, ``None`` and
            empty: not known. ``[N, T]`` of 0 and 1 (-1 or NaN: not known) is several labels a node; other numbers
            ``[N, T]``, and fractions ``[N]``, are real targets.
        features: Of tables the columns, ``"age,f*"`` or a list of names, of others the attribute; else an array
            ``[N, F]``. Or what is made of the graph where nodes have none: ``"degree"``, ``"identity"``, or
            ``"random:64"``, a random projection of the identity to 64 columns.
        id: Of a table of nodes the column that edges refer to, of others the attribute that has the nodes' names.
        weight: Of a table of edges the column, of ``Data``, arrays and NetworkX the attribute, that has an edge's
            weight, as ``"edge_attr"``.
        directed: Whether edges are kept in the direction that they have. Default: of tables and undirected graphs no,
            of others yes.
        split: A rule, as for :func:`load_dataset`; ``"per-class:20:30"`` draws 20 nodes a class to train and 30 to
            validate; ``"masks"`` or ``"column"``: the split must come with the graph, as masks or as a column of nodes
            (``"column:fold"`` where it is not called split); or a mapping from ``"train"``, ``"val"`` (or ``"valid"``)
            and ``"test"`` to the numbers of nodes, as OGB's ``get_idx_split`` gives. Default, ``"usual"``: what comes
            with the graph, what is missing drawn (:mod:`gamlp_admm.datasets.splits`); where nothing comes, 60/20/20 at
            random.
        split_index: Which of several splits ``[N, S]`` that come with the graph.
        seed: Seed of a random split.
        classes: For predictions of a model that is there: the names of its classes, or their number. Labels get the
            model's numbers; they and the column of the split need not be there. Nothing is drawn unless ``split`` says
            so; masks that are missing are empty.
        mmap: Whether the tensors of a ``.pt`` file stay on the disk, memory-mapped, instead of being read: features may
            be larger than memory then. The file must not be written to as long as they are used.

    Returns:
        The data, with ``class_names`` where classes have names, ``node_ids`` where nodes have them, ``feature_names``
        where columns have them, and a description.

    Raises:
        InputError: Something is wrong or missing.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from gamlp_admm import load_graph
        >>> ring = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
        >>> graph = Data(edge_index=ring, x=torch.eye(6), num_nodes=6)
        >>> split = {"train": [0, 1], "val": [2], "test": [3]}
        >>> loaded = load_graph(graph, label=["a", "b", "a", "b", "a", ""], split=split)
        >>> loaded.data.y, loaded.data.class_names
        (tensor([ 0,  1,  0,  1,  0, -1]), ['a', 'b'])
    """
    seed = random_seed(seed)
    words = {"label": label, "features": _columns_of(features), "id": id, "weight": weight, "split": _column_of(split)}
    named = {what: name for what, name in words.items() if isinstance(name, str) or what == "features"}
    if not isinstance(split, str | Mapping | None):
        raise InputError(f"split {split!r}: allowed: a rule such as {SHARES}, or numbers of nodes by part")
    if store := store_at(source):
        refuse(store, {"label": label, "features": features, "id": id, "weight": weight, "directed": directed})
        source = from_store(store)
    data, name, both_ways = _opened(source, Columns(**named, optional=classes is not None), mmap)
    name = store.resolve().name if store else name
    data = copy.copy(data)
    if not isinstance(label, str | None):
        data.y = label
    if _made(features):
        data.x = None
    elif _columns_of(features) is None and features is not None:
        data.x = features
    if data.x is not None and not stored(data):
        data.x = _matrix(data.x)
    _labels(data, classes)
    _edges(data, both_ways if directed is None else not directed)
    _features(data, features if isinstance(features, str) else None, seed)
    set_masks(data, split, classes is None)
    choose_split(data, split_index)
    try:
        if not mmap:  # which would read all edges; who uses them looks
            data.validate()
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    _warn_of_normalised(data)
    given = None if isinstance(split, Mapping) else split
    return _described(data, name, count_of(data, classes), *divided(data, given, seed, classes))


def _made(features: Any) -> bool:
    return isinstance(features, str) and features.partition(":")[0] in MADE_FEATURES


def _columns_of(features: Any) -> Any:
    several = isinstance(features, list | tuple) and features and all(isinstance(name, str) for name in features)
    return features if several or (isinstance(features, str) and not _made(features)) else None


def _column_of(split: Any) -> str | None:
    return split.removeprefix("column:") if isinstance(split, str) and split.startswith("column:") else None


def _opened(source: Any, columns: Columns, mmap: bool) -> tuple[Data, str, bool]:
    """Return a graph, its name, and whether its edges are meant both ways."""
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        return read(path, columns, mmap), path.resolve().name, path.is_dir()
    if isinstance(source, Data):
        return with_attributes(source, columns), "data", False
    if hasattr(source, "tocoo") and hasattr(source, "shape"):
        if source.shape[0] != source.shape[1]:
            raise InputError(f"an adjacency has as many rows as columns, not {source.shape[0]} and {source.shape[1]}")
        return with_attributes(Data(**edges_of(source), num_nodes=source.shape[0]), columns), "adjacency", False
    if hasattr(source, "nodes") and hasattr(source, "edges"):
        return _networkx(source, columns), "graph", not source.is_directed()
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
        if found and not any(columns.weight in each[-1] for each in found):
            raise unknown("attribute of edges", columns.weight, sorted({key for each in found for key in each[-1]}))
        data.edge_weight = torch.tensor([float(each[-1].get(columns.weight, 1.0)) for each in found])

    def attributes(name: Any) -> list[Any]:
        values = [graph.nodes[node].get(name) for node in ids]
        if all(value is None for value in values):
            raise unknown("attribute of nodes", name, sorted({key for node in ids for key in graph.nodes[node]}))
        return values

    columns = columns.among({key for node in ids for key in graph.nodes[node]})
    if columns.label:
        data.y = attributes(columns.label)
    if columns.features is not None:
        data.x = torch.tensor(np.asarray(attributes(columns.features), dtype=np.float32).reshape(len(ids), -1))
    if columns.id is not None:
        data.node_ids = [str(value) for value in attributes(columns.id)]
    return data


def _matrix(x: Any) -> Tensor:
    """Return features, of whatever kind of array, as float32 ``[N, F]``."""
    if not isinstance(x, Tensor):
        try:
            x = torch.tensor(np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float32))
        except (TypeError, ValueError):
            raise InputError(f"features must be numbers, an array [N, F], not {type(x).__name__}") from None
    if not x.dim():
        raise InputError(f"features must be an array [N, F], not {x.tolist()!r}")
    x = x.to_dense() if x.layout is not torch.strided else x
    made: Tensor = x.float().reshape(len(x), -1)
    return made


def _both_ways(data: Data) -> None:
    names = [name for name in ("edge_weight", "edge_attr") if data.get(name) is not None]
    given = [data[name] for name in names]
    data.edge_index, found = to_undirected(data.edge_index, given, num_nodes=data.num_nodes, reduce="max")
    data.update(dict(zip(names, found, strict=True)))


def _labels(data: Data, classes: Sequence[str] | int | None) -> None:
    # Labels as numbers from 0, -1 where not known; names beside them where they have some.
    if data.y is None and classes is None:
        raise InputError("the graph has no labels: name their column by label, or give one class a node")
    counts = {"rows of features": None if data.x is None else len(data.x)}
    counts["nodes"] = data.num_nodes if "num_nodes" in data else None
    if data.y is None:
        data.y = torch.full((counts["rows of features"] or data.num_nodes or 0,), -1)
    data.y, names = numbered(data.y, classes)
    if names is not None:
        data.class_names = names
    data.num_nodes = len(data.y)
    for what, count in counts.items():
        if count not in (None, data.num_nodes):
            raise InputError(f"the graph has {count:,} {what} and {data.num_nodes:,} labels")
    if classes is None and not bool((data.y >= 0).any()) and not data.y.is_floating_point():
        raise InputError("the graph has no node whose class is known")


def _edges(data: Data, both_ways: bool) -> None:
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
    index = torch.as_tensor(data.edge_index)
    if index.dim() != 2 or len(index) != 2 or (index.numel() and index.is_floating_point()):
        raise InputError(f"edge_index must be numbers of nodes [2, E], got {index.dtype} {list(index.shape)}")
    data.edge_index = index.long()
    if both_ways and not is_undirected(data.edge_index, num_nodes=data.num_nodes):
        _both_ways(data)


def _features(data: Data, made: str | None, seed: int | None) -> None:
    if data.x is not None:
        return
    N = int(data.num_nodes)
    kind, _, width = (made or "").partition(":")
    if kind == "degree":
        counts = degree(data.edge_index[1], N)
        data.x = torch.stack([counts, counts.log1p()], 1)
    elif kind == "identity":
        if N > MOST_IDENTITY:
            raise InputError(
                f"features identity: {N:,} columns are too many; allowed up to {MOST_IDENTITY:,}, or random:64"
            )
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


def _warn_of_normalised(data: Data) -> None:
    # D^-1/2 A D^-1/2, as T.GCNNorm leaves it in the weights, has sqrt(d) as an eigenvector of the value 1; d is the
    # degree, 1 / the weight of each node's loop, or where there are no loops the number of edges of each node.
    if (weight := data.get("edge_weight")) is None or not weight.numel() or bool((weight == 1).all()):
        return
    (source, target), count, weight = data.edge_index, int(data.num_nodes), weight.double()
    loops = torch.zeros(count, dtype=torch.double).index_put((target[source == target],), weight[source == target])
    root = loops.rsqrt() if bool((loops > 0).all()) else degree(target, count, torch.double).sqrt()
    summed = torch.zeros(count, dtype=torch.double).index_add(0, target, weight * root[source])
    if bool((source != target).any()) and torch.allclose(summed, root, rtol=1e-4):
        warnings.warn(
            "the weights of the edges are normalised already (as by T.GCNNorm), and the operators normalise, too: give "
            "the graph without that transform, or take the operator none",
            InputWarning,
            stacklevel=3,
        )


def _described(data: Data, name: str, classes: int | None, rule: str, text: str) -> LoadedDataset:
    train, val, test = (int(data[f"{part}_mask"].sum()) for part in ("train", "val", "test"))
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
        classes=(int(data.y.max()) + 1 if target_kind(data.y) == "classes" else 1) if classes is None else classes,
        train=train,
        val=val,
        test=test,
        download_bytes=0,
    )
    return LoadedDataset(data, info, f"{rule}: {text}")

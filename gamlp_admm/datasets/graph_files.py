"""Files that a graph of one's own may lie in, read into tensors and names. Nothing here runs code from a file.

==============  =======================================================================================================
file            what it has
==============  =======================================================================================================
``.pt``         a PyG ``Data`` (or a dictionary of its tensors) by :func:`torch.save`, read with ``weights_only=True``
``.npz``        arrays named as ``Data`` names them: ``x``, ``edge_index``, ``y``, ``edge_weight``, ``train_mask``, …;
                or those of gnn-benchmark's files (``adj_data``, ``attr_data``, ``labels``, …)
a folder        ``nodes.csv`` and ``edges.csv``, or ``.parquet`` where pyarrow is installed
==============  =======================================================================================================
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.errors import InputError, unknown

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What a column of splits may say; anything else is in no split."""

LABELS, IDS, WEIGHTS, SPLITS = ("label", "y", "class", "target"), ("id", "node", "node_id"), ("weight",), ("split",)
"""Names that columns have where none are given."""

ENDS = (("source", "target"), ("src", "dst"), ("from", "to"), ("u", "v"))


@dataclass(frozen=True)
class Columns:
    """Which columns of tables mean what; ``None`` for the usual names.

    Attributes:
        label: Class of a node.
        features: Names or patterns of the features, separated by commas: ``age,f*``. Default: all other columns of
            numbers.
        id: Name of a node, which edges refer to; without one, edges refer to its number, from 0.
        weight: Weight of an edge.
        split: ``train``, ``val`` or ``test``; empty for nodes of no split.
    """

    label: str | None = None
    features: str | None = None
    id: str | None = None
    weight: str | None = None
    split: str | None = None


def read(path: Path, columns: Columns) -> Data:
    """Read a graph from a file or folder.

    Args:
        path: The file or folder.
        columns: Which columns mean what, of tables.

    Returns:
        What is there, under the names of PyG; ``y`` may be text, and ``node_ids`` the names of the nodes.

    Raises:
        InputError: There is no such file, it is of no known kind, or it is damaged.
    """
    if path.is_dir():
        return from_tables(path, columns)
    if not path.exists():
        raise InputError(f"data {path}: no such file or folder")
    if path.suffix not in READERS:
        raise unknown(f"kind of file {path.name}", path.suffix, [*READERS, "a folder with nodes.csv and edges.csv"])
    if columns != Columns():
        raise InputError(f"data {path}: names of columns are for tables; a {path.suffix} file names its parts itself")
    try:
        return READERS[path.suffix](path)
    except InputError:
        raise
    except Exception as error:  # readers raise almost anything on damaged files
        first = str(error).strip().splitlines()
        raise InputError(f"data {path}: cannot be read ({first[0] if first else type(error).__name__})") from error


def from_torch(path: Path) -> Data:
    """Read a ``Data`` or a dictionary of tensors that :func:`torch.save` wrote."""
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import EdgeStorage, GlobalStorage, NodeStorage

    known = [Data, DataEdgeAttr, DataTensorAttr, EdgeStorage, GlobalStorage, NodeStorage]
    torch.serialization.add_safe_globals(known)  # as PyG does; safe_globals would take them from PyG when it ends
    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, dict) and all(isinstance(name, str) for name in found):
        return Data(**found)
    if not isinstance(found, Data):
        raise InputError(f"data {path}: holds a {type(found).__name__}; allowed: a torch_geometric.data.Data")
    return found


def from_arrays(path: Path) -> Data:
    """Read the arrays of an ``.npz`` file; see the table above."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    found: dict[str, Any] = {}
    if "adj_data" in arrays:
        found |= edges_of(_compressed(arrays, "adj"))
    if "attr_data" in arrays:
        found["x"] = torch.from_numpy(_compressed(arrays, "attr").toarray())
    renamed = {"labels": "y", "attr_matrix": "x"}
    for name, array in arrays.items():
        text = array.dtype.kind in "US"
        found[renamed.get(name, name)] = array.tolist() if text else torch.from_numpy(np.ascontiguousarray(array))
    if "class_names" in found:
        found["class_names"] = list(found["class_names"])
    return Data(**found)


def edges_of(adjacency: Any) -> dict[str, Tensor]:
    """Return the ``edge_index`` of a SciPy adjacency, an edge for an entry, and ``edge_weight`` where not all are 1."""
    entries = adjacency.tocsr().tocoo()
    found = {"edge_index": torch.from_numpy(np.stack([entries.row, entries.col]).astype(np.int64))}
    if not (entries.data == 1).all():
        found["edge_weight"] = torch.from_numpy(entries.data.astype(np.float32))
    return found


def _compressed(arrays: dict[str, Any], name: str) -> Any:
    from scipy.sparse import csr_matrix

    data, indices, indptr, shape = (arrays.pop(f"{name}_{part}") for part in ("data", "indices", "indptr", "shape"))
    return csr_matrix((data, indices, indptr), tuple(shape))


def from_tables(folder: Path, columns: Columns) -> Data:
    """Read ``nodes`` and ``edges`` tables.

    An undirected edge may be there once: :func:`gamlp_admm.datasets.load_graph` adds the other direction.
    """
    nodes, edges = (_table(folder, name) for name in ("nodes", "edges"))
    label, name, split = (
        _column(nodes, given, usual, what)
        for given, usual, what in (
            (columns.label, LABELS, "label"),
            (columns.id, IDS, "id"),
            (columns.split, SPLITS, "split"),
        )
    )
    found: dict[str, Any] = {"num_nodes": len(nodes), "edge_index": _ends(nodes, edges, name, folder)}
    if features := _features(nodes, columns.features, {label, name, split}):
        found["x"] = torch.from_numpy(nodes[features].to_numpy(np.float32, na_value=np.nan))
        found["feature_names"] = features
    if label is not None:
        missing = nodes[label].isna()
        found["y"] = [None if nothing else value for value, nothing in zip(nodes[label], missing, strict=True)]
    if name is not None:
        found["node_ids"] = [str(value) for value in nodes[name]]
    if split is not None:
        parts = [SPLIT_WORDS.get(str(value).strip().lower()) for value in nodes[split]]
        for part in ("train", "val", "test"):
            if part in parts:
                found[f"{part}_mask"] = torch.tensor([each == part for each in parts])
    if (weight := _column(edges, columns.weight, WEIGHTS, "weight")) is not None:
        found["edge_weight"] = torch.from_numpy(edges[weight].to_numpy(np.float32, na_value=np.nan))
    return Data(**found)


def _table(folder: Path, name: str) -> Any:
    import pandas as pd

    for suffix, reader in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        path = folder / f"{name}{suffix}"
        if path.exists():
            try:
                return reader(path)
            except ImportError as error:
                raise InputError(f"data {path}: pandas needs pyarrow to read it (pip install pyarrow)") from error
            except (ValueError, OSError) as error:
                raise InputError(f"data {path}: cannot be read ({str(error).splitlines()[0]})") from error
    raise InputError(f"data {folder}: has no {name}.csv and no {name}.parquet")


def _column(table: Any, given: str | None, usual: Sequence[str], what: str) -> str | None:
    if given is not None:
        if given not in table.columns:
            raise unknown(f"column of {what}", given, list(table.columns))
        return given
    return next((name for name in usual if name in table.columns), None)


def _features(nodes: Any, given: str | None, taken: set[str | None]) -> list[str]:
    import pandas as pd

    numbers = [name for name in nodes.columns if pd.api.types.is_numeric_dtype(nodes[name])]
    if given is None:
        return [name for name in numbers if name not in taken]
    chosen: list[str] = []
    for pattern in given.split(","):
        matching = fnmatch.filter(map(str, nodes.columns), pattern.strip())
        if not matching:
            raise unknown("column of features", pattern, list(nodes.columns))
        if wrong := [name for name in matching if name not in numbers]:
            raise InputError(f"column {wrong[0]!r} of nodes is not of numbers; allowed features: {', '.join(numbers)}")
        chosen += [name for name in matching if name not in chosen and name not in taken]
    return chosen


def _ends(nodes: Any, edges: Any, name: str | None, folder: Path) -> Tensor:
    import pandas as pd

    pair = next((list(ends) for ends in ENDS if set(ends) <= set(edges.columns)), list(edges.columns[:2]))
    if len(pair) < 2:
        raise InputError(f"data {folder}: edges need two columns, source and target")
    ids = pd.Index(nodes[name] if name is not None else range(len(nodes)))
    if not ids.is_unique:
        raise InputError(f"data {folder}: the node {ids[ids.duplicated()][0]!r} is there twice in nodes")
    ends = [ids.get_indexer(edges[column]) for column in pair]
    for column, found in zip(pair, ends, strict=True):
        if (found < 0).any():
            lost = edges[column][int((found < 0).argmax())]
            raise InputError(f"data {folder}: an edge has the {column} {lost!r}, which is no node")
    return torch.from_numpy(np.stack(ends))


READERS: dict[str, Callable[[Path], Data]] = {".pt": from_torch, ".pth": from_torch, ".npz": from_arrays}

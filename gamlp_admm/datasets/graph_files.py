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

import copy
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.datasets.tables import Columns, from_tables
from gamlp_admm.errors import InputError, unknown


def read(path: Path, columns: Columns, mmap: bool = False) -> Data:
    """Read a graph from a file or folder.

    Args:
        path: The file or folder.
        columns: Which columns mean what, of tables.
        mmap: Whether the tensors of a ``.pt`` file stay there, memory-mapped, which must then not be written to.

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
    try:
        found = from_torch(path, mmap) if READERS[path.suffix] is from_torch else READERS[path.suffix](path)
    except InputError:
        raise
    except Exception as error:  # readers raise almost anything on damaged files
        if held := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            raise InputError(
                f"data {path}: holds a {held[1]}, which could run code and is not read; allowed: a "
                "torch_geometric.data.Data or a dictionary of tensors"
            ) from error
        first = str(error).strip().splitlines()
        raise InputError(f"data {path}: cannot be read ({first[0] if first else type(error).__name__})") from error
    return with_attributes(found, columns)


def with_attributes(data: Data, columns: Columns) -> Data:
    """Return a graph whose labels, features, weights and names are the attributes that are named.

    Raises:
        InputError: It has no such attribute, or one that cannot be that.
    """
    data, columns = copy.copy(data), columns.among(data.keys())
    homes = {"label": "y", "features": "x", "id": "node_ids", "weight": "edge_weight"}
    for what, home in homes.items():
        name = getattr(columns, what)
        if not name or name == home == "edge_weight":  # which may be missing: all weights are then 1
            continue
        if name not in data:
            raise unknown(f"attribute of {what}", name, data.keys())
        data[home] = data[name]
    if columns.weight is not None:
        data.edge_attr = None
        if data.edge_index is None:
            raise InputError(f"weight {columns.weight!r} is for edge_index; an adjacency has its weights as entries")
        if (weight := data.edge_weight) is not None:
            if weight.numel() != data.edge_index.shape[1]:
                E, given = data.edge_index.shape[1], list(weight.shape)
                raise InputError(f"data.{columns.weight} must have one weight an edge, [{E}] or [{E}, 1], got {given}")
            data.edge_weight = weight.reshape(-1)
    return data


def from_torch(path: Path, mmap: bool = False) -> Data:
    """Read a ``Data`` or a dictionary of tensors that :func:`torch.save` wrote; see :func:`read`."""
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import EdgeStorage, GlobalStorage, NodeStorage

    known = [Data, DataEdgeAttr, DataTensorAttr, EdgeStorage, GlobalStorage, NodeStorage]
    torch.serialization.add_safe_globals(known)  # as PyG does; safe_globals would take them from PyG when it ends
    mmap = mmap and zipfile.is_zipfile(path)  # not before torch 1.6
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    if isinstance(found, tuple | list) and len(found) > 1 and found[1] is None:  # as PyG's data sets keep one graph
        found = found[0]
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

    if lost := [part for part in ("data", "indices", "indptr", "shape") if f"{name}_{part}" not in arrays]:
        raise InputError(f"data: of the sparse matrix {name}, the array {name}_{lost[0]} is missing")
    data, indices, indptr, shape = (arrays.pop(f"{name}_{part}") for part in ("data", "indices", "indptr", "shape"))
    return csr_matrix((data, indices, indptr), tuple(shape))


READERS: dict[str, Callable[[Path], Data]] = {".pt": from_torch, ".pth": from_torch, ".npz": from_arrays}

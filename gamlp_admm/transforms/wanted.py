"""Wanted nodes: what ``rows`` of a transform stands for, and a graph's nodes without its edges."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.errors import InputError

Rows: TypeAlias = "str | Tensor | None"

ALLOWED = "'labelled', a tensor of the numbers of nodes, a bool mask of them, or None for all"
MASKS = ("train_mask", "val_mask", "test_mask")


def checked(rows: Any) -> Rows:
    """Return ``rows`` as it was given.

    Raises:
        InputError: It is nothing that stands for nodes, whatever the graph.
    """
    if rows is None or (isinstance(rows, str) and rows == "labelled"):
        return rows
    if not isinstance(rows, Tensor):
        raise InputError(f"rows is {rows!r}: allowed: {ALLOWED}")
    if rows.dim() != 1 or rows.dtype not in (torch.bool, torch.int64, torch.int32):
        raise InputError(f"rows is a tensor {rows.dtype} {[*rows.shape]}: allowed: {ALLOWED}")
    return rows


def numbers(rows: Rows, data: Any, num_nodes: int) -> Tensor | None:
    """Return the numbers of the wanted nodes ``[R]``; ``None`` for all.

    Args:
        rows: As of :func:`checked`.
        data: What the masks are read of, for ``"labelled"``: nodes of any of them.
        num_nodes: N.

    Raises:
        InputError: The graph has no such nodes, or no node is wanted, or one twice.
    """
    if rows is None:
        return None
    if isinstance(rows, str):
        rows = _labelled(data, num_nodes)
    rows = rows.detach().cpu()
    if rows.dtype == torch.bool:
        if len(rows) != num_nodes:
            raise InputError(f"rows is a mask of {len(rows)} nodes: the graph has {num_nodes}")
        rows = rows.nonzero()[:, 0]
    rows = rows.long()
    if not len(rows):
        raise InputError("rows has no node: at least one must be wanted")
    outside = (rows < 0) | (rows >= num_nodes)
    if outside.any():
        raise InputError(f"rows has {rows[outside][0]}: a graph of {num_nodes} nodes allows 0 to {num_nodes - 1}")
    counts = rows.bincount()
    if counts.max() > 1:
        raise InputError(f"rows has node {int(counts.argmax())} more than once")
    return rows


def _labelled(data: Any, num_nodes: int) -> Tensor:
    masks = [mask for name in MASKS if isinstance(mask := getattr(data, name, None), Tensor)]
    if not masks:
        raise InputError(f"rows is 'labelled', and data has none of {', '.join(MASKS)}")
    if any(mask.dtype != torch.bool or not mask.dim() or len(mask) != num_nodes for mask in masks):
        raise InputError(f"rows is 'labelled': the masks must be bool tensors of {num_nodes} nodes")
    return torch.stack([mask.reshape(num_nodes, -1).any(1).cpu() for mask in masks]).any(0)


def only(data: Data, rows: Tensor, without: str | None = None) -> None:
    """Leave of a graph, in place, some nodes without edges: what nodes have is sliced, and ``n_id`` says who they are.

    Args:
        data: The graph.
        rows: ``[R]``, their numbers.
        without: An attribute to leave as it is.
    """
    names = [name for name in data.keys() if name != without]  # noqa: SIM118 PyG's data are no mapping
    kept = [name for name in names if data.is_node_attr(name) and name != "edge_index"]
    gone = {name for name in names if data.is_edge_attr(name)} | {"edge_index", "adj_t", "num_nodes"}
    for name in names:
        if name in kept:
            data[name] = _sliced(data[name], rows)
        elif name in gone:
            del data[name]
    if "n_id" not in kept:
        data.n_id = rows.to(data.x.device)


def _sliced(value: Any, rows: Tensor) -> Any:
    if isinstance(value, Tensor):
        if value.layout not in (torch.strided, torch.sparse_coo):
            value = value.to_sparse(layout=torch.sparse_coo)
        return value.index_select(0, rows.to(value.device))
    return [value[i] for i in rows.tolist()] if isinstance(value, list | tuple) else value[rows.numpy()]

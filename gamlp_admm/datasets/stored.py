"""Stored features as a data set: what :class:`gamlp_admm.propagation.StoredFeatures` holds, without its graph."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from gamlp_admm.errors import InputError
from gamlp_admm.propagation import StoredFeatures
from gamlp_admm.propagation.store.stored import is_store

ONE_S_OWN = ("label", "features", "id", "weight", "directed")
"""What says how a graph is read, and nothing of stored features."""


def store_at(source: object) -> Path | None:
    """Return the directory of stored features that a source of graphs is, ``None`` if it is something else."""
    path = Path(os.path.expanduser(source)) if isinstance(source, str | Path) else None
    return path if path is not None and is_store(path) else None


def refuse(path: object, given: dict[str, Any], names: tuple[str, ...] = ONE_S_OWN) -> None:
    """Check that nothing is asked of stored features that they cannot be.

    Args:
        path: Where they are.
        given: What is asked for, by name; ``None`` for nothing.
        names: What they cannot be.

    Raises:
        InputError: It is.
    """
    for name in names:
        if (value := given.get(name)) is not None:
            told = repr(value) if isinstance(value, str | int) else f"a {type(value).__name__}"
            raise InputError(
                f"{name} {told} does not apply to {path}, which holds stored features: they are what they are, and "
                "their graph, with its edges, is not there"
            )


def from_store(path: Path) -> Data:
    """Return stored features as a graph without edges, whose ``x`` is memory-mapped, and ``store`` what it is of.

    Raises:
        InputError: There are none, they are damaged, or what is known of their nodes does not fit them.
    """
    store = StoredFeatures.open(path)
    data = Data(x=store.x, edge_index=torch.empty(2, 0, dtype=torch.long), num_nodes=len(store.x))
    data.store = store
    for name, tensor in store.nodes.items():
        if len(tensor) != len(store.x):
            raise InputError(f"{path} has {len(tensor):,} rows of {name}, and {len(store.x):,} of features")
        data[name] = tensor
    for name in ("class_names", "feature_names"):
        if store.about.get(name) is not None:
            data[name] = [*map(str, store.about[name])]
    data.feature_blocks = tuple(store.about.get("feature_blocks") or ())
    return data


def stored(data: Any) -> StoredFeatures | None:
    """Return what the features of a graph are stored in, ``None`` where they lie in memory or were changed since."""
    store = getattr(data, "store", None)
    same = isinstance(store, StoredFeatures) and data.x is store.x and not store.x._version
    return store if same else None

"""Each process's rows: what the first one hands out, and what those that own the first layer read themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.parallel.team import Team
from gamlp_admm.training.room import Room, gathered
from gamlp_admm.training.rows import NodeData, features

FeatureFile: TypeAlias = tuple[str, int, int]
"""A file as a process finds it: its path, its size, and when it was written."""


def distributed(
    chosen: Callable[[], NodeData], data: Any, widths: tuple[int, int], like: Tensor, team: Team, room: Room
) -> NodeData:
    """Return each process's shard of the rows; features only where the first layer is owned.

    The first process checks the data and hands out rows; all processes learn of an error. Where features are stored in
    a file that all processes see, each reads its own; else the first process sends them.

    Args:
        chosen: Returns all rows, by :func:`gamlp_admm.training.rows.node_data`; called in the first process only.
        data: What they are rows of; looked at in the first process only.
        widths: Columns of the features and of the targets.
        like: A tensor of the rows' device and dtype.
        team: The processes.
        room: Where features come to lie.

    Raises:
        InputError: ``chosen`` raised it, or features cannot be read, in whichever process.
    """
    shards: list[NodeData] = []
    file = _seen_by_all(data, team)

    def read(rows: Tensor) -> Tensor:
        return gathered(features(data), rows, like, room)

    def header() -> list[tuple[Any, ...]]:
        shards.extend(chosen().shards(team.num_shards))
        if file is None:
            shards[:] = [replace(s, x=read(s.rows)) for s in shards if s.rows is not None]
        there = [(s.weight is not None, s.val_weight is not None) for s in shards]
        return [(s.sizes, *known, s.blocks, s.total_weight, s.kind) for s, known in zip(shards, there, strict=True)]

    sizes, weighted, scored, blocks, total, kind = team.of_first(header)[team.shard]

    def rows(name: str, shape: tuple[int, ...], everyone: bool, like: Tensor = like) -> Tensor | None:
        held = [getattr(shard, name).to(like.device) for shard in shards] if team.rank == 0 else None
        return team.rows_from_first(held, shape, like, everyone)

    if file is None:
        x = rows("x", (sum(sizes), widths[0]), everyone=False)
    else:
        numbers = rows("rows", (sum(sizes),), False, like.new_empty(0, dtype=torch.long))
        x = team.everywhere(lambda: None if numbers is None else gathered(_opened(file), numbers.cpu(), like, room))
    y = rows("y", (sum(sizes), widths[1]), everyone=True)
    weight = rows("weight", (sizes[0],), everyone=True) if weighted else None
    val_weight = rows("val_weight", (sizes[1],), everyone=True) if scored else None
    assert y is not None
    return NodeData(x, y, tuple(sizes), weight, tuple(blocks), val_weight, total, kind=kind, room=room)


def _seen_by_all(data: Any, team: Team) -> FeatureFile | None:
    # The file of the features, where several processes need rows of it and each finds it as the first one does.
    if team.num_shards == 1:
        return None
    store = getattr(data, "store", None)
    x, file = getattr(store, "x", None), getattr(store, "file", None)
    same = (
        file is not None and x is not None and x is data.x and not x._version
    )  # else they were replaced, or written to
    path = team.from_first(str(file) if same else None)
    if path is None:
        return None
    found = team.collect(_found(path))
    return found[0] if found[0] is not None and all(each == found[0] for each in found) else None


def _found(path: str) -> FeatureFile | None:
    try:
        about = Path(path).stat()
    except OSError:
        return None
    return path, about.st_size, about.st_mtime_ns


def _opened(file: FeatureFile) -> Tensor:
    from gamlp_admm.propagation.store import matrix  # here, because it takes SciPy with it

    if _found(file[0]) != file:
        raise InputError(f"{file[0]} is not what it was when the processes began")
    return matrix.mapped(Path(file[0]))

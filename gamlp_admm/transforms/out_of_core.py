"""Augmented features made into a directory, within a cap of memory: what ``AugmentFeatures(out=…)`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.errors import InputError, byte_count
from gamlp_admm.propagation import GatherMatrix, Matrix, NodeFeatures, heat, pagerank, powers
from gamlp_admm.propagation.store import StoredFeatures
from gamlp_admm.propagation.store.plan import MemoryPlan, plan
from gamlp_admm.propagation.store.stored import ARITHMETIC, digest_of
from gamlp_admm.propagation.store.writing import HowFar, PropagatedFeatures, Work, make
from gamlp_admm.system.memory import available, is_mapped
from gamlp_admm.transforms.propagating import PropagatingTransform, edges_of

IN_WORK = {powers: 3, pagerank: 3, heat: 4}
"""Tensors of the size of the columns in work that a scheme has at a time; others are taken to have 4."""

OF_NODES = ("y", "train_mask", "val_mask", "test_mask")


@dataclass(frozen=True)
class Storing:
    """How features are made into a directory.

    Attributes:
        path: The directory.
        memory: The cap, as :func:`~gamlp_admm.errors.byte_count` reads it; ``None`` for half of what is free.
        rows: ``[R]``, the numbers of the nodes whose features are kept; ``None`` for all.
        about: What else ``store.json`` says.
        overwrite: Whether they replace other features that are there.
        device: Where columns are propagated; ``None`` for where the features are.
        progress: Told how much is done, and of how much.
        planned: Told how many columns are made at a time, before the first is.
    """

    path: Path
    memory: str | int | None = None
    rows: Tensor | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    device: torch.device | None = None
    progress: HowFar = lambda done, total: None
    planned: Callable[[MemoryPlan], None] = lambda made: None


def store_features(
    transform: PropagatingTransform, data: Data, features: NodeFeatures, dtype: torch.dtype, how: Storing
) -> StoredFeatures:
    """Make propagated features of a graph into a directory, or what is missing of them.

    Args:
        transform: How to propagate.
        data: A graph with ``x`` ``[N, F]`` and edges; its tensors may be memory-mapped.
        features: What is made of ``x``, and propagated.
        dtype: Type of the propagated features.
        how: The rest.

    Raises:
        InputError: The graph or an option is not allowed, the cap is too small, or the directory has other features.
    """
    cap = available() // 2 if how.memory is None else byte_count("memory", how.memory)
    source = _Source(transform, data, features, how.device or features.device)
    (N, F), rows = data.x.shape, how.rows
    nodes = {name: data[name] for name in OF_NODES if isinstance(data.get(name), Tensor)}
    if rows is not None:
        rows = check_rows(rows, N)
        nodes = {**{name: tensor[rows] for name, tensor in nodes.items()}, "n_id": rows}
    made = PropagatedFeatures(
        num_rows=N if rows is None else len(rows),
        columns=F,
        states=len(transform.states),
        dtype=dtype,
        made_of=source.made_of(nodes, dtype),
        rows=rows,
        nodes=nodes,
        about={"feature_blocks": [F] * len(transform.states), "recipe": _recipe(transform), **how.about},
        steps=transform.states[-1],
    )
    held = sum(map(_in_memory, (value for _, value in data)))

    def prepare() -> Work:
        planned = source.planned(cap, held)
        how.planned(planned)
        return Work(source.kept, planned.width)

    return make(how.path, made, prepare, how.progress, how.overwrite)


class _Source:
    """What is propagated, checked and made when it is needed."""

    def __init__(
        self, transform: PropagatingTransform, data: Data, features: NodeFeatures, device: torch.device
    ) -> None:
        self.transform, self.data, self.features, self.device = transform, data, features, device

    @cached_property
    def matrix(self) -> Matrix:
        """Ã ``[N, N]``, on the device."""
        like = torch.empty(len(self.features), 0, dtype=self.features.dtype, device=self.device)
        return self.transform._matrix(self.data, like)

    def made_of(self, nodes: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Any]:
        """Return what identifies the features."""
        made, scheme = self.transform, self.transform._scheme
        digests = {"x": digest_of(self.data.x), **{name: digest_of(tensor) for name, tensor in nodes.items()}}
        if isinstance(made.operator, str):
            edges = edges_of(self.data, made.weight_attr, quiet=made.states == (0,))
            digests |= dict(zip(("edge_index", "edge_weight"), map(digest_of, edges), strict=True))
        else:  # whatever a function does, this is what comes of it
            digests |= {"operator": "".join(str(digest_of(part)) for part in _parts(self.matrix))}
        parameter = {scheme.named.parameter: getattr(made, scheme.named.parameter)} if scheme.named.parameter else {}
        return {
            "arithmetic": ARITHMETIC,
            "operator": made.operator if isinstance(made.operator, str) else "a matrix",
            "states": [*made.states],
            **parameter,
            "direction": made.direction,
            "normalize_features": self.features.norms is not None,
            "dtype": str(dtype).removeprefix("torch."),
            "device": self.device.type,
            "data": digests,
        }

    def planned(self, cap: int, held: int) -> MemoryPlan:
        """Return how many columns are propagated at a time."""
        N, F = self.features.shape
        number = self.features.dtype.itemsize
        tensors = IN_WORK.get(self.transform._scheme.named.diffuse, 4)
        graph = sum(part.nbytes for part in _parts(self.matrix) if part is not None)
        copies = 0 if self.data.x.layout is torch.strided else self.features.x.nbytes
        copies += 0 if self.features.norms is None else self.features.norms.nbytes
        if self.device.type != "cuda":
            return plan(F, tensors * N * number, cap, data=held + copies, graph=graph)
        free = torch.cuda.mem_get_info(self.device)[0] * 9 // 10
        there = plan(F, tensors * N * number, free, graph=graph)
        return plan(min(F, there.width), N * number, cap, data=held + copies)

    def kept(self, columns: slice) -> Iterator[Any]:
        """Yield the states of some columns."""
        tile = self.features.tile(columns).to(self.device)
        return self.transform._scheme.kept(self.matrix, tile)


def _parts(matrix: Matrix) -> tuple[Tensor | None, ...]:
    if isinstance(matrix, GatherMatrix):
        return matrix.indptr, matrix.indices, matrix.values, matrix.scale, matrix.root
    return matrix.crow_indices(), matrix.col_indices(), matrix.values()


def _in_memory(value: Any) -> int:
    if not isinstance(value, Tensor) or not value.is_cpu:
        return 0
    if value.layout is not torch.strided:
        return 3 * value.values().nbytes if value.layout is torch.sparse_coo else 2 * value.values().nbytes
    return 0 if is_mapped(value.data_ptr()) else value.nbytes


def _recipe(transform: PropagatingTransform) -> dict[str, Any] | None:
    return transform.recipe() if isinstance(transform.operator, str) else None


def check_rows(rows: Tensor, num_nodes: int) -> Tensor:
    """Return the numbers of nodes whose features are kept, ``[R]`` int64.

    Raises:
        InputError: They are no such numbers.
    """
    if rows.dtype == torch.bool and rows.shape == (num_nodes,):
        return rows.nonzero().reshape(-1)
    if rows.dim() != 1 or rows.is_floating_point() or rows.is_complex() or rows.dtype == torch.bool:
        raise InputError(f"rows must be numbers of nodes, [R] integers, not {rows.dtype} {list(rows.shape)}")
    wrong = (rows < 0) | (rows >= num_nodes)
    if wrong.any():
        raise InputError(f"rows has {int(rows[wrong][0])}: a graph of {num_nodes} nodes allows 0 to {num_nodes - 1}")
    return rows.long()

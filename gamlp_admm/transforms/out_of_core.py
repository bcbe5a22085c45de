"""Augmented features made into a directory, within a cap of memory: what ``AugmentFeatures(out=…)`` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm import propagation
from gamlp_admm.errors import byte_count
from gamlp_admm.propagation.features import kept_type
from gamlp_admm.propagation.mapping import let_go
from gamlp_admm.propagation.product import tile_width
from gamlp_admm.propagation.selectors_first import PANEL
from gamlp_admm.propagation.store import StoredFeatures
from gamlp_admm.propagation.store.journal import GRAPH
from gamlp_admm.propagation.store.plan import SCRATCH, WIDEST, MemoryPlan, plan, plan_of_rows
from gamlp_admm.propagation.store.stored import ARITHMETIC, digest_of
from gamlp_admm.propagation.store.writing import ColumnWork, HowFar, PropagatedFeatures, RowWork, make
from gamlp_admm.system.allocator import give_back_freed_memory
from gamlp_admm.system.memory import available, is_mapped
from gamlp_admm.transforms import wanted
from gamlp_admm.transforms.propagating import PropagatingTransform, edges_of

IN_WORK = {propagation.powers: 2, propagation.pagerank: 3, propagation.heat: 4}
"""Tensors of the size of the columns in work that a scheme has at a time; others are taken to have 4."""

ENTRY = 8
"""Bytes of an entry of Ã: its column and its value."""

NODE = 56
"""Bytes that a node takes while Ã is made: counts, sums, places."""

OF_NODES = ("y", "train_mask", "val_mask", "test_mask")


@dataclass(frozen=True)
class Storing:
    """How features are made into a directory.

    Attributes:
        path: The directory.
        memory: The cap, as :func:`~gamlp_admm.errors.byte_count` reads it; ``None`` for half of what is free.
        rows: The nodes whose features are kept, as ``AugmentFeatures`` takes them.
        about: What else ``store.json`` says.
        overwrite: Whether they replace other features that are there.
        device: Where columns are propagated; ``None`` for where the features are.
        progress: Told how much is done, and of how much.
        planned: Told how many columns are made at a time, before the first is.
    """

    path: Path
    memory: str | int | None = None
    rows: wanted.Rows = None
    about: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    device: torch.device | None = None
    progress: HowFar = lambda done, total: None
    planned: Callable[[MemoryPlan], None] = lambda made: None


def store_features(
    transform: PropagatingTransform, data: Data, dtype: torch.dtype | None, normalize: bool, how: Storing
) -> StoredFeatures:
    """Make propagated features of a graph into a directory, or what is missing of them.

    Args:
        transform: How to propagate.
        data: A graph with ``x`` ``[N, F]`` and edges; its tensors may be memory-mapped.
        dtype: Type of the propagated features; ``None`` for that of ``x``.
        normalize: Whether rows of ``x`` are divided by the sums of their absolute values first.
        how: The rest.

    Raises:
        InputError: The graph or an option is not allowed, the cap is too small, or the directory has other features.
    """
    source = _source(transform, data, dtype, normalize, how)

    def prepare() -> ColumnWork | RowWork:
        give_back_freed_memory()  # that loading took
        work, planned = source.work()
        how.planned(planned)
        give_back_freed_memory()
        return work

    return make(how.path, source.described(how.about), prepare, how.progress, how.overwrite)


def described(
    transform: PropagatingTransform, data: Data, dtype: torch.dtype | None, normalize: bool, how: Storing
) -> PropagatedFeatures:
    """Return what :func:`store_features` makes of the same arguments."""
    return _source(transform, data, dtype, normalize, how).described(how.about)


def _source(
    transform: PropagatingTransform, data: Data, dtype: torch.dtype | None, normalize: bool, how: Storing
) -> _Source:
    cap = available() // 2 if how.memory is None else byte_count("memory", how.memory)
    for _, value in data:
        if isinstance(value, Tensor) and value.layout is torch.strided:
            let_go(value)  # which was looked at when it was loaded
    dtype, rows = kept_type(data.x, dtype), wanted.numbers(wanted.checked(how.rows), data, len(data.x))
    return _Source(transform, data, dtype, normalize, rows, how.device or data.x.device, cap, how.path / GRAPH)


@dataclass(frozen=True)
class _Source:
    """What is propagated, checked and made when it is needed."""

    transform: PropagatingTransform
    data: Data
    dtype: torch.dtype
    normalize: bool
    rows: Tensor | None
    device: torch.device
    cap: int
    folder: Path

    @cached_property
    def features(self) -> propagation.Features:
        """The features, checked."""
        found, _ = propagation.as_features(self.data.x, self.dtype, self.normalize, look=self.rows is not None)
        if isinstance(found, propagation.NodeFeatures):
            return replace(found, place=self.device)
        return replace(found, device=self.device)

    @cached_property
    def matrix(self) -> propagation.Matrix:
        """Ã ``[N, N]``, on the device; in the folder where it takes a large part of the cap."""
        N, number = len(self.data.x), torch.promote_types(self.dtype, torch.float32)
        edges, weight = (getattr(self.data, name, None) for name in ("edge_index", "edge_weight"))
        most = ENTRY * (2 * edges.shape[-1] + N) // (2 if weight is None else 1) if isinstance(edges, Tensor) else 0
        left, folder = self.cap - _held(self.data) - NODE * N, None
        if most > left // 4:
            folder = self.folder
            folder.mkdir(parents=True, exist_ok=True)
            most = 0
        working = min(max((left - most) // 2, 2**25), 2**30)
        like = torch.empty(N, 0, dtype=number, device=self.device)
        return self.transform._matrix(self.data, like, folder, working)

    def described(self, about: Mapping[str, Any]) -> PropagatedFeatures:
        """Return what is to be made, of which more is said."""
        made, (N, F), rows = self.transform, self.data.x.shape, self.rows
        nodes = {name: self.data[name] for name in OF_NODES if isinstance(self.data.get(name), Tensor)}
        if rows is not None:
            nodes = {**{name: tensor[rows] for name, tensor in nodes.items()}, "n_id": rows}
        recipe = made.recipe() if isinstance(made.operator, str) else None
        return PropagatedFeatures(
            num_rows=N if rows is None else len(rows),
            columns=F,
            states=len(made.states),
            dtype=self.dtype,
            made_of=self._made_of(nodes),
            nodes=nodes,
            about={"feature_blocks": [F] * len(made.states), "recipe": recipe, **about},
            steps=made.states[-1],
        )

    def _made_of(self, nodes: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return what identifies the features."""
        made, named = self.transform, self.transform._scheme.named
        digests = {"x": digest_of(self.data.x), **{name: digest_of(tensor) for name, tensor in nodes.items()}}
        if isinstance(made.operator, str):
            edges = edges_of(self.data, made.weight_attr, quiet=made.states == (0,))
            digests |= dict(zip(("edge_index", "edge_weight"), map(digest_of, edges), strict=True))
        else:  # whatever a function does, this is what comes of it
            digests |= {"operator": "".join(str(digest_of(part)) for part in _parts(self.matrix))}
        return {
            "arithmetic": ARITHMETIC,
            "operator": made.operator if isinstance(made.operator, str) else "a matrix",
            "states": [*made.states],
            **({named.parameter: getattr(made, named.parameter)} if named.parameter else {}),
            "direction": made.direction,
            "normalize_features": self.normalize,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
            "data": digests,
        }

    def work(self) -> tuple[ColumnWork | RowWork, MemoryPlan]:
        """Return how the features are made, and what that takes."""
        scheme, number, cap = self.transform._scheme, self.features.dtype.itemsize, self.cap
        (N, F), data, graph = self.features.shape, _held(self.data) + self._copies(), _bytes(self.matrix)
        order: propagation.Order = propagation.FeaturesFirst(scheme, self.matrix, self.features, self.rows)
        if isinstance(self.features, propagation.SparseFeatures):  # products of dense ones depend on the threads
            order = propagation.order_of_work(scheme, self.matrix, self.features, self.rows)
        if isinstance(order, propagation.FeaturesFirst):
            graph += ENTRY * order.copied
            column = order.in_work * number
            tensors = IN_WORK.get(scheme.named.diffuse, 4) + (self.rows is not None)  # which steps make apart
            widest = tile_width(self.matrix) or WIDEST
            if self.device.type == "cuda":
                free = torch.cuda.mem_get_info(self.device)[0] * 9 // 10
                there = plan(F, tensors * column, free, graph=graph)
                made = plan(min(F, there.width), column, cap, data=data)
            else:
                made = plan(F, tensors * column, cap, widest=widest, data=data, graph=graph)
            return ColumnWork(order.states, made.width, order.wanted), made
        units = order.units()
        R = len(range(units[0].rows.start, units[0].rows.stop))
        made = plan_of_rows(
            R,
            cap,
            data=data + order.held,
            graph=4 * graph,  # and as SciPy has it, transposed, and that as it is multiplied
            selectors=3 * N * PANEL * number,
            rows=2 * R * F * len(scheme.states) * number,
            scratch=SCRATCH,
        )

        def write(rows: slice, out: Tensor) -> None:
            order.write(propagation.Unit(rows, slice(0, F)), out)

        return RowWork(write, [unit.rows for unit in units]), made

    def _copies(self) -> int:
        """Return the bytes of what is made of all features."""
        if isinstance(self.features, propagation.NodeFeatures):
            return 0 if self.features.norms is None else self.features.norms.nbytes
        return 2 * self.features.nnz * (self.features.dtype.itemsize + 4)


def _parts(matrix: propagation.Matrix) -> list[Tensor]:
    if isinstance(matrix, Tensor):
        return [matrix.crow_indices(), matrix.col_indices(), matrix.values()]
    parts = (matrix.indptr, matrix.indices, matrix.values, matrix.scale, matrix.root)
    return [part for part in parts if part is not None]


def _bytes(matrix: propagation.Matrix) -> int:
    return sum(part.nbytes for part in _parts(matrix) if not (part.is_cpu and is_mapped(part.data_ptr())))


def _held(data: Data) -> int:
    """Return the bytes of a graph's tensors in this process's memory, without those that are memory-mapped."""
    tensors = [value for _, value in data if isinstance(value, Tensor) and value.is_cpu]
    held = 0
    for each in tensors:
        if each.layout is torch.strided:
            held += 0 if is_mapped(each.data_ptr()) else each.nbytes
        else:
            values = each._values() if each.layout is torch.sparse_coo else each.values()
            held += 16 * len(values) + values.nbytes
    return held

"""The matrix of a large graph, made from its edges some rows at a time.

What :func:`~gamlp_admm.propagation.operators.adjacency` and the operators ``sym`` and ``row`` make at once, in float64
and with 64-bit indices, takes several times the memory of the edges. Here the edges, which may be memory-mapped, are
read once for each range of rows; the working set is that of a range, and what stays is 4 bytes for each entry, 8 with
weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.propagation.edges import check_direction, check_edges, check_weight
from gamlp_admm.propagation.features import blank
from gamlp_admm.propagation.gather import GatherMatrix
from gamlp_admm.propagation.mapping import WHOLE, let_go
from gamlp_admm.system.allocator import give_back_freed_memory
from gamlp_admm.system.memory import is_mapped

WORKING = 2**28, 2**30
"""Bytes of working memory, about: twice those of the result, but these at least and at most."""

BYTES = 24
"""Working memory for each edge that leads to a range of rows; twice as much with weights."""

PART = 2**21
"""Edges that are looked at together where ranges of rows take some of them: their numbers then stay in the cache."""


@dataclass(frozen=True)
class _Edges:
    """A graph's edges, checked; an edge leads from ``index[0]`` to ``index[1]``. So many are looked at together."""

    index: Tensor
    weight: Tensor | None
    num_nodes: int
    direction: str
    together: int

    @property
    def ends(self) -> tuple[tuple[int, int], ...]:
        """For each way that edges are used in, the lines of ``index`` with the nodes that gather, and that give."""
        ways = {"along": ((1, 0),), "against": ((0, 1),), "both": ((1, 0), (0, 1))}[self.direction]
        return ways[:1] if self.mirrored else ways

    @cached_property
    def mirrored(self) -> bool:
        """Whether it can be seen at a glance that both ways are the same: each edge's reverse follows it, or all do."""
        half, odd = divmod(self.index.shape[1], 2)
        for first, second in (slice(0, None, 2), slice(1, None, 2)), (slice(0, half), slice(half, None)):
            (source, target), (other, back) = self.index[:, first], self.index[:, second]
            if odd or not (source[:1000].equal(back[:1000]) and source.equal(back) and target.equal(other)):
                continue
            if self.weight is None or self.weight[first].equal(self.weight[second]):
                return True
        return False

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the edges and their weights, so many at a time."""
        for low in range(0, self.index.shape[1], size):
            part = slice(low, low + size)
            yield (index := self.index[:, part]), (weight := None if self.weight is None else self.weight[part])
            if self._mapped:
                let_go(index)
                if weight is not None:
                    let_go(weight)

    @cached_property
    def _mapped(self) -> bool:
        given = (each for each in (self.index, self.weight) if each is not None and each.nbytes >= WHOLE)
        return any(is_mapped(each.data_ptr()) for each in given)

    def ranges(self, entries: int) -> list[int]:
        """Return where ranges of rows to which so many edges lead, at most, begin, and the last one ends."""
        if len(self.ends) * self.index.shape[1] + self.num_nodes <= entries:
            return [0, self.num_nodes]
        return _ranges(self._counts(), entries)

    def _counts(self) -> np.ndarray:
        """Return how many edges lead to each node, both ways where both are used, ``[N]`` int64."""
        counts = np.zeros(self.num_nodes, np.int64)
        for index, _ in self.chunks(self.together):
            for rows, _ in self.ends:
                counts += np.bincount(index[rows].numpy(), minlength=self.num_nodes)
        return counts

    @cached_property
    def loops(self) -> np.ndarray:
        """The weights of the nodes' self-loops ``[N]``: of a repeated one the last, 1 where there is none."""
        loops = np.ones(self.num_nodes, np.int8 if self.weight is None else np.float64)
        if self.weight is not None:
            for (source, target), weight in self.chunks(self.together):
                there = source == target
                loops[source[there].numpy()] = weight[there].numpy()  # type: ignore[index]
        return loops

    def rows(self, first: int, last: int) -> sparse.csr_array:
        """Return some rows of A + I, ``[last - first, N]``.

        Columns are sorted; of edges that are used one way, or the same both ways, repeated ones stay repeated.
        """
        B = self._rows(first, last, *self.ends[0])
        if len(self.ends) == 1:
            return B
        every = last - first == self.num_nodes
        other = _transposed(B) if every else self._rows(first, last, *self.ends[1])
        return B if _same(B, other) else _summed(B).maximum(_summed(other))

    def _rows(self, first: int, last: int, to: int, by: int) -> sparse.csr_array:
        size = self.together if last - first == self.num_nodes else min(PART, self.together)
        parts = [self._part(*chunk, first, last, to, by) for chunk in self.chunks(size)]
        parts.append((np.arange(last - first), np.arange(first, last), self.loops[first:last]))
        rows, columns, data = (np.concatenate(each, dtype=each[0].dtype) for each in zip(*parts, strict=True))
        del parts
        # To count and distribute twice, by columns and then by rows, takes less time than to sort each row.
        entries = sparse.coo_array((data, (columns, rows)), shape=(self.num_nodes, last - first))
        entries.has_canonical_format = True  # lest repeated ones are added up
        return _transposed(entries.tocsr())

    def _part(
        self, index: Tensor, weight: Tensor | None, first: int, last: int, to: int, by: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, columns and weights of the edges among these that lead to some nodes, but for self-loops."""
        row, column = (index[line].numpy().astype(np.int32, copy=False) for line in (to, by))
        weights = None if weight is None else weight.double().numpy()
        mask = row != column
        if last - first < self.num_nodes:
            mask &= (row >= first) & (row < last)
        if not mask.all():
            there = np.flatnonzero(mask)
            row, column = row.take(there), column.take(there)
            weights = None if weights is None else weights.take(there)
        return row - first if first else row, column, np.ones(len(row), np.int8) if weights is None else weights


def _transposed(A: sparse.csr_array) -> sparse.csr_array:
    """Return the transpose, whose rows are sorted; repeated entries stay."""
    by_column = A.tocsc()
    return sparse.csr_array((by_column.data, by_column.indices, by_column.indptr), shape=A.shape[::-1])


def _same(A: sparse.csr_array, B: sparse.csr_array) -> bool:
    parts = ((getattr(A, part), getattr(B, part)) for part in ("indptr", "indices", "data"))
    return all(np.array_equal(a, b) for a, b in parts)


def _summed(A: sparse.csr_array) -> sparse.csr_array:
    """Return a matrix without repeated entries: their sum instead."""
    if A.has_canonical_format:
        return A
    A = A.astype(np.promote_types(A.dtype, np.int32))
    A.sum_duplicates()
    return A


def from_edges(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    num_nodes: int,
    direction: str = "both",
    coefficient: float = 0.5,
    folder: Path | None = None,
    working: int | None = None,
) -> GatherMatrix:
    """Return ``D^(r-1) (A+I) D^-r`` of a large graph, D the diagonal of the row sums of A + I.

    A and A + I are those of :func:`~gamlp_admm.propagation.adjacency` and
    :func:`~gamlp_admm.propagation.add_self_loops`. Without weights no value is stored: the matrix is
    ``D^r (D^-1 (A+I)) D^-r``, sums of rows divided by their number between two scalings of the features.

    Args:
        edge_index: ``[2, E]`` int64 or int32, sources in row 0 and targets in row 1; may be memory-mapped.
        edge_weight: ``[E]``, finite and not negative; ``None`` for 1 each.
        num_nodes: N.
        direction: How a directed edge is used.
        coefficient: r, in [0, 1]: 1/2 for the symmetric normalisation, 0 for the mean over a node's neighbours.
        folder: Where to keep the entries, in files ``indices`` and ``values``, which are memory-mapped; ``None`` for
            memory.
        working: Bytes of working memory, about, beyond the result: the less, the more often edges are read. ``None``
            for twice those of the result, within bounds.

    Returns:
        ``[N, N]``; values are computed in float64 and stored in float32.

    Raises:
        InputError: An edge, a weight or the direction is not allowed.

    Source:
        The normalised adjacency matrix of Graph Attention MLP, arXiv 2108.10097, section 2.1.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import from_edges
        >>> edge = from_edges(torch.tensor([[0], [1]]), None, num_nodes=2)
        >>> edge.multiply(torch.eye(2), torch.empty(2, 2)).allclose(torch.full((2, 2), 0.5)), edge.values
        (True, None)
    """
    check_direction(direction)
    check_edges(edge_index, num_nodes, num_nodes)
    if edge_weight is not None:
        check_weight(edge_weight, edge_index.shape[1])
        edge_weight = None if (edge_weight == 1).all() else edge_weight.detach().cpu()
    most = (1 + (direction == "both")) * edge_index.shape[1] + num_nodes
    working = working or min(max(WORKING[0], 8 * most), WORKING[1])
    together = max(working // (2 * BYTES), num_nodes)
    edges = _Edges(edge_index.detach().cpu(), edge_weight, num_nodes, direction, together)
    indices = _Kept("indices", torch.int32, most, folder)
    values = None if edge_weight is None else _Kept("values", torch.float32, most, folder)
    degree, lengths = np.empty(num_nodes), np.empty(num_nodes, np.int64)
    for first, last in pairwise(edges.ranges(working // (BYTES if values is None else 2 * BYTES))):
        B = edges.rows(first, last)
        if values is None:
            repeated = B.data.max(initial=1) > 1
            lengths[first:last] = B.sum(axis=1, dtype=np.int64) if repeated else np.diff(B.indptr)
            degree[first:last] = lengths[first:last]
            indices.add(np.repeat(B.indices, B.data) if repeated else B.indices)
        else:
            B = _summed(B)
            B.eliminate_zeros()
            degree[first:last] = B.sum(axis=1)
            lengths[first:last] = np.diff(B.indptr)
            indices.add(B.indices)
            values.add(B.data / np.repeat(degree[first:last], lengths[first:last]))
    if working > WORKING[0]:
        give_back_freed_memory()
    indptr = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]))
    kept = indices.tensor()
    if values is None:
        root = torch.from_numpy(degree**coefficient).float() if coefficient else None
        return GatherMatrix(indptr, kept, None, torch.from_numpy(1 / degree).float(), num_nodes, root)
    normal = _balanced(values.tensor(), indptr, kept, degree, coefficient)
    return GatherMatrix(indptr, kept, normal, None, num_nodes)


def counted(matrix: GatherMatrix) -> sparse.csr_array:
    """Return A + I ``[N, N]`` of a matrix without values that :func:`from_edges` made, float64, no duplicates."""
    parts = np.ones(len(matrix.indices)), matrix.indices.numpy(), matrix.indptr.numpy()
    return _summed(sparse.csr_array(parts, shape=matrix.shape)).astype(np.float64, copy=False)


def _ranges(counts: np.ndarray, entries: int) -> list[int]:
    """Return where ranges of rows begin, and the last one ends, each of so many entries at most, or of one row."""
    bounds, ends = [0], np.cumsum(counts + 1)
    while bounds[-1] < len(counts):
        before = ends[bounds[-1] - 1] if bounds[-1] else 0
        bounds.append(max(int(np.searchsorted(ends, before + entries, "right")), bounds[-1] + 1))
    return bounds


def _balanced(values: Tensor, indptr: Tensor, indices: Tensor, degree: np.ndarray, coefficient: float) -> Tensor:
    """Multiply the values of ``D^-1 B`` such that they are those of ``D^(r-1) B D^-r``, some rows at a time.

    The columns of nodes whose row sum is 0 become 0.
    """
    if coefficient:
        root = torch.from_numpy(degree**coefficient)
        inverse = torch.where(root > 0, 1 / root, 0)
        for first, last in pairwise(_ranges(np.diff(indptr.numpy()), 2**20)):
            part = slice(int(indptr[first]), int(indptr[last]))
            own = root[first:last].repeat_interleave(indptr[first : last + 1].diff())
            values[part] = (own * values[part] * inverse[indices[part]]).float()
    return values


class _Kept:
    """Numbers that come piece by piece, in memory or in a file of a folder."""

    def __init__(self, name: str, dtype: torch.dtype, most: int, folder: Path | None) -> None:
        self.dtype, self.size = dtype, 0
        self.path = None if folder is None else folder / name
        # Memory that is not written to takes up no room.
        self.memory = blank((most if folder is None else 0,), dtype)
        self.file = None if self.path is None else self.path.open("wb")

    def add(self, piece: np.ndarray) -> None:
        numbers = torch.from_numpy(piece).to(self.dtype)
        if self.file is None:
            self.memory[self.size : self.size + len(numbers)] = numbers
        else:
            self.file.write(numbers.numpy().data)
        self.size += len(numbers)

    def tensor(self) -> Tensor:
        if self.file is None:
            return self.memory[: self.size]
        self.file.close()
        return torch.from_file(str(self.path), shared=True, size=self.size, dtype=self.dtype)

"""The rows of Ã that each step needs where few nodes are wanted: those from which the steps left lead to these nodes.

A state's row after k of K steps matters if K - k steps lead from there to a wanted node, against the direction in which
features flow. So the last step makes the wanted rows alone, the one before it those that they gather, and so on; and
nodes that are farther than K steps away are left out of the graph altogether.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.propagation.gather import GatherMatrix
from gamlp_admm.propagation.product import Matrix, product, to_torch

CHUNK = 2**22
"""Entries that are looked at together."""

CACHED = 2**22
"""Numbers of a result up to which it is made as a new tensor, not some rows at a time."""

TOUCH = 128
"""Costs of copying or transposing a stored entry, in multiply-adds of a sparse with a dense matrix."""


@dataclass(frozen=True)
class Entries:
    """Where the entries of a matrix are, as NumPy sees them.

    Attributes:
        indptr: ``[N + 1]``.
        indices: ``[E]``.
    """

    indptr: np.ndarray
    indices: np.ndarray

    @classmethod
    def of(cls, matrix: Matrix) -> Entries:
        """Return those of a matrix."""
        if isinstance(matrix, Tensor):
            return cls(matrix.crow_indices().cpu().numpy(), matrix.col_indices().cpu().numpy())
        return cls(matrix.indptr.numpy(), matrix.indices.numpy())

    def of_rows(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the places of the entries of some rows, row after row, some at a time."""
        lengths = np.diff(self.indptr)[rows]
        ends = lengths.cumsum()
        low = 0
        while low < len(rows):
            before = ends[low - 1] if low else 0
            high = max(int(np.searchsorted(ends, before + CHUNK, side="right")), low + 1)
            taken, starts = lengths[low:high], self.indptr[rows[low:high]]
            yield np.repeat(starts + before - ends[low:high] + taken, taken) + np.arange(taken.sum())
            low = high


def distances(entries: Entries, rows: np.ndarray, most: int) -> np.ndarray:
    """Return in how many steps features of each node reach one of some rows, ``[N]``; ``most + 1`` for more.

    Args:
        entries: Those of Ã ``[N, N]``.
        rows: The rows.
        most: Steps that are looked at.
    """
    found = np.full(len(entries.indptr) - 1, most + 1, np.int32)
    found[rows], reached = 0, np.unique(rows)
    for step in range(1, most + 1):
        new = np.zeros(len(found), bool)
        for places in entries.of_rows(reached):
            new[entries.indices[places]] = True
        reached = np.flatnonzero(new & (found > most))
        if not len(reached):
            break
        found[reached] = step
    return found


def rows_of(matrix: Matrix, rows: np.ndarray, numbers: np.ndarray | None, columns: int) -> Matrix:
    """Return some rows of a matrix, a copy, without its :attr:`~GatherMatrix.root`.

    Args:
        matrix: ``[M, N]``.
        rows: Their numbers.
        numbers: ``[N]``, new numbers of the columns; ``None`` for those they have.
        columns: The number of columns of what is returned.
    """
    entries, given = Entries.of(matrix), matrix.values() if isinstance(matrix, Tensor) else matrix.values
    indptr = np.concatenate([[0], np.diff(entries.indptr)[rows].cumsum()])
    indices = np.empty(indptr[-1], np.int32)
    old = None if given is None else given.cpu().numpy()
    values = None if old is None else np.empty(indptr[-1], old.dtype)
    low = 0
    for places in entries.of_rows(rows):
        here = slice(low, low := low + len(places))
        found = entries.indices[places]
        indices[here] = found if numbers is None else numbers[found]
        if old is not None and values is not None:
            values[here] = old[places]
    if isinstance(matrix, Tensor):
        made = sparse.csr_array((values, indices, indptr), shape=(len(rows), columns))
        return to_torch(made, matrix.dtype, matrix.device)
    scale = None if matrix.scale is None else matrix.scale[torch.from_numpy(rows)]
    kept = None if values is None else torch.from_numpy(values)
    return GatherMatrix(torch.from_numpy(indptr), torch.from_numpy(indices), kept, scale, columns)


def without_root(matrix: Matrix) -> Matrix:
    """Return the P of ``diag(root) P diag(1 / root)``."""
    return matrix if isinstance(matrix, Tensor) else replace(matrix, root=None)


@dataclass(frozen=True)
class Steps:
    """Ã as the steps need it, one after the other: :func:`product` takes it for a matrix, once a step.

    Attributes:
        left: For each step that is left the matrix ``[M, N]`` of the rows that it makes, and where they are ``[M]``;
            ``None`` for all rows.
        root: :attr:`GatherMatrix.root` of them all.
    """

    left: Iterator[tuple[Matrix, Tensor | None]]
    root: Tensor | None = None

    def multiply(self, dense: Tensor, out: Tensor, restart: Tensor | None = None, alpha: float = 0.0) -> Tensor:
        """Write the rows that the next step makes to their places in ``out``, as :func:`product` does; leave others.

        Returns:
            ``out``; or a new tensor of all rows, where that is faster.
        """
        matrix, rows = next(self.left)
        if isinstance(matrix, GatherMatrix) and matrix.shape[0] * dense.shape[1] <= CACHED:
            made = matrix.multiplied(dense, restart if restart is None or rows is None else restart[rows], alpha)
            return made if rows is None else out.index_copy_(0, rows, made)
        if rows is None:
            return product(matrix, dense, out, restart=restart, alpha=alpha)
        made = dense.new_empty(len(rows), dense.shape[1])
        product(matrix, dense, made, restart=None if restart is None else restart[rows], alpha=alpha)
        return out.index_copy_(0, rows, made)


class Narrowing:
    """Which rows each step makes.

    Args:
        matrix: Ã ``[N, N]``.
        rows: Numbers of the wanted rows.
        steps: K.
        columns: F, those that are propagated.

    Attributes:
        ball: Numbers of the nodes that are kept, increasing; ``None`` where they are most: then all are.
        wanted: Where the wanted rows are among these.
        entries: For each step the number of entries that are multiplied.
        copied: The number of entries of Ã that :meth:`made` copies.

    Example:
        >>> import numpy as np, scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import powers, to_torch
        >>> from gamlp_admm.propagation.narrowing import Narrowing
        >>> chain = sparse.diags_array(np.ones(9), offsets=1, format="csr")  # each node gathers the next
        >>> narrow = Narrowing(to_torch(chain, torch.float32), np.array([0]), steps=3, columns=1)
        >>> narrow.ball.tolist(), narrow.entries  # instead of 9, 9, 9
        ([0, 1, 2, 3], [2, 2, 1])
        >>> *_, last = zip(range(4), powers(narrow.steps(), torch.arange(4.0)[:, None]))
        >>> last[1][narrow.wanted].item()
        3.0
    """

    def __init__(self, matrix: Matrix, rows: np.ndarray, steps: int, columns: int) -> None:
        self.matrix, entries = matrix, Entries.of(matrix)
        self._distance = distances(entries, rows, steps)
        ball, N, lengths = np.flatnonzero(self._distance <= steps), len(self._distance), np.diff(entries.indptr)
        self.ball = ball if 2 * len(ball) <= N else None
        self._numbers = np.arange(N, dtype=np.int32)
        if self.ball is not None:
            self._numbers[ball] = np.arange(len(ball))
        self.wanted = torch.from_numpy(self._numbers[rows]).long()
        held = np.bincount(self._distance, weights=lengths, minlength=steps + 2)[:steps].cumsum().astype(int).tolist()
        whole = int(lengths.sum())
        self._levels = _levels(held, whole if self.ball is None else None, columns)[::-1]
        self.entries = [whole if level is None else held[level] for level in self._levels]
        self.copied = sum(held[level] for level in {*self._levels} if level is not None)

    def of(self, matrix: Matrix) -> Narrowing:
        """Return the same of another matrix, with the same entries."""
        other = copy.copy(self)
        other.matrix = matrix
        other.__dict__.pop("_made", None)
        return other

    def steps(self, taken: int = 0) -> Steps:
        """Return the matrices of the steps, for one run through them.

        Args:
            taken: Steps that have been taken already.
        """
        return Steps(iter([self._made[level] for level in self._levels[taken:]]), self._root)

    @cached_property
    def _made(self) -> dict[int | None, tuple[Matrix, Tensor | None]]:
        """The matrices by the distance up to which they have rows; ``None``: all of them, in :attr:`matrix`."""
        device = self.matrix.device if isinstance(self.matrix, Tensor) else "cpu"
        size, numbers = (len(self._numbers), None) if self.ball is None else (len(self.ball), self._numbers)
        made: dict[int | None, tuple[Matrix, Tensor | None]] = {}
        for level in {*self._levels}:
            if level is None:
                made[None] = without_root(self.matrix), None
            else:
                rows = np.flatnonzero(self._distance <= level)
                places = torch.from_numpy(self._numbers[rows]).long().to(device)
                made[level] = rows_of(self.matrix, rows, numbers, size), places
        return made

    @property
    def _root(self) -> Tensor | None:
        root = None if isinstance(self.matrix, Tensor) else self.matrix.root
        return root if root is None or self.ball is None else root[torch.from_numpy(self.ball)]


def _levels(held: list[int], whole: int | None, columns: int) -> list[int | None]:
    """Return for each distance the larger one up to which rows are made for it, such that few matrices do.

    That is at most a third more work. All rows are made, ``None``, where to copy some costs more than it saves.

    Args:
        held: Entries in the rows up to each distance.
        whole: Entries in all rows; ``None`` where there is no matrix of them.
        columns: Those that are propagated.
    """
    firsts: list[int] = []
    last: dict[int, int] = {}
    for distance, entries in enumerate(held):
        firsts.append(distance if not firsts or 3 * entries > 4 * held[firsts[-1]] else firsts[-1])
        last[firsts[-1]] = distance
    if whole is None:
        return [last[first] for first in firsts]
    copied = {first: (whole - held[last[first]]) * columns > TOUCH * held[last[first]] for first in last}
    return [last[first] if copied[first] else None for first in firsts]

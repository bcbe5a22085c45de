r"""The order of work: wanted rows of the states, from whichever side is cheaper.

A state is T_k X, T_k a polynomial of Ã, so that wanted rows of it, with S ``[R, N]`` the matrix that selects them, are
S T_k X, and can be made in two orders:

- :class:`FeaturesFirst`: X is propagated, some columns at a time; each step makes only the rows from which the steps
  left lead to wanted ones (:mod:`~gamlp_admm.propagation.narrowing`).
- :class:`SelectorsFirst`: S is, some rows at a time: T_kᵀ Sᵀ is the same scheme with Ãᵀ, and each kept state of it is
  multiplied with Xᵀ. It pays for few rows of many columns, above all where X is sparse.
- :class:`ByColumn`: columns of X with many numbers in them in the first order, the others in the second.

Either begins with something that may be sparse, and powers of Ã stay sparse as long as fewer than one number in
:data:`FILL` is not zero. :func:`order_of_work` counts what they would cost and takes the cheapest: counts of the graph
and the features alone, so that the choice, and with it every bit, is the same on every machine.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.propagation.diffuse import heat, pagerank, powers
from gamlp_admm.propagation.features import NodeFeatures, blank
from gamlp_admm.propagation.gather import GatherMatrix
from gamlp_admm.propagation.narrowing import CACHED, TOUCH, Narrowing, Steps
from gamlp_admm.propagation.product import Matrix, tile_width, to_torch
from gamlp_admm.propagation.scheme import KeptState, Scheme
from gamlp_admm.propagation.sparse_features import Features, SparseFeatures, dense, dense_columns

POLYNOMIALS = (powers, pagerank, heat)
"""The diffusions that are known to be polynomials of Ã, of one product a step."""

FILL = 256
"""Costs of a multiply-add of sparse matrices, in multiply-adds of a sparse with a dense one (measured: 150 to 400)."""

BLAS = 4
"""Multiply-adds of dense matrices in the time of one of a sparse with a dense one."""

PANEL = 32
"""Selectors that are propagated together: rows of 128 bytes, two lines of the cache, were fastest to gather."""

ROWS = 256
"""Wanted rows that are made together, as long as their selectors are sparse."""


@dataclass(frozen=True)
class Unit:
    """Rows and columns of all states, made independently of all others.

    Attributes:
        rows: Of the wanted rows.
        columns: Of the features.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import Unit
        >>> unit, out = Unit(slice(0, 2), slice(4, 8)), torch.empty(5, 3, 8)
        >>> out[unit.rows, :, unit.columns].shape
        torch.Size([2, 3, 4])
    """

    rows: slice
    columns: slice


class Order(ABC):
    """A way to make the wanted rows of the states that a scheme keeps.

    Attributes:
        shape: ``(R, S, F)`` of the result.
        dtype: The type that is computed with.
        device: Where.
    """

    def __init__(self, scheme: Scheme, matrix: Matrix, features: Features, num_rows: int) -> None:
        self.scheme, self.matrix, self.features = scheme, matrix, features
        self.shape = (num_rows, len(scheme.states), features.shape[1])
        self.dtype, self.device = features.dtype, features.device

    @property
    @abstractmethod
    def cost(self) -> float:
        """What the whole costs, in multiply-adds of a sparse with a dense matrix."""

    @property
    def held(self) -> int:
        """Bytes of what is made of the features for all units, and kept."""
        return 0

    @abstractmethod
    def units(self) -> list[Unit]:
        """Return what is made at a time; together all of the result."""

    @abstractmethod
    def write(self, unit: Unit, out: Tensor) -> None:
        """Make a unit.

        Args:
            unit: One of :meth:`units`.
            out: ``[r, S, c]``, of any strides and any floating-point type: rows and columns of the unit, all states.
        """

    @property
    def _powers(self) -> bool:
        """Whether states are powers of Ã, which may go on from a state that is sparse."""
        return self.scheme.named.diffuse is powers

    def _thin_states(
        self, state: sparse.csr_array, operator: Callable[[], sparse.csr_array]
    ) -> tuple[list[sparse.csr_array], sparse.csr_array | None]:
        """Return the states ``[c, N]`` of 0, 1, … steps that are thin, and the one to go on with, if there are more.

        Args:
            state: State 0.
            operator: Returns what they are multiplied with from the right.
        """
        thin: list[sparse.csr_array] = []
        while self._powers and is_thin(state.nnz, *state.shape):
            thin.append(state)
            if len(thin) > self.scheme.states[-1]:
                return thin, None
            state = state @ operator()
        return thin, state

    def _count(self, nnz: float, shape: tuple[int, int], entries: Sequence[int]) -> tuple[float, list[float | None]]:
        """Count a propagation.

        Args:
            nnz: Numbers that are not zero in what is propagated; how many they become is estimated by the mean number
                of entries in a row of Ã.
            shape: Of what is propagated: nodes and columns.
            entries: For each step the number of entries that are multiplied.

        Returns:
            The costs, and of each state that is kept the numbers that are not zero; ``None`` if it is dense.
        """
        costs, degree, thin = 0.0, self.num_entries / max(len(self.features), 1), self._powers
        states: list[float | None] = []
        for multiplied in (*entries, 0):
            thin = thin and is_thin(nnz, *shape)
            states.append(nnz if thin else None)
            costs += FILL * nnz * degree * (multiplied > 0) if thin else multiplied * shape[1]
            nnz = min(nnz * degree, math.prod(shape))
        return costs, [states[step] for step in self.scheme.states]

    @property
    def num_entries(self) -> int:
        """The number of entries of Ã."""
        return int((self.matrix.values() if isinstance(self.matrix, Tensor) else self.matrix.indices).numel())


def is_thin(nnz: float, *shape: int) -> bool:
    """Return whether a matrix of so many numbers that are not zero is multiplied as a sparse one."""
    return nnz * FILL < math.prod(shape)


class FeaturesFirst(Order):
    """Propagate the features, and take the wanted rows of what they become.

    Args:
        scheme: How to propagate.
        matrix: Ã ``[N, N]``.
        features: X.
        rows: ``[R]``, the wanted rows; ``None`` for all.
        narrow: The rows that each step makes for them, where they are known already.

    Attributes:
        wanted: ``[R]``, where the wanted rows are among those of :meth:`states`; ``None`` for all of them.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import FeaturesFirst, NodeFeatures, Scheme, to_torch
        >>> swap = to_torch(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), torch.float32)
        >>> X, _ = NodeFeatures.of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> scheme = Scheme(1, "sym", alpha=0.1, t=3.0, direction="both")
        >>> order, out = FeaturesFirst(scheme, swap, X, torch.tensor([0])), torch.empty(1, 2, 2)
        >>> for unit in order.units():
        ...     order.write(unit, out[unit.rows, :, unit.columns])
        >>> out.tolist()
        [[[1.0, 2.0], [3.0, 4.0]]]
    """

    def __init__(
        self,
        scheme: Scheme,
        matrix: Matrix,
        features: Features,
        rows: Tensor | None = None,
        narrow: Narrowing | None = None,
    ) -> None:
        super().__init__(scheme, matrix, features, len(features) if rows is None else len(rows))
        if narrow is None and rows is not None and scheme.named.diffuse in POLYNOMIALS:
            narrow = Narrowing(matrix, rows.numpy(), scheme.states[-1], features.shape[1])
        self.narrow, self._ball = narrow, None if narrow is None else narrow.ball
        wanted = rows if narrow is None else narrow.wanted
        self.wanted = None if wanted is None else wanted.to(self.device)
        self._sparse = features if isinstance(features, SparseFeatures) else None
        if self._ball is not None and self._sparse is not None:
            self._sparse = replace(self._sparse, matrix=self._sparse.matrix[self._ball])

    def units(self) -> list[Unit]:
        return [Unit(slice(0, self.shape[0]), columns) for columns in self.features.tiles(tile_width(self.matrix))]

    @property
    def cost(self) -> float:
        N, F = self.in_work, self.features.shape[1]
        nnz = N * F if self._sparse is None else self._sparse.nnz
        entries = self.narrow.entries if self.narrow else [self.num_entries] * self.scheme.states[-1]
        return self._count(nnz, (N, F), entries)[0] + N * F + TOUCH * self.copied

    @property
    def in_work(self) -> int:
        """The number of nodes whose states are made."""
        return len(self.features) if self._ball is None else len(self._ball)

    @property
    def copied(self) -> int:
        """The number of entries of Ã that are copied."""
        return self.narrow.copied if self.narrow else 0

    def states(self, columns: slice) -> Iterator[KeptState]:
        """Yield the states that are kept of some columns, of all nodes :attr:`in_work`, however sparse they are.

        No bit depends on which columns are made together.
        """
        if isinstance(self.features, NodeFeatures):
            ball = None if self._ball is None else torch.from_numpy(self._ball)
            return self._kept(self.features.tile(columns, ball, contiguous=False))
        assert self._sparse is not None
        return self._kept(self._sparse.tile(columns))

    def _kept(self, tile: Tensor, taken: int = 0) -> Iterator[KeptState]:
        return self.scheme.kept(self.narrow.steps(taken) if self.narrow else self.matrix, tile, taken)

    def write(self, unit: Unit, out: Tensor) -> None:
        if self._sparse is None:
            for i, kept in enumerate(self.states(unit.columns)):
                kept.write(out[:, i], self.wanted)
            return
        written = 0
        thin, rest = self._thin_states(self._sparse.by_column[unit.columns], lambda: self._transposed)
        for i, k in enumerate(k for k in self.scheme.states if k < len(thin)):
            wanted = thin[k] if self.wanted is None else thin[k][:, self.wanted.cpu().numpy()]
            out[:, i] = dense(wanted, self.device).T
            written = i + 1
        if rest is not None:
            for i, kept in enumerate(self._kept(dense_columns(rest, self.device), len(thin)), written):
                kept.write(out[:, i], self.wanted)

    @cached_property
    def _transposed(self) -> sparse.csr_array:
        """Ãᵀ among the nodes that have a part in it."""
        operator = as_scipy(self.matrix)
        return (operator if self._ball is None else operator[self._ball][:, self._ball]).T.tocsr()


class SelectorsFirst(Order):
    """Propagate the selectors of the wanted rows, by the transposed matrix, and multiply them with the features.

    Args:
        scheme: How to propagate; its diffusion must be one of :data:`POLYNOMIALS`.
        matrix: Ã ``[N, N]``.
        features: X.
        rows: ``[R]``, the wanted rows.

    Example:
        >>> import numpy as np, scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import NodeFeatures, Scheme, SelectorsFirst, to_torch
        >>> chain = to_torch(sparse.csr_array([[0.0, 1.0], [0.0, 0.0]]), torch.float32)
        >>> X, _ = NodeFeatures.of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> scheme = Scheme(1, "sym", alpha=0.1, t=3.0, direction="both")
        >>> order, out = SelectorsFirst(scheme, chain, X, torch.tensor([0])), torch.empty(1, 2, 2)
        >>> for unit in order.units():
        ...     order.write(unit, out[unit.rows, :, unit.columns])
        >>> out.tolist()
        [[[1.0, 2.0], [3.0, 4.0]]]
    """

    def __init__(self, scheme: Scheme, matrix: Matrix, features: Features, rows: Tensor) -> None:
        super().__init__(scheme, matrix, features, len(rows))
        self.rows = rows.numpy()

    def units(self) -> list[Unit]:
        R, columns = self.shape[0], slice(0, self.shape[2])
        return [Unit(slice(low, min(low + ROWS, R)), columns) for low in range(0, R, ROWS)]

    @property
    def cost(self) -> float:
        costs, of_number = self.costs
        N, F = self.features.shape
        return costs + of_number * (self.features.nnz if isinstance(self.features, SparseFeatures) else N * F)

    @cached_property
    def costs(self) -> tuple[float, float]:
        """The costs but for the features', and those of each number of the features."""
        R, N = self.shape[0], len(self.features)
        costs, states = self._count(R, (N, R), [self.num_entries] * self.scheme.states[-1])
        if isinstance(self.features, SparseFeatures):
            of_number = sum(R if state is None else FILL * state / N for state in states) + TOUCH
        else:
            of_number = sum(R / BLAS + R / PANEL if state is None else state / N for state in states)
        return costs + N * R + TOUCH * self.num_entries, of_number

    def write(self, unit: Unit, out: Tensor) -> None:
        thin, rest = self._thin_states(self._selectors(self.rows[unit.rows]), lambda: self._operator)
        written = 0
        for i, k in enumerate(k for k in self.scheme.states if k < len(thin)):
            self._multiply_thin(thin[k], out[:, i])
            written = i + 1
        if rest is None:
            return
        for low in range(0, len(out), PANEL):
            panel = dense_columns(rest[low : low + PANEL], self.device)
            for i, kept in enumerate(
                self.scheme.kept(Steps(repeat((self._transposed, None))), panel, len(thin)), written
            ):
                self._multiply(kept.computed, out[low : low + PANEL, i])

    def _selectors(self, rows: np.ndarray) -> sparse.csr_array:
        ones = np.ones(len(rows), self._operator.dtype)
        return sparse.csr_array((ones, rows, np.arange(len(rows) + 1)), shape=(len(rows), len(self.features)))

    def _multiply_thin(self, state: sparse.csr_array, out: Tensor) -> None:
        """Write ``state X``."""
        if isinstance(self.features, SparseFeatures):
            out.copy_(dense(state @ self.features.matrix, self.device))
            return
        for columns in self.features.tiles():
            tile = self.features.tile(columns)
            out[:, columns] = torch.mm(to_torch(state, tile.dtype, tile.device), tile)

    def _multiply(self, state: Tensor, out: Tensor) -> None:
        """Write ``stateᵀ X``, of a state ``[N, r]``."""
        if self._words is None:
            for columns in self.features.tiles():
                out[:, columns] = state.T @ self.features.tile(columns)
        elif isinstance(self._words, GatherMatrix) and out.numel() > CACHED:
            self._words.multiply(state, out.T)
        elif isinstance(self._words, GatherMatrix):
            out.copy_(self._words.multiplied(state).T)
        else:
            out.copy_(torch.mm(self._words, state).T)

    @cached_property
    def _operator(self) -> sparse.csr_array:
        return as_scipy(self.matrix)

    @cached_property
    def _transposed(self) -> Matrix:
        return gathering(self._operator.T.tocsr(), self.dtype, self.device)

    @cached_property
    def _words(self) -> Matrix | None:
        """Xᵀ, where X is sparse."""
        if not isinstance(self.features, SparseFeatures):
            return None
        return gathering(self.features.by_column, self.dtype, self.device)


class ByColumn(Order):
    """Propagate the columns of which that costs less than to multiply them with selectors: those of frequent words.

    Args:
        propagating: How these are made.
        selecting: How the others are.

    Attributes:
        frequent: The numbers of the columns that are propagated.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import ByColumn, FeaturesFirst, Scheme, SelectorsFirst, SparseFeatures, to_torch
        >>> graph = to_torch(sparse.random_array((999, 999), density=0.1, format="csr", rng=0), torch.float32)
        >>> X, _ = SparseFeatures.of(torch.cat([torch.eye(999), torch.ones(999, 1)], 1).to_sparse())
        >>> problem = Scheme(3, "sym", alpha=0.1, t=3.0, direction="both"), graph, X, torch.arange(500)
        >>> ByColumn(FeaturesFirst(*problem), SelectorsFirst(*problem)).frequent.tolist()
        [999]
    """

    def __init__(self, propagating: FeaturesFirst, selecting: SelectorsFirst) -> None:
        scheme, features, rows = selecting.scheme, selecting.features, torch.from_numpy(selecting.rows)
        assert isinstance(features, SparseFeatures)
        super().__init__(scheme, selecting.matrix, features, len(rows))
        self.features: SparseFeatures
        numbers = np.diff(features.by_column.indptr)
        many = numbers * selecting.costs[1] > propagating.cost / max(features.shape[1], 1)
        self.frequent = np.flatnonzero(many)
        matrix = gathering(as_scipy(self.matrix), self.dtype, self.device)
        narrow = None if propagating.narrow is None else propagating.narrow.of(matrix)
        self._first = FeaturesFirst(scheme, matrix, features.columns(self.frequent), rows, narrow)
        self._rest = SelectorsFirst(scheme, self.matrix, features.without(many), rows)

    @property
    def cost(self) -> float:
        return self._first.cost + self._rest.cost

    @property
    def held(self) -> int:
        R, S, _ = self.shape
        number = self.dtype.itemsize
        return R * S * len(self.frequent) * number + 2 * self.features.nnz * (number + 4)

    def units(self) -> list[Unit]:
        return self._rest.units()

    def write(self, unit: Unit, out: Tensor) -> None:
        self._rest.write(unit, out)
        made = self._made[unit.rows].to(out.dtype)
        out.scatter_(2, torch.from_numpy(self.frequent).to(self.device).expand(made.shape), made)

    @cached_property
    def _made(self) -> Tensor:
        """The frequent columns, ``[R, S, c]``, kept for all units."""
        made = torch.empty(*self.shape[:2], len(self.frequent), dtype=self.dtype, device=self.device)
        for low in range(0, made.shape[2], PANEL):
            columns = slice(low, min(low + PANEL, made.shape[2]))
            self._first.write(Unit(slice(0, self.shape[0]), columns), made[:, :, columns])
        return made


def order_of_work(scheme: Scheme, matrix: Matrix, features: Features, rows: Tensor | None = None) -> Order:
    """Return the cheapest order, counted.

    Args:
        scheme: How to propagate.
        matrix: Ã ``[N, N]``, from :meth:`Scheme.matrix`.
        features: X ``[N, F]``.
        rows: ``[R]``, the wanted rows; ``None`` for all.

    Example:
        >>> import numpy as np, scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import Scheme, SparseFeatures, order_of_work, to_torch
        >>> graph = to_torch(sparse.random_array((999, 999), density=0.1, format="csr", rng=0), torch.float32)
        >>> words, _ = SparseFeatures.of(torch.eye(999).to_sparse())
        >>> scheme = Scheme(3, "sym", alpha=0.1, t=3.0, direction="both")
        >>> [type(order_of_work(scheme, graph, words, rows)).__name__ for rows in (None, torch.arange(10))]
        ['FeaturesFirst', 'SelectorsFirst']
    """
    propagating = FeaturesFirst(scheme, matrix, features, rows)
    if rows is None or scheme.named.diffuse not in POLYNOMIALS:
        return propagating
    orders: list[Order] = [propagating, selecting := SelectorsFirst(scheme, matrix, features, rows)]
    if isinstance(features, SparseFeatures):
        orders.append(ByColumn(propagating, selecting))
    return min(orders, key=lambda order: order.cost)


def gathering(matrix: sparse.csr_array, dtype: torch.dtype, device: torch.device) -> Matrix:
    """Return a matrix that gathers rows where that is possible, also a small one: there are no bits to keep."""
    if dtype == torch.float32 and device.type == "cpu":
        return GatherMatrix.of(matrix)
    return to_torch(matrix, dtype, device)


def propagate(
    scheme: Scheme,
    matrix: Matrix,
    features: Features,
    dtype: torch.dtype | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """Return wanted rows of ``[T_k X for k in states]``, side by side.

    Args:
        scheme: How to propagate.
        matrix: Ã ``[N, N]``, from :meth:`Scheme.matrix`.
        features: X ``[N, F]``.
        dtype: Type of what is returned; ``None`` for that of the features.
        rows: ``[R]``, the wanted rows; ``None`` for all.

    Returns:
        ``[R, len(states)·F]``.

    Raises:
        InputError: There is no memory for it.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import NodeFeatures, Scheme, propagate, to_torch
        >>> swap = to_torch(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), torch.float32)
        >>> X, _ = NodeFeatures.of(torch.tensor([[1.0], [2.0]]))
        >>> scheme = Scheme((0, 1, 3), "sym", alpha=0.1, t=3.0, direction="both")
        >>> propagate(scheme, swap, X, rows=torch.tensor([1])).tolist()
        [[2.0, 1.0, 1.0]]
    """
    order = order_of_work(scheme, matrix, features, rows)
    R, S, F = order.shape
    try:
        out = blank((R, S, F), dtype or order.dtype, order.device)
    except MemoryError:
        size = f"{S:,} x {F:,} features of {R:,} nodes"
        raise InputError(f"hops is {scheme.hops}: there is no memory for {size}") from None
    for unit in order.units():
        order.write(unit, out[unit.rows, :, unit.columns])
    return out.flatten(1)


def as_scipy(matrix: Matrix) -> sparse.csr_array:
    """Return a matrix as SciPy's, all its numbers among its entries."""
    shape = (int(matrix.shape[0]), int(matrix.shape[1]))
    if isinstance(matrix, Tensor):
        parts = matrix.values(), matrix.col_indices(), matrix.crow_indices()
        return sparse.csr_array(tuple(part.cpu().numpy() for part in parts), shape=shape)
    indptr, indices = matrix.indptr.numpy(), matrix.indices.numpy()
    data = np.ones(len(indices), np.float32) if matrix.values is None else matrix.values.numpy().copy()
    scale = np.ones(shape[0], np.float32) if matrix.scale is None else matrix.scale.numpy()
    if matrix.root is not None:
        scale = scale * matrix.root.numpy()
        data /= matrix.root.numpy()[indices]
    data *= np.repeat(scale, np.diff(indptr))
    return sparse.csr_array((data, indices, indptr), shape=shape)

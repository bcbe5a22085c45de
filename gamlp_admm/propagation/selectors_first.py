"""Wanted rows of the states from the other side: what is propagated are the selectors of the rows."""

from __future__ import annotations

from functools import cached_property
from itertools import repeat

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.propagation import order
from gamlp_admm.propagation.features_first import FeaturesFirst
from gamlp_admm.propagation.gather import GatherMatrix
from gamlp_admm.propagation.narrowing import CACHED, TOUCH, Steps
from gamlp_admm.propagation.order import Order, Unit
from gamlp_admm.propagation.product import Matrix, as_scipy, gathering, to_torch
from gamlp_admm.propagation.scheme import Scheme
from gamlp_admm.propagation.sparse_features import Features, SparseFeatures, dense, dense_columns

BLAS = 4
"""Multiply-adds of dense matrices in the time of one of a sparse with a dense one."""

PANEL = 32
"""Selectors that are propagated together: rows of 128 bytes, two lines of the cache, were fastest to gather."""

ROWS = 256
"""Wanted rows that are made together, as long as their selectors are sparse."""


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
            of_number = sum(R if state is None else order.FILL * state / N for state in states) + TOUCH
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

r"""The order of work: wanted rows of the states, from whichever side is cheaper.

A state is T_k X, T_k a polynomial of Ã, so that wanted rows of it, with S ``[R, N]`` the matrix that selects them, are
S T_k X, and can be made in two orders:

- :mod:`~gamlp_admm.propagation.features_first`: X is propagated, some columns at a time; each step makes only the rows
  from which the steps left lead to wanted ones (:mod:`~gamlp_admm.propagation.narrowing`).
- :mod:`~gamlp_admm.propagation.selectors_first`: S is, some rows at a time: T_kᵀ Sᵀ is the same scheme with Ãᵀ, and
  each kept state of it is multiplied with Xᵀ. It pays for few rows of many columns, above all where X is sparse.

Or columns of X with many numbers in them are made in the first order, and the others in the second.

Either begins with something that may be sparse, and powers of Ã stay sparse as long as fewer than one number in
:data:`FILL` is not zero. :func:`~gamlp_admm.propagation.order_of_work` counts what they would cost and takes the
cheapest: counts of the graph and the features alone, so that the choice, and with it every bit, is the same on every
machine.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy import sparse
from torch import Tensor

from gamlp_admm.propagation.diffuse import heat, pagerank, powers
from gamlp_admm.propagation.product import Matrix
from gamlp_admm.propagation.scheme import Scheme
from gamlp_admm.propagation.sparse_features import Features

POLYNOMIALS = (powers, pagerank, heat)
"""The diffusions that are known to be polynomials of Ã, of one product a step."""

FILL = 256
"""Costs of a multiply-add of sparse matrices, in multiply-adds of a sparse with a dense one (measured: 150 to 400)."""


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

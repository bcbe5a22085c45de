"""Wanted rows of the states from the features' side: what is propagated are columns of X."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.propagation.features import NodeFeatures, blank
from gamlp_admm.propagation.narrowing import TOUCH, Narrowing
from gamlp_admm.propagation.order import POLYNOMIALS, Order, Unit
from gamlp_admm.propagation.product import Matrix, as_scipy, tile_width, write_powers
from gamlp_admm.propagation.scheme import KeptState, Scheme
from gamlp_admm.propagation.sparse_features import Features, SparseFeatures, dense, dense_columns


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
        if self._powers and self.wanted is None and isinstance(self.features, NodeFeatures):
            self._write_powers(self.features, unit.columns, out)
            return
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

    def _write_powers(self, features: NodeFeatures, columns: slice, out: Tensor) -> None:
        """Write powers of all nodes, each to its place as it is made."""
        places = dict(zip(self.scheme.states, out.unbind(1), strict=True))
        tile = features.tile(columns, contiguous=False)
        if 0 in places:
            places[0].copy_(tile)
        if kept := [places.get(step) for step in range(1, self.scheme.states[-1] + 1)]:
            first, second = (each[: tile.numel()].view(tile.shape) for each in self._work)
            write_powers(self.matrix, tile, kept, (first, second))

    @cached_property
    def _work(self) -> tuple[Tensor, Tensor]:
        """Room for a state of the columns of any unit, and for the next."""
        widest = max(unit.columns.stop - unit.columns.start for unit in self.units())
        room = (len(self.features) * widest,)
        return blank(room, self.dtype, self.device), blank(room, self.dtype, self.device)

    @cached_property
    def _transposed(self) -> sparse.csr_array:
        """Ãᵀ among the nodes that have a part in it."""
        operator = as_scipy(self.matrix)
        return (operator if self._ball is None else operator[self._ball][:, self._ball]).T.tocsr()

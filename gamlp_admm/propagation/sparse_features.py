"""Node features of which few numbers are not zero, as words are: kept sparse, dense a few columns at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.propagation.features import NodeFeatures, column_tiles

FEW = 32
"""Features are sparse where at most one number in so many is not zero."""

SAMPLE = 256
"""Rows of dense features that are looked at first; all are where these are sparse."""

BLOCK = 2**20
"""Numbers of dense features that are searched at a time."""


@dataclass(frozen=True)
class SparseFeatures:
    """Sparse features H ``[N, F]``, in the type that they are computed with.

    Attributes:
        matrix: ``[N, F]``, of that type, float32 or float64; sorted indices, no stored zeros.
        device: Where they are computed with.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import SparseFeatures
        >>> H, dtype = SparseFeatures.of(torch.eye(3, dtype=torch.float16).to_sparse())
        >>> H.tile(slice(1, 2)).flatten().tolist(), H.nnz, dtype
        ([0.0, 1.0, 0.0], 3, torch.float16)
    """

    matrix: sparse.csr_array
    device: torch.device

    @classmethod
    def of(cls, x: Tensor, dtype: torch.dtype | None = None, normalize: bool = False) -> tuple[SparseFeatures, Any]:
        """Return ``data.x`` of a sparse layout, checked, as :meth:`NodeFeatures.of` does.

        Raises:
            InputError: It is not a real matrix, or has NaN or infinite values.
        """
        like, dtype = NodeFeatures.of(x.new_zeros(0, x.shape[1], layout=torch.strided), dtype)
        entries = x.detach().cpu().to_sparse(layout=torch.sparse_coo).coalesce()
        values = entries.values().to(like.dtype).numpy()
        matrix = sparse.coo_array((values, tuple(entries.indices().int().numpy())), shape=tuple(x.shape)).tocsr()
        return cls._checked(matrix, x.device, normalize), dtype

    @classmethod
    def found(
        cls, x: Tensor, dtype: torch.dtype | None = None, normalize: bool = False
    ) -> tuple[SparseFeatures, Any] | None:
        """Return dense features ``[N, F]`` as sparse ones, or ``None`` where too many are not zero.

        Args:
            x: A dense real matrix.
            dtype: Floating-point type of the output, as of :meth:`of`.
            normalize: Whether rows are divided by the sums of their absolute values.
        """
        N, F = x.shape
        sample = x[:: max(N // SAMPLE, 1)]
        if x.device.type != "cpu" or int(sample.count_nonzero()) * FEW > sample.numel():
            return None
        like, dtype = NodeFeatures.of(x[:0], dtype)
        places, values, most = [], [], N * F // (FEW // 2)
        for low in range(0, N, step := max(BLOCK // max(F, 1), 1)):
            block = x[low : low + step].detach().to(like.dtype).numpy().reshape(-1)
            found = np.flatnonzero(block != 0)
            places.append(found + low * F)
            values.append(block[found])
            if (most := most - len(found)) < 0:
                return None
        row, column = np.divmod(np.concatenate([*places, np.empty(0, np.int64)]), max(F, 1))
        indptr = np.concatenate([[0], np.bincount(row, minlength=N).cumsum()])
        data = np.concatenate([*values, np.empty(0, values[0].dtype if values else np.float32)])
        matrix = sparse.csr_array((data, column.astype(np.int32), indptr), shape=(N, F))
        return cls._checked(matrix, x.device, normalize), dtype

    @classmethod
    def _checked(cls, matrix: sparse.csr_array, device: torch.device, normalize: bool) -> SparseFeatures:
        wrong = np.flatnonzero(~np.isfinite(matrix.data))
        if len(wrong):
            line = int(np.searchsorted(matrix.indptr, wrong[0], side="right")) - 1
            raise InputError(
                f"data.x has {len(wrong)} NaN or infinite values (as torch.{matrix.dtype}), the first at row {line}, "
                f"column {matrix.indices[wrong[0]]}: features must be finite"
            )
        matrix.eliminate_zeros()
        if normalize:
            norms = np.maximum(abs(matrix).sum(axis=1), np.finfo(matrix.dtype).tiny).astype(matrix.dtype)
            matrix.data /= np.repeat(norms, np.diff(matrix.indptr))
        return cls(matrix, device)

    @property
    def dtype(self) -> torch.dtype:
        """The type that they are computed with."""
        return torch.float32 if self.matrix.dtype == np.float32 else torch.float64

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, F)``."""
        N, F = self.matrix.shape
        return N, F

    @property
    def nnz(self) -> int:
        """Numbers that are not zero."""
        return int(self.matrix.nnz)

    def __len__(self) -> int:
        return self.shape[0]

    @cached_property
    def by_column(self) -> sparse.csr_array:
        """Hᵀ ``[F, N]``."""
        return self.matrix.T.tocsr()

    def columns(self, columns: np.ndarray) -> SparseFeatures:
        """Return some columns, ``[N, c]``."""
        return replace(self, matrix=self.matrix[:, columns])

    def without(self, columns: np.ndarray) -> SparseFeatures:
        """Return features that are zero in some columns, bool ``[F]``."""
        given = self.matrix
        kept = ~columns[given.indices]
        indptr = np.concatenate([[0], kept.cumsum(dtype=np.int64)])[given.indptr]
        return replace(
            self, matrix=sparse.csr_array((given.data[kept], given.indices[kept], indptr), shape=given.shape)
        )

    def tile(self, columns: slice = slice(None)) -> Tensor:
        """Return some columns, dense and contiguous."""
        return dense_columns(self.by_column[columns], self.device)

    def tiles(self, width: int | None = None) -> list[slice]:
        """Return the columns that are propagated together, as :meth:`NodeFeatures.tiles` does."""
        return column_tiles(*self.shape, width)


Features: TypeAlias = "NodeFeatures | SparseFeatures"


def as_features(
    x: Any, dtype: torch.dtype | None = None, normalize: bool = False, look: bool = False
) -> tuple[Features, torch.dtype]:
    """Return ``data.x``, checked, to be computed with in float32 at least.

    Args:
        x: ``[N, F]``, dense or sparse; what is sparse stays so.
        dtype: Floating-point type of the output; ``None`` for that of ``x`` (for integers, torch's default).
        normalize: Whether rows are divided by the sums of their absolute values; rows of zeros stay zero.
        look: Whether dense features are kept sparse, too, where few of their numbers are not zero.

    Returns:
        The features, and the type of the output.

    Raises:
        InputError: It is not a real matrix, or has NaN or infinite values.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import as_features
        >>> [type(as_features(x, look=True)[0]).__name__ for x in (torch.ones(64, 64), torch.eye(64))]
        ['NodeFeatures', 'SparseFeatures']
    """
    if isinstance(x, Tensor) and x.dim() == 2 and not x.is_complex():
        if x.layout is not torch.strided:
            return SparseFeatures.of(x, dtype, normalize)
        if look and (found := SparseFeatures.found(x, dtype, normalize)):
            return found
    return NodeFeatures.of(x, dtype, normalize)


def dense(matrix: sparse.csr_array, device: torch.device | str = "cpu") -> Tensor:
    """Return a SciPy matrix as a dense tensor."""
    return torch.from_numpy(matrix.toarray()).to(device)


def dense_columns(matrix: sparse.csr_array, device: torch.device | str = "cpu") -> Tensor:
    """Return the transpose of a SciPy matrix, dense and contiguous, which is faster than to transpose it."""
    made = np.zeros(matrix.shape[::-1], matrix.dtype)
    made[matrix.indices, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))] = matrix.data
    return torch.from_numpy(made).to(device)

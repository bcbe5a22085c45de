"""Sums of gathered rows: the sparse × dense product of large graphs, at about the speed of reading those rows.

Row i of ``A @ H`` is a weighted sum of rows of H, so the product can be no faster than these rows come from memory.
torch's ``embedding_bag`` is such a sum, with vector instructions, prefetching and 32-bit indices: measured, it is 3
to 5 times as fast as products of CSR matrices, from 32 columns on. Called for some rows at a time, its result
is still in the cache when it is scaled and written to its place. Every row is summed in the order of its entries by
one thread: the bits depend neither on the number of threads nor on which columns are taken together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from gamlp_admm.propagation.mapping import let_go
from gamlp_admm.system.memory import is_mapped

RESULT = 2**18
"""Numbers of the result that are made at a time: 1 MiB, which stays in the cache."""

TILE = 32
"""Columns that are propagated together: states of 250,000 nodes then stay in a cache of 32 MiB. Where they do not,
twice as many are: of what comes from memory, longer pieces come faster."""

CACHED = 2**23
"""Numbers of a state that stay in the cache, 32 MiB."""

WINDOW = 2**21
"""Entries that stay in memory where they are memory-mapped."""

LARGE = 2**21
"""Stored entries above which rows are gathered, on the CPU in float32."""


@dataclass(frozen=True)
class GatherMatrix:
    """A sparse matrix as the rows that each row gathers.

    Attributes:
        indptr: ``[M + 1]`` int64: entries ``indptr[i]`` to ``indptr[i + 1] - 1`` are those of row i.
        indices: ``[E]`` int32, the rows that are gathered; may be memory-mapped.
        values: ``[E]`` float32; ``None`` for ones.
        scale: ``[M]`` float32, by which the sums are multiplied; ``None`` for ones.
        columns: N, the number of rows that may be gathered from.
        root: ``[N]`` float32, where the matrix is ``diag(root) P diag(1 / root)``, P as all the above says; ``None``
            for P. To apply many of them is to divide by the root once, apply many P, and multiply by the root once.

    Example:
        >>> import numpy as np, scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import GatherMatrix
        >>> mean = GatherMatrix.of(sparse.csr_array([[1.0, 1.0], [0.0, 1.0]]), scale=np.array([0.5, 1.0]))
        >>> mean.multiply(torch.tensor([[2.0], [4.0]]), torch.empty(2, 1)).tolist()
        [[3.0], [4.0]]
    """

    indptr: Tensor
    indices: Tensor
    values: Tensor | None
    scale: Tensor | None
    columns: int
    root: Tensor | None = None

    @classmethod
    def of(cls, matrix: sparse.csr_array, scale: np.ndarray | None = None) -> GatherMatrix:
        """Return ``diag(scale) @ matrix``, from SciPy; the values are not kept where all are 1."""
        values = None if (matrix.data == 1).all() else torch.from_numpy(matrix.data).float()
        indptr, indices = torch.from_numpy(matrix.indptr).long(), torch.from_numpy(matrix.indices).int()
        scales = None if scale is None else torch.from_numpy(scale).float()
        return cls(indptr, indices, values, scales, matrix.shape[1])

    @cached_property
    def _mapped(self) -> bool:
        return self.indices.is_cpu and is_mapped(self.indices.data_ptr())

    @property
    def shape(self) -> tuple[int, int]:
        """``(M, N)``."""
        return len(self.indptr) - 1, self.columns

    @torch.no_grad()
    def multiply(self, dense: Tensor, out: Tensor, restart: Tensor | None = None, alpha: float = 0.0) -> Tensor:
        """Write ``A @ dense`` into ``out``, or ``(1 - alpha) A @ dense + alpha restart``.

        Args:
            dense: ``[N, F]`` float32; copied if its rows are not contiguous.
            out: ``[M, F]``, of any strides and any floating-point type; shares no memory with the other arguments.
            restart: ``[M, F]``, or ``None``.
            alpha: The share of ``restart``.

        Returns:
            ``out``.
        """
        dense = self._divided(dense)
        fused = self.scale is not None and self.root is None and restart is None and out.dtype == dense.dtype
        for low, high in self._ranges(dense.shape[1]):
            if fused:
                torch.mul(self._sums(dense, low, high), self.scale[low:high, None], out=out[low:high])  # type: ignore[index]
            else:
                out[low:high] = self._rows(dense, low, high, restart, alpha)
        return out

    @torch.no_grad()
    def step(self, state: Tensor, following: Tensor | None, out: Tensor | None) -> None:
        """Write ``P state`` and ``diag(root) P state``, the same rows of both while they are in the cache.

        Args:
            state: ``[N, F]`` float32, contiguous.
            following: ``[N, F]`` float32, for the one; ``None`` where it is not needed.
            out: ``[N, F]``, of any strides and any floating-point type, for the other; ``None`` where it is not.
        """
        for low, high in self._ranges(state.shape[1]):
            sums = self._sums(state, low, high)
            made = sums if following is None else following[low:high]
            if self.scale is not None:
                torch.mul(sums, self.scale[low:high, None], out=made)
            elif following is not None:
                made.copy_(sums)
            if out is None:
                continue
            if self.root is None:
                out[low:high] = made
            elif out.dtype == made.dtype:
                torch.mul(made, self.root[low:high, None], out=out[low:high])
            else:
                out[low:high] = made * self.root[low:high, None]

    def _ranges(self, columns: int) -> Iterator[tuple[int, int]]:
        """Yield where ranges of rows begin and end of which so many columns stay in the cache."""
        M, seen, step = self.shape[0], 0, max(RESULT // max(columns, 1), 256)
        for low in range(0, M if columns else 0, step):
            yield low, (high := min(low + step, M))
            if self._mapped and ((last := int(self.indptr[high])) - seen > WINDOW or high == M):
                let_go(self.indices[seen:last])
                seen = last

    @torch.no_grad()
    def multiplied(self, dense: Tensor, restart: Tensor | None = None, alpha: float = 0.0) -> Tensor:
        """Return what :meth:`multiply` writes, to the bit, as a new tensor.

        Where that stays in the cache, it takes 0.6 times as long: nothing is copied, and one call makes it all.
        """
        return self._rows(self._divided(dense), 0, self.shape[0], restart, alpha)

    def _divided(self, dense: Tensor) -> Tensor:
        return (dense if self.root is None else dense / self.root[:, None]).contiguous()

    def _rows(self, dense: Tensor, low: int, high: int, restart: Tensor | None, alpha: float) -> Tensor:
        rows = self._sums(dense, low, high)
        if self.scale is not None:
            rows.mul_(self.scale[low:high, None])
        if self.root is not None:
            rows.mul_(self.root[low:high, None])
        if restart is not None:
            rows.mul_(1 - alpha).add_(restart[low:high], alpha=alpha)
        return rows

    def _sums(self, dense: Tensor, low: int, high: int) -> Tensor:
        indices, offsets, values = self._part(low, high)
        if not len(indices) or not dense.shape[1]:
            return dense.new_zeros(high - low, dense.shape[1])
        return F.embedding_bag(indices, dense, offsets, mode="sum", include_last_offset=True, per_sample_weights=values)

    def _part(self, low: int, high: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the indices of some rows, where each begins, and the values; of a small matrix they are kept."""
        if (low, high) in self._parts:
            return self._parts[low, high]
        first, last = int(self.indptr[low]), int(self.indptr[high])
        offsets = (self.indptr[low : high + 1] - first).int()
        part = self.indices[first:last], offsets, None if self.values is None else self.values[first:last]
        if self.shape[0] <= RESULT:
            self._parts[low, high] = part
        return part

    @cached_property
    def _parts(self) -> dict[tuple[int, int], tuple[Tensor, Tensor, Tensor | None]]:
        return {}


def gathers(entries: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> bool:
    """Return whether a matrix of so many stored entries is a :class:`GatherMatrix`."""
    return entries > LARGE and dtype == torch.float32 and torch.device(device).type == "cpu"

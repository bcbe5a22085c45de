"""Node features as they are given, and the columns of them that are computed with at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.propagation.mapping import let_go
from gamlp_admm.system.memory import is_mapped

TILE = 128
"""Columns that are propagated together, where features are large; :data:`gamlp_admm.propagation.gather.TILE` where rows
are gathered."""

SMALL = 2**22
"""Numbers up to which features are propagated, converted and checked all together."""


@dataclass(frozen=True)
class NodeFeatures:
    """Features H ``[N, F]`` of any real type, and the type that they are computed with.

    There is never a copy of all of H in that type: 16-bit features, and memory-mapped ones, stay what they are.

    Attributes:
        x: ``[N, F]``, dense; never modified.
        dtype: Floating-point type to compute in.
        norms: ``[N, 1]`` of that type, by which the rows are divided; ``None`` for ones.
        place: Where they are computed with; ``None`` for where they are.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import NodeFeatures
        >>> H, dtype = NodeFeatures.of(torch.tensor([[1, 3], [0, 0]], dtype=torch.float16), normalize=True)
        >>> H.tile(slice(1, 2)).tolist(), dtype
        ([[0.75], [0.0]], torch.float16)
    """

    x: Tensor
    dtype: torch.dtype
    norms: Tensor | None = None
    place: torch.device | None = None

    @classmethod
    def of(cls, x: Any, dtype: torch.dtype | None = None, normalize: bool = False) -> tuple[NodeFeatures, torch.dtype]:
        """Return ``data.x``, checked, to be computed with in float32 at least.

        Args:
            x: ``[N, F]``, dense or sparse.
            dtype: Floating-point type of the output; ``None`` for that of ``x`` (for integers, torch's default).
            normalize: Whether rows are divided by the sums of their absolute values; rows of zeros stay zero.

        Returns:
            The features, and the type of the output.

        Raises:
            InputError: It is not a real matrix, or has NaN or infinite values.
        """
        dtype = kept_type(x, dtype)
        dense = x.detach() if x.layout is torch.strided else x.detach().to_dense()
        features = cls(dense, torch.promote_types(dtype, torch.float32))
        features._check_finite()
        return cls(dense, features.dtype, features._norms() if normalize else None), dtype

    @property
    def shape(self) -> torch.Size:
        """``[N, F]``."""
        return self.x.shape

    @property
    def device(self) -> torch.device:
        """Where they are computed with."""
        return self.place or self.x.device

    def __len__(self) -> int:
        return len(self.x)

    def tile(self, columns: slice = slice(None), rows: Tensor | None = None, contiguous: bool = True) -> Tensor:
        """Return some columns as they are computed with; not to be modified: it may be ``x`` itself.

        Args:
            columns: The columns.
            rows: Numbers of the rows, increasing; ``None`` for all.
            contiguous: Whether it must not be a view of some columns.
        """
        norms = self.norms if self.norms is None or rows is None else self.norms[rows]
        if self._mapped:
            tile = self._read(columns, rows)
        else:
            tile = (self.x[:, columns] if rows is None else self.x[:, columns][rows]).to(self.dtype)
            tile = tile.contiguous() if contiguous else tile
        return (tile if norms is None else tile / norms).to(self.device)

    def _read(self, columns: slice, rows: Tensor | None) -> Tensor:
        tile = torch.empty(len(self) if rows is None else len(rows), self.x[:0, columns].shape[1], dtype=self.dtype)
        for i, window in enumerate(self._windows()):
            low, high = i * self._step, i * self._step + len(window)
            if rows is None:
                tile[low:high] = window[:, columns]
            else:
                first, end = torch.searchsorted(rows, torch.tensor([low, high])).tolist()
                tile[first:end] = window[:, columns][rows[first:end] - low]
        return tile

    def tiles(self, width: int | None = None) -> list[slice]:
        """Return the columns that are propagated together: all, or :data:`TILE`, or so many, where features are large.

        No bit depends on it: states of different columns have nothing to do with each other.
        """
        return column_tiles(len(self), self.shape[1], width)

    @cached_property
    def _mapped(self) -> bool:
        return self.x.is_cpu and self.x.is_contiguous() and self.x.numel() > SMALL and is_mapped(self.x.data_ptr())

    @property
    def _step(self) -> int:
        return max(SMALL // max(self.shape[1], 1), 1)

    def _windows(self) -> Iterator[Tensor]:
        """Yield all rows, some at a time; of a memory-mapped file no others stay in memory."""
        for rows in torch.split(self.x, self._step):
            yield rows
            if self._mapped:
                let_go(rows)

    def _blocks(self) -> Iterator[Tensor]:
        """Yield all rows, some at a time, in the type that they are computed with."""
        return (rows.to(self.dtype) for rows in self._windows())

    def _norms(self) -> Tensor:
        tiny = torch.finfo(self.dtype).tiny
        norms = [rows.norm(p=1.0, dim=1, keepdim=True).clamp_min(tiny) for rows in self._blocks()]
        return torch.cat(norms)

    def _check_finite(self) -> None:
        """Raise if there are NaN or infinite features; minimum and maximum show it without a mask ``[N, F]``."""
        blocks = (rows for rows in self._blocks() if rows.numel())
        if all(torch.stack(torch.aminmax(rows)).isfinite().all() for rows in blocks):
            return
        wrong = (~self.x.to(self.dtype).isfinite()).nonzero()
        line, column = wrong[0].tolist()
        raise InputError(
            f"data.x has {len(wrong)} NaN or infinite values (as {self.dtype}), "
            f"the first at row {line}, column {column}: features must be finite"
        )


def kept_type(x: Any, dtype: torch.dtype | None) -> torch.dtype:
    """Return the type of what is made of features; ``None`` stands for theirs, of integers for torch's default.

    Raises:
        InputError: They are no real matrix.
    """
    if not isinstance(x, Tensor) or x.dim() != 2 or x.is_complex():
        given = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"data.x must be a real tensor of shape [nodes, features], got {given}")
    return dtype or (x.dtype if x.is_floating_point() else torch.get_default_dtype())


def blank(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """Return a tensor whose numbers are yet to be written.

    On the CPU NumPy makes it, which asks the system for large pages where it has them: that they appear one by one
    where a tensor is first written to takes up to a fifth of a propagation.

    Raises:
        MemoryError: There is no memory for it.
    """
    size = math.prod(shape) * dtype.itemsize
    try:
        if torch.device(device).type != "cpu" or not size:
            return torch.empty(*shape, dtype=dtype, device=device)
        return torch.from_numpy(np.empty(size, np.uint8)).view(dtype).view(*shape)
    except (RuntimeError, ValueError) as error:  # of torch, and of NumPy where it is more than there are addresses
        raise MemoryError from error


def column_tiles(num_nodes: int, columns: int, width: int | None = None) -> list[slice]:
    """Return the columns that features ``[N, F]`` are propagated in."""
    width = (width or TILE) if num_nodes * columns > SMALL else columns
    return [slice(low, min(low + width, columns)) for low in range(0, columns, max(width, 1))]


def dense_features(x: Any, dtype: torch.dtype | None = None) -> tuple[Tensor, torch.dtype]:
    """Return ``data.x`` dense, checked and in the type to compute in, which is float32 at least.

    Args:
        x: ``[N, F]``, dense or sparse.
        dtype: Floating-point type of the output; ``None`` for that of ``x`` (for integers, torch's default).

    Returns:
        The features ``[N, F]``, and the type of the output.

    Raises:
        InputError: It is not a real matrix, or has NaN or infinite values.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import dense_features
        >>> x, dtype = dense_features(torch.eye(3, dtype=torch.float16).to_sparse())
        >>> x.dtype, dtype
        (torch.float32, torch.float16)
    """
    features, dtype = NodeFeatures.of(x, dtype)
    return features.tile(), dtype

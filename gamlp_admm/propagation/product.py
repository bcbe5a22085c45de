"""The sparse × dense product: the one place where propagation spends its time.

Two kinds of matrices, one function. A small graph's is a torch CSR tensor: ``torch.mm`` gives the same bits as SciPy
for any number of threads, takes any floating-point type and runs on CUDA as it is. A large one's, on the CPU, is a
:class:`~gamlp_admm.propagation.gather.GatherMatrix`, which is 3 to 5 times as fast, and adds in one rounding what
the other does in two: the last bits differ.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.propagation import gather
from gamlp_admm.propagation.features import TILE
from gamlp_admm.propagation.gather import GatherMatrix, gathers

Matrix: TypeAlias = "Tensor | GatherMatrix"


class Multiplying(Protocol):
    """What multiplies by itself: a :class:`GatherMatrix`, or something that takes its place."""

    def multiply(self, dense: Tensor, out: Tensor, restart: Tensor | None = None, alpha: float = 0.0) -> Tensor:
        """Write the product into ``out``; see :func:`product`."""


Multiplier: TypeAlias = "Tensor | Multiplying"

CACHED, NARROWEST = 2**21, 32
"""Numbers of a state that CSR matrices multiply fastest, 8 MiB, and columns that are multiplied together at least."""


def tile_width(matrix: Multiplier) -> int | None:
    """Return how many columns of large features are best multiplied at a time; ``None`` for the usual number."""
    if isinstance(matrix, GatherMatrix):
        return gather.TILE * (1 if matrix.shape[1] * gather.TILE <= gather.CACHED else 2)
    if not isinstance(matrix, Tensor) or not matrix.is_cpu:
        return None
    fitting = CACHED // max(matrix.shape[1], 1)
    return min(max(1 << fitting.bit_length() >> 1, NARROWEST), TILE)


def as_matrix(matrix: sparse.csr_array, dtype: torch.dtype, device: torch.device | str = "cpu") -> Matrix:
    """Return a SciPy CSR matrix as what :func:`product` multiplies fastest: a large one gathers rows.

    Args:
        matrix: ``[M, N]``, sorted indices, no duplicates.
        dtype: That of the features to be multiplied.
        device: Where the features are.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import as_matrix
        >>> as_matrix(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), torch.float32).layout  # a small one
        torch.sparse_csr
    """
    gathered = gathers(matrix.nnz, dtype, device)
    return GatherMatrix.of(matrix) if gathered else to_torch(matrix, dtype, device)


def to_torch(matrix: sparse.csr_array, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """Return a SciPy CSR matrix as a torch CSR tensor.

    Args:
        matrix: ``[N, N]``, sorted indices, no duplicates.
        dtype: The type of the values; that of the features to be multiplied.
        device: Where the features are.

    Returns:
        ``[N, N]`` of layout ``torch.sparse_csr``.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import to_torch
        >>> to_torch(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), torch.float32).layout
        torch.sparse_csr
    """
    indptr, indices = (torch.from_numpy(part).to(device) for part in (matrix.indptr, matrix.indices))
    values = torch.from_numpy(matrix.data).to(dtype).to(device)
    return csr_tensor(indptr, indices, values, matrix.shape)


def csr_tensor(indptr: Tensor, indices: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a CSR tensor of its parts, of which nothing is checked."""
    with warnings.catch_warnings():
        # torch calls all of its CSR support beta, and says what it does not check; the products used here are tested.
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
        return torch.sparse_csr_tensor(indptr, indices, values, size=shape, check_invariants=False)


def gathering(matrix: sparse.csr_array, dtype: torch.dtype, device: torch.device) -> Matrix:
    """Return a matrix that gathers rows where that is possible, also a small one: there are no bits to keep."""
    if dtype == torch.float32 and device.type == "cpu":
        return GatherMatrix.of(matrix)
    return to_torch(matrix, dtype, device)


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


def product(
    matrix: Multiplier, dense: Tensor, out: Tensor, *, restart: Tensor | None = None, alpha: float = 0.0
) -> Tensor:
    """Write ``matrix @ dense`` into ``out``, or ``(1 - alpha) matrix @ dense + alpha restart``.

    Args:
        matrix: ``[M, N]``, from :func:`to_torch`, or a :class:`~gamlp_admm.propagation.gather.GatherMatrix`.
        dense: ``[N, F]``, same dtype and device.
        out: ``[M, F]``; may be a column block of a wider tensor, shares no memory with the other arguments.
        restart: ``[M, F]``, or ``None`` for the plain product.
        alpha: The share of ``restart``.

    Returns:
        ``out``.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import product, to_torch
        >>> swap, x = to_torch(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), torch.float32), torch.randn(2, 3)
        >>> torch.equal(product(swap, x, torch.empty_like(x)), x.flip(0))
        True
    """
    if not isinstance(matrix, Tensor):
        return matrix.multiply(dense, out, restart, alpha)
    if restart is None and matrix.is_cpu:
        return torch.addmm(out, matrix, dense, beta=0, out=out)  # which torch.mm does, with zeros for the first one
    if restart is None:
        return torch.mm(matrix, dense, out=out)
    return torch.addmm(restart, matrix, dense, beta=alpha, alpha=1 - alpha, out=out)


def write_powers(matrix: Matrix, features: Tensor, outs: Sequence[Tensor | None], work: tuple[Tensor, Tensor]) -> None:
    """Write ``Ã H``, ``Ã² H``, …, to the bits of one :func:`product` after the other.

    Args:
        matrix: ``[N, N]``, Ã.
        features: ``[N, F]``, H, of any strides; not modified.
        outs: ``[N, F]`` for each power, of any strides and any floating-point type; ``None`` where it is not kept.
        work: ``[N, F]`` each, contiguous, of the type of the features; overwritten.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import to_torch
        >>> from gamlp_admm.propagation.product import write_powers
        >>> turn, x = to_torch(sparse.csr_array([[0.0, -1.0], [1.0, 0.0]]), torch.float32), torch.eye(2)
        >>> write_powers(turn, x, [None, out := torch.empty(2, 2)], (torch.empty(2, 2), torch.empty(2, 2)))
        >>> out.equal(-x)
        True
    """
    state = features
    if isinstance(matrix, GatherMatrix) and matrix.root is not None:
        state = torch.div(features, matrix.root[:, None], out=work[1])
    state = state.contiguous()
    for step, out in enumerate(outs):
        made = work[step % 2]
        if isinstance(matrix, GatherMatrix):
            matrix.step(state, made if step < len(outs) - 1 else None, out)
        else:
            product(matrix, state, made)
            if out is not None:
                out.copy_(made)
        state = made

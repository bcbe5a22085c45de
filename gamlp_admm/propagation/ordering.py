"""Propagation as a whole: the cheapest order of work, and what it makes."""

from __future__ import annotations

import torch
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.propagation.features import NodeFeatures, blank
from gamlp_admm.propagation.features_first import FeaturesFirst
from gamlp_admm.propagation.order import POLYNOMIALS, Order
from gamlp_admm.propagation.product import Matrix
from gamlp_admm.propagation.scheme import Scheme
from gamlp_admm.propagation.selectors_first import ByColumn, SelectorsFirst
from gamlp_admm.propagation.sparse_features import Features, SparseFeatures


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


def propagate(
    scheme: Scheme,
    matrix: Matrix,
    features: Features | Tensor,
    dtype: torch.dtype | None = None,
    rows: Tensor | None = None,
    exact: bool = False,
) -> Tensor:
    """Return wanted rows of ``[T_k X for k in states]``, side by side.

    Args:
        scheme: How to propagate.
        matrix: Ã ``[N, N]``, from :meth:`Scheme.matrix`.
        features: X ``[N, F]``; a tensor is taken as it is, without checks.
        dtype: Type of what is returned; ``None`` for that of the features.
        rows: ``[R]``, the wanted rows; ``None`` for all.
        exact: Whether wanted rows have the bits that they have among all rows; else they are made in the cheapest
            order.

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
    X = NodeFeatures(features, features.dtype) if isinstance(features, Tensor) else features
    order = FeaturesFirst(scheme, matrix, X, rows) if exact else order_of_work(scheme, matrix, X, rows)
    R, S, F = order.shape
    try:
        out = blank((R, S, F), dtype or order.dtype, order.device)
    except MemoryError:
        size = f"{S:,} x {F:,} features of {R:,} nodes"
        raise InputError(f"hops is {scheme.hops}: there is no memory for {size}") from None
    for unit in order.units():
        order.write(unit, out[unit.rows, :, unit.columns])
    return out.flatten(1)

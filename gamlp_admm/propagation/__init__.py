"""Feature propagation: sparse operators of a graph, their product with dense features, diffusion schemes.

Three steps, one module each, none of which knows PyTorch Geometric:

1. :mod:`~gamlp_admm.propagation.operators` turns edges into a sparse matrix Ã (SciPy CSR, float64);
2. :mod:`~gamlp_admm.propagation.product` multiplies it with dense features: where the time is spent;
3. :mod:`~gamlp_admm.propagation.diffuse` repeats the product and writes the states that are wanted.
"""

from gamlp_admm.propagation.diffuse import heat, heat_remainder, pagerank, powers
from gamlp_admm.propagation.operators import (
    DIRECTIONS,
    add_self_loops,
    adjacency,
    as_operator,
    is_sparse,
    row,
    sym,
)
from gamlp_admm.propagation.product import product, to_torch

__all__ = [
    "DIRECTIONS",
    "add_self_loops",
    "adjacency",
    "as_operator",
    "heat",
    "heat_remainder",
    "is_sparse",
    "pagerank",
    "powers",
    "product",
    "row",
    "sym",
    "to_torch",
]

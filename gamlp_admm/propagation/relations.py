"""Relations between nodes of two types as sparse matrices: pure functions to SciPy CSR matrices in float64."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from torch import Tensor

from gamlp_admm.propagation.edges import checked_edges, checked_weight
from gamlp_admm.propagation.operators import entry_rows


def bipartite(edge_index: Tensor, edge_weight: Tensor | None, num_sources: int, num_targets: int) -> sparse.csr_array:
    """Return the weights of a relation's edges, as given; of repeated edges their sum.

    Args:
        edge_index: ``[2, E]`` integers, sources in row 0 and targets in row 1.
        edge_weight: ``[E]``, finite and not negative; ``None`` for 1 each.
        num_sources: N, the number of nodes that edges leave.
        num_targets: M, the number of nodes that they lead to.

    Returns:
        ``[M, N]``, sorted indices, no duplicates; its transpose is that of the relation the other way round.

    Raises:
        InputError: An edge or a weight is not allowed.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import bipartite
        >>> wrote = torch.tensor([[0, 1, 1], [0, 0, 2]])  # author 0 wrote paper 0, author 1 the papers 0 and 2
        >>> bipartite(wrote, None, num_sources=2, num_targets=3).toarray()
        array([[1., 1.],
               [0., 0.],
               [0., 1.]])
    """
    source, target = checked_edges(edge_index, num_sources, num_targets)
    weight = np.ones(len(source)) if edge_weight is None else checked_weight(edge_weight, len(source))
    return sparse.coo_array((weight, (target, source)), shape=(num_targets, num_sources)).tocsr()


def mean(A: sparse.csr_array) -> sparse.csr_array:
    """Return ``D^-1 A``, the weighted mean over the nodes from which an edge leads to a node; D as A's row sums.

    Args:
        A: ``[M, N]``, not negative.

    Returns:
        ``[M, N]``, a new matrix; the rows of nodes to which no edge leads are 0.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import bipartite, mean
        >>> wrote = torch.tensor([[0, 1, 1], [0, 0, 2]])
        >>> mean(bipartite(wrote, None, num_sources=2, num_targets=3)).toarray()
        array([[0.5, 0.5],
               [0. , 0. ],
               [0. , 1. ]])
    """
    P = A.copy()
    total = P.sum(axis=1)
    total[total == 0] = 1.0
    P.data /= total[entry_rows(P)]
    return P

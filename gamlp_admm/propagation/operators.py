"""Sparse propagation operators of a graph: pure functions from edges to a SciPy CSR matrix in float64, and their names.

Row i of a matrix says from which nodes node i gathers: ``(A @ H)[i] = Σ_j A[i, j] H[j]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.propagation.diffuse import heat, pagerank, powers
from gamlp_admm.propagation.edges import check_direction, checked_edges, checked_weight


def adjacency(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    num_nodes: int,
    direction: str = "both",
    *,
    sum_loops: bool = False,
) -> sparse.csr_array:
    """Return the adjacency matrix A of a graph, as given: no self-loops added, not normalised.

    Edges are read as by PyG's ``gcn_norm``: repeated edges add up, of a repeated self-loop only the last one
    counts, without weights once. A self-loop of weight 0 is stored, as an entry 0: its node has a loop, so
    :func:`add_self_loops` does not give it another. Any other edge of weight 0 is no edge.

    Args:
        edge_index: ``[2, E]`` integers, sources in row 0 and targets in row 1.
        edge_weight: ``[E]``, finite and not negative; ``None`` for 1 each.
        num_nodes: N.
        direction: ``"along"``: features flow from source to target, ``A[target, source] = weight``;
            ``"against"``: the transpose of that; ``"both"``: the larger of the two, entry by entry,
            which leaves a graph whose edges are stored in both directions exactly as it is.
        sum_loops: Whether repeated self-loops add up as other edges do, as in ``gcn_norm`` without added self-loops.

    Returns:
        ``[N, N]`` float64, sorted indices, no duplicates.

    Raises:
        InputError: An edge, a weight or the direction is not allowed.

    Source:
        ``gcn_norm`` and ``add_remaining_self_loops`` of PyTorch Geometric 2.8; which of a repeated self-loop's weights
        counts is there what indexing with repeated indices does, on CPU the last.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import adjacency
        >>> path = torch.tensor([[0, 1], [1, 2]])  # 0 → 1 → 2
        >>> adjacency(path, None, num_nodes=3, direction="along").toarray()
        array([[0., 0., 0.],
               [1., 0., 0.],
               [0., 1., 0.]])
    """
    check_direction(direction)
    source, target = checked_edges(edge_index, num_nodes, num_nodes)
    if edge_weight is None:
        weight = np.ones(len(source))
    else:
        weight = checked_weight(edge_weight, len(source))
        if not sum_loops:
            counted = _last_loops(source, target)
            source, target, weight = source[counted], target[counted], weight[counted]
    A = sparse.coo_array((weight, (target, source)), shape=(num_nodes, num_nodes)).tocsr()
    if edge_weight is None and not sum_loops:
        A.data[entry_rows(A) == A.indices] = 1.0
    if direction == "against":
        return A.T.tocsr()
    return _larger(A) if direction == "both" else A


def add_self_loops(A: sparse.csr_array) -> sparse.csr_array:
    """Return A with a self-loop of weight 1 on every node that has none; those present keep their weight.

    Without self-loops in A this is A + I. The rule is that of PyG's ``add_remaining_self_loops``: a self-loop is
    present if the entry is stored, also where it is 0.

    Args:
        A: ``[N, N]`` adjacency matrix.

    Returns:
        ``[N, N]``, a new matrix without stored zeros; its diagonal is 0 where A stores a self-loop of weight 0.

    Example:
        >>> import scipy.sparse as sparse
        >>> from gamlp_admm.propagation import add_self_loops
        >>> add_self_loops(sparse.csr_array([[0.0, 2.0], [2.0, 3.0]])).toarray()
        array([[1., 2.],
               [2., 3.]])
    """
    N = A.shape[0]
    missing = np.ones(N, A.dtype)
    missing[_loops(A)] = 0
    return A + sparse.csr_array((missing, np.arange(N), np.arange(N + 1)), shape=A.shape)


def normalized(A: sparse.csr_array) -> sparse.csr_array:
    """Return ``D^-1/2 A D^-1/2``, D the diagonal of A's row sums (weighted in-degrees); no self-loops are added.

    Args:
        A: ``[N, N]`` adjacency matrix, not negative.

    Returns:
        ``[N, N]``, a new matrix; symmetric if A is. The row of a node without edges is zero.

    Example:
        >>> import scipy.sparse as sparse
        >>> from gamlp_admm.propagation import normalized
        >>> normalized(sparse.csr_array([[0.0, 4.0], [4.0, 0.0]])).toarray()
        array([[0., 1.],
               [1., 0.]])
    """
    return _balanced(A.copy(), A.sum(axis=1))


def _balanced(A: sparse.csr_array, sums: np.ndarray) -> sparse.csr_array:
    root = np.sqrt(sums)
    root[root == 0] = 1.0
    A.data /= np.repeat(root, np.diff(A.indptr)) * root[A.indices]
    return A


def sym(A: sparse.csr_array) -> sparse.csr_array:
    """Return ``(D+I)^-1/2 (A+I) (D+I)^-1/2``, D the diagonal of A's row sums (weighted in-degrees).

    This is PyG's ``gcn_norm``. D + I is 0 only at a node whose self-loop has weight 0 and to which nothing else leads;
    its inverse counts as 0 there.

    Args:
        A: ``[N, N]`` adjacency matrix, not negative.

    Returns:
        ``[N, N]``; symmetric if A is. An isolated node keeps its features: its row is that of I. A node where
        D + I is 0 has a row and a column of zeros.

    Source:
        Kipf and Welling, arXiv 1609.02907, equation 2 (the renormalisation trick).

    Example:
        >>> import numpy as np, scipy.sparse as sparse
        >>> from gamlp_admm.propagation import sym
        >>> S = sym(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]])).toarray()
        >>> np.allclose(S, 0.5)
        True
    """
    return _sym(add_self_loops(A))


def _sym(looped: sparse.csr_array) -> sparse.csr_array:
    sums = looped.sum(axis=1)
    S = _balanced(looped, sums)
    if (lost := sums == 0).any():
        S.data[lost[S.indices]] = 0.0
        S.eliminate_zeros()
    return S


def row(A: sparse.csr_array) -> sparse.csr_array:
    """Return ``(D+I)^-1 (A+I)``, the mean over a node and its neighbours; D as in :func:`sym`.

    Args:
        A: ``[N, N]`` adjacency matrix, not negative.

    Returns:
        ``[N, N]``, every row sums to 1; where D + I is 0, as in :func:`sym`, to 0.

    Example:
        >>> import numpy as np, scipy.sparse as sparse
        >>> from gamlp_admm.propagation import row
        >>> P = row(sparse.csr_array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])).toarray()
        >>> np.allclose(P.sum(axis=1), 1)
        True
    """
    return _row(add_self_loops(A))


def _row(looped: sparse.csr_array) -> sparse.csr_array:
    looped.data /= np.repeat(looped.sum(axis=1), np.diff(looped.indptr))
    return looped


OF_LOOPED: dict[Callable[[sparse.csr_array], Any], Callable[[sparse.csr_array], sparse.csr_array]] = {
    sym: _sym,
    row: _row,
}
"""What operators make of A + I, which may be there already; it may be overwritten."""


@dataclass(frozen=True)
class NamedOperator:
    """A way to propagate that has a name.

    Attributes:
        matrix: From the adjacency matrix A (:func:`adjacency`) to Ã, both ``[N, N]`` CSR.
        diffuse: Yields the states, one after the other (:mod:`gamlp_admm.propagation.diffuse`).
        hops: Steps K where none are given.
        parameter: The number that ``diffuse`` takes, ``alpha`` or ``t``; ``None`` for none.
        last_only: Whether ``hops=K`` stands for state K alone, not for all states up to K.
        coefficient: The r where ``matrix`` gives ``D^(r-1) (A+I) D^-r``, D as the row sums of A + I; ``None`` where it
            gives something else.
        version: A text that stands for what the functions do, as ``"walk 1"``: kept features are then known by it and
            not by their code (:func:`gamlp_admm.propagation.store.key_of`), and it must change when they do.

    Example:
        >>> from gamlp_admm.propagation import OPERATORS
        >>> OPERATORS["ppr"].hops, OPERATORS["ppr"].parameter
        (10, 'alpha')
    """

    matrix: Callable[[sparse.csr_array], sparse.csr_array]
    diffuse: Callable[..., Iterator[Tensor]] = powers
    hops: int = 4
    parameter: str | None = None
    last_only: bool = False
    coefficient: float | None = None
    version: str | None = None

    @property
    def content(self) -> tuple[Any, ...]:
        """What tells it from others: its functions, or the version that stands for them, and its numbers."""
        functions = (self.matrix, self.diffuse) if self.version is None else (self.version,)
        return (*functions, self.parameter, self.coefficient)


OPERATORS: dict[str, NamedOperator] = {
    "sym": NamedOperator(sym, coefficient=0.5),
    "row": NamedOperator(row, coefficient=0.0),
    "ppr": NamedOperator(sym, pagerank, hops=10, parameter="alpha", last_only=True, coefficient=0.5),
    "heat": NamedOperator(sym, heat, hops=10, parameter="t", last_only=True, coefficient=0.5),
}
"""The operators by name: what ``--operator`` and the transforms know."""


def register_operator(name: str, operator: NamedOperator) -> None:
    """Make an operator known by name, on the command line too.

    Args:
        name: Lower-case letters, digits and ``_``; a letter first.
        operator: The operator.

    Raises:
        InputError: The name is taken or has another form.

    Example:
        >>> from gamlp_admm import AugmentFeatures, load_dataset
        >>> from gamlp_admm.propagation import OPERATORS, NamedOperator, normalized, register_operator
        >>> register_operator("walk", NamedOperator(normalized, hops=2))
        >>> AugmentFeatures(operator="walk")(load_dataset("karate").data).x.shape
        torch.Size([34, 102])
        >>> del OPERATORS["walk"]
    """
    if name in (*OPERATORS, "none"):
        raise InputError(f"operator {name!r} is there already")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"operator {name!r}: allowed: lower-case letters, digits and _, a letter first")
    OPERATORS[name] = operator


def as_operator(matrix: object, num_nodes: int) -> sparse.csr_array:
    """Return a user's sparse matrix as a float64 CSR matrix; the matrix given is not modified.

    Args:
        matrix: ``[N, N]``, real and finite; a torch sparse tensor of any layout, or a SciPy sparse matrix.
        num_nodes: N.

    Returns:
        ``[N, N]`` float64, sorted indices, no duplicates.

    Raises:
        InputError: It is not sparse, not real, not finite, or not ``[N, N]``.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import as_operator
        >>> as_operator(torch.eye(3).to_sparse(), num_nodes=3).dtype
        dtype('float64')
    """
    if not is_sparse(matrix):
        raise InputError(f"operator gave a {type(matrix).__name__}: expected a torch or SciPy sparse matrix")
    shape = tuple(matrix.shape)  # type: ignore[attr-defined]
    if shape != (num_nodes, num_nodes):
        raise InputError(f"operator has shape {list(shape)}: expected {[num_nodes, num_nodes]}, the number of nodes")
    if isinstance(matrix, Tensor):
        coo = matrix.detach().cpu().to_sparse(layout=torch.sparse_coo).coalesce()
        values = coo.values() if coo.is_complex() else coo.values().double()
        matrix = sparse.coo_array((values.numpy(), tuple(coo.indices().numpy())), shape=shape)
    P = sparse.csr_array(matrix, copy=True)
    if np.iscomplexobj(P.data) or not np.isfinite(P.data).all():
        raise InputError("operator has complex, NaN or infinite entries: expected real, finite numbers")
    P = P.astype(np.float64)
    P.sum_duplicates()
    return P


def is_sparse(matrix: object) -> bool:
    """Return whether this is a SciPy sparse matrix or a torch tensor of a sparse layout.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import is_sparse
        >>> is_sparse(torch.eye(3)), is_sparse(torch.eye(3).to_sparse())
        (False, True)
    """
    if isinstance(matrix, Tensor):
        return matrix.layout is not torch.strided
    return bool(sparse.issparse(matrix))


def entry_rows(A: sparse.csr_array) -> np.ndarray:
    """Return the row index of every stored entry, in the order of ``A.data``."""
    return np.repeat(np.arange(A.shape[0]), np.diff(A.indptr))


def _loops(A: sparse.csr_array) -> np.ndarray:
    """Return the nodes whose self-loop is stored, whatever its weight."""
    nodes: np.ndarray = A.indices[entry_rows(A) == A.indices]
    return nodes


def _last_loops(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return which edges count, bool ``[E]``: all, but of a repeated self-loop the last one only."""
    counted: np.ndarray = source != target
    loops = np.flatnonzero(~counted)
    _, last = np.unique(source[loops][::-1], return_index=True)
    counted[loops[::-1][last]] = True
    return counted


def _larger(A: sparse.csr_array) -> sparse.csr_array:
    """Return the larger of A and its transpose, entry by entry; self-loops of weight 0 stay stored."""
    larger = A.maximum(A.T).tocsr()
    loops = _loops(A)
    zero = loops[A.diagonal()[loops] == 0]
    if not len(zero):
        return larger
    entries = larger.tocoo()
    data = np.concatenate([entries.data, np.zeros(len(zero))])
    places = np.concatenate([entries.row, zero]), np.concatenate([entries.col, zero])
    return sparse.coo_array((data, places), shape=A.shape).tocsr()

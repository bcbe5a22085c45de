"""The matrix of a graph, made where its edges are: on a GPU, by sorting them, in about the time of a product with it.

It is that of :mod:`gamlp_admm.propagation.operators`, but for the last bits. Whatever is summed is summed in the order
of its entries, so that the same edges give the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gamlp_admm.propagation.edges import check_direction, check_edges, check_weight
from gamlp_admm.propagation.product import csr_tensor

BYTES = 80
"""Memory for each edge, at most: numbers of pairs, twice, sorted, their order, and weights."""

Keyed = tuple[Tensor, Tensor]
"""Numbers ``row · N + column`` of entries, increasing, and their values in float64."""


def fits(edge_index: Tensor, device: torch.device) -> bool:
    """Whether a GPU has room to sort edges ``[2, E]``."""
    return device.type == "cuda" and edge_index.numel() // 2 * BYTES < torch.cuda.mem_get_info(device)[0]


def looped(edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, direction: str = "both") -> Keyed:
    """Return A + I, A as :func:`~gamlp_admm.propagation.operators.adjacency` reads edges.

    Args:
        edge_index: ``[2, E]`` integers.
        edge_weight: ``[E]``, finite and not negative; ``None`` for 1 each.
        num_nodes: N.
        direction: ``both``, ``along`` or ``against``.

    Raises:
        InputError: An edge, a weight or the direction is not allowed.
    """
    check_direction(direction)
    check_edges(edge_index, num_nodes, num_nodes)
    if edge_weight is not None:
        check_weight(edge_weight, edge_index.shape[1])
        edge_weight = edge_weight.detach().double()
    rows, columns = (edge_index if direction == "against" else edge_index.flip(0)).long()
    between = rows != columns
    keys = (rows * num_nodes + columns)[between]
    loops = _loops(rows, ~between, edge_weight, num_nodes)
    every = torch.cat([keys, torch.arange(num_nodes, device=keys.device) * (num_nodes + 1)])
    values = None if edge_weight is None else torch.cat([edge_weight[between], loops])
    keys, values = _summed(every, values)
    return _larger(keys, values, num_nodes) if direction == "both" else (keys, values)


def _loops(nodes: Tensor, there: Tensor, weight: Tensor | None, num_nodes: int) -> Tensor:
    # The weights of the nodes' self-loops: of a repeated one the last, 1 where there is none.
    loops = torch.ones(num_nodes, dtype=torch.float64, device=nodes.device)
    if weight is None:
        return loops
    edges = there.nonzero().squeeze(1)
    last = torch.full((num_nodes,), -1, device=nodes.device).scatter_reduce_(0, nodes[edges], edges, "amax")
    return torch.where(last >= 0, weight[last.clamp(min=0)], loops) if len(weight) else loops


def _summed(keys: Tensor, values: Tensor | None) -> Keyed:
    # Entries of the same place are added; values are 1 where there are none.
    if values is None:
        keys, counts = torch.unique_consecutive(keys.sort().values, return_counts=True)
        return keys, counts.double()
    keys, order = keys.sort(stable=True)
    alone, counts = torch.unique_consecutive(keys, return_counts=True)
    if len(alone) == len(keys):
        return keys, values[order]
    return alone, torch.segment_reduce(values[order], "sum", lengths=counts, unsafe=True)


def _larger(keys: Tensor, values: Tensor, num_nodes: int) -> Keyed:
    # The larger of a matrix and its transpose, entry by entry.
    other, order = (keys % num_nodes * num_nodes + keys // num_nodes).sort()
    back = values[order]
    if keys.equal(other) and values.equal(back):
        return keys, values
    keys, order = torch.cat([keys, other]).sort()
    values = torch.cat([values, back])[order]
    again = keys[1:] == keys[:-1]  # no place is there more than twice
    values = torch.cat([torch.where(again, torch.maximum(values[1:], values[:-1]), values[:-1]), values[-1:]])
    first = torch.cat([again.new_ones(1), ~again])
    return keys[first], values[first]


def normalized(entries: Keyed, num_nodes: int, coefficient: float, dtype: torch.dtype) -> Tensor:
    """Return ``D^(r-1) (A+I) D^-r`` as CSR ``[N, N]``, D as the row sums of A + I; where D is 0, its inverse is.

    Args:
        entries: Those of A + I, from :func:`looped`.
        num_nodes: N.
        coefficient: r.
        dtype: That of the values; they are computed in float64.
    """
    keys, values = entries
    rows, columns = keys // num_nodes, keys % num_nodes
    indptr = torch.searchsorted(rows, torch.arange(num_nodes + 1, device=keys.device))
    degrees = torch.segment_reduce(values, "sum", offsets=indptr, unsafe=True)
    left, right = (torch.where(degrees > 0, degrees.pow(power), 0.0) for power in (coefficient - 1, -coefficient))
    values = values * left[rows] * right[columns]
    kind = torch.int32 if len(keys) < 2**31 else torch.int64
    return csr_tensor(indptr.to(kind), columns.to(kind), values.to(dtype), (num_nodes, num_nodes))


def matrix_there(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    num_nodes: int,
    direction: str,
    coefficient: float,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return the matrix of a named operator, made on a device; arguments as :func:`looped` and :func:`normalized`."""
    weight = None if edge_weight is None else edge_weight.to(device)
    return normalized(looped(edge_index.to(device), weight, num_nodes, direction), num_nodes, coefficient, dtype)

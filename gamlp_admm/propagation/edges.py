"""Edges and their weights as they are given, checked some at a time: they may be memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.propagation.mapping import let_go

DIRECTIONS = ("both", "along", "against")

CHUNK = 2**24
"""Edges that are checked at a time."""


def check_direction(direction: str) -> None:
    """Raise an :class:`InputError` if this is not one of :data:`DIRECTIONS`."""
    if direction not in DIRECTIONS:
        raise unknown("direction", direction, DIRECTIONS)


def check_edges(edge_index: Tensor, num_sources: int, num_targets: int) -> None:
    """Check edges ``[2, E]``, some at a time.

    Raises:
        InputError: They are no such tensor, or of nodes that do not exist.
    """
    if not isinstance(edge_index, Tensor) or edge_index.dim() != 2 or edge_index.size(0) != 2:
        given = list(edge_index.shape) if isinstance(edge_index, Tensor) else type(edge_index).__name__
        raise InputError(f"edge_index must be a tensor of shape [2, E], got {given}")
    if edge_index.dtype not in (torch.int64, torch.int32):
        raise InputError(f"edge_index must hold integers (torch.int64), got {edge_index.dtype}")
    for line, count in enumerate((num_sources, num_targets)):
        for low, part in _chunks(edge_index[line]):
            smallest, largest = part.aminmax()
            if smallest < 0 or largest >= count:
                column = int(((part < 0) | (part >= count)).nonzero()[0])
                raise InputError(
                    f"edge_index[{line}, {low + column}] is {part[column]}: "
                    f"a graph of {count} nodes allows 0 to {count - 1}"
                )


def checked_edges(edge_index: Tensor, num_sources: int, num_targets: int) -> np.ndarray:
    """Return edges ``[2, E]`` as an array; raise as :func:`check_edges` does."""
    check_edges(edge_index, num_sources, num_targets)
    edges: np.ndarray = edge_index.detach().cpu().numpy()
    return edges


def check_weight(edge_weight: Tensor, num_edges: int) -> None:
    """Check the weights of edges ``[E]``, some at a time.

    Raises:
        InputError: They are no such tensor, negative, NaN or infinite.
    """
    if not isinstance(edge_weight, Tensor) or edge_weight.shape != (num_edges,) or edge_weight.is_complex():
        given = list(edge_weight.shape) if isinstance(edge_weight, Tensor) else type(edge_weight).__name__
        raise InputError(f"edge_weight must be a real tensor of shape [{num_edges}], one weight an edge, got {given}")
    for low, part in _chunks(edge_weight.detach()):
        wrong = ~(part.isfinite() & (part >= 0))
        if wrong.any():
            first = int(wrong.nonzero()[0])
            told = f"edge_weight[{low + first}] is {float(part[first])}"
            raise InputError(f"{told}: weights must be finite and not negative")


def checked_weight(edge_weight: Tensor, num_edges: int) -> np.ndarray:
    """Return the weights of edges ``[E]`` as an array in float64; raise as :func:`check_weight` does."""
    check_weight(edge_weight, num_edges)
    weight: np.ndarray = edge_weight.detach().to("cpu", torch.float64).numpy()
    return weight


def _chunks(numbers: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield parts of a vector, and where they begin."""
    for low in range(0, len(numbers), CHUNK):
        yield low, (part := numbers[low : low + CHUNK])
        let_go(part)

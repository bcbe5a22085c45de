"""Small graphs as hypothesis draws them, a matrix, and features, for tests of propagation."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from scipy import sparse
from torch import Tensor

Graph = tuple[Tensor, Tensor, int]
table = settings(max_examples=60, derandomize=True, deadline=None)


@st.composite
def graphs(draw: st.DrawFn, smallest_weight: float = 0.0) -> Graph:
    """Directed weighted graphs with isolated nodes, repeated edges and self-loops (never repeated)."""
    nodes = draw(st.integers(1, 7))
    node = st.integers(0, nodes - 1)
    pairs = draw(st.lists(st.tuples(node, node), max_size=20))
    edges = [(s, d) for s, d in pairs if s != d] + [(s, s) for s in sorted(draw(st.sets(node)))]
    weights = draw(
        st.lists(st.floats(smallest_weight, 10, allow_subnormal=False), min_size=len(edges), max_size=len(edges))
    )
    index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t().contiguous()
    return index, torch.tensor(weights, dtype=torch.float64), nodes


def dense(matrix: sparse.csr_array) -> Tensor:
    assert matrix.dtype == np.float64
    assert matrix.has_canonical_format
    return torch.from_numpy(matrix.toarray())


def features(rows: int, columns: int = 3) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(rows))


MATRIX = torch.tensor([[0.0, -2.0, 0.0], [1.0, 0.0, 0.0], [0.0, 3.0, 4.0]], dtype=torch.float64)

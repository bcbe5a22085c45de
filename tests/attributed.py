"""A small attributed graph with noisy classes, as it was and grown, for tests of models that take a graph."""

from __future__ import annotations

import torch
from torch_geometric.data import Data

NODES, FEATURES, CLASSES = 40, 5, 3


def graph(nodes: int = NODES, dtype: torch.dtype = torch.float32) -> Data:
    """Return the graph of the first nodes; of fewer nodes it is the subgraph."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(CLASSES, (NODES + 20,), generator=draw)
    x = torch.randn(len(y), FEATURES, generator=draw) + torch.eye(FEATURES)[y] * 2 + 3
    ends = torch.randint(len(y), (2, 200), generator=draw)
    weight = torch.rand(200, generator=draw) + 0.5
    inside = (ends < nodes).all(0)
    edges, weight = ends[:, inside], weight[inside]
    data = Data(x=x[:nodes].to(dtype), edge_index=torch.cat([edges, edges.flip(0)], 1), y=y[:nodes])
    data.cost = torch.cat([weight, weight])
    number = torch.arange(nodes)
    data.train_mask = number < 20
    data.val_mask = (number >= 20) & (number < 30)
    data.test_mask = (number >= 30) & (number < NODES)
    return data

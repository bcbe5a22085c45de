"""A graph as its peers see it: propagated features, and what layers of GCN gather, of the labelled rows alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch_geometric import transforms as T
from torch_geometric.data import Data

from gamlp_admm import propagation
from gamlp_admm.training.rows import SPLITS

BLOCK = 1024  # columns propagated at a time: all of Coauthor Physics' with all their hops would take 4 GB
DENSE = 0.1  # share of entries that are not zero from which a dense product is quicker


class Graph:
    """A data set as the peers take it; what they need is made when first asked for, and kept.

    Args:
        data: PyG ``Data`` with ``x``, ``edge_index``, ``y`` and the three masks.
    """

    def __init__(self, data: Any) -> None:
        self.x, self.y = data.x.float(), data.y
        self.rows = {split: data[f"{split}_mask"].nonzero().view(-1) for split in SPLITS}
        self.classes = int(data.y.max()) + 1
        self.adjacency = propagation.adjacency(data.edge_index, data.edge_weight, data.num_nodes)
        self._made: dict[tuple[Any, ...], Any] = {}

    def labels(self, split: str) -> Tensor:
        """Return the labels of a split's rows."""
        labels: Tensor = self.y[self.rows[split]]
        return labels

    def scale(self, normalize: bool) -> Tensor:
        """Return what each row of features is multiplied by, ``[N, 1]``."""
        total = self.x.abs().sum(1, keepdim=True) if normalize else self.x.new_ones(len(self.x), 1)
        return torch.where(total > 0, 1 / total, 0)

    def propagated(self, hops: int, self_loops: bool, normalize: bool) -> dict[str, list[Tensor]]:
        """Return the features of each split's rows after 0 to ``hops`` steps, by :class:`T.SIGN` of PyG."""
        key = (hops, self_loops, normalize)
        if key not in self._made:
            A = (propagation.add_self_loops(self.adjacency) if self_loops else self.adjacency).tocoo()
            edges = torch.from_numpy(np.stack([A.col, A.row])).long()
            weight, scale, sign = torch.from_numpy(A.data).float(), self.scale(normalize), T.SIGN(hops)
            blocks: dict[str, list[list[Tensor]]] = {split: [] for split in SPLITS}
            for x in self.x.split(BLOCK, 1):
                with _no_sparse_warnings():
                    made = sign(Data(x=x * scale, edge_index=edges, edge_weight=weight))
                steps = [made.x, *(made[f"x{k}"] for k in range(1, hops + 1))]
                for split, rows in self.rows.items():
                    blocks[split].append([step[rows] for step in steps])
            self._made[key] = {
                split: [torch.cat(columns, 1) for columns in zip(*parts, strict=True)]
                for split, parts in blocks.items()
            }
        result: dict[str, list[Tensor]] = self._made[key]
        return result

    def neighbourhood(self, split: str, layers: int, normalize: bool) -> Neighbourhood:
        """Return what ``layers`` layers of GCN need for a split's rows."""
        if ("P",) not in self._made:
            kept = sparse.csr_array(self.x.numpy()) if _share(self.x) < DENSE else self.x
            self._made["P",] = propagation.sym(self.adjacency)
            self._made["X",] = kept
        P, X, rows, steps = self._made["P",], self._made["X",], self.rows[split].numpy(), []
        for _ in range(layers):
            step = P[rows]
            rows = np.unique(step.indices)
            step = step[:, rows]
            step.sort_indices()
            steps.append(propagation.to_torch(step, torch.float32))
        scale = self.scale(normalize)[rows]
        if isinstance(X, Tensor):
            return Neighbourhood(X[rows] * scale, steps[::-1])
        return Neighbourhood(propagation.to_torch(X[rows].multiply(scale.numpy()).tocsr(), torch.float32), steps[::-1])


@dataclass(frozen=True)
class Neighbourhood:
    """What a GCN gathers for some rows.

    Attributes:
        x: Features of the nodes that its first layer sees, dense or CSR.
        steps: For each layer, the normalised adjacency from the nodes that it sees to those asked for, CSR.
    """

    x: Tensor
    steps: list[Tensor]


@contextmanager
def _no_sparse_warnings() -> Iterator[None]:
    """Keep torch from saying that sparse matrices are new, and that it does not check them unless told to."""
    with warnings.catch_warnings(), torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]
        warnings.filterwarnings("ignore", message="Sparse CS[CR] tensor support is in beta")
        yield


def _share(x: Tensor) -> float:
    """Return the share of entries that are not zero."""
    return int(torch.count_nonzero(x)) / x.numel()

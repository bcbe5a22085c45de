"""Graph networks to compare with: GCN, SGC and SIGN, made of PyG's own layers and trained by Adam.

Training is on the whole graph, with cross-entropy on the training rows; the weights kept are those of the epoch that is
best on validation, the earlier one on ties. Labels of test rows are read once, when training is over. The graph is that
of :class:`gamlp_admm.transforms.AugmentFeatures`: undirected, with weights where there are some.

Only what the labelled rows need is computed, which changes no number: SGC and SIGN propagate before training and then
see labelled rows alone; a layer of GCN gathers from the nodes that the layers above it ask for.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor
from torch_geometric import transforms as T
from torch_geometric.data import Data
from torch_geometric.nn import MLP, BatchNorm, GCNConv, SGConv

from gamlp_admm import propagation
from gamlp_admm.training.rows import SPLITS

Settings = dict[str, Any]

MANY = 10_000
"""Training rows from which a data set has the settings for many labels."""

BLOCK = 1024  # columns propagated at a time: all of Coauthor Physics' with all their hops would take 4 GB
DENSE = 0.1  # share of entries that are not zero from which a dense product is quicker


def grid(method: str, train_rows: int) -> tuple[Settings, ...]:
    """Return the settings that a method is tried with; the one best on validation is used.

    Args:
        method: One of :data:`PEERS`.
        train_rows: Number of labelled training nodes.

    Source:
        GCN: Kipf and Welling, arXiv 1609.02907 (16 neurons, features divided by their sum); Shchur et al., arXiv
        1811.05868, and the settings tuned in its code (64 neurons, dropout 0.8); for many labels OGB's example for
        ogbn-arxiv, arXiv 2005.00687 (256 neurons, batch normalisation). SGC: Wu et al., arXiv 1902.07153 (2 hops,
        learning rate 0.2, weight decay tuned). SIGN: Frasca et al., arXiv 2004.11198 (batch normalisation), and PyG's
        example (2 hops, dropout 0.5, features divided by their sum).
    """
    few, many = _GRIDS[method]
    return tuple(_COMMON[method] | each for each in (many if train_rows >= MANY else few))


_COMMON: dict[str, Settings] = {
    "gcn": {"epochs": 200, "lr": 0.01, "layers": 2, "hidden": 64, "dropout": 0.5, "batch_norm": False},
    "sgc": {"epochs": 200, "lr": 0.2, "hops": 2},
    "sign": {"epochs": 200, "lr": 0.01, "hops": 2, "hidden": 64, "dropout": 0.5},
}
_GRIDS: dict[str, tuple[list[Settings], list[Settings]]] = {
    "gcn": (
        [
            {"hidden": 16, "weight_decay": 5e-4, "normalize": True},
            {"weight_decay": 5e-4, "normalize": True},
            {"weight_decay": 5e-4, "normalize": False},
            {"dropout": 0.8, "weight_decay": 1e-3, "normalize": False},
        ],
        [
            {"layers": 3, "hidden": 256, "batch_norm": True, "weight_decay": 0.0, "normalize": False},
            {"hidden": 256, "batch_norm": True, "weight_decay": 0.0, "normalize": False},
        ],
    ),
    "sgc": (
        [
            {"weight_decay": 5e-6, "normalize": True},
            {"weight_decay": 5e-5, "normalize": True},
            {"weight_decay": 5e-4, "normalize": True},
            {"lr": 0.01, "weight_decay": 5e-4, "normalize": False},
        ],
        [
            {"weight_decay": 5e-6, "normalize": True},
            {"weight_decay": 5e-6, "normalize": False},
            {"lr": 0.01, "weight_decay": 0.0, "normalize": False},
        ],
    ),
    "sign": (
        [
            {"weight_decay": 5e-4, "normalize": True, "batch_norm": False},
            {"weight_decay": 5e-4, "normalize": False, "batch_norm": False},
            {"weight_decay": 5e-3, "normalize": False, "batch_norm": False},
            {"weight_decay": 5e-4, "normalize": False, "batch_norm": True},
        ],
        [
            {"hidden": 256, "weight_decay": 0.0, "normalize": True, "batch_norm": True},
            {"hidden": 256, "weight_decay": 0.0, "normalize": False, "batch_norm": True},
        ],
    ),
}


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


class GCN(torch.nn.Module):
    """Layers of :class:`torch_geometric.nn.GCNConv` with dropout on their inputs."""

    def __init__(self, graph: Graph, settings: Settings) -> None:
        super().__init__()
        self.dropout = settings["dropout"]
        hidden = [settings["hidden"]] * (settings["layers"] - 1)
        widths = [graph.x.shape[1], *hidden, graph.classes]
        pairs = pairwise(widths)
        self.convs = torch.nn.ModuleList(GCNConv(a, b, normalize=False) for a, b in pairs)  # it is already
        self.norms = torch.nn.ModuleList(
            BatchNorm(h) if settings["batch_norm"] else torch.nn.Identity() for h in hidden
        )

    @staticmethod
    def inputs(graph: Graph, split: str, settings: Settings) -> Neighbourhood:
        """Return what :meth:`forward` takes for a split."""
        return graph.neighbourhood(split, settings["layers"], settings["normalize"])

    def decayed(self) -> Iterable[torch.nn.Parameter]:
        """Return the weights that decay: those of the first layer, as Kipf and Welling have it."""
        return self.convs[0].parameters()

    def forward(self, inputs: Neighbourhood) -> Tensor:
        """Return the logits of the rows that ``inputs`` is for."""
        x = inputs.x
        for i, (conv, step) in enumerate(zip(self.convs, inputs.steps, strict=True)):
            x = conv(_dropout(x, self.dropout, self.training), step)
            if i < len(self.norms):
                x = self.norms[i](x).relu()
        return x


class SGC(torch.nn.Module):
    """:class:`torch_geometric.nn.SGConv`, whose propagation is done once and before."""

    def __init__(self, graph: Graph, settings: Settings) -> None:
        super().__init__()
        self.conv = SGConv(graph.x.shape[1], graph.classes, K=settings["hops"])

    @staticmethod
    def inputs(graph: Graph, split: str, settings: Settings) -> Tensor:
        """Return what :meth:`forward` takes for a split: features after the last step."""
        return graph.propagated(settings["hops"], True, settings["normalize"])[split][-1]

    def decayed(self) -> Iterable[torch.nn.Parameter]:
        """Return the weights that decay."""
        return self.parameters()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, as ``SGConv(cached=True)`` does once it has propagated."""
        logits: Tensor = self.conv.lin(inputs)
        return logits


class SIGN(torch.nn.Module):
    """:class:`torch_geometric.nn.MLP` on the features of :class:`torch_geometric.transforms.SIGN`, side by side."""

    def __init__(self, graph: Graph, settings: Settings) -> None:
        super().__init__()
        widths = [graph.x.shape[1] * (settings["hops"] + 1), settings["hidden"], graph.classes]
        norm = "batch_norm" if settings["batch_norm"] else None
        self.mlp = MLP(widths, dropout=settings["dropout"], norm=norm)

    @staticmethod
    def inputs(graph: Graph, split: str, settings: Settings) -> Tensor:
        """Return what :meth:`forward` takes for a split: features after every number of steps."""
        return torch.cat(graph.propagated(settings["hops"], False, settings["normalize"])[split], 1)

    def decayed(self) -> Iterable[torch.nn.Parameter]:
        """Return the weights that decay."""
        return self.parameters()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.mlp(inputs)
        return logits


PEERS: dict[str, type[GCN] | type[SGC] | type[SIGN]] = {"gcn": GCN, "sgc": SGC, "sign": SIGN}


def train(method: str, graph: Graph, settings: Settings, seed: int) -> dict[str, Any]:
    """Train a peer once.

    Args:
        method: One of :data:`PEERS`.
        graph: The data set.
        settings: One of :func:`grid`.
        seed: Seed of weights and dropout; torch's own state is left as it was.

    Returns:
        ``val_accuracy`` and ``test_accuracy`` of the weights that are best on validation, ``epochs`` and ``seconds`` of
        training (with the evaluation of each epoch, without propagation), and ``settings``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = PEERS[method](graph, settings)
        inputs = {split: net.inputs(graph, split, settings) for split in SPLITS}
        return _fit(net, inputs, graph, settings)


def _fit(net: GCN | SGC | SIGN, inputs: dict[str, Any], graph: Graph, settings: Settings) -> dict[str, Any]:
    decayed = {*net.decayed()}
    free = [p for p in net.parameters() if p not in decayed]
    groups = [{"params": [*decayed], "weight_decay": settings["weight_decay"]}, {"params": free}]
    optimizer = torch.optim.Adam(groups, lr=settings["lr"])
    targets = graph.labels("train")

    @torch.no_grad()
    def accuracy(split: str) -> float:
        net.eval()
        return float((net(inputs[split]).argmax(1) == graph.labels(split)).double().mean())

    best, weights = -1.0, {}
    start = time.perf_counter()
    for _ in range(settings["epochs"]):
        net.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(net(inputs["train"]), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (found := accuracy("val")) > best:
            best, weights = found, copy.deepcopy(net.state_dict())
    seconds = time.perf_counter() - start
    net.load_state_dict(weights)
    return {
        "val_accuracy": best,
        "test_accuracy": accuracy("test"),
        "epochs": settings["epochs"],
        "seconds": seconds,
        "settings": settings,
    }


@contextmanager
def _no_sparse_warnings() -> Iterator[None]:
    """Keep torch from saying that sparse matrices are new, and that it does not check them unless told to."""
    with warnings.catch_warnings(), torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]
        warnings.filterwarnings("ignore", message="Sparse CS[CR] tensor support is in beta")
        yield


def _share(x: Tensor) -> float:
    """Return the share of entries that are not zero."""
    return int(torch.count_nonzero(x)) / x.numel()


def _dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Return x, dense or CSR, with each entry dropped with probability p; a dropped zero remains a zero."""
    if not training:
        return x
    values = x if x.layout is torch.strided else x.values()
    # Measured on the CPU: 2.6 times quicker than torch.nn.functional.dropout.
    values = values * (torch.rand_like(values) >= p).div(1 - p)
    if x.layout is torch.strided:
        return values
    return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False)

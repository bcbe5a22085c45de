"""Graph networks to compare with: GCN, SGC and SIGN, made of PyG's own layers and trained by Adam.

Training is on the whole graph, with cross-entropy on the training rows; the weights kept are those of the epoch that is
best on validation, the earlier one on ties. Labels of test rows are read once, when training is over, or for a curve
after each epoch; they decide nothing. The graph is that of :class:`gamlp_admm.transforms.AugmentFeatures`: undirected,
with weights where there are some.

Only what the labelled rows need is computed, which changes no number: SGC and SIGN propagate before training and then
see labelled rows alone; a layer of GCN gathers from the nodes that the layers above it ask for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import MLP, BatchNorm, GCNConv, SGConv

from gamlp_admm.bench.curve import Curve
from gamlp_admm.bench.graph import Graph, Neighbourhood
from gamlp_admm.training.rows import SPLITS

Settings = dict[str, Any]

MANY = 10_000
"""Training rows from which a data set has the settings for many labels."""


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


def train(method: str, graph: Graph, settings: Settings, seed: int, curve: Curve | None = None) -> dict[str, Any]:
    """Train a peer once.

    Args:
        method: One of :data:`PEERS`.
        graph: The data set.
        settings: One of :func:`grid`.
        seed: Seed of weights and dropout; torch's own state is left as it was.
        curve: Is given the accuracies after each epoch, if there is one.

    Returns:
        ``val_accuracy`` and ``test_accuracy`` of the weights that are best on validation, ``epochs`` and ``seconds`` of
        training (without propagation and evaluation), and ``settings``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = PEERS[method](graph, settings)
        inputs = {split: net.inputs(graph, split, settings) for split in SPLITS}
        return _fit(net, inputs, graph, settings, curve)


def _fit(
    net: GCN | SGC | SIGN, inputs: dict[str, Any], graph: Graph, settings: Settings, curve: Curve | None
) -> dict[str, Any]:
    decayed = {*net.decayed()}
    free = [p for p in net.parameters() if p not in decayed]
    groups = [{"params": [*decayed], "weight_decay": settings["weight_decay"]}, {"params": free}]
    optimizer = torch.optim.Adam(groups, lr=settings["lr"])
    targets = graph.labels("train")

    @torch.no_grad()
    def accuracy(split: str) -> float:
        net.eval()
        return float((net(inputs[split]).argmax(1) == graph.labels(split)).double().mean())

    best, weights, watch = -1.0, {}, curve or Curve()
    for _ in range(settings["epochs"]):
        with watch.training():
            net.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(net(inputs["train"]), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if (found := accuracy("val")) > best:
            best, weights = found, copy.deepcopy(net.state_dict())
        if curve is not None:
            curve.add(found, accuracy("test"))
    net.load_state_dict(weights)
    return {
        "val_accuracy": best,
        "test_accuracy": accuracy("test"),
        "epochs": settings["epochs"],
        "seconds": watch.seconds,
        "settings": settings,
    }


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

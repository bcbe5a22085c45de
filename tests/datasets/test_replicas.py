"""Recipes of data sets that are not at hand, on made-up graphs of the same shape: PubMed, Flickr and ogbn-arxiv."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from gamlp_admm.datasets import LoadedDataset, dataset_info
from gamlp_admm.experiment import Experiment, run

REPLICAS = {"pubmed": 1, "flickr": 50, "ogbn-arxiv": 60}
"""How many times fewer nodes the replica has; features and classes are as many."""


def replica(name: str, times: int) -> Data:
    """Return a graph with as many features, classes, and neighbours a node as a data set, and as large splits."""
    info = dataset_info(name)
    draw = torch.Generator().manual_seed(0)
    nodes, edges = info.nodes // times, info.edges // times
    y = torch.randint(info.classes, (nodes,), generator=draw)
    # Seven edges of ten join nodes of one class.
    counts, order = torch.bincount(y, minlength=info.classes), y.argsort()
    source = torch.randint(nodes, (edges,), generator=draw)
    place = (torch.rand(edges, generator=draw) * counts[y[source]]).long()
    alike = order[(counts.cumsum(0) - counts)[y[source]] + place]
    target = torch.where(torch.rand(edges, generator=draw) < 0.7, alike, source.roll(1))
    means = torch.randn(info.classes, info.features, generator=draw)
    x = means[y] / 4 + torch.randn(nodes, info.features, generator=draw)
    data = Data(x=x, y=y, edge_index=torch.stack([source, target]))
    order, start = torch.randperm(nodes, generator=draw), 0
    for split in ("train", "val", "test"):
        size = getattr(info, split)
        size = size if times == 1 else size // times
        data[f"{split}_mask"] = torch.zeros(nodes, dtype=torch.bool).index_fill_(0, order[start : start + size], True)
        start += size
    return data


@pytest.mark.parametrize("layers", [None, 10])
@pytest.mark.parametrize("name", REPLICAS)
def test_recipes_learn_data_of_the_same_shape(name: str, layers: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = LoadedDataset(replica(name, REPLICAS[name]), dataset_info(name), "made up")

    def load_dataset(*args: Any, **options: Any) -> Any:
        return loaded

    monkeypatch.setattr("gamlp_admm.experiment.source.load_dataset", load_dataset)
    wide = {"hidden": 64} if layers else {}  # ten layers of 256 take a while
    done = run(Experiment(dataset=name, layers=layers, iterations=8, **wide))
    config, history = done.report["config"], done.report["history"]
    recipe = dataset_info(name).recipe
    assert config["operator"] == recipe["operator"]
    assert config["layers"] == (layers or recipe.get("layers", 2))
    assert history[-1]["train_loss"] < 0.8 * torch.tensor(float(loaded.info.classes)).log()
    chance = 1 / loaded.info.classes
    assert done.report["best"]["test_accuracy"] > chance + 0.4 * (1 - chance)

"""Recipes of data sets that are not at hand, on made-up graphs of the same shape: PubMed, Flickr and ogbn-arxiv."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from gamlp_admm.cli import main
from gamlp_admm.datasets import dataset_info
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
    loaded = SimpleNamespace(data=replica(name, REPLICAS[name]), info=dataset_info(name))

    def load_dataset(*args: Any, **options: Any) -> Any:
        return loaded

    monkeypatch.setattr("gamlp_admm.experiment.runner.load_dataset", load_dataset)
    wide = {"hidden": 64} if layers else {}  # ten layers of 256 take a while
    done = run(Experiment(dataset=name, layers=layers, iterations=8, **wide))
    config, history = done.report["config"], done.report["history"]
    recipe = dataset_info(name).recipe
    assert config["operator"] == recipe["operator"]
    assert config["layers"] == (layers or recipe.get("layers", 2))
    assert history[-1]["train_loss"] < 0.8 * torch.tensor(float(loaded.info.classes)).log()
    chance = 1 / loaded.info.classes
    assert done.report["best"]["test_accuracy"] > chance + 0.4 * (1 - chance)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[recipe]\nlayers = "3"\n', "layers must be an integer, not '3'"),
        ('[recipe]\nnu = "0.1"\n', "nu must be a number, not '0.1'"),
        ('[recipe]\nresidual = "no"\n', "residual must be true or false, not 'no'"),
        ("[recipe]\nresidual = 1\n", "residual must be true or false, not 1"),
        ("[recipe]\nlr = 0.1\n", "unknown option in recipe"),
    ],
)
def test_a_wrong_recipe_is_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    assert main(["train", "--recipe", str(file), "--iterations", "3"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"recipe {file}: " in said
    assert message in said


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_bytes(b"\xef\xbb\xbf[recipe]\nlayers = 3\n")
    assert Experiment(dataset="karate", recipe=str(file)).resolve().layers == 3

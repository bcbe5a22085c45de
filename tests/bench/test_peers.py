"""The networks to compare with."""

from __future__ import annotations

import pytest
import torch
from benches import sbm
from scipy.sparse import csr_array
from torch_geometric.nn import GCNConv, SGConv

from gamlp_admm import propagation
from gamlp_admm.bench import graph as graphs
from gamlp_admm.bench import peers
from gamlp_admm.bench.graph import Graph


@pytest.mark.parametrize("method", peers.PEERS)
def test_peers_learn_and_never_see_test_labels(method: str) -> None:
    data = sbm()
    settings = peers.grid(method, 30)[-1]
    told = peers.train(method, Graph(data), settings, seed=0)
    assert told.keys() == {"val_accuracy", "test_accuracy", "epochs", "seconds", "settings"}
    assert told["val_accuracy"] > 0.75  # chance: 1/3
    assert told["test_accuracy"] > 0.75
    changed = data.clone()
    changed.y[changed.test_mask] = (changed.y[changed.test_mask] + 1) % 3
    misled = peers.train(method, Graph(changed), settings, seed=0)
    assert misled["val_accuracy"] == told["val_accuracy"]
    assert misled["test_accuracy"] <= 1 - told["test_accuracy"]


@pytest.mark.parametrize("method", peers.PEERS)
def test_every_setting_of_the_grids_trains(method: str) -> None:
    graph = Graph(sbm())
    for settings in (*peers.grid(method, 30), *peers.grid(method, peers.MANY)):
        short = settings | {"epochs": 3}
        state = torch.random.get_rng_state()
        first = peers.train(method, graph, short, seed=1)
        assert torch.equal(torch.random.get_rng_state(), state)
        again = peers.train(method, graph, short, seed=1)
        assert {**first, "seconds": 0} == {**again, "seconds": 0}


def test_gcn_is_that_of_pyg() -> None:
    data = sbm()
    graph, settings = Graph(data), peers.grid("gcn", peers.MANY)[0] | {"batch_norm": False, "hidden": 5}
    net = peers.GCN(graph, settings).eval()
    x = data.x
    for i, conv in enumerate(net.convs):
        whole = GCNConv(conv.in_channels, conv.out_channels)
        whole.load_state_dict(conv.state_dict())
        x = whole(x, data.edge_index)
        x = x.relu() if i < 2 else x
    for split in ("train", "val", "test"):
        torch.testing.assert_close(net(net.inputs(graph, split, settings)), x[data[f"{split}_mask"]])


def test_sgc_is_that_of_pyg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "BLOCK", 5)  # columns in several parts
    data = sbm()
    graph, settings = Graph(data), peers.grid("sgc", 30)[-1]
    net = peers.SGC(graph, settings)
    whole = SGConv(data.num_features, 3, K=2)
    whole.load_state_dict(net.conv.state_dict())
    expected = whole(data.x, data.edge_index)[data.val_mask]
    torch.testing.assert_close(net(net.inputs(graph, "val", settings)), expected)


def test_dropout_keeps_the_mean() -> None:
    x = torch.ones(400, 50)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dense = peers._dropout(x, 0.8, training=True)
        sparse = peers._dropout(
            propagation.to_torch(csr_array(x.numpy()), torch.float32), 0.8, training=True
        ).to_dense()
    for dropped in (dense, sparse):
        torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 5.0]))
        assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert peers._dropout(x, 0.8, training=False) is x

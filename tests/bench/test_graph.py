"""The graph that peers train on."""

from __future__ import annotations

import torch
from benches import sbm

from gamlp_admm.bench import peers
from gamlp_admm.bench.graph import Graph


def test_gcn_takes_sparse_features_with_their_dropout() -> None:
    data = sbm()
    settings = peers.grid("gcn", 30)[0]
    wide = data.clone()
    wide.x = torch.cat([data.x, torch.zeros(len(data.x), 60)], 1)
    assert Graph(wide).neighbourhood("train", 2, True).x.layout is torch.sparse_csr
    assert Graph(data).neighbourhood("train", 2, True).x.layout is torch.strided
    assert peers.train("gcn", Graph(wide), settings, 0)["val_accuracy"] > 0.75

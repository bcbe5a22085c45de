"""OGB's evaluator gives our figures, and is imported without asking the network."""

import subprocess
import sys

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch_geometric.data import Data

from gamlp_admm.datasets import ogb_evaluator, ogb_scores
from gamlp_admm.errors import InputError

ACCURACY = ["ogbn-arxiv", "ogbn-mag", "ogbn-papers100M", "ogbn-products"]


def parts(N, generator):
    taken = torch.randperm(N, generator=generator).split([N // 2, N // 4, N - N // 2 - N // 4])
    return {
        f"{part}_mask": torch.zeros(N, dtype=torch.bool).index_fill_(0, nodes, True)
        for part, nodes in zip(("train", "val", "test"), taken, strict=True)
    }


@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy_is_that_of_ogb(name):
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        outputs, y = torch.randn(40, 5, generator=generator), torch.randint(5, (40,), generator=generator)
        data = Data(y=y, **parts(40, generator))
        scores = ogb_scores(name, outputs, data)
        assert scores["metric"] == "acc"
        for part, theirs in (("train", "train"), ("val", "valid"), ("test", "test")):
            mask = data[f"{part}_mask"]
            assert scores[theirs] == pytest.approx(float((outputs[mask].argmax(1) == y[mask]).double().mean()))


def test_area_under_the_curve_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    outputs, y = torch.randn(80, 112, generator=generator), torch.randint(2, (80, 112), generator=generator).float()
    data = Data(y=y, **parts(80, generator))
    scores = ogb_scores("ogbn-proteins", outputs, data)
    assert scores["metric"] == "rocauc"
    assert scores["version"] == "1.3.6"
    test = data.test_mask
    assert scores["test"] == pytest.approx(roc_auc_score(y[test], outputs[test], average="macro"))


def test_a_part_without_nodes_has_no_figure():
    none = torch.zeros(4, dtype=torch.bool)
    data = Data(y=torch.zeros(4, dtype=torch.long), train_mask=~none, val_mask=none, test_mask=none)
    scores = ogb_scores("ogbn-arxiv", torch.tensor([[1.0, 0.0]] * 4), data)
    assert (scores["train"], scores["valid"], scores["test"]) == (1.0, None, None)
    data.y = torch.zeros(4, 112)
    assert ogb_scores("ogbn-proteins", torch.rand(4, 112), data)["train"] is None  # every label is 0


def test_names(monkeypatch):
    with pytest.raises(InputError, match=r"unknown data set of OGB 'cora'.*ogbn-arxiv"):
        ogb_evaluator("cora")
    monkeypatch.setattr("gamlp_admm.datasets.ogb_figures.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs the package ogb: pip install 'gamlp-admm\[ogb\]'"):
        ogb_evaluator("ogbn-arxiv")


def test_the_network_is_not_asked():
    """No thread is left that waits for a network, and what a program imports afterwards is there."""
    code = (
        "import socket, sys, threading\n"
        "def refuse(*_, **__): sys.exit('asks the network')\n"
        "socket.getaddrinfo = refuse\n"
        "from gamlp_admm.datasets import ogb_evaluator\n"
        "assert 'ogb' not in sys.modules\n"
        "ogb_evaluator('ogbn-arxiv')\n"
        "assert 'ogb' in sys.modules and threading.active_count() == 1, threading.enumerate()\n"
        "import outdated\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)

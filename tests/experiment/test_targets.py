"""Several labels a node, not all of them known, and real targets: from a graph of one's own to a report."""

import pytest
import torch
from problems import rand, randn
from torch_geometric.data import Data

from gamlp_admm.cli import main
from gamlp_admm.datasets import load_graph
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, predict, run

PLAN = Experiment(hidden=16, iterations=4, threads=1)


def graph(y: torch.Tensor, n: int = 120) -> Data:
    x = randn(n, 6).float()
    edges = torch.randint(n, (2, 3 * n), generator=torch.Generator().manual_seed(1))
    return Data(x=x, edge_index=edges, y=y)


def several(n: int = 120) -> torch.Tensor:
    return (graph(torch.zeros(n)).x[:, :3] > 0).long()


def test_several_labels(tmp_path):
    y = several().float()
    y[rand(120, 3, seed=5) < 0.3] = -1
    y[7] = -1
    given = graph(y)
    loaded = load_graph(given)
    assert (loaded.info.classes, loaded.data.y.shape) == (3, (120, 3))
    assert torch.equal(loaded.data.y.isnan(), y == -1)
    used = loaded.data.train_mask | loaded.data.val_mask | loaded.data.test_mask
    assert not used[7]
    assert int(used.sum()) == int((y >= 0).any(1).sum())
    done = run(Experiment(**{**vars(PLAN), "metric": "roc_auc"}), data=loaded)
    report = done.report
    assert (report["config"]["loss"], report["metric"]) == ("binary_cross_entropy", "roc_auc")
    assert report["best"]["val_roc_auc"] == max(record["val_roc_auc"] for record in report["history"]) > 0.7
    assert "per_class" not in report
    done.save(tmp_path / "model.safetensors")
    torch.save(given, tmp_path / "graph.pt")
    told = predict(tmp_path / "model.safetensors", data=tmp_path / "graph.pt", split="usual")
    assert torch.equal(told.probabilities, torch.sigmoid(told.outputs))
    right = (told.probabilities > 0.5) == (y == 1)
    assert told.accuracy["all"] == pytest.approx(float(right[y >= 0].double().mean()))


def test_real_targets():
    y = graph(torch.zeros(120)).x[:, 0] * 2.5 - 1
    y[3] = torch.nan
    for targets in (y, torch.stack([y, y.square()], 1)):
        loaded = load_graph(graph(targets))
        assert not (loaded.data.train_mask | loaded.data.val_mask | loaded.data.test_mask)[3]
        report = run(PLAN, data=loaded).report
        assert (report["config"]["loss"], report["metric"], report["config"]["metric"]) == ("squared_error", "r2", "r2")
        assert report["best"]["test_r2"] == report["best"]["test_accuracy"]


def test_predictions_say_what_there_is_of_labels_and_values(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, y, column in (("labels", several().float(), "p"), ("values", graph(torch.zeros(120)).x[:, :2], "y")):
        torch.save(graph(y), f"{name}.pt")
        made = run(PLAN, data=f"{name}.pt")
        made.save(f"{name}.safetensors")
        capsys.readouterr()
        assert main(["predict", f"{name}.safetensors", "--data", f"{name}.pt", "--out", f"{name}.csv"]) == 0
        assert capsys.readouterr().out.startswith("accuracy on" if name == "labels" else "R² on")
        head, *rows = (tmp_path / f"{name}.csv").read_text().splitlines()
        assert head.split(",") == ["node", *(f"{column}{c}" for c in range(y.shape[1]))]
        told = predict(f"{name}.safetensors", data=f"{name}.pt")
        assert told.kind == name
        expected = told.outputs if name == "values" else told.outputs.sigmoid()
        assert rows[5].split(",") == [str(value) for value in (5, *expected[5].tolist())]


def test_classes_stay_classes():
    loaded = load_graph(graph(several()[:, 0].double()))
    assert (loaded.data.y.dtype, loaded.info.classes) == (torch.long, 2)
    assert run(PLAN, data=loaded).report["config"]["loss"] == "cross_entropy"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "cross_entropy"}, "data.y has 3 columns; cross_entropy takes one class a node"),
        ({"correct_and_smooth": True}, "correct_and_smooth is for one class a node; data has several labels a node"),
        ({"metric": "r2"}, "metric r2 is not defined for several labels a node"),
        ({"class_weight": "balanced"}, "class_weight needs one class a node"),
    ],
)
def test_what_does_not_go_with_several_labels(options, words):
    with pytest.raises(InputError, match=words):
        run(Experiment(**{**vars(PLAN), **options}), data=load_graph(graph(several())))
    with pytest.raises(InputError, match=r"needs one class a node; data\.y has labels"):
        load_graph(graph(several()), split="per-class:5:5")

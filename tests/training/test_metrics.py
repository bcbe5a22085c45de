"""Metrics are scikit-learn's, whatever the processes, and they select."""

from __future__ import annotations

import math
import threading
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fitting import network
from problems import F64, blobs, labels, rand, randn
from sklearn import metrics as theirs
from torch import Tensor

from gamlp_admm import GAMLP, PdADMMG, Result
from gamlp_admm.datasets.ogb_figures import ogb_evaluator
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.nn.losses import risk
from gamlp_admm.parallel.team import Team
from gamlp_admm.training import evaluation
from gamlp_admm.training.metrics import METRICS, figures, metric_of
from gamlp_admm.training.rows import SPLITS, node_data

NAN = math.nan
PENALTIES: dict[str, Any] = {"rho": 0.1, "nu": 0.1, "mu": 0.01}


# --- equal to scikit-learn ----------------------------------------------------------------------------------


def of_classes(name: str, y: Any, p: Any) -> float:
    found, two = p.argmax(1), p.shape[1] == 2
    one_hot = np.eye(p.shape[1])[y]
    return float(
        {
            "accuracy": lambda: theirs.accuracy_score(y, found),
            "balanced_accuracy": lambda: theirs.balanced_accuracy_score(y, found),
            "f1_macro": lambda: theirs.f1_score(y, found, average="macro"),
            "roc_auc": lambda: theirs.roc_auc_score(y, p[:, 1] if two else p, multi_class="ovr"),
            "average_precision": lambda: theirs.average_precision_score(*((y, p[:, 1]) if two else (one_hot, p))),
            "loss": lambda: theirs.log_loss(y, p),
        }[name]()
    )


def of_labels(name: str, y: Any, p: Any) -> float:
    found, balanced = p > 0.5, theirs.balanced_accuracy_score
    columns = range(y.shape[1])
    return float(
        {
            "accuracy": lambda: (found == y).mean(),
            "balanced_accuracy": lambda: np.mean([balanced(y[:, t], found[:, t]) for t in columns]),
            "f1_macro": lambda: theirs.f1_score(y, found, average="macro" if len(columns) > 1 else "binary"),
            "roc_auc": lambda: theirs.roc_auc_score(y, p),
            "average_precision": lambda: theirs.average_precision_score(y, p),
            "loss": lambda: sum(theirs.log_loss(y[:, t], p[:, t]) for t in columns),
        }[name]()
    )


@pytest.mark.parametrize("name", [name for name in METRICS if name != "r2"])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_of_classes(name: str, classes: int) -> None:
    for seed in range(3):
        y, z = labels(60, classes, seed), 2 * randn(60, classes, seed=seed + 1)
        told = risk("cross_entropy")
        value = METRICS[name].of(z, told.target(y, classes, F64), told, "classes")
        assert value == pytest.approx(of_classes(name, y.numpy(), torch.softmax(z, 1).numpy()), rel=1e-12)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "r2"])
def test_of_labels(name: str) -> None:
    told = risk("binary_cross_entropy")
    for seed in range(3):
        y, z = (rand(60, 5, seed=seed) < 0.3).double(), 2 * randn(60, 5, seed=seed + 1)
        wanted = of_labels(name, y.numpy(), torch.sigmoid(z).numpy())
        assert METRICS[name].of(z, y, told, "labels") == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("name", ["balanced_accuracy", "f1_macro", "roc_auc", "average_precision"])
def test_of_labels_where_they_are_known(name: str) -> None:
    y, z = (rand(80, 4, seed=1) < 0.4).double(), randn(80, 4, seed=2)
    y[rand(80, 4, seed=3) < 0.5] = NAN
    each = []
    for t in range(4):
        known = ~y[:, t].isnan()
        each.append(of_labels(name, y[known, t : t + 1].numpy(), torch.sigmoid(z[known, t : t + 1]).numpy()))
    told = risk("binary_cross_entropy")
    assert METRICS[name].of(z, y, told, "labels") == pytest.approx(np.mean(each), rel=1e-12)
    y[:, 2] = 0  # of one kind alone
    if name in ("roc_auc", "average_precision"):
        del each[2]
        assert METRICS[name].of(z, y, told, "labels") == pytest.approx(np.mean(each), rel=1e-12)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_of_equal_probabilities(name: str) -> None:
    told = risk("binary_cross_entropy")
    for seed in range(6):
        share = (0.02, 0.5, 0.98)[seed % 3]  # of nodes that have a label
        y, z = (rand(300, 3, seed=seed) < share).double(), (2 * randn(300, 3, seed=seed + 1)).round()
        z[:, 1], z[::2, 2] = 0, 50  # one probability, and many that are rounded to 1
        z[1::4, 2] = 60
        wanted = of_labels(name, y.numpy(), torch.sigmoid(z).numpy())
        assert METRICS[name].of(z, y, told, "labels") == pytest.approx(wanted, rel=1e-12)
        soft = torch.where(y > 0, 0.7, 0.2)  # a share above one half is a label, as accuracy has it
        assert METRICS[name].of(z, soft, told, "labels") == pytest.approx(wanted, rel=1e-12)


@pytest.mark.skipif(find_spec("ogb") is None, reason="ogb is not installed")
def test_roc_auc_of_labels_is_that_of_ogb_s_evaluator() -> None:
    y, z = (rand(60, 112, seed=1) < 0.2).double(), randn(60, 112, seed=2)
    y[rand(60, 112, seed=3) < 0.3] = NAN
    y[:, 5] = 0
    told = ogb_evaluator("ogbn-proteins").eval({"y_true": y, "y_pred": z})["rocauc"]
    value = METRICS["roc_auc"].of(z, y, risk("binary_cross_entropy"), "labels")
    assert value == pytest.approx(told, rel=1e-12)


@pytest.mark.parametrize("columns", [1, 3])
def test_of_values(columns: int) -> None:
    told, y = risk("squared_error"), 3 * randn(40, columns, seed=1)
    z = y + randn(40, columns, seed=2)
    wanted = theirs.r2_score(y.numpy(), z.numpy(), multioutput="variance_weighted")
    assert METRICS["r2"].of(z, y, told, "values") == pytest.approx(wanted, rel=1e-12)
    wanted = columns / 2 * theirs.mean_squared_error(y.numpy(), z.numpy())
    assert METRICS["loss"].of(z, y, told, "values") == pytest.approx(wanted, rel=1e-12)


def test_where_there_is_nothing_to_tell_apart() -> None:
    told, y, z = risk("cross_entropy"), torch.eye(3, dtype=F64)[[1, 1, 1]], randn(3, 3)
    for name in ("roc_auc", "average_precision"):
        assert METRICS[name].of(z, y, told, "classes") is None
    for metric in METRICS.values():
        assert metric.of(z[:0], y[:0], told, "classes") is None
        assert metric.of(z * NAN, y, told, "classes") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scikit-learn warns of classes that nobody has
        assert METRICS["balanced_accuracy"].of(-torch.eye(3, dtype=F64), y, told, "classes") is not None


# --- which there are ----------------------------------------------------------------------------------------


def test_lookup() -> None:
    assert metric_of("accuracy", "classes").name == "accuracy"
    assert metric_of("accuracy", "values").name == "r2"
    with pytest.raises(InputError, match="unknown metric 'rocauc': did you mean 'roc_auc'"):
        metric_of("rocauc")
    with pytest.raises(InputError, match=r"metric f1_macro is not defined for real targets.*allowed: loss, r2"):
        metric_of("f1_macro", "values")
    with pytest.raises(InputError, match="metric r2 is not defined for one class a node"):
        metric_of("r2", "classes")
    assert metric_of(lambda y, p: 0.0).name == "metric"
    assert metric_of(of_classes).name == "of_classes"  # type: ignore[arg-type]


# --- the same in several processes --------------------------------------------------------------------------


class ThreadTeam(Team):
    """A shard of the rows, in a thread."""

    def __init__(self, shard: int, count: int, box: list[Any], barrier: threading.Barrier) -> None:
        super().__init__()
        self.shard, self.num_shards, self.box, self.barrier = shard, count, box, barrier

    def row_sum(self, x: Tensor) -> Tensor:
        self.box[self.shard] = x
        self.barrier.wait(10)
        total: Tensor = sum(self.box)  # type: ignore[assignment]
        self.barrier.wait(10)
        return total


@pytest.mark.parametrize("count", [2, 3])
def test_shards_have_the_bits_of_all_rows(count: int) -> None:
    data, told, z = blobs(n=61), risk("cross_entropy"), randn(61, 3, seed=5)
    nodes = node_data(data, 8, 3, told, torch.empty(0, dtype=F64))
    assert nodes.rows is not None
    shards = replace(nodes, x=z[nodes.rows]).shards(count)
    box, barrier, found = [None] * count, threading.Barrier(count), [torch.empty(0)] * count
    for name in ("roc_auc", "f1_macro", "loss"):

        def measure(shard: int, name: str = name) -> None:
            team = ThreadTeam(shard, count, box, barrier)
            found[shard] = figures(METRICS[name], shards[shard].x, shards[shard], told, team)

        threads = [threading.Thread(target=measure, args=(shard,)) for shard in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.equal(torch.stack(found).sum(0), figures(METRICS[name], z[nodes.rows], nodes, told, Team()))
    assert not figures(METRICS["loss"], None, nodes, told, Team()).any()


# --- selection and history ----------------------------------------------------------------------------------


def fit(model: GAMLP, data: SimpleNamespace, loss: str = "cross_entropy", **options: Any) -> Result:
    return PdADMMG(**PENALTIES, loss=loss).fit(model, data, options.pop("iterations", 12), seed=0, **options)


@pytest.mark.parametrize("name", ["balanced_accuracy", "f1_macro", "roc_auc", "average_precision", "loss"])
def test_it_selects_the_model(name: str) -> None:
    data, model = blobs(n=90, seed=4), network()
    result = fit(model, data, metric=name)
    values = [record[f"val_{name}"] for record in result.history]
    best = (min if name == "loss" else max)(values)
    assert result.best["iteration"] == result.history[values.index(best)]["iteration"]  # the earlier on ties
    assert result.metric == result.best["metric"] == name
    p = torch.softmax(model(data.x), 1).detach().numpy()
    for split in ("val", "test"):
        rows = getattr(data, f"{split}_mask").numpy()
        wanted = of_classes(name, data.y.numpy()[rows], p[rows])
        assert result.best[f"{split}_{name}"] == pytest.approx(wanted, rel=1e-9)
    assert result.last.keys() == {"iteration"} | {f"{split}_{n}" for split in SPLITS for n in ("accuracy", name)}


def test_nothing_is_gathered_for_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fit(model := network(), blobs())
    monkeypatch.delattr(evaluation, "figures")
    again = fit(other := network(), blobs(), metric="accuracy")
    assert [{**r, "seconds": 0} for r in plain.history] == [{**r, "seconds": 0} for r in again.history]
    assert plain.best == again.best
    assert plain.best.keys() == {"iteration", "val_accuracy", "test_accuracy"}
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_where_it_is_not_defined_accuracy_selects() -> None:
    data = blobs(n=90, seed=4)
    data.val_mask &= data.y == 1
    with pytest.warns(InputWarning, match="roc_auc is not defined on the val nodes.*; accuracy selects") as seen:
        result = fit(network(), data, metric="roc_auc")
    assert len(seen) == 1
    plain = fit(network(), data)
    assert result.best["iteration"] == plain.best["iteration"]
    assert (result.best["metric"], result.best["val_roc_auc"]) == ("accuracy", None) or result.best[
        "val_roc_auc"
    ] is None
    data.val_mask[:] = False
    result = fit(network(), data, metric="f1_macro", iterations=3)
    assert (result.best["iteration"], result.best["val_f1_macro"], result.best["val_accuracy"]) == (3, None, None)


def test_real_targets_have_r2() -> None:
    data, model = blobs(n=90), GAMLP(8, 10, 2, 2, init="kaiming").double()
    data.y = torch.stack([data.x[:, 0].abs(), data.x[:, 1] - data.x[:, 2]], 1)
    result = fit(model, data, "squared_error")
    assert result.metric == result.best["metric"] == "r2"
    rows = data.test_mask
    wanted = theirs.r2_score(data.y[rows], model(data.x[rows]).detach(), multioutput="variance_weighted")
    assert result.best["test_r2"] == pytest.approx(wanted)
    assert result.best["test_accuracy"] == result.best["test_r2"]
    with pytest.raises(InputError, match="metric roc_auc is not defined for real targets"):
        fit(model, data, "squared_error", metric="roc_auc")
    data.y = torch.eye(3)[blobs(n=90).y]
    assert fit(GAMLP(8, 10, 3, 2, init="kaiming").double(), data, "squared_error", iterations=1).metric == "accuracy"


def test_a_function_of_one_s_own() -> None:
    def kappa(y: Any, p: Any) -> float:
        return float(theirs.cohen_kappa_score(y, p.argmax(1)))

    data, model = blobs(n=90, seed=4), network()
    result = fit(model, data, metric=kappa)
    rows = data.val_mask
    wanted = theirs.cohen_kappa_score(data.y[rows], model(data.x[rows]).argmax(1))
    assert result.best["val_kappa"] == pytest.approx(wanted) == max(r["val_kappa"] for r in result.history)


def test_a_run_does_not_go_on_by_another_metric(tmp_path: Path) -> None:
    fit(network(), blobs(), metric="f1_macro", iterations=4, checkpoint_dir=tmp_path)
    with pytest.raises(InputError, match="was made with metric=f1_macro, not accuracy"):
        fit(network(), blobs(), iterations=6, checkpoint_dir=tmp_path, resume=True)
    again, whole = network(), network()
    resumed = fit(again, blobs(), metric="f1_macro", iterations=6, checkpoint_dir=tmp_path, resume=True)
    straight = fit(whole, blobs(), metric="f1_macro", iterations=6)
    assert resumed.best == straight.best
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))


# --- several labels, not all of them known ------------------------------------------------------------------


def several(unknown: float = 0.0) -> SimpleNamespace:
    data = blobs(n=160)
    data.y = (data.x[:, :4] > data.x[:, :4].mean(0)).double()
    data.truth = data.y.clone()
    data.y[rand(160, 4, seed=7) < unknown] = NAN
    data.y[data.y.isnan().all(1), 0] = 1.0
    return data


@pytest.mark.parametrize("init", ["ridge", "kaiming"])
@pytest.mark.parametrize("name", ["pdadmm-g", "ridge", "adam"])
def test_unknown_labels_are_no_labels(name: str, init: str) -> None:
    from gamlp_admm.algorithms.registry import trainer

    data = several(0.4)
    layers = 1 if name == "ridge" else 2
    model = GAMLP(8, 16, 4, layers, init=init).double()
    options: dict[str, Any] = {"pdadmm-g": {"rho": 0.1, "nu": 0.1, "mu": 0.01}, "adam": {"lr": 0.03}}.get(name, {})
    made = trainer(name, loss="binary_cross_entropy", **options)
    result = made.fit(model, data, 60, seed=0, metric="roc_auc")
    rows = data.test_mask
    assert theirs.roc_auc_score(data.truth[rows], model(data.x[rows]).detach()) > 0.9
    assert result.best["val_roc_auc"] > 0.9
    assert all(math.isfinite(record["train_loss"]) for record in result.history)
    assert 0 <= result.last["test_accuracy"] <= 1


def test_where_all_is_known_nothing_changes() -> None:
    z, y = randn(20, 4, seed=1), (rand(20, 4, seed=2) < 0.4).double()
    told, some = risk("binary_cross_entropy"), y.clone()
    some[:, 2] = NAN
    kept = [0, 1, 3]
    assert torch.allclose(told.rows(z, some), told.rows(z[:, kept], y[:, kept]))
    assert torch.equal(told.slope(z, some)[:, kept], told.slope(z, y)[:, kept])
    assert not told.slope(z, some)[:, 2].any()
    near = told.prox(z, some, 0.5, torch.zeros_like(z))
    assert torch.equal(near[:, 2], z[:, 2])
    assert torch.allclose(near[:, kept], told.prox(z, y, 0.5, torch.zeros_like(z))[:, kept], atol=1e-12)
    gradient = torch.func.grad(lambda z: told.rows(z, some).sum())(z)
    assert torch.allclose(gradient, told.slope(z, some))

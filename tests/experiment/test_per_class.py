"""Precision, recall, F1 and the confusion matrix of single classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch_geometric.data import Data

from gamlp_admm.experiment import Experiment, run
from gamlp_admm.experiment.per_class import MOST_CLASSES, per_class
from gamlp_admm.nn import GAMLP


def drawn(classes: int, nodes: int = 300) -> tuple[GAMLP, Data]:
    torch.manual_seed(0)
    part = torch.randint(3, (nodes,))
    data = Data(x=torch.randn(nodes, 4), y=torch.randint(-1, classes - 1, (nodes,)))  # the last class has no node
    return GAMLP(4, 8, classes, 2), data.update(
        {f"{s}_mask": part == i for i, s in enumerate(("train", "val", "test"))}
    )


@pytest.mark.parametrize("split", ["val", "test"])
def test_as_scikit_learn_has_it(split: str) -> None:
    model, data = drawn(6)
    report = per_class(model, data)
    nodes = data[f"{split}_mask"] & (data.y >= 0)
    true, predicted = data.y[nodes].numpy(), model(data.x)[nodes].argmax(-1).numpy()
    labels = range(6)
    assert report["confusion"][split] == confusion_matrix(true, predicted, labels=labels).tolist()
    expected = precision_recall_fscore_support(true, predicted, labels=labels, zero_division=np.nan)
    rows = report["per_class"][split]
    for key, values in zip(("precision", "recall", "f1", "nodes"), expected, strict=True):
        known = [np.nan if row[key] is None else row[key] for row in rows]
        if key == "f1":  # 0/0 for scikit-learn only where precision and recall are both undefined
            known, values = np.nan_to_num(known), np.nan_to_num(values)
        np.testing.assert_allclose(known, values)


def test_a_run_reports_what_its_accuracy_is_made_of() -> None:
    report = run(Experiment(dataset="karate", iterations=3)).report
    for split in ("val", "test"):
        confusion = torch.tensor(report["confusion"][split])
        assert confusion.diagonal().sum() / confusion.sum() == pytest.approx(report["best"][f"{split}_accuracy"])
        assert [row["nodes"] for row in report["per_class"][split]] == confusion.sum(1).tolist()


def test_classes_have_names_where_the_data_has() -> None:
    model, data = drawn(3)
    assert per_class(model, data)["confusion"]["classes"] == ["0", "1", "2"]
    data.class_names = ["ant", "bee", "<cat>"]
    report = per_class(model, data)
    assert report["confusion"]["classes"] == [row["class"] for row in report["per_class"]["test"]] == data.class_names


def test_many_classes_have_no_matrix() -> None:
    assert "confusion" in per_class(*drawn(MOST_CLASSES))
    assert per_class(*drawn(MOST_CLASSES + 1)).keys() == {"per_class"}


def test_only_nodes_of_one_class_each_have_one() -> None:
    model, data = drawn(3)
    for y in (torch.rand(300), torch.ones(300, 3)):
        assert per_class(model, data.update({"y": y})) == {}


def test_a_split_without_nodes() -> None:
    model, data = drawn(3)
    data.test_mask[:] = False
    report = per_class(model, data)
    assert report["confusion"]["test"] == [[0] * 3] * 3
    assert report["per_class"]["test"][0] == {"class": "0", "nodes": 0, "precision": None, "recall": None, "f1": None}

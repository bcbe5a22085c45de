"""Features of the split alone: the bits of all nodes' features, and of all that is trained on them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from gamlp_admm.experiment import Experiment, choosing, features, prepare, run
from gamlp_admm.transforms import AugmentFeatures, AugmentLabels, fit_features


def graph(columns: int = 40) -> Data:
    """A graph of 300 nodes, 90 of which are in the split."""
    random = torch.Generator().manual_seed(0)
    masks = {f"{name}_mask": torch.arange(300) % 10 == i for i, name in enumerate(("train", "val", "test"))}
    x = torch.randn(300, columns, generator=random)
    edge_index = torch.randint(300, (2, 900), generator=random)
    return Data(x=x, edge_index=edge_index, y=torch.arange(300) // 3 % 3, **masks)


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize(("operator", "hops"), [("sym", 2), ("row", (1, 3)), ("ppr", 4), ("heat", 9)])
def test_nodes_of_the_split_have_the_bits_that_they_have_among_all(
    operator: str, hops: Any, gathered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gamlp_admm.propagation.gather.LARGE", -1 if gathered else 2**21)
    data, transform = graph(), AugmentFeatures(hops, operator, normalize_features=True)
    labels = AugmentLabels(2, num_classes=3)
    every = transform(data)
    split = (data.train_mask | data.val_mask | data.test_mask).nonzero()[:, 0]
    made = transform.of_split(data)
    assert made.n_id.equal(split)
    assert made.x.equal(every.x[split])
    assert made.edge_index is None
    assert made.train_mask.equal(data.train_mask[split])
    assert labels(made).x.equal(labels(every).x[split])


@pytest.mark.parametrize("options", [{}, {"label_operator": "sym"}, {"unit_rows": True}, {"operator": "ppr"}])
def test_runs_on_the_split_alone_have_the_same_bits(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment(**{"operator": "sym", "hops": None, "hidden": 8, "iterations": 3, "seed": 0} | options)
    data = graph()
    expected = run(experiment, prepared=prepare(experiment, data=data), data=data)
    monkeypatch.setattr(features, "MANY", 0)
    done = run(experiment, data=data)
    made = prepare(experiment, data=data, split_only=True)
    assert len(made.data.x) == (300 if options.get("unit_rows") else 90)
    assert "whole" not in made.data
    assert [each | {"seconds": 0} for each in done.report["history"]] == [
        each | {"seconds": 0} for each in expected.report["history"]
    ]
    assert done.report["num_nodes"] == expected.report["num_nodes"]
    fitted, _ = fit_features(done.features, data)
    assert len(fitted(data).x) == 300  # of other graphs, and of this one, a model takes all nodes


@pytest.mark.parametrize("thin", [False, True])
def test_what_is_chosen_is_the_same(thin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = choosing._candidate

    def sketched(*given: Any) -> Any:
        candidate = judged(*given)
        return candidate.__class__(**vars(candidate) | {"sketched": thin})

    monkeypatch.setattr(choosing, "_candidate", sketched)
    monkeypatch.setattr(choosing, "compressible", lambda x: thin)
    used = Experiment(dataset="pyg:Own:Graph").resolve()
    data = graph()
    expected = choosing.choose(used, data, 3)
    monkeypatch.setattr(features, "MANY", 0)
    made = choosing.choose(used, data, 3, split_only=True)
    assert made.about == expected.about
    assert made.changes == expected.changes
    split = (data.train_mask | data.val_mask | data.test_mask).nonzero()[:, 0]
    assert made.data.x.equal(expected.data.x[split] if thin else expected.data.x)

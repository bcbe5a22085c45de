"""The measures in the history are those of the trained model."""

from __future__ import annotations

import pytest
import torch
from fitting import TRAINERS, accuracy, network
from problems import blobs

from gamlp_admm.training.evaluation import weights_travel


@pytest.mark.parametrize("name", TRAINERS)
def test_the_trained_model_is_the_history_s_last(name: str) -> None:
    model, data = network(), blobs()
    result = TRAINERS[name].fit(model, data, iterations=8, select="last")
    record = result.history[-1]
    for split in ("train", "val", "test"):
        assert accuracy(model, data, f"{split}_mask") == pytest.approx(record[f"{split}_accuracy"])
        assert result.last[f"{split}_accuracy"] == record[f"{split}_accuracy"]
    assert result.last["iteration"] == 8
    logits = model(data.x[data.train_mask])
    loss = torch.nn.functional.cross_entropy(logits, data.y[data.train_mask]).item()
    assert record["train_loss"] == pytest.approx(loss)


def test_what_travels_for_an_evaluation_is_what_takes_half_the_bytes_or_less() -> None:
    shapes = [(100, 500), (100, 100), (100, 100), (7, 100)]
    halves, moved = [range(2), range(2, 4)], 100 * 101 + 7 * 101
    assert not weights_travel(shapes, [range(4)], 10**6, 1)  # nothing does
    assert not weights_travel(shapes, [range(4), range(0)], 10**6, 1)
    assert weights_travel(shapes, halves, 2 * moved // 100 + 1, 1)
    assert not weights_travel(shapes, halves, 2 * moved // 100 - 1, 1)
    assert not weights_travel(shapes, halves, 2 * moved // 100 + 1, 2)  # of each shard's rows
    assert weights_travel(shapes, [range(1), range(1, 2), range(2, 4)], 2 * (2 * 10_100 + 707) // 200 + 1, 1)

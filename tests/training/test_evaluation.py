"""The measures in the history are those of the trained model."""

from __future__ import annotations

import pytest
import torch
from fitting import TRAINERS, accuracy, network
from problems import blobs


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

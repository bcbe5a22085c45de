"""The model receives a shallower network's weights as the same function."""

from __future__ import annotations

import pytest
import torch
from fitting import TRAINERS, Raise, network
from problems import blobs, forward
from torch import Tensor


def test_interruption_of_growth_leaves_the_shallow_function() -> None:
    model, data = network(6), blobs()
    seen: list[list[tuple[Tensor, Tensor]]] = []
    with pytest.raises(RuntimeError):
        TRAINERS["pdadmm-g"].fit(
            model, data, 10, grow=(2, 6), callbacks=[lambda p: seen.append(p.weights()), Raise(4, RuntimeError)]
        )
    assert torch.allclose(model(data.x), forward(data.x, seen[-1], torch.relu))

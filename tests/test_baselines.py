"""Backpropagation baselines against a hand-written torch loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from problems import F64, blobs, rand

from gamlp_admm import GAMLP, Backprop

LOOPS: dict[str, tuple[Any, float]] = {
    "adam": (torch.optim.Adam, 1e-3),
    "sgd": (torch.optim.SGD, 1e-1),
    "adagrad": (torch.optim.Adagrad, 1e-2),
    "adadelta": (torch.optim.Adadelta, 1.0),
}


def networks() -> tuple[GAMLP, GAMLP]:
    a, b = (GAMLP(8, 6, 3, 3, init="kaiming").double() for _ in range(2))
    b.load_state_dict(a.state_dict())
    return a, b


@pytest.mark.parametrize("settings", [{}, {"lr": 0.05}, {"weight_decay": 0.1}])
@pytest.mark.parametrize("name", LOOPS)
def test_it_is_the_torch_loop(name: str, settings: dict[str, float]) -> None:
    torch.manual_seed(0)
    data, (ours, theirs) = blobs(), networks()
    result = Backprop(name, **settings).fit(ours, data, 20, select="last")
    kind, lr = LOOPS[name]
    optimizer = kind(theirs.parameters(), **{"lr": lr, **settings})
    x, y = data.x[data.train_mask], data.y[data.train_mask]
    for record in result.history:
        optimizer.zero_grad()
        loss = F.cross_entropy(theirs(x), y)
        loss.backward()
        optimizer.step()
        assert record["objective"] == pytest.approx(loss.item(), rel=1e-10)
        with torch.no_grad():
            assert record["train_loss"] == pytest.approx(F.cross_entropy(theirs(x), y).item(), rel=1e-10)
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    assert all(torch.allclose(s, t, atol=1e-10) for s, t in pairs)


def test_with_row_weights() -> None:
    torch.manual_seed(0)
    data, (ours, theirs) = blobs(), networks()
    weight = rand(60, seed=4)
    Backprop("sgd").fit(ours, data, 10, node_weight=weight, select="last")
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    x, y, w = data.x[data.train_mask], data.y[data.train_mask], weight[data.train_mask]
    for _ in range(10):
        optimizer.zero_grad()
        (w * F.cross_entropy(theirs(x), y, reduction="none")).mean().backward()
        optimizer.step()
    assert all(torch.allclose(s, t, atol=1e-12) for s, t in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_the_model_s_gradients_and_grad_mode_are_left_alone() -> None:
    model, _ = networks()
    Backprop().fit(model, blobs(), 2)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert next(model.parameters()).dtype == F64
    with torch.no_grad():
        model(torch.zeros(1, 8, dtype=F64))

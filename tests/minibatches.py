"""A small network, batches, and training on sub-batches of them, for optimisers of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

F64 = torch.float64


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(F64)


def batches(count: int = 6, rows: int = 12) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(rows, 5, dtype=F64), torch.randint(3, (rows,))) for _ in range(count)]


def closures(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor, parts: int) -> list[Any]:
    def closure(x: Tensor, y: Tensor) -> Any:
        def call() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        return call

    return [closure(a, b) for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True)]


def train(make: Any, parts: int, steps: int = 6) -> tuple[list[Tensor], list[float]]:
    model = network()
    optimizer = make(model.parameters())
    losses = [float(optimizer.step(closures(model, optimizer, x, y, parts))) for x, y in batches(steps)]
    return [p.detach().clone() for p in model.parameters()], losses


def close(a: list[Tensor], b: list[Tensor], tolerance: float = 1e-12) -> bool:
    return all(bool((s - t).abs().max() <= tolerance) for s, t in zip(a, b, strict=True))

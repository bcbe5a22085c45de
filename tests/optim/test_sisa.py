"""SISA: its equations, and sub-batches."""

from __future__ import annotations

from typing import Any

import torch
from minibatches import F64, close, train
from torch import Tensor, nn

from gamlp_admm.optim import SISA


def test_sisa_is_the_papers_iteration() -> None:
    sigma, rho, beta, eps, decay = 2.0, 7.0, 0.9, 1e-3, 0.1
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=F64))
    optimizer = SISA([w], sigma, rho, beta=beta, eps=eps, weight_decay=decay)
    plain, pi, n = w.detach().clone(), torch.zeros(2, 2, dtype=F64), torch.zeros(2, 2, dtype=F64)
    for t in range(1, 6):

        def closure(s: int, t: int = t) -> Any:
            def call() -> Tensor:
                optimizer.zero_grad()
                value = ((s + 1) * w.square() + w * t).sum()
                value.backward()
                return value

            return call

        optimizer.step([closure(0), closure(1)])
        copies = []
        for s in range(2):
            g = 2 * (s + 1) * plain + t
            n[s] = beta * n[s] + (1 - beta) * (g + pi[s]) ** 2
            w_s = plain - (g + pi[s]) / (sigma + rho * ((n[s] / (1 - beta**t)).sqrt() + eps))
            pi[s] += sigma * (w_s - plain)
            copies.append(w_s)
        plain = (sigma * torch.stack(copies).mean(0) + pi.mean(0)) / (sigma + decay)
        assert close([w.detach()], [plain])


def test_sisa_depends_on_the_number_of_sub_batches() -> None:
    assert not close(train(SISA, 1)[0], train(SISA, 3)[0], 1e-6)

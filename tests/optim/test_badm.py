"""BADM: its equations in both forms, sub-batches, and gradient descent as a special case."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from minibatches import F64, batches, close, closures, network, train
from torch import Tensor, nn

from gamlp_admm.optim import BADM


@pytest.mark.parametrize("form", ["aggregate", "copies"])
def test_badm_is_the_papers_iteration(form: str) -> None:
    sigma, rho, alphas = 3.0, 5.0, [0.5, 0.3, 0.2]
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=F64))
    optimizer = BADM([w], sigma, rho, form=form)
    torch.manual_seed(2)
    plain, pi = w.detach().clone(), torch.zeros(3, 2, dtype=F64)
    for _ in range(5):
        A = torch.randn(3, 2, 2, dtype=F64)

        def loss(s: int, at: Tensor, A: Tensor = A) -> Tensor:
            return (A[s] @ at).square().sum() + at.sin().sum() * s

        def closure(s: int, loss: Any = loss) -> Any:
            def call() -> Tensor:
                optimizer.zero_grad()
                value = loss(s, w)
                value.backward()
                return value

            return call

        optimizer.step([closure(s) for s in range(3)], weights=alphas)
        new = torch.zeros(2, dtype=F64)
        for s in range(3):
            leaf = plain.clone().requires_grad_()
            (g,) = torch.autograd.grad(loss(s, leaf), leaf)
            w_s = plain - (g + pi[s]) / (rho + sigma)
            pi[s] += sigma * (w_s - plain)
            new += alphas[s] * (w_s + pi[s] / sigma)
        plain = new
        assert close([w.detach()], [plain])


@pytest.mark.parametrize("rho", [1.0, 10.0, 90.0])
def test_badm_does_not_depend_on_the_number_of_sub_batches(rho: float) -> None:
    whole, losses = train(lambda p: BADM(p, rho=rho, weight_decay=0.01), 1)
    for form in ("aggregate", "copies"):
        for parts in (1, 2, 3, 4):
            split, again = train(lambda p, form=form: BADM(p, rho=rho, weight_decay=0.01, form=form), parts)
            assert close(split, whole)
            assert again == pytest.approx(losses)


def test_badm_with_equal_penalties_is_gradient_descent() -> None:
    ours, _ = train(lambda p: BADM(p, 4.0, 4.0), 2)
    theirs, _ = train_with_sgd(0.25)
    assert close(ours, theirs)


def train_with_sgd(lr: float) -> tuple[list[Tensor], None]:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for x, y in batches():
        closures(model, optimizer, x, y, 1)[0]()
        optimizer.step()
    return [p.detach() for p in model.parameters()], None

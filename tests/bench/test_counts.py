"""Counts are those that can be told from the shapes."""

from __future__ import annotations

import pytest
import torch

from gamlp_admm.bench.counts import Counts


def counted(counts: Counts) -> tuple[int, int, int]:
    return counts.calls, counts.products, counts.operations


def test_products_and_their_operations() -> None:
    x, W, b = torch.ones(2, 8, 4), torch.ones(2, 4, 3), torch.ones(3)
    with Counts() as counts:
        torch.bmm(x, W)
        torch.baddbmm(torch.zeros(2, 8, 3), x, W)
        x[0] @ W[0][:, 0]
        torch.addmm(b, x[0], W[0])
        torch.mm(x[0], W[0], out=torch.empty(8, 3))
        torch.zeros(8, 3).addmm_(x[0], W[0])
    one = 2 * 8 * 4 * 3
    assert counts.products == 2 + 2 + 1 + 1 + 1 + 1
    assert counts.operations == 7 * one + one // 3
    counts.restart()
    with counts:
        torch.relu(b)
    assert counted(counts) == (1, 0, 0)


def test_backward_is_counted() -> None:
    x, W = torch.ones(8, 4), torch.ones(4, 3, requires_grad=True)
    with Counts() as counts:
        (x @ W).sum().backward()
    assert (counts.products, counts.operations) == (2, 2 * 2 * 8 * 4 * 3)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
def test_sparse_products_are_of_their_entries() -> None:
    A = torch.eye(6).to_sparse_csr()
    with Counts() as counts:
        A @ torch.ones(6, 5)
    assert (counts.products, counts.operations) == (1, 2 * 6 * 5)
    assert counts.peak >= 4 * (6 + 2 * 6 * 5)


def test_memory_is_that_of_what_lives() -> None:
    rows = torch.ones(100, 10)[:5]
    with Counts() as counts:
        made = rows.T.T + 1  # of what was there before, the 5 rows that are used
        assert counts.peak == 4 * (50 + 50)
        for _ in range(3):
            made = made * 2  # of which two live at a time
    assert counts.peak == 4 * (50 + 2 * 50)
    with counts:
        view = torch.ones(1000)[:1]
        made = made * 2
    assert counts.peak == 4 * (50 + 1000 + 2 * 50)  # a view holds all of its storage
    del view
    counts.restart()
    assert counts.peak == 4 * (50 + 50)
    made.add_(1)

"""Matrices made by sorting edges, as on a GPU, are those that SciPy makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gamlp_admm.errors import InputError
from gamlp_admm.propagation import adjacency, row, sym
from gamlp_admm.propagation.on_device import fits, looped, matrix_there, normalized
from gamlp_admm.propagation.product import as_scipy

N = 12
OPERATORS = {0.5: sym, 0.0: row}


def edges(count: int, seed: int = 0) -> torch.Tensor:
    """Return random edges, repeated ones and self-loops among them; the last two nodes have none."""
    return torch.randint(N - 2, (2, count), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("direction", ["both", "along", "against"])
@pytest.mark.parametrize("weights", ["none", "random", "zeros"])
@pytest.mark.parametrize("coefficient", OPERATORS)
@pytest.mark.parametrize("count", [0, 1, 60])
def test_the_matrix_is_that_of_scipy(direction: str, weights: str, coefficient: float, count: int) -> None:
    index = edges(count)
    weight = {
        "none": None,
        "random": torch.rand(count, generator=torch.Generator().manual_seed(1)),
        "zeros": (torch.arange(count) % 3 > 0).float(),  # some loops of weight 0 among them
    }[weights]
    wanted = OPERATORS[coefficient](adjacency(index, weight, N, direction)).toarray()
    made = matrix_there(index, weight, N, direction, coefficient, torch.float64, torch.device("cpu"))
    np.testing.assert_allclose(as_scipy(made).toarray(), wanted, rtol=1e-12, atol=0)


def test_a_node_to_which_nothing_leads_has_a_row_and_a_column_of_zeros() -> None:
    index, weight = torch.tensor([[0, 1, 2], [0, 2, 1]]), torch.tensor([0.0, 1.0, 1.0])
    made = normalized(looped(index, weight, 3), 3, 0.5, torch.float32).to_dense()
    assert torch.equal(made[0], torch.zeros(3))
    torch.testing.assert_close(made[1:, 1:], torch.full((2, 2), 0.5))


def test_the_order_of_edges_does_not_change_what_is_counted() -> None:
    index = edges(50)
    shuffled = index[:, torch.randperm(50, generator=torch.Generator().manual_seed(2))]
    for first, second in zip(looped(index, None, N), looped(shuffled, None, N), strict=True):
        assert torch.equal(first, second)


def test_wrong_edges_and_a_place_that_is_no_gpu() -> None:
    with pytest.raises(InputError, match=r"edge_index\[1, 0\] is 12: a graph of 12 nodes allows 0 to 11"):
        looped(torch.tensor([[0], [12]]), None, N)
    with pytest.raises(InputError, match="weights must be finite and not negative"):
        looped(torch.tensor([[0], [1]]), torch.tensor([-1.0]), N)
    assert not fits(edges(3), torch.device("cpu"))

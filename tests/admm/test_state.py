"""Which layers make a stack."""

from __future__ import annotations

from itertools import pairwise

import torch

from gamlp_admm.admm.state import stacks


def test_stacks_group_equal_layers_between_the_first_and_the_last() -> None:
    def of(widths: list[int], layers: range | None = None, rows: int = 4) -> list[list[int]]:
        shapes = [(o, i) for i, o in pairwise(widths)]
        layers = range(len(shapes)) if layers is None else layers
        return [list(g) for g in stacks(shapes, layers, rows, torch.empty(0, dtype=torch.float32))]

    assert of([4, 3]) == [[0]]
    assert of([4, 16, 3]) == [[0], [1]]
    assert of([16, 16, 16, 16]) == [[0], [1], [2]]
    assert of([4, 16, 16, 16, 16, 16]) == [[0], [1, 2, 3], [4]]
    assert of([4, 16, 16, 16, 32, 32, 32, 32, 16, 16, 3]) == [[0], [1, 2], [3], [4, 5, 6], [7], [8], [9]]
    # A process that owns layers 2 to 4 of the network stacks those alone.
    assert of([4, 16, 16, 16, 16, 16, 3], range(2, 5)) == [[2, 3, 4]]
    assert of([4, 16, 16, 16, 16, 16, 3], range(0)) == []
    # Where a layer's tensors would not start at a cache line, it stays on its own.
    assert of([4, 5, 5, 5, 5, 3]) == [[0], [1], [2], [3], [4]]

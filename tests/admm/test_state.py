"""Which layers make a stack."""

from __future__ import annotations

from itertools import pairwise

import torch

from gamlp_admm.admm.state import STACKED, stacks


def test_stacks_group_equal_layers_between_the_first_and_the_last() -> None:
    def of(widths: list[int], layers: range | None = None, rows: int = 4, most_rows: int = 0) -> list[list[int]]:
        shapes = [(o, i) for i, o in pairwise(widths)]
        layers = range(len(shapes)) if layers is None else layers
        return [list(g) for g in stacks(shapes, layers, rows, torch.empty(0, dtype=torch.float32), most_rows)]

    assert of([4, 3]) == [[0]]
    assert of([4, 16, 3]) == [[0], [1]]
    assert of([16, 16, 16, 16]) == [[0], [1], [2]]
    assert of([4, 16, 16, 16, 16, 16]) == [[0], [1, 2, 3], [4]]
    assert of([4, 16, 16, 16, 32, 32, 32, 32, 16, 16, 3]) == [[0], [1, 2], [3], [4, 5, 6], [7], [8], [9]]
    # A process that owns layers 2 to 4 of the network stacks those alone.
    assert of([4, 16, 16, 16, 16, 16, 3], range(2, 5)) == [[2, 3, 4]]
    assert of([4, 16, 16, 16, 16, 16, 3], range(0)) == []
    # Large layers are not stacked, nor more of them than are small together; shards stack alike.
    assert of([4, *[16] * 6, 3], rows=STACKED // 16) == [[0], [1], [2], [3], [4], [5], [6]]
    assert of([4, *[16] * 6, 3], rows=STACKED // 48 // 4 * 4) == [[0], [1, 2, 3], [4, 5], [6]]
    assert of([4, *[16] * 6, 3], most_rows=STACKED // 32) == [[0], [1, 2], [3, 4], [5], [6]]
    # Where a layer's tensors would not start at a cache line, it stays on its own.
    assert of([4, 5, 5, 5, 5, 3]) == [[0], [1], [2], [3], [4]]

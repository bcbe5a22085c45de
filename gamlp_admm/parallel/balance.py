"""Which process owns which layers: contiguous layers, so that the slowest process is as fast as can be."""

from __future__ import annotations

from collections.abc import Sequence

from gamlp_admm.errors import InputError


def layer_costs(shapes: Sequence[tuple[int, int]], num_rows: int) -> list[float]:
    """Return the cost of an iteration of pdADMM-G a layer, in floating-point operations.

    With ``linesearch`` a layer makes four products of 2·N·n_in·n_out operations, the first layer (whose input never
    changes) two; beside them some 60 operations an entry of the layer's outputs and 15 an entry of its inputs go to
    the element-wise blocks, which run at memory speed and weigh as much as eight times as many operations in a product.

    Args:
        shapes: (n_out, n_in) of each layer.
        num_rows: Training rows N.
    """
    costs = []
    for l, (n_out, n_in) in enumerate(shapes):
        products = 2 if l == 0 else 4
        inputs = 0 if l == 0 else 15 * n_in
        costs.append(num_rows * (products * 2.0 * n_in * n_out + 8.0 * (60 * n_out + inputs)))
    return costs


def partition(costs: Sequence[float], parts: int) -> list[range]:
    """Split layers into contiguous parts with the smallest possible maximum of summed costs.

    Args:
        costs: Cost of each layer.
        parts: Number of parts; with fewer layers than parts, the last ones are empty.

    Returns:
        The layers of each part, in order.
    """
    n = len(costs)
    filled = min(parts, n)
    prefix = [0.0]
    for cost in costs:
        prefix.append(prefix[-1] + cost)
    # best[k][j]: smallest maximum when the first j layers make k parts; cut[k][j]: where the last of them begins
    best = [[float("inf")] * (n + 1) for _ in range(filled + 1)]
    cut = [[0] * (n + 1) for _ in range(filled + 1)]
    best[0][0] = 0.0
    for k in range(1, filled + 1):
        for j in range(k, n + 1):
            for i in range(k - 1, j):
                slowest = max(best[k - 1][i], prefix[j] - prefix[i])
                if slowest < best[k][j]:
                    best[k][j], cut[k][j] = slowest, i
    ranges, j = [range(n, n)] * (parts - filled), n
    for k in range(filled, 0, -1):
        ranges.insert(0, range(cut[k][j], j))
        j = cut[k][j]
    return ranges


def explicit(counts: Sequence[int], num_layers: int, parts: int) -> list[range]:
    """Return the parts that hold the given numbers of layers.

    Raises:
        InputError: The counts are not ``parts`` positive numbers that sum to the number of layers.
    """
    if len(counts) != parts or min(counts, default=0) < 1 or sum(counts) != num_layers:
        raise InputError(
            f"balance {','.join(map(str, counts))}: allowed: {parts} positive numbers that sum to {num_layers} layers"
        )
    ranges, start = [], 0
    for count in counts:
        ranges.append(range(start, start + count))
        start += count
    return ranges

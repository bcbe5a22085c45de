"""Which process owns which layers."""

from __future__ import annotations

from itertools import combinations

import processes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamlp_admm.errors import InputError
from gamlp_admm.parallel.balance import explicit, layer_costs, partition


def slowest(costs, parts):
    return max(sum(costs[l] for l in part) for part in parts)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=8), st.integers(1, 8))
def test_partition_is_contiguous_complete_and_as_even_as_can_be(costs, stages):
    parts = partition(costs, stages)
    assert len(parts) == stages
    assert [l for part in parts for l in part] == list(range(len(costs)))
    filled = min(stages, len(costs))
    assert all(parts[:filled])
    assert not any(parts[filled:])
    cuts = combinations(range(1, len(costs)), filled - 1)
    best = min(
        slowest(costs, [range(a, b) for a, b in zip((0, *cut), (*cut, len(costs)), strict=True)]) for cut in cuts
    )
    assert slowest(costs, parts) == pytest.approx(best)


def test_costs_count_products():
    first, hidden, last = layer_costs([(100, 400), (100, 100), (7, 100)], 1000)
    assert last < hidden
    doubled = layer_costs([(100, 400), (100, 100), (7, 100)], 2000)
    assert doubled == pytest.approx([2 * first, 2 * hidden, 2 * last])
    wide = layer_costs([(4000, 4000), (4000, 4000), (4000, 4000)], 1000)
    assert wide[1] / wide[0] == pytest.approx(2, rel=0.05)  # four products to two


def test_explicit_balance():
    assert explicit((1, 4), 5, 2) == [range(1), range(1, 5)]
    for wrong in ((1, 3), (5,), (0, 5), (-1, 6)):
        with pytest.raises(InputError, match="balance"):
            explicit(wrong, 5, 2)


def test_a_balance_must_fit_the_network():
    with pytest.raises(InputError, match="balance 1,1: allowed: 1 positive numbers that sum to 2"):
        processes.train("linesearch", 2, 8, balance=(1, 1))

"""The plan stays within its cap, uses it, and says what would be enough."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gamlp_admm.errors import InputError, byte_count
from gamlp_admm.propagation.store.plan import LINE, SCRATCH, WIDEST, plan


@given(st.integers(1, 5000), st.integers(1, 2**30), st.integers(1, 2**34), st.integers(0, 2**33))
def test_within_the_cap(columns: int, column: int, memory: int, graph: int) -> None:
    try:
        made = plan(columns, column, memory, graph=graph)
    except InputError as error:
        found = re.search(r"allowed: (\w+) or more", str(error))
        assert found is not None
        least = byte_count("memory", found[1])
        assert memory < least
        assert plan(columns, column, least, graph=graph).width >= 1
        assert graph + SCRATCH + column > memory
        return
    assert sum(made.parts.values()) <= memory
    blocks = -(-columns // made.width)
    for wider in range(made.width + 1, min(columns, WIDEST) + 1):
        enough = graph + SCRATCH + wider * column <= memory
        assert not enough or -(-columns // wider) >= blocks - 1  # what is left of the cap saves no more than a block


def test_widths_are_lines_of_the_cache() -> None:
    assert plan(100, 1, SCRATCH + 70).width == 4 * LINE
    assert plan(100, 1, SCRATCH + 15).width == 15
    assert plan(500, 1, 2**40).width == WIDEST
    assert str(plan(20, 2**20, SCRATCH + 2**24, graph=0)).startswith("16 columns at a time: graph 0MiB, columns 16MiB")

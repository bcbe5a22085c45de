"""How many columns are propagated at a time, so that all there is in memory stays within a cap.

What is counted, for N nodes, columns of B bytes a number, and features of which W columns are in work:

==============  ===================================================================================================
what            bytes
==============  ===================================================================================================
``data``        features, edges and labels that are in memory; memory-mapped files are none of it
``graph``       the matrix Ã
``columns``     T·N·W·B: states before and after a hop, T = 2; of ``ppr`` and ``heat`` the columns and a sum, too
``scratch``     :data:`SCRATCH`: rows on their way from a file to the columns, and from a state to a file; of files
                that are memory-mapped what is looked at
==============  ===================================================================================================

The interpreter and the libraries, about 300 MiB, are not counted. No bit of the features depends on the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gamlp_admm.errors import InputError
from gamlp_admm.system.memory import as_text

SCRATCH = 3 * 2**24
WIDEST = 128
"""Columns that are taken together at most: the states of more no longer fit into caches."""

LINE = 16
"""Numbers of a cache line: widths are multiples of it, where they can."""


@dataclass(frozen=True)
class MemoryPlan:
    """How features are made.

    Attributes:
        width: Columns, or rows, that are made at a time.
        memory: The cap, in bytes.
        parts: What there is in memory, in bytes, by what it is.
        of: What is made at a time: columns, or rows.

    Example:
        >>> from gamlp_admm.propagation.store.plan import plan
        >>> made = plan(columns=100, column=12_000_000, memory=400 * 2**20, data=0, graph=80_000_000)
        >>> made.width, sum(made.parts.values()) < made.memory
        (16, True)
    """

    width: int
    memory: int
    parts: Mapping[str, int]
    of: str = "columns"

    def __str__(self) -> str:
        said = f"{_listed(self.parts)}; {as_text(sum(self.parts.values()))} of {as_text(self.memory)}"
        return f"{self.width} {self.of} at a time: {said}"


def plan(
    columns: int, column: int, memory: int, scratch: int = SCRATCH, widest: int = WIDEST, **fixed: int
) -> MemoryPlan:
    """Return how many columns are propagated at a time.

    Args:
        columns: F, columns of the features.
        column: Bytes that one of them takes in work.
        memory: The cap, in bytes.
        scratch: What copies take.
        widest: Columns that are taken together at most.
        fixed: Bytes of what is there besides, by what it is.

    Raises:
        InputError: One column is too many; the message says what is enough.
    """
    there = sum(fixed.values()) + scratch
    most = min((memory - there) // max(column, 1), widest, max(columns, 1))
    if most < 1:
        raise _too_small(memory, {**fixed, "one column": column, "scratch": scratch})
    blocks = -(-columns // most)
    width = -(-columns // max(blocks, 1))
    if (rounded := -(-width // LINE) * LINE) <= most:
        width = rounded
    return MemoryPlan(max(width, 1), memory, {**fixed, "columns": width * column, "scratch": scratch})


def plan_of_rows(count: int, memory: int, **parts: int) -> MemoryPlan:
    """Return that so many rows are made at a time: how many no cap changes, as bits depend on it.

    Args:
        count: The rows.
        memory: The cap, in bytes.
        parts: Bytes of what is there, by what it is.

    Raises:
        InputError: They are too many; the message says what is enough.
    """
    if sum(parts.values()) > memory:
        raise _too_small(memory, parts)
    return MemoryPlan(count, memory, parts, of="rows")


def _too_small(memory: int, parts: Mapping[str, int]) -> InputError:
    least = as_text(sum(parts.values()))
    return InputError(f"memory {as_text(memory)} is too small: allowed: {least} or more ({_listed(parts)})")


def _listed(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {as_text(size)}" for name, size in parts.items())

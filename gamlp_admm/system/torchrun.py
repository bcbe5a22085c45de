"""Which of torchrun's processes this one is, as its environment says: for what comes before they have a group."""

from __future__ import annotations

import os


def is_worker() -> bool:
    """Whether torchrun started this process as one of several."""
    return world_size() > 1


def rank() -> int:
    """Return this process's number, 0 where it is alone."""
    return _place()[0]


def world_size() -> int:
    """Return the number of processes, 1 where this one is alone."""
    return _place()[1]


def _place() -> tuple[int, int]:
    # Containers and other launchers set one of the variables, or nonsense, for purposes of their own.
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return 0, 1
    return (rank, size) if 0 <= rank < size else (0, 1)

"""Memory of large tensors that is used again, whatever the system's allocator does with what is freed.

Every iteration makes and drops tensors of the same sizes. Most allocators take each large one afresh from the system,
whose zeroing of pages costs as much as a third of an iteration of a large network.
"""

from __future__ import annotations

import mmap
import weakref
from collections import defaultdict
from contextvars import ContextVar, Token

LARGE = 1 << 20
"""Bytes from which on memory comes from a pool; smaller blocks an allocator keeps by itself."""

_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}


class BufferPool:
    """Memory for large tensors, in use inside ``with pool:``; a context manager, which can be entered again.

    What was asked for stays its owner's for as long as anything refers to it, wherever that is; then the pool has it
    again, for the next that asks for as much. When the pool goes, memory that is still referred to stays, too, and goes
    with its last owner.

    Attributes:
        size: Bytes that the pool has taken from the system so far: the most that were ever in use at a time, and what
            sizes that differ leave unused.

    Example:
        >>> from gamlp_admm.system.buffers import BufferPool, LARGE, memory
        >>> with BufferPool() as pool:
        ...     for _ in range(3):
        ...         block = memory(LARGE)
        ...         del block
        >>> pool.size == LARGE  # all three had the same
        True
    """

    def __init__(self) -> None:
        self.size = 0
        self._free: defaultdict[int, list[mmap.mmap]] = defaultdict(list)
        self._tokens: list[Token[BufferPool | None]] = []

    def __enter__(self) -> BufferPool:
        self._tokens.append(_used.set(self))
        return self

    def __exit__(self, *exception: object) -> None:
        _used.reset(self._tokens.pop())

    def memory(self, size: int) -> memoryview:
        """Return ``size`` bytes to be written to, at a page's start; what they hold is not defined.

        Raises:
            OSError: The system has no more.
        """
        free = self._free[size]
        block = free.pop() if free else self._new(size)
        # A view of its own for each owner: what is made of it refers to the view, and the pool sees it go.
        view = memoryview(block)
        weakref.finalize(view, _give_back, weakref.ref(self), block).atexit = False
        return view

    def _new(self, size: int) -> mmap.mmap:
        block = mmap.mmap(-1, size, **_PRIVATE)
        self.size += size
        return block


def _give_back(pool: weakref.ref[BufferPool], block: mmap.mmap) -> None:
    if (owner := pool()) is not None:
        owner._free[len(block)].append(block)


_used: ContextVar[BufferPool | None] = ContextVar("_used", default=None)


def memory(size: int) -> memoryview | None:
    """Return ``size`` bytes of the pool in use, or ``None`` where there is none, or they are few."""
    pool = _used.get() if size >= LARGE else None
    return None if pool is None else pool.memory(size)

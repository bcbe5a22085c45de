"""Memory that is used again."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from gamlp_admm.system.buffers import LARGE, BufferPool, memory


def test_memory_goes_back_when_nothing_refers_to_it() -> None:
    with BufferPool() as pool:
        block = memory(2 * LARGE)
        assert block is not None
        whole = torch.frombuffer(block, dtype=torch.float32).fill_(1)
        part = whole.view(2, -1)[1, ::7]  # a view of a view, and no other name for the memory
        del block, whole
        other = memory(2 * LARGE)
        assert other is not None
        torch.frombuffer(other, dtype=torch.float32).fill_(2)
        assert bool((part == 1).all())
        assert pool.size == 4 * LARGE
        del part, other
        again = [memory(2 * LARGE), memory(2 * LARGE)]
        assert pool.size == 4 * LARGE
        assert None not in again
        assert memory(LARGE) is not None  # another size
        assert pool.size == 5 * LARGE


def test_memory_starts_at_a_page() -> None:
    # BLAS kernels round by the alignment of their operands.
    with BufferPool():
        blocks = [memory(LARGE + 64 * i) for i in range(3)]
        assert all(torch.frombuffer(b, dtype=torch.uint8).data_ptr() % 4096 == 0 for b in blocks)


def test_small_blocks_and_other_places_have_no_part_in_it() -> None:
    assert memory(LARGE) is None
    with BufferPool() as outer:
        assert memory(LARGE - 1) is None
        with BufferPool() as inner:
            assert memory(LARGE) is not None
        assert (outer.size, inner.size) == (0, LARGE)
        with pytest.raises(KeyError), inner:
            raise KeyError
        assert memory(LARGE) is not None
        assert (outer.size, inner.size) == (LARGE, LARGE)


def test_what_is_held_outlives_the_pool_and_nothing_else_does() -> None:
    pool = BufferPool()
    with pool:
        held = [memory(LARGE), memory(LARGE)]
    kept, view = (torch.frombuffer(block, dtype=torch.float32).fill_(3) for block in held)
    blocks = [weakref.ref(block.obj) for block in held if block is not None]
    del held, view
    del pool
    gc.collect()
    assert [ref() is not None for ref in blocks] == [True, False]
    assert bool((kept == 3).all())
    del kept
    assert blocks[0]() is None

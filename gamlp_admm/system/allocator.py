"""Keeping freed memory for the next iteration instead of handing it back to the system."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4  # malloc.h


def keep_freed_memory() -> None:
    """Tell the C library's allocator, for the rest of this process, to keep what is freed.

    Every iteration allocates and frees tensors of the same sizes. By default glibc takes each large one afresh from the
    system, whose zeroing of pages costs as much as a third of an iteration of a large network. The command line calls
    this; a library must not change its host process, so other programs call it themselves if they want it. The process
    then keeps its largest size. Nothing happens where the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 64 * 2**20)


def keep_no_freed_memory() -> None:
    """Tell the C library's allocator, for the rest of this process, to hand large blocks back once they are freed.

    By default glibc comes to keep blocks of up to 32 MiB. The command line calls this where a cap of memory is to be
    held; see :func:`keep_freed_memory`.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 2**20)


def give_back_freed_memory() -> None:
    """Hand to the system what this process has freed, and the C library kept; where that is glibc."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)

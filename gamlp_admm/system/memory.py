"""Memory: how much there is, and pages of files that need not stay in it."""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from pathlib import Path

_DONT_NEED, _PAGE_OUT = 4, 21  # MADV_DONTNEED; MADV_PAGEOUT of Linux 5.4


def as_text(size: int) -> str:
    """Return a number of bytes in MiB, rounded up, as ``400MiB``."""
    return f"{-(-size // 2**20)}MiB"


def available() -> int:
    """Return the bytes that this process may still take without others having to give way."""
    found = []
    for path, factor in ((Path("/proc/meminfo"), 1024), (Path("/sys/fs/cgroup/memory.max"), 1)):
        try:
            text = path.read_text(encoding="ascii")
        except OSError:
            continue
        if number := re.search(r"^MemAvailable:\s+(\d+)|^(\d+)$", text, re.MULTILINE):
            found.append(factor * int(number[1] or number[2]))
    return min(found, default=2**32)


def is_mapped(address: int) -> bool:
    """Tell whether what lies at an address is read from a file, of which the memory is a copy; on Linux."""
    return bool(_mapping(address))


def _mapping(address: int) -> str:
    """Return ``s`` for a shared mapping of a file, ``p`` for a private one, nothing for other memory."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        extent, mode, _, _, inode, *_ = line.split(maxsplit=5)
        low, high = (int(end, 16) for end in extent.split("-"))
        if low <= address < high:
            return mode[3] if inode != "0" else ""
    return ""


def release(address: int, length: int) -> None:
    """Let the system take back the pages of a mapped file, which are read again where they are looked at.

    What was written to them stays; of other memory all does. Where the system knows no such thing, nothing happens.

    Args:
        address: Where they begin.
        length: Bytes.
    """
    if sys.platform != "linux":
        return
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (address + length - first) // mmap.PAGESIZE * mmap.PAGESIZE
    if length > 0 and (mode := _mapping(first)):
        advice = _DONT_NEED if mode == "s" else _PAGE_OUT  # of a private mapping, what was written is nowhere else
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), advice)

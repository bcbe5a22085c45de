"""What the processor can do, by the flags that the operating system tells of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Flags of processors that multiply bfloat16 faster than float32: x86 with AVX-512 BF16 or AMX, and Arm."""


@cache
def flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the flags that all cores have; none where the system does not tell them so.

    Args:
        path: Where Linux tells them.
    """
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    cores = [set(line.partition(":")[2].split()) for line in lines if line.lower().startswith(("flags", "features"))]
    return frozenset(set.intersection(*cores)) if cores else frozenset()


def multiplies_bfloat16() -> bool:
    """Whether products of bfloat16 matrices are faster here than of float32 ones."""
    return bool(flags() & BFLOAT16)

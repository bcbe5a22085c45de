"""How much memory a piece of work takes at most."""

from __future__ import annotations

from pathlib import Path

from gamlp_admm.system.allocator import give_back_freed_memory


class PeakMemory:
    """Measures by how much the resident memory of this process grows at most in a block; a context manager.

    Memory that was freed before is given back first, so that the block does not get it for nothing.

    Attributes:
        extra: Bytes, when the block is over; ``None`` where the system does not say: Linux does.
    """

    extra: int | None = None

    def __enter__(self) -> PeakMemory:
        give_back_freed_memory()
        self._before = _resident("VmRSS") if _reset() else None
        return self

    def __exit__(self, *exception: object) -> None:
        peak = _resident("VmHWM")
        if self._before is not None and peak is not None:
            self.extra = max(0, peak - self._before)


def _reset() -> bool:
    """Let the kernel forget the peak so far, and return whether it has."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _resident(name: str) -> int | None:
    """Return bytes of ``VmRSS``, what is resident, or ``VmHWM``, its peak."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return 1024 * int(found[0]) if found else None

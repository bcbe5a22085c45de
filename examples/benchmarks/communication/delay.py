"""A link with latency between two network namespaces: hands every packet on after a while.

python delay.py PEER SECONDS

Makes the network device ``va`` in its own namespace and ``vb`` in that of the process ``PEER``, and says when they are
there. It does what the kernel's netem does, which not every kernel has; it needs /dev/net/tun.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from contextlib import suppress

TUNSETIFF, TUN, NO_HEADER = 0x400454CA, 0x0001, 0x1000
MOST = 1 << 16
"""Bytes of a packet."""


def device(name: str) -> int:
    """Make a network device of the namespace that this process is in; return where its packets are read and written."""
    made = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(made, TUNSETIFF, struct.pack("16sH22x", name.encode(), TUN | NO_HEADER))
    return made


def enter_namespace_of(process: int) -> None:
    """Move this process into the network namespace of another one."""
    place = os.open(f"/proc/{process}/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(place, 0):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(place)


def relay(ends: tuple[int, int], seconds: float) -> None:
    """Hand packets from each end to the other, each so many seconds after it came."""
    travelling: dict[int, deque[tuple[float, bytes]]] = {end: deque() for end in ends}
    others = dict(zip(ends, reversed(ends), strict=True))
    while True:
        due = [queue[0][0] for queue in travelling.values() if queue]
        ready, _, _ = select.select(ends, [], [], max(min(due) - time.monotonic(), 0) if due else None)
        for end in ready:
            arrival = time.monotonic() + seconds
            try:
                while True:
                    travelling[end].append((arrival, os.read(end, MOST)))
            except BlockingIOError:
                pass
        now = time.monotonic()
        for end, queue in travelling.items():
            while queue and queue[0][0] <= now:
                with suppress(OSError):  # a device that is not up yet; a queue that is full
                    os.write(others[end], queue.popleft()[1])


if __name__ == "__main__":
    here = device("va")
    enter_namespace_of(int(sys.argv[1]))
    both = here, device("vb")
    print("ready", flush=True)
    relay(both, float(sys.argv[2]))

"""Peak memory of a piece of work."""

from __future__ import annotations

import sys

import pytest

from gamlp_admm.system import peak
from gamlp_admm.system.peak import PeakMemory

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says it")
def test_what_is_freed_within_counts_and_what_was_before_does_not() -> None:
    held = bytearray(b"1") * (64 * MIB)
    with PeakMemory() as small:
        pass
    with PeakMemory() as large:
        more = bytearray(b"1") * (48 * MIB)
        del more
    if small.extra is None or large.extra is None:
        pytest.skip("this kernel does not say it")
    assert small.extra < 8 * MIB
    assert 44 * MIB < large.extra < 60 * MIB
    assert len(held) == 64 * MIB


def test_where_nobody_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_reset", lambda: False)
    with PeakMemory() as memory:
        pass
    assert memory.extra is None

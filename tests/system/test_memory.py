"""What is known of memory: which of it is a file's, and that its pages can be given back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from gamlp_admm.propagation.store import matrix
from gamlp_admm.system.memory import as_text, available, is_mapped, release


def resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssFile"))


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_pages_of_a_file_are_given_back_and_nothing_is_lost(tmp_path: Path) -> None:
    matrix.create(tmp_path / "x", (2**21, 8), torch.float32)
    matrix.write(tmp_path / "x", 0, 0, torch.ones(2**21, 8))
    x = matrix.mapped(tmp_path / "x")
    x[5] = 2.0
    assert is_mapped(x.data_ptr())
    assert not is_mapped(torch.ones(10).data_ptr())
    assert not is_mapped(0)
    before = resident()
    assert x.sum() == 2**24 + 8
    assert resident() - before > x.nbytes // 2
    release(x.data_ptr(), x.nbytes)
    assert resident() - before < x.nbytes // 4
    assert x.sum() == 2**24 + 8
    release(x.data_ptr(), 10)
    own = torch.ones(2**20)
    release(own.data_ptr(), own.nbytes)
    assert own.sum() == 2**20
    shared = torch.from_file(str(tmp_path / "y"), shared=True, size=2**20).fill_(1)
    release(shared.data_ptr(), shared.nbytes)
    assert shared.sum() == 2**20


def test_sizes() -> None:
    assert available() > 2**20
    assert as_text(1) == "1MiB"
    assert as_text(2**30 + 1) == "1025MiB"

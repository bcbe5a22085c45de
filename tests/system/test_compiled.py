"""Functions as machine code: what they compute, and that what is kept is not compiled again."""

from __future__ import annotations

import importlib.util
import sys
from array import array
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gamlp_admm.system import compiled

pytest.importorskip("numba")

SOURCE = """
from __future__ import annotations

import numpy as np

from gamlp_admm.system.compiled import Flags, Float, Floats, Size, fma

HALF = np.float32(0.5)

def _halved(x: Float) -> Float:
    return HALF * x

def added(x: Floats, y: Floats, above: Flags, factor: Float, n: Size) -> None:
    for i in range(n):
        y[i] = fma(x[i], factor, y[i]) + _halved(x[i])
        above[i] = 1 if y[i] > 1 else 0
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    path = tmp_path / "few_functions.py"
    path.write_text(SOURCE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("few_functions", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["few_functions"] = made
    spec.loader.exec_module(made)
    yield made
    del sys.modules["few_functions"]


def check(kernels: dict[str, compiled.Kernel]) -> None:
    assert list(kernels) == ["added"]
    x, y, above = array("f", [1 + 2**-12, 3.0]), array("f", [-1.0, 0.25]), array("B", [7, 7])
    kernels["added"](*(a.buffer_info()[0] for a in (x, y, above)), 1 + 2**-12, 2)
    once = np.float32(2**-11 + 2**-24)  # of which rounding the product first would leave 2⁻¹¹
    assert y.tolist() == [once + np.float32(0.5 + 2**-13), pytest.approx(4.75, abs=1e-2)]
    assert above.tolist() == [0, 1]


def test_functions_are_compiled_once_and_kept(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made" / "here"
    check(compiled.load(module, folder))
    (kept,) = folder.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(compiled, "_compiled", lambda *_: pytest.fail("compiled again"))
        check(compiled.load(module, folder))
    monkeypatch.setattr(compiled, "_compiled", lambda *_: kept.read_bytes())
    kept.chmod(0)
    check(compiled.load(module, kept))  # where nothing can be kept

"""Modules that are executed when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gamlp_admm.system.deferred import deferred, forget_unused


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Make a package that imports its two parts; return the list of what was executed of it."""
    said: list[str] = []
    monkeypatch.setattr(sys, "executed", said, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pack").mkdir()
    parts = {"__init__": "import pack.heavy, pack.light", "heavy": "WEIGHT = 7", "light": "WEIGHT = 1"}
    for name, text in parts.items():
        path = tmp_path / "pack" / f"{name}.py"
        path.write_text(f"import sys; sys.executed.append({name!r}); {text}", encoding="utf-8")
    yield said
    for name in ("pack", "pack.heavy", "pack.light"):
        sys.modules.pop(name, None)


def test_a_module_is_executed_when_it_is_used(executed: list[str]) -> None:
    with deferred("pack.heavy", "pack.absent"):
        pack = importlib.import_module("pack")
        assert executed == ["__init__", "light"]
        with pytest.raises(ModuleNotFoundError, match=r"pack\.absent"):
            importlib.import_module("pack.absent")
    assert pack.heavy.WEIGHT == 7
    assert executed == ["__init__", "light", "heavy"]
    assert importlib.import_module("pack.heavy") is pack.heavy
    assert executed == ["__init__", "light", "heavy"]


def test_importing_it_again_is_using_it(executed: list[str]) -> None:
    with deferred("pack.heavy"):
        importlib.import_module("pack")
        from pack.heavy import WEIGHT  # type: ignore[import-not-found]

        assert WEIGHT == 7
        assert executed == ["__init__", "light", "heavy"]


def test_outside_the_block_imports_are_as_ever(executed: list[str]) -> None:
    before = [*sys.meta_path]
    with deferred("pack.heavy"):
        pass
    assert sys.meta_path == before
    importlib.import_module("pack")
    assert executed == ["__init__", "heavy", "light"]


def test_what_is_not_used_can_be_forgotten(executed: list[str]) -> None:
    with deferred("pack.heavy"):
        pack = importlib.import_module("pack")
        for name in ("pack.heavy", "pack.light", "pack.absent"):
            forget_unused(name)
        assert "pack.heavy" not in sys.modules
        assert not hasattr(pack, "heavy")
        assert pack.light is sys.modules["pack.light"]  # which was executed
        assert executed == ["__init__", "light"]
        assert importlib.import_module("pack.heavy").WEIGHT == 7
        forget_unused("pack.heavy")
        assert sys.modules["pack.heavy"].WEIGHT == 7

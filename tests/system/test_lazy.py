"""Names that are imported when they are first used."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from gamlp_admm.system.lazy import exports, load, shown


def test_a_home() -> None:
    assert load("json.decoder:JSONDecoder") is sys.modules["json.decoder"].JSONDecoder
    with pytest.raises(AttributeError, match="JSONDecode"):
        load("json.decoder:JSONDecode")


def test_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("package")
    package.here = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "package", package)
    package.__getattr__, known = exports("package", {"Fraction": "fractions"}, ["decoder"])  # type: ignore[method-assign]
    package.inner = ModuleType("package.inner")  # type: ignore[attr-defined]
    assert {name for name in known() if not name.startswith("__")} == {"Fraction", "decoder"}  # nothing else it has
    assert "Fraction" not in vars(package)
    assert package.Fraction is sys.modules["fractions"].Fraction
    assert "Fraction" in vars(package)  # the next time it is found at once
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'Faction'"):
        package.Faction  # noqa: B018


def test_public_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    find, _ = exports("json", {}, ["tool"])
    monkeypatch.delitem(sys.modules, "json.tool", raising=False)
    assert find("tool") is sys.modules["json.tool"]


def test_what_a_module_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("module")
    module.__all__ = ["mine"]  # type: ignore[attr-defined]
    module.mine = module.imported = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "module", module)
    assert [name for name in shown("module")() if not name.startswith("__")] == ["mine"]

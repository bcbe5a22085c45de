"""Names that are imported when they are first used."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from gamlp_admm.system.lazy import exports, load


def test_a_home() -> None:
    assert load("json.decoder:JSONDecoder") is sys.modules["json.decoder"].JSONDecoder
    with pytest.raises(AttributeError, match="JSONDecode"):
        load("json.decoder:JSONDecode")


def test_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("package")
    package.here = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "package", package)
    package.__getattr__, known = exports("package", {"Fraction": "fractions"})  # type: ignore[method-assign]
    package.inner = ModuleType("package.inner")  # type: ignore[attr-defined]
    assert {name for name in known() if not name.startswith("__")} == {
        "Fraction",
        "inner",
    }  # not what it imports itself
    assert "Fraction" not in vars(package)
    assert package.Fraction is sys.modules["fractions"].Fraction
    assert "Fraction" in vars(package)  # the next time it is found at once
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'Faction'"):
        package.Faction  # noqa: B018

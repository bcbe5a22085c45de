"""Public names of a package that are imported when they are first used, so that importing the package stays cheap."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def load(home: str) -> Any:
    """Return what stands at a home.

    Args:
        home: A module's full name and a name in it, as ``"package.module:Class"``.
    """
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


def exports(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package whose names have their homes elsewhere.

    What the package imports for itself is not among the names that ``dir`` shows.

    Args:
        package: The package's full name.
        homes: The full name of the module in which each public name stands, by name.
    """
    names = vars(sys.modules[package])

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        names[name] = value = load(f"{homes[name]}:{name}")
        return value

    def known() -> list[str]:
        modules = {name for name, value in names.items() if isinstance(value, ModuleType) or name.startswith("__")}
        return sorted({*homes, *names.get("__all__", ()), *modules})

    return find, known

"""Public names of a package that are imported when they are first used, so that importing the package stays cheap."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # as in gamlp_admm/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


def load(home: str) -> Any:
    """Return what stands at a home.

    Args:
        home: A module's full name and a name in it, as ``"package.module:Class"``.
    """
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


def exports(
    package: str, homes: Mapping[str, str], modules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package whose names have their homes elsewhere.

    Args:
        package: The package's full name.
        homes: The full name of the module in which each public name stands, by name.
        modules: Public modules of the package, which are found, and shown by ``dir``, before they are imported.
    """
    names = vars(sys.modules[package])

    def find(name: str) -> Any:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        names[name] = value = load(f"{homes[name]}:{name}")
        return value

    return find, shown(package, *homes, *modules)


def shown(package: str, *others: str) -> Callable[[], list[str]]:
    """Return the ``__dir__`` of a module that shows its public names, and not what it imports for itself.

    Args:
        package: The module's full name.
        others: Names that are not in its ``__all__``.
    """
    names = vars(sys.modules[package])

    def known() -> list[str]:
        special = (name for name in names if name.startswith("__"))
        return sorted({*names.get("__all__", ()), *others, *special})

    return known

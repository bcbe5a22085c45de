"""Modules of other packages that are executed when they are first used, not when they are imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


class DeferringFinder:
    """Finds modules of some names, with a loader that executes each when one of its attributes is first read.

    Args:
        names: Full names of modules.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in self.names else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def forget_unused(name: str) -> None:
    """Let a module that was put off, and not executed yet, be as if it were not imported.

    Some packages look in :data:`sys.modules` for what there is to do; to import it anew still works.

    Args:
        name: Full name of a module.
    """
    module, (package, _, last) = sys.modules.get(name), name.rpartition(".")
    if type(module).__module__ == LazyLoader.__module__:  # its class until it is executed
        del sys.modules[name]
        vars(sys.modules[package]).pop(last, None)


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Put off, in a block, what importing some modules executes, until an attribute of theirs is first read.

    A package that imports all of its parts is then imported as quickly as those that are used. It is for programs: a
    library must not change how its host process imports.

    Args:
        names: Full names of modules; what is imported already, or is not found on the path, is left as it is.
    """
    finder = DeferringFinder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)

"""Other packages that add options, operators, codecs, algorithms or readers, loaded where names are looked up.

A package says so by an entry point of the group ``gamlp_admm``, which names a module that calls ``register_option``,
``register_operator``, ``register_codec`` or ``register_algorithm``.
"""

from __future__ import annotations

from functools import cache

from gamlp_admm.errors import InputError

GROUP = "gamlp_admm"


@cache
def load_extensions() -> None:
    """Import what installed packages add, once a process.

    Raises:
        InputError: An extension cannot be imported.
    """
    from importlib.metadata import entry_points  # which takes 10 ms to import

    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"extension {entry.name} ({entry.value}) cannot be loaded ({reason})") from error

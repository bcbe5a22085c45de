"""Pickles in raw files: they may hold arrays, lists and numbers, and run nothing.

A pickle is a program that may call whatever it can import. Some raw files are pickles, and some readers of PyG, NumPy
and torch fall back on them, so what is guarded is not one reader but the one place that all of them go through: CPython
announces each name that an unpickler looks up, before it imports anything (PEP 578, event ``pickle.find_class``).
"""

from __future__ import annotations

import pickle  # nosec B403  # read under arrays_only
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import IO, Any

NUMPY = [(f"numpy{core}.multiarray", name) for core in (".core", "._core") for name in ("_reconstruct", "scalar")]
NUMPY += [(f"numpy{core}.numeric", "_frombuffer") for core in (".core", "._core")]
SPARSE = [
    (f"scipy.sparse.{private}{form}", f"{form}_{kind}")
    for private in ("", "_")
    for form in ("csr", "csc", "coo")
    for kind in ("matrix", "array")
]
PLAIN = [("_codecs", "encode"), ("collections", "defaultdict"), ("collections", "OrderedDict")]
PLAIN += [(module, name) for module in ("__builtin__", "builtins") for name in ("bytes", "list", "object")]
PLAIN += [(module, "_reconstructor") for module in ("copy_reg", "copyreg")]
ALLOWED = frozenset([("numpy", "ndarray"), ("numpy", "dtype"), *NUMPY, *SPARSE, *PLAIN])
"""What a pickle may name, exactly: module and name, as Python 2 and 3 and the versions of NumPy and SciPy have them."""

_guarded: ContextVar[bool] = ContextVar("_guarded", default=False)


@contextmanager
def arrays_only() -> Iterator[None]:
    """Let pickles that are read in the block, by whatever reader in this thread, name only what is :data:`ALLOWED`.

    Raises:
        ValueError: One names something else; nothing of that is imported or called.
    """
    _listen()
    token = _guarded.set(True)
    try:
        yield
    finally:
        _guarded.reset(token)


def unpickled(file: IO[bytes]) -> Any:
    """Return the arrays or lists that a pickle, of Python 2 or 3, holds.

    Raises:
        ValueError: It names anything else; if it is no pickle, almost any exception.
    """
    with arrays_only():
        return pickle.load(file, encoding="latin1")  # nosec B301  # it names arrays alone


@cache
def _listen() -> None:
    sys.addaudithook(_check)  # there is no taking it away


def _check(event: str, arguments: tuple[object, ...]) -> None:
    if event == "pickle.find_class" and _guarded.get() and arguments not in ALLOWED:
        raise ValueError(f"its pickle asks for {'.'.join(map(str, arguments))}, and only arrays are read from pickles")

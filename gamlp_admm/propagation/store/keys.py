"""Keys by content: the same for the same values in every process, another one for any others.

A key is the XXH3 checksum, of 128 bits, of all that a value is made of. Numbers, texts, containers, arrays, tensors and
sparse matrices count by what they hold. A function counts by its code, its defaults, the values that it closes over,
and what it looks up in its module: values by their content, functions by their code in turn, what an installed package
brings by name and version. Objects count by their class and their state, as pickle would take them apart. What a
function reads from a file, draws at random or is told by the clock is no part of it.
"""

from __future__ import annotations

import builtins
import dis
import importlib.metadata
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from scipy import sparse
from torch import Tensor

import gamlp_admm
from gamlp_admm.errors import ContentError
from gamlp_admm.propagation.store.stored import digest_of

PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice, type(...), type(NotImplemented))
NAMED = (torch.dtype, torch.device, torch.layout, np.dtype)
READS = {"open", "eval", "exec", "input", "globals", "__import__"}
"""Built-in functions whose result is no part of who calls them."""

SPARSE = {
    torch.sparse_coo: ("_indices", "_values"),
    **dict.fromkeys((torch.sparse_csr, torch.sparse_bsr), ("crow_indices", "col_indices", "values")),
    **dict.fromkeys((torch.sparse_csc, torch.sparse_bsc), ("ccol_indices", "row_indices", "values")),
}
"""What tensors of each sparse layout are made of."""

HOMELESS = ("torch", "numpy", "scipy.special")
"""Where functions in C that do not say their module are looked for."""


def key_of(*values: Any) -> str:
    """Return the key of some values: 32 hexadecimal digits.

    Args:
        values: Numbers, texts, tensors and arrays, dense or sparse; functions, classes and modules; containers and
            objects of all these.

    Raises:
        ContentError: Something is none of these, such as an open file or a generator, and its content cannot be told.

    Example:
        >>> from gamlp_admm.propagation.store import key_of
        >>> key_of(lambda A: A @ A) == key_of(lambda A: A @ A), key_of(lambda A: A @ A) == key_of(lambda A: A + A)
        (True, False)
        >>> factors = [1.0, 2.0]
        >>> first, second = ((lambda A: factor * A) for factor in factors)
        >>> key_of(first) == key_of(second)
        False
    """
    keys = _Keys()
    try:
        return _joined(b"values", *map(keys.of, values)).hex()
    except RecursionError:
        raise ContentError(f"{_shown(values[0])} is nested too deeply to tell its content") from None


@cache
def arithmetic() -> str:
    """Return the version of the arithmetic: that of the package, of what it computes with, and of its own code.

    Whatever changes may change last bits, so that features of another version count as others.
    """
    folder = Path(__file__).parents[1]
    code = [path.read_bytes() for path in sorted(folder.rglob("*.py")) if path.parent == folder]
    versions = [_version(name) for name in ("gamlp_admm", "torch", "scipy", "numpy")]
    return key_of(code, versions, torch.backends.cpu.get_cpu_capability())


class _Keys:
    """The keys of values, 16 bytes each, and of what these are made of."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[Any, bytes]] = {}  # with the objects, so that no other one takes over their id
        self.under_way: dict[int, int] = {}

    def of(self, value: Any) -> bytes:
        if type(value) in PLAIN:
            return _joined(type(value).__name__.encode(), repr(value).encode("utf-8", "surrogatepass"))
        if isinstance(value, NAMED):
            return _joined(b"name", str(value).encode())
        if id(value) in self.known:
            return self.known[id(value)][1]
        if id(value) in self.under_way:  # which refers to itself
            return _joined(b"again", str(self.under_way[id(value)]).encode())
        self.under_way[id(value)] = len(self.under_way)
        try:
            key = _joined(*self._parts(value))
        finally:
            del self.under_way[id(value)]
        self.known[id(value)] = value, key
        return key

    def all(self, values: Iterable[Any]) -> Iterator[bytes]:
        return map(self.of, values)

    def _parts(self, value: Any) -> Iterator[bytes]:
        """Yield what kind of value it is, and the keys of its parts."""
        kind = type(value)
        if isinstance(value, Tensor):
            yield from self._tensor(value.detach())
        elif isinstance(value, np.ndarray | np.generic):
            yield from self._array(np.asarray(value))
        elif sparse.issparse(value):
            yield from self._sparse(value)
        elif kind in (tuple, list):
            yield from (kind.__name__.encode(), *self.all(value))
        elif kind is dict:
            yield from (b"dict", *self.all(value), *self.all(value.values()))
        elif kind in (set, frozenset):
            yield from (b"set", *sorted(self.all(value)))
        elif (name := _name(value)) is not None:
            yield from (b"named", name.encode())
        elif isinstance(value, types.CodeType):
            yield from self._code(value)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, types.MethodType):
            yield from (b"method", self.of(value.__func__), self.of(value.__self__))
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, staticmethod | classmethod):
            yield from (kind.__name__.encode(), self.of(value.__func__))
        elif isinstance(value, property):
            yield from (b"property", *self.all((value.fget, value.fset, value.fdel)))
        elif kind.__module__ == "functools" and hasattr(value, "__wrapped__"):  # lru_cache
            yield from (b"wrapped", self.of(kind), self.of(value.__wrapped__))
        else:
            yield from (b"object", *self.all(_reduced(value)))

    def _tensor(self, tensor: Tensor) -> Iterator[bytes]:
        if tensor.layout is torch.strided:
            numbers = tensor.as_subclass(Tensor).resolve_conj().resolve_neg()
            yield from (b"tensor", str(digest_of(numbers)).encode())
        elif tensor.layout in SPARSE:
            yield from (b"sparse", self.of([*tensor.shape]), self.of(tensor.layout))
            yield from self.all(getattr(tensor, part)() for part in SPARSE[tensor.layout])
        else:
            raise _refused(tensor)

    def _array(self, array: np.ndarray) -> Iterator[bytes]:
        if array.dtype.hasobject:
            raise _refused(array)
        yield from (b"array", self.of(array.dtype), self.of([*array.shape]))
        yield xxhash.xxh3_128_digest(np.atleast_1d(np.ascontiguousarray(array)).view(np.uint8).data)

    def _sparse(self, matrix: Any) -> Iterator[bytes]:
        yield from (type(matrix).__name__.encode(), self.of([*matrix.shape]))
        if matrix.format not in ("csr", "csc", "bsr"):
            matrix = matrix.tocoo()
        names = ("data", "row", "col") if matrix.format == "coo" else ("data", "indices", "indptr")
        yield from self.all(getattr(matrix, name) for name in names)

    def _code(self, code: types.CodeType) -> Iterator[bytes]:
        """Yield all of a code but its name and place."""
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        run = (code.co_code, getattr(code, "co_exceptiontable", b""))
        yield from (b"code", *self.all((sys.version_info[:2], counts, names, run)), *self.all(code.co_consts))

    def _function(self, function: types.FunctionType) -> Iterator[bytes]:
        cells = [_cell(cell) for cell in function.__closure__ or ()]
        state = (function.__defaults__, function.__kwdefaults__, cells, function.__dict__)
        yield from (b"function", self.of(function.__code__), *self.all(state))
        for names in dict.fromkeys(_looked_up(function.__code__)):
            yield from (self.of(names), self.of(_found(names, function.__globals__)))

    def _class(self, kind: type) -> Iterator[bytes]:
        yield from (b"class", *self.all(kind.__bases__))
        descriptors = (types.MemberDescriptorType, types.GetSetDescriptorType)
        for name, value in vars(kind).items():
            own = not (name.startswith("__") and name.endswith("__")) and name != "_abc_impl"
            if (own and not isinstance(value, descriptors)) or isinstance(value, types.FunctionType):
                yield from (self.of(name), self.of(value))


def _joined(*parts: bytes) -> bytes:
    """Return the checksum of some parts; their lengths say where one ends and the next begins."""
    digest = xxhash.xxh3_128()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return NotImplemented


def _looked_up(code: types.CodeType) -> Iterator[tuple[str, ...]]:
    """Yield what a code looks up in its module, with the attributes that follow: ``("np", "linalg", "norm")``."""
    chain: list[str] = []
    told = list(dis.get_instructions(code))
    for i, each in enumerate(told):
        if each.opname in ("LOAD_ATTR", "LOAD_METHOD") and chain:
            chain.append(each.argval)
            continue
        if chain:
            yield tuple(chain)
        chain = [each.argval] if each.opname in ("LOAD_GLOBAL", "LOAD_NAME") else []
        if each.opname == "IMPORT_NAME" and (told[i - 2].argval != 0 or _version(each.argval) is None):
            raise ContentError(
                f"{code.co_name} imports {each.argval or 'from its own package'} where it runs, which may change "
                "unseen; allowed: to import it at the top"
            )
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _looked_up(constant)


def _found(names: tuple[str, ...], module: dict[str, Any]) -> Any:
    """Return what names stand for in a module; of installed packages the module as far as it is known by name."""
    first, *attributes = names
    if first not in module:
        if first in READS:
            raise ContentError(f"{first} gives a function what is no part of it, which may change unseen")
        return getattr(builtins, first, NotImplemented)  # as it does not matter what is not there
    value = module[first]
    for attribute in attributes:
        if not isinstance(value, types.ModuleType) or _version(value.__name__) is not None:
            break
        value = getattr(value, attribute, NotImplemented)
    return value


def _name(value: Any) -> str | None:
    """Return what an installed package calls a module, class or function, with its version; ``None`` if none does."""
    if isinstance(value, types.ModuleType):
        if (version := _version(value.__name__)) is None:
            raise ContentError(f"the module {value.__name__} is used as a whole; allowed: functions of it")
        return f"{value.__name__} {version}"
    qualified = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not callable(value) or not isinstance(qualified, str):
        return None
    owner = getattr(value, "__objclass__", value)  # of methods in C
    home = getattr(owner, "__module__", None)
    for module in (home,) if isinstance(home, str) else HOMELESS:
        name = qualified if isinstance(home, str) else value.__name__
        found = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is value and (version := _version(module)) is not None:
            return f"{module}.{name} {version}"
    return None


@cache
def _version(module: str) -> str | None:
    """Return the version of the installed package that a module is of, and of its file; ``None`` for one's own.

    ``gamlp_admm`` counts as installed, also where it is run from its sources.
    """
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ValueError, ImportError):  # __main__, and what was made by hand
        return None
    if spec is None:
        return None
    places = [spec.origin] if spec.origin not in (None, "namespace") else [*(spec.submodule_search_locations or ())]
    if not (spec.origin in ("built-in", "frozen") or all(map(_is_installed, map(Path, places)))):
        return None
    return f"{_release(top)} {_file_key(module)}"


def _release(top: str) -> str:
    if top in sys.stdlib_module_names:
        return sys.version
    try:
        return importlib.metadata.version(top.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:  # whose distribution has another name
        return str(getattr(sys.modules.get(top), "__version__", ""))


def _file_key(module: str) -> str:
    """Return the checksum of a module's file, where that is Python: a package may change under one version."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not file.endswith(".py") or not Path(file).is_file():
        return ""
    return xxhash.xxh3_64_hexdigest(Path(file).read_bytes())


def _is_installed(path: Path) -> bool:
    if path.is_relative_to(Path(gamlp_admm.__file__).parent):
        return True
    if {"site-packages", "dist-packages"} & {*path.parts}:
        return True
    return path.is_relative_to(sysconfig.get_path("stdlib")) or path.is_relative_to(sysconfig.get_path("platstdlib"))


def _reduced(value: Any) -> list[Any]:
    """Return how pickle would make an object again: a function, what it takes, and the state that follows."""
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:
        raise _refused(value) from None
    if isinstance(reduced, str):  # a name, and nobody knows what it stands for
        raise _refused(value)
    made, arguments, state, items, pairs, *more = (*reduced, None, None, None, None)[:6]
    return [made, arguments, state, *([] if each is None else [*each] for each in (items, pairs)), *more]


def _refused(value: Any) -> ContentError:
    return ContentError(f"{_shown(value)} cannot be told from another one by what it holds")


def _shown(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else f"a {type(value).__name__}"

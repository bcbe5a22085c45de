"""Functions on arrays of numbers as machine code: compiled by Numba once, kept on disk, loaded without importing it.

Numba takes seconds to import and compile; what it made is kept and loaded by llvmlite alone, in some 30 ms. A function
says by annotations what it takes: ``Floats``, ``Ints`` or ``Flags`` (the address of float32 or int32 numbers, or of
bytes), ``Float`` (a float32 number) or ``Size``. It returns nothing, and uses constants of NumPy's float32 and int32,
functions above it in its module, of which those whose names begin with ``_`` are for nothing else, functions that its
module imports, such as those of :mod:`gamlp_admm.system.sums`, :func:`fma`, :func:`sqrt`, :func:`squares`,
:func:`at`, :func:`dot` and :func:`gemm`.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache, reduce
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import platformdirs

from gamlp_admm.errors import InputWarning
from gamlp_admm.system.files import replacing

Kernel = Callable[..., None]

Floats: TypeAlias = Any
Flags: TypeAlias = Any
Ints: TypeAlias = Any
Float: TypeAlias = Any
Size: TypeAlias = Any
FROM_C = {"memset", "memcpy", "memmove"}
TYPES = {
    "Floats": ctypes.c_void_p,
    "Flags": ctypes.c_void_p,
    "Ints": ctypes.c_void_p,
    "Float": ctypes.c_float,
    "Size": ctypes.c_int64,
}


def available() -> bool:
    """Whether functions can be compiled here: Numba is installed."""
    return find_spec("numba") is not None


def fma(a: float, b: float, c: float) -> float:
    """Stand for a b + c, rounded once, in a function that is compiled."""
    raise NotImplementedError("fma is for functions that are compiled")


def sqrt(a: float) -> float:
    """Stand for the square root in a function that is compiled."""
    raise NotImplementedError("sqrt is for functions that are compiled")


def squares(X: Any, start: int, stop: int) -> float:
    """Stand for Σ_j X[j]², start ≤ j < stop, in eight chains, which are then added one after another."""
    raise NotImplementedError("squares is for functions that are compiled")


def at(X: Any, i: int) -> Any:
    """Stand for the address of X[i]."""
    raise NotImplementedError("at is for functions that are compiled")


def dot(routine: int, n: int, X: Any, Y: Any) -> float:
    """Stand for Σ_i X[i] Y[i] by BLAS's ``sdot`` at an address."""
    raise NotImplementedError("dot is for functions that are compiled")


def gemm(routine: int, *arguments: Any) -> None:
    """Stand for BLAS's ``sgemm`` at an address, with its arguments in its order; transposed or not as ``ord("T")``."""
    raise NotImplementedError("gemm is for functions that are compiled")


def ready(loaded: Callable[[], object]) -> bool:
    """Whether kernels can be had; if not, a warning says why. Training needs none: whatever is missing ends none.

    Args:
        loaded: Loads them.
    """
    try:
        loaded()
    except Exception as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        warnings.warn(f"kernels are not used: {told[0]}; operators give the same numbers", InputWarning, stacklevel=2)
        return False
    return True


def load(module: ModuleType, folder: Path | None = None) -> dict[str, Kernel]:
    """Return a module's functions as machine code, by name; they take addresses for numbers and bytes.

    Args:
        module: Holds them, and functions of no other kind.
        folder: Where machine code is kept, by all that it depends on; the user's cache if ``None``. Where nothing can
            be, it is made each time.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    modules = [*_imported(module), module]
    functions = [f for each in modules for f in _functions(each) if f.__module__ == each.__name__]
    kernels = [f for f in functions if f.__module__ == module.__name__ and not f.__name__.startswith("_")]
    about = [
        *map(inspect.getsource, modules),
        Path(__file__).read_text(encoding="utf-8"),
        version("numba"),
        version("llvmlite"),
        cpu,
        features,
    ]
    folder = folder or platformdirs.user_cache_path("gamlp-admm", appauthor=False) / "kernels"
    kept = folder / f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]}.o"
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3, jit=True)
    try:
        code = kept.read_bytes()
    except OSError:
        code = _compiled(kernels, functions, machine)
        _keep(kept, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()

    def called(f: Kernel) -> Kernel:
        kernel = ctypes.CFUNCTYPE(None, *(TYPES[kind] for kind in _kinds(f)))(engine.get_function_address(f.__name__))
        kernel.engine = engine  # type: ignore[attr-defined]  # which owns the code
        return kernel

    return {f.__name__: called(f) for f in kernels}


def _functions(module: ModuleType) -> list[Kernel]:
    return [f for f in vars(module).values() if inspect.isfunction(f)]


def _imported(module: ModuleType) -> list[ModuleType]:
    # The modules from which a module has functions, but for this one.
    names = dict.fromkeys(f.__module__ for f in _functions(module))
    return [sys.modules[name] for name in names if name not in (__name__, module.__name__)]


def _keep(path: Path, code: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            new.write_bytes(code)
    except OSError:
        pass


def _kinds(function: Kernel) -> list[str]:
    return [kind for name, kind in function.__annotations__.items() if name != "return"]


def _compiled(kernels: Sequence[Kernel], functions: Sequence[Kernel], machine: Any) -> bytes:
    # Object code in which each kernel has its own name; any function may call those above it.
    import llvmlite.binding as llvm
    from numba import cfunc, float32, int32, int64, types, uint8

    _teach_numba()
    for f in functions:
        _registered(f)
    kinds = {
        "Floats": types.CPointer(float32),
        "Flags": types.CPointer(uint8),
        "Ints": types.CPointer(int32),
        "Float": float32,
        "Size": int64,
    }
    whole = llvm.parse_assembly("")
    for f in kernels:
        made = cfunc(types.void(*(kinds[kind] for kind in _kinds(f))), error_model="numpy")(f)
        module = llvm.parse_assembly(made.inspect_llvm())
        module.get_function(made._wrapper_name).name = f.__name__
        whole.link_in(module)
    # Nothing else is called from outside, so that what handles Python's errors, of which there are none, goes.
    names = {f.__name__ for f in kernels}
    for symbol in [*whole.functions, *whole.global_variables]:
        if not symbol.is_declaration and symbol.name not in names:
            symbol.linkage = "internal"
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(whole, builder)
    called = {f.name for f in whole.functions if f.is_declaration and not f.name.startswith("llvm.")}
    if called - FROM_C:
        raise ImportError(f"compiled code needs {', '.join(sorted(called - FROM_C))} of Numba")
    return bytes(machine.emit_object(whole))


@cache
def _registered(function: Kernel) -> None:
    from numba import extending

    extending.register_jitable(error_model="numpy")(function)


@cache
def _teach_numba() -> None:
    _teach_arithmetic()
    _teach_blas()


def _teach_arithmetic() -> None:
    # What fma, sqrt, squares and at stand for.
    from llvmlite import ir
    from numba import extending, float32, int64
    from numba.core import cgutils

    @extending.intrinsic  # type: ignore[untyped-decorator]
    def fma_(typing: Any, a: Any, b: Any, c: Any) -> Any:
        return float32(float32, float32, float32), lambda context, builder, signature, args: builder.fma(*args)

    @extending.intrinsic  # type: ignore[untyped-decorator]
    def sqrt_(typing: Any, a: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.call(builder.module.declare_intrinsic("llvm.sqrt", [ir.FloatType()]), args)

        return float32(float32), code

    @extending.intrinsic  # type: ignore[untyped-decorator]
    def squares_(typing: Any, X: Any, start: Any, stop: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            eight, word = ir.VectorType(ir.FloatType(), 8), ir.IntType(64)
            chains = cgutils.alloca_once_value(builder, ir.Constant(eight, [0.0] * 8))
            with cgutils.for_range_slice(builder, *args[1:], ir.Constant(word, 8), inc=True) as (j, _):
                x = builder.load(builder.bitcast(builder.gep(args[0], [j]), eight.as_pointer()), align=4)
                builder.store(builder.fadd(builder.load(chains), builder.fmul(x, x)), chains)
            first, *others = (builder.extract_element(builder.load(chains), ir.Constant(word, i)) for i in range(8))
            return reduce(builder.fadd, others, first)

        return float32(X, int64, int64), code

    @extending.intrinsic  # type: ignore[untyped-decorator]
    def at_(typing: Any, X: Any, i: Any) -> Any:
        return X(X, int64), lambda context, builder, signature, args: builder.gep(args[0], [args[1]])

    extending.overload(fma)(lambda a, b, c: lambda a, b, c: fma_(a, b, c))
    extending.overload(sqrt)(lambda a: lambda a: sqrt_(a))
    extending.overload(squares)(lambda X, start, stop: lambda X, start, stop: squares_(X, start, stop))
    extending.overload(at)(lambda X, i: lambda X, i: at_(X, i))


def _teach_blas() -> None:
    # What dot and gemm stand for.
    from llvmlite import ir
    from numba import extending, float32, int64, void
    from numba.core import cgutils

    def call(builder: Any, routine: Any, result: Any, arguments: Sequence[Any]) -> Any:
        # Fortran's way, everything by address; who reads 32 bits of an integer, or a character, finds it in the first.
        places = [x if isinstance(x.type, ir.PointerType) else cgutils.alloca_once_value(builder, x) for x in arguments]
        kind = ir.FunctionType(result, [place.type for place in places])
        return builder.call(builder.inttoptr(routine, kind.as_pointer()), places)

    @extending.intrinsic  # type: ignore[untyped-decorator]
    def dot_(typing: Any, routine: Any, n: Any, X: Any, Y: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            one = ir.Constant(ir.IntType(64), 1)
            return call(builder, args[0], ir.FloatType(), [args[1], args[2], one, args[3], one])

        return float32(int64, int64, X, Y), code

    @extending.intrinsic  # type: ignore[untyped-decorator]
    def gemm_(typing: Any, routine: Any, arguments: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            call(builder, args[0], ir.VoidType(), cgutils.unpack_tuple(builder, args[1]))
            return context.get_dummy_value()

        return void(int64, arguments), code

    extending.overload(dot)(lambda routine, n, X, Y: lambda routine, n, X, Y: dot_(routine, n, X, Y))
    extending.overload(gemm)(lambda routine, *arguments: lambda routine, *arguments: gemm_(routine, arguments))

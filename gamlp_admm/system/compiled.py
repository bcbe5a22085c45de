"""Functions on arrays of numbers as machine code: compiled by Numba once, kept on disk, loaded without importing it.

Numba takes seconds to import and compile; what it made is kept and loaded by llvmlite alone, in some 30 ms. A function
says by annotations what it takes: ``Floats`` or ``Flags`` (the address of float32 numbers, or of bytes), ``Float`` (a
float32 number) or ``Size``. It returns nothing, and uses :func:`fma`, constants of NumPy's float32, and of its module's
functions those whose names begin with ``_``.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from gamlp_admm.system.files import replacing

Kernel = Callable[..., None]

Floats: TypeAlias = Any
Flags: TypeAlias = Any
Float: TypeAlias = Any
Size: TypeAlias = Any
TYPES = {"Floats": ctypes.c_void_p, "Flags": ctypes.c_void_p, "Float": ctypes.c_float, "Size": ctypes.c_int64}


def available() -> bool:
    """Whether functions can be compiled here: Numba is installed."""
    return find_spec("numba") is not None


def fma(a: float, b: float, c: float) -> float:
    """Stand for a b + c, rounded once, in a function that is compiled."""
    raise NotImplementedError("fma is for functions that are compiled")


def load(module: ModuleType, folder: Path) -> dict[str, Kernel]:
    """Return a module's functions as machine code, by name; they take addresses for ``Floats`` and ``Flags``.

    Args:
        module: Holds them, and functions of no other kind.
        folder: Where machine code is kept, by all that it depends on. Where nothing can be, it is made each time.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    about = [inspect.getsource(module), version("numba"), version("llvmlite"), cpu, features]
    kept = folder / f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]}.o"
    functions = [f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__]
    kernels = [f for f in functions if not f.__name__.startswith("_")]
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3, jit=True)
    try:
        code = kept.read_bytes()
    except OSError:
        code = _compiled(kernels, [f for f in functions if f not in kernels], machine)
        _keep(kept, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()

    def called(f: Kernel) -> Kernel:
        kernel = ctypes.CFUNCTYPE(None, *(TYPES[kind] for kind in _kinds(f)))(engine.get_function_address(f.__name__))
        kernel.engine = engine  # type: ignore[attr-defined]  # which owns the code
        return kernel

    return {f.__name__: called(f) for f in kernels}


def _keep(path: Path, code: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            new.write_bytes(code)
    except OSError:
        pass


def _kinds(function: Kernel) -> list[str]:
    return [kind for name, kind in function.__annotations__.items() if name != "return"]


def _compiled(functions: Sequence[Kernel], helpers: Sequence[Kernel], machine: Any) -> bytes:
    # Object code in which each function has its own name.
    import llvmlite.binding as llvm
    from numba import cfunc, extending, float32, int64, types, uint8

    @extending.intrinsic  # type: ignore[untyped-decorator]
    def rounded_once(typing: Any, a: Any, b: Any, c: Any) -> Any:
        return float32(float32, float32, float32), lambda context, builder, signature, args: builder.fma(*args)

    extending.overload(fma)(lambda a, b, c: lambda a, b, c: rounded_once(a, b, c))
    for f in helpers:
        extending.register_jitable(error_model="numpy")(f)
    kinds = {"Floats": types.CPointer(float32), "Flags": types.CPointer(uint8), "Float": float32, "Size": int64}
    whole = llvm.parse_assembly("")
    for f in functions:
        made = cfunc(types.void(*(kinds[kind] for kind in _kinds(f))), error_model="numpy")(f)
        module = llvm.parse_assembly(made.inspect_llvm())
        module.get_function(made._wrapper_name).name = f.__name__
        whole.link_in(module)
    # Nothing else is called from outside, so that what handles Python's errors, of which there are none, goes.
    names = {f.__name__ for f in functions}
    for symbol in [*whole.functions, *whole.global_variables]:
        if not symbol.is_declaration and symbol.name not in names:
            symbol.linkage = "internal"
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(whole, builder)
    return bytes(machine.emit_object(whole))

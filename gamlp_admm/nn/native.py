"""Updates of small stacks as compiled kernels in place of torch operators, where Numba is installed.

An update of small layers is a handful of operators, each of which takes longer to be called than to compute. A kernel
(:mod:`gamlp_admm.nn.kernels`) gives the same bits in one call. That is not taken on trust: torch may sum in another
order elsewhere. So before a kernel first serves for operands of some shapes, it is compared with the operators on
numbers of all kinds, and where one bit differs, the operators serve.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Hashable, Iterable
from functools import cache, wraps
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from gamlp_admm.nn import kernels
from gamlp_admm.system import compiled

Form = TypeVar("Form", bound=Callable[..., Any])

MOST = 1 << 18
"""Entries of a stack up to which kernels serve; operators share larger ones among threads."""

FLOAT32, _threads, _watching = torch.float32, torch.get_num_threads, torch._C._len_torch_dispatch_stack

UNUSUAL = (0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 1e-45, -1e-40, 1e-20, 3e38, -3e38)


@cache
def loaded() -> Any:
    """Return the kernels as attributes; they are compiled if the user's cache does not hold them."""
    return SimpleNamespace(**compiled.load(kernels), **_blas())


@cache
def _ready() -> bool:
    return compiled.ready(loaded)


def _blas() -> dict[str, int]:
    # Addresses of the BLAS routines that torch calls; 0 where they are not found.
    library = ctypes.CDLL(torch._C.__file__)  # and what it is linked with

    def address(name: str) -> int:
        found = getattr(library, name, None)
        return (found and ctypes.cast(found, ctypes.c_void_p).value) or 0

    return {"gemm": address("sgemm_"), "dot": address("sdot_")}


def native(form: Callable[..., Any]) -> Callable[[Form], Form]:
    """Return a decorator of an update made of torch operators, which has its kernel take their place where it can.

    Args:
        form: The update by a kernel. It takes the same operands: contiguous float32 tensors on the CPU, tuples of them,
            and numbers; and returns one tensor or several, or ``None`` where it cannot serve here.
    """

    def decorate(operators: Form) -> Form:
        if not compiled.available():
            return operators
        agreed: dict[Hashable, bool] = {}

        @wraps(operators)
        def update(*operands: Any) -> Any:
            shapes = _shapes(operands)
            if shapes is None:
                return operators(*operands)
            if shapes not in agreed:
                agreed[shapes] = _ready() and _agree(form, operators, operands)
            return form(*operands) if agreed[shapes] else operators(*operands)

        update.forms = operators, form  # type: ignore[attr-defined]
        return cast("Form", update)

    return decorate


def _shapes(operands: tuple[Any, ...]) -> Hashable | None:
    # What torch's order of sums depends on; None where an operand is not for kernels, or what operators do is watched.
    if _watching():
        return None
    found: list[Hashable] = [_threads()]
    for x in operands:
        kind = type(x)
        if kind is Tensor:
            if x.dtype is not FLOAT32 or not x.is_cpu or not x.is_contiguous():
                return None
            found.append(x.shape)
        elif kind is tuple:
            if (parts := _shapes(x)) is None:
                return None
            found.append(parts)
        elif isinstance(x, Tensor):
            return None
    return tuple(found)


def _agree(form: Callable[..., Any], operators: Callable[..., Any], operands: tuple[Any, ...]) -> bool:
    if max(x.numel() for x in _flat(operands)) > MOST:
        return False
    for unusual in (True, False):
        sample = _sample(operands, 0, unusual)
        expected, found = (f(*_copied(sample)) for f in (operators, form))  # operators refuse shapes that do not fit
        if found is None or not all(map(same_bits, _flat((found,)), _flat((expected,)))):
            return False
    return True


def _flat(values: Iterable[Any]) -> list[Tensor]:
    return [y for x in values for y in (_flat(x) if isinstance(x, tuple) else [x] if isinstance(x, Tensor) else [])]


def _sample(operands: tuple[Any, ...], seed: int, unusual: bool) -> tuple[Any, ...]:
    def made(i: int, x: Any) -> Any:
        if isinstance(x, tuple):
            return _sample(x, i, unusual)
        return numbers(x.shape, 10 * seed + i, unusual) if isinstance(x, Tensor) else x

    return tuple(made(i, x) for i, x in enumerate(operands, 1))


def numbers(shape: torch.Size, seed: int, unusual: bool) -> Tensor:
    """Return numbers of many magnitudes, among them such as arithmetic seldom meets if they are to be unusual."""
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=source)
    if not unusual:
        return x
    special = torch.tensor(UNUSUAL)[torch.randint(len(UNUSUAL), shape, generator=source)]
    return torch.where(x > 0.5, special, x * torch.randn(shape, generator=source).mul_(9).exp2_())


def _copied(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_copied(x) if isinstance(x, tuple) else x.clone() if isinstance(x, Tensor) else x for x in operands)


def same_bits(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors have the same bits, where they are numbers."""
    same = (x == y) & (x.signbit() == y.signbit())
    return x.shape == y.shape and bool((same | x.isnan() & y.isnan()).all())

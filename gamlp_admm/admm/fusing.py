"""Element-wise updates as one kernel each on a GPU, compiled by ``torch.compile``.

A large layer's updates are bound by how often memory is gone over: each operation reads its operands and writes its
result. Compiled, an update reads and writes once. On the CPU slices of rows do the same
(:func:`gamlp_admm.admm.stacked.by_slices`), without a compiler and its seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

_backend: ContextVar[Any] = ContextVar("backend", default=None)


@contextmanager
def fusing(backend: Any = "inductor") -> Iterator[None]:
    """Have :func:`fused` compile updates by this backend of ``torch.compile``."""
    token = _backend.set(backend)
    with warnings.catch_warnings():
        # Constants are kept, which is what a compiler that sees them made anew does with them, too.
        warnings.filterwarnings("ignore", message="Dynamo detected a call to a `functools.lru_cache`")
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # of what the compiler itself uses of torch
        try:
            yield
        finally:
            _backend.reset(token)


def fused(update: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return an element-wise update, compiled within :func:`fusing`."""
    backend = _backend.get()
    return update if backend is None else torch.compile(update, backend=backend)

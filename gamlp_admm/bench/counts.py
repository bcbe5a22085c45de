"""What work costs in counts, the same on any machine: operator calls, products and their operations, memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {"mm": 0, "bmm": 0, "mv": 0, "addmm": 1, "baddbmm": 1, "addbmm": 1, "addmv": 1}
"""Operators that multiply matrices, and which of their arguments is the left factor; the next one is the right."""


class Counts(TorchDispatchMode):
    """Counts what torch is asked for within it; a context manager, which can be entered again and counts on.

    Attributes:
        calls: Calls of operators, those that make views among them.
        products: Products of matrices: one of a stack counts as many as it has.
        operations: Floating-point operations of the products: 2·m·k·n for ``[m, k]`` times ``[k, n]``.
        peak: Most bytes that tensors which were used had at a time, what there was before among them. Memory that no
            operator makes or reads, as within a kernel, is not seen.

    Example:
        >>> import torch
        >>> from gamlp_admm.bench.counts import Counts
        >>> x, W = torch.ones(8, 4), torch.ones(2, 4)
        >>> with Counts() as counts:
        ...     z = x @ W.T + 1
        >>> counts.calls, counts.products, counts.operations  # transpose, product, sum
        (3, 1, 128)
        >>> counts.peak == 4 * (8 * 4 + 2 * 4 + 2 * 8 * 2)
        True
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._held: dict[int, int] = {}
        self._live = self.calls = self.products = self.operations = self.peak = 0

    def restart(self) -> None:
        """Count from zero; of memory, from what is held now."""
        self.calls = self.products = self.operations = 0
        self.peak = self._live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one call."""
        for tensor in _tensors((args, kwargs)):
            self._hold(tensor, tensor.nbytes)  # of what was there before, the part that is used
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            if tensor.untyped_storage()._cdata not in self._held:
                self._hold(tensor, tensor.untyped_storage().nbytes())
        self.calls += 1
        name = func.overloadpacket.__name__.rstrip("_")
        if (first := PRODUCTS.get(name)) is not None:
            self._multiplied(*args[first : first + 2])
        return made

    def _multiplied(self, left: Tensor, right: Tensor) -> None:
        self.products += len(left) if left.ndim == 3 else 1
        sparse = [t for t in (left, right) if t.layout != torch.strided]
        if sparse:
            dense = right if sparse[0] is left else left
            self.operations += 2 * sparse[0]._nnz() * (dense.shape[-1] if dense is right else len(dense))
        else:
            self.operations += 2 * left.numel() * (right.shape[-1] if right.ndim > 1 else 1)

    def _hold(self, tensor: Tensor, used: int) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        known, size = self._held.get(key), min(used, storage.nbytes())
        if known is None:
            weakref.finalize(storage, self._free, key)
        if known is None or size > known:
            self._held[key] = size
            self._live += size - (known or 0)
            self.peak = max(self.peak, self._live)

    def _free(self, key: int) -> None:
        self._live -= self._held.pop(key)


def _tensors(values: Any) -> Iterator[Tensor]:
    """Yield the tensors among arguments or results, those that sparse ones are made of in their place."""
    if isinstance(values, Tensor):
        if values.layout == torch.strided:
            yield values
        elif values.layout == torch.sparse_csr:
            yield from (values.crow_indices(), values.col_indices(), values.values())
    elif isinstance(values, dict):
        yield from _tensors([*values.values()])
    elif isinstance(values, Iterable) and not isinstance(values, str):
        for value in values:
            yield from _tensors(value)

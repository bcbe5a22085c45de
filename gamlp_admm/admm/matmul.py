"""How precisely the steps of p and W are multiplied: in float32, or with operands rounded to TF32 or bfloat16.

A step has four products: r W and rᵀP make its direction, the images g Wᵀ and P Gᵀ its length, and they move M = P Wᵀ
along. They are what large layers spend their time on, and they alone are rounded: an error is one of a step, and small
where steps are. What is kept stays in float32: the variables, all sums, and what is solved rather than stepped, with
its factors. M is multiplied anew in float32 now and then, so that errors do not add up. Products add up in float32.

bfloat16 has 8 bits of significand, TF32 11, float32 24.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gamlp_admm.admm.stacked import bmm, empty
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.system.processor import multiplies_bfloat16

ENTRIES = 1 << 19
"""Entries of the rows that are rounded at a time on the CPU: what is made of them stays in the cache."""

AMPERE = (8, 0)
"""The compute capability from which GPUs multiply TF32 and bfloat16."""


class Matmul:
    """Products of stacks, of operands as they are."""

    name = "fp32"

    def available(self, device: torch.device) -> bool:
        """Whether a device multiplies so, faster than in float32."""
        return True

    def bmm(self, A: Tensor, B: Tensor) -> Tensor:
        """Return A_s B_s for stacks ``[S, m, k]`` and ``[S, k, n]``, ``[S, m, n]``."""
        return bmm(A, B)

    def baddbmm_(self, C: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
        """Return C, to which α A_s B_s is added in place."""
        return C.baddbmm_(A, B, alpha=alpha)

    def __repr__(self) -> str:
        return f"matmul({self.name!r})"


class TF32(Matmul):
    """Products of operands rounded to TF32, by the tensor cores of a GPU."""

    name = "tf32"

    def available(self, device: torch.device) -> bool:
        """See :meth:`Matmul.available`."""
        return device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE

    def bmm(self, A: Tensor, B: Tensor) -> Tensor:
        """See :meth:`Matmul.bmm`."""
        with _tf32():
            return super().bmm(A, B)

    def baddbmm_(self, C: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
        """See :meth:`Matmul.baddbmm_`."""
        with _tf32():
            return super().baddbmm_(C, A, B, alpha)


@contextmanager
def _tf32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class BFloat16(Matmul):
    """Products of operands rounded to bfloat16. They add up in float32.

    On the CPU torch gives their sums in bfloat16, which errs about as much again as rounding the operands does.
    """

    name = "bf16"

    def available(self, device: torch.device) -> bool:
        """See :meth:`Matmul.available`."""
        if device.type == "cuda":
            wide = hasattr(torch.ops.aten.bmm, "dtype")  # sums in float32: since torch 2.8
            return wide and torch.cuda.get_device_capability(device) >= AMPERE
        return device.type == "cpu" and multiplies_bfloat16()

    def bmm(self, A: Tensor, B: Tensor) -> Tensor:
        """See :meth:`Matmul.bmm`."""
        if A.is_cuda:
            return torch.bmm(A.bfloat16(), B.bfloat16(), out_dtype=torch.float32).to(A.dtype)
        return self._each(empty((*A.shape[:2], B.shape[2]), A), A, B, Tensor.copy_)

    def baddbmm_(self, C: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
        """See :meth:`Matmul.baddbmm_`."""
        if A.is_cuda:
            return C.add_(self.bmm(A, B), alpha=alpha)
        return self._each(C, A, B, lambda c, product: c.add_(product, alpha=alpha))

    def _each(self, out: Tensor, A: Tensor, B: Tensor, put: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        # Layer by layer, so that the bits do not depend on how layers are stacked.
        rows = max(ENTRIES // max(*A.shape[2:], *B.shape[2:], 1), 1)
        for c, a, b in zip(out, A, B, strict=True):
            short = b.bfloat16()
            for i in range(0, len(a), rows):
                put(c[i : i + rows], a[i : i + rows].bfloat16() @ short)
        return out


FULL = Matmul()
MATMULS: dict[str, Matmul] = {each.name: each for each in (FULL, TF32(), BFloat16())}


def matmul(name: str) -> Matmul:
    """Return how products are taken, by name.

    Args:
        name: ``fp32``, ``tf32`` or ``bf16``.

    Raises:
        InputError: The name is not known.

    Example:
        >>> import torch
        >>> from gamlp_admm.admm.matmul import matmul
        >>> A, B = torch.randn(1, 200, 100), torch.randn(1, 100, 50)
        >>> error = matmul("bf16").bmm(A, B) - matmul("fp32").bmm(A, B)
        >>> bool(error.norm() < 0.01 * torch.bmm(A, B).norm())
        True
    """
    if name not in MATMULS:
        raise unknown("matmul", name, MATMULS)
    return MATMULS[name]


def check_available(name: str, like: Tensor) -> None:
    """Check that products can be taken so with tensors of a dtype on a device, and that it pays.

    Args:
        name: As for :func:`matmul`.
        like: Gives dtype and device.

    Raises:
        InputError: They cannot, or it does not.
    """
    if name == FULL.name:
        return
    if like.dtype != torch.float32:
        raise InputError(f"matmul {name!r} is for models in float32, not {like.dtype}; allowed: {FULL.name}")
    here = [each.name for each in MATMULS.values() if each.available(like.device)]
    if name not in here:
        what = "processor" if like.device.type == "cpu" else "device"
        raise InputError(
            f"matmul {name!r}: this {what} ({like.device.type}) has no fast products of such numbers; "
            f"allowed here: {', '.join(here)}"
        )

"""Tensors that are memory-mapped: what was looked at need not stay in memory."""

from __future__ import annotations

from torch import Tensor

from gamlp_admm.system.memory import release

SMALL, WHOLE = 2**20, 2**24
"""Bytes of a part, and of the tensor that it is of, below which it makes no difference."""


def let_go(part: Tensor) -> None:
    """Let the system take back the memory of a part of a memory-mapped tensor; of any other one nothing happens.

    It is read again where it is looked at, and what was written to it stays.

    Args:
        part: Contiguous, or rows that each are.
    """
    if not part.is_cpu or part.nbytes < SMALL or part.untyped_storage().nbytes() < WHOLE:
        return
    if not part.is_contiguous():
        for row in part if part.dim() > 1 and part.stride(-1) == 1 and len(part) <= 2 else ():
            let_go(row)
    else:
        release(part.data_ptr(), part.nbytes)

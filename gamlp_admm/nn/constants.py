"""Numbers as tensors that are made once.

An operator makes a tensor of each number of Python's that it is given, which takes longer than a small tensor's
arithmetic. What it computes is the same.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def constant(value: float, like: Tensor) -> Tensor:
    """Return a number as a tensor without dimensions, the same one whenever it is asked for; it must not be modified.

    Args:
        value: The number.
        like: Gives dtype and device.
    """
    if type(like) is Tensor:
        return _kept(value, like.dtype, like.device)
    return _made(value, like.dtype, like.device)  # a fake tensor, say, has constants of its own kind


def _made(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((), value, dtype=dtype, device=device)


_kept = lru_cache(maxsize=256)(_made)

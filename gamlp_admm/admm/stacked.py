"""Stacks of layers as tensors ``[S, N, n]``: sums, products, and element-wise updates by slices of rows.

Everything here gives a layer the same bits whether it is stacked with others or alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import repeat

import torch
from torch import Tensor

from gamlp_admm.admm.fusing import fused
from gamlp_admm.system.buffers import LARGE, memory

RowSum = Callable[[Tensor], Tensor]
"""Sums a tensor over all shards of the rows (nodes). The identity where one process holds them all."""


def all_rows_here(x: Tensor) -> Tensor:
    """Return ``x``: the row sum of a process that holds all rows."""
    return x


def weighed(X: Tensor, weight: Tensor | None) -> Tensor:
    """Return D X, D = diag(s), for rows ``[…, N, n]`` and their weights s ``[N]``; X itself where they are ``None``."""
    return X if weight is None else torch.mul(X, weight[:, None], out=room(X.shape, X))


def squared_norms(X: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return ‖X_s‖² for each layer s of a stack ``[S, …]``, as ``[S]``; with weights of the rows ‖D^½ X_s‖².

    Layer by layer, so that the bits do not depend on how layers are stacked.
    """
    return torch.stack(_dots(X, X, weight))


def squared_norms_of(stacks: Sequence[Tensor], weight: Tensor | None = None) -> Tensor:
    """Return :func:`squared_norms` of several stacks of S layers each, ``[stacks, S]``."""
    return torch.stack([dot for X in stacks for dot in _dots(X, X, weight)]).view(len(stacks), -1)


def inner_products(X: Tensor, Y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return ⟨D X_s, Y_s⟩ for each layer s of stacks ``[S, …]``, as ``[S]``; layer by layer, too."""
    return torch.stack(_dots(X, Y, weight))


def _dots(X: Tensor, Y: Tensor, weight: Tensor | None) -> list[Tensor]:
    right = Y.flatten(1).unbind()
    left: Sequence[Tensor] = right if X is Y else X.flatten(1).unbind()
    if weight is not None:
        left = [weighed(x, weight).flatten() for x in X]
    return [torch.dot(x, y) for x, y in zip(left, right, strict=True)]


def room(shape: Sequence[int], like: Tensor) -> Tensor | None:
    """Return a tensor to be written to, as ``out=``, from the pool in use; ``None`` where torch is to make one itself.

    Args:
        shape: Its shape.
        like: Gives dtype and device.
    """
    size = math.prod(shape) * like.itemsize
    if size < LARGE or like.device.type != "cpu" or (block := memory(size)) is None:
        return None
    return torch.frombuffer(block, dtype=like.dtype).view(shape)


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return a tensor to be written to, of the pool in use if there is one; arguments as :func:`room`."""
    made = room(shape, like)
    return like.new_empty(shape) if made is None else made


def bmm(A: Tensor, B: Tensor) -> Tensor:
    """Return A_s B_s for stacks ``[S, m, k]`` and ``[S, k, n]``, ``[S, m, n]``."""
    return torch.bmm(A, B, out=room((*A.shape[:2], B.shape[2]), A))


def products(P: Tensor, W: Tensor) -> Tensor:
    """Return M = P Wᵀ, ``[S, N, n_out]``."""
    return bmm(P, W.mT)


Layers = tuple[Tensor, ...]
"""Stacks ``[k, N, n]`` that follow each other, for one ``[S, N, n]``, without being copied into one."""

SLICE = 1 << 17
"""Entries of one slice of an element-wise update on the CPU: its operands and temporaries fit the cache."""


def by_slices(update: Callable[..., Tensor], *stacks: Tensor | Layers) -> Tensor:
    """Return ``update(*stacks)`` of an element-wise update; on the CPU, slice of rows by slice of rows.

    Memory is slow beside the cores: an update of several operations is several times faster when all of them see a
    slice while it is in the cache; on a GPU, when it is compiled (:mod:`gamlp_admm.admm.fusing`). How rows are sliced
    depends on their number and width alone, so the bits do not depend on how layers are stacked.

    Args:
        update: Takes tensors of equal shape, or of one row where ``stacks`` has one, and ``out``, where the result may
            be put, or ``None``.
        stacks: ``[S, N, n]``, in parts or whole, or ``[S, 1, n]`` for what all rows share; the first
            that is whole has all N.
    """
    like = stacks[0] if isinstance(stacks[0], Tensor) else next(x for x in stacks if isinstance(x, Tensor))
    S, N, n = like.shape
    rows = max(SLICE // n, 1)
    if like.is_cuda or rows >= N:
        return fused(update)(*[x if isinstance(x, Tensor) else _joined(x) for x in stacks], out=None)
    made = empty((S, N, n), like)
    layers = [x if isinstance(x, Tensor) else [layer for part in x for layer in part] for x in stacks]
    for s, layer in enumerate(made):
        parts = [torch.split(x[s], rows) if len(x[s]) == N else repeat(x[s]) for x in layers]
        for out, *x in zip(torch.split(layer, rows), *parts, strict=False):
            if (result := update(*x, out=out)) is not out:
                out.copy_(result)
    return made


def _joined(parts: Layers) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _slices(X: Tensor) -> list[slice]:
    N, n = X.shape[1:]
    rows = max(N if X.is_cuda else SLICE // n, 1)
    return [slice(i, i + rows) for i in range(0, N, rows)]


def _of(weight: Tensor | None, rows: slice) -> Tensor | None:
    return None if weight is None else weight[rows]


def squared_distances(X: Tensor, Y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return ‖D^½(X_s − Y_s)‖² for each layer s of a stack ``[S, N, n]``, as ``[S]``; on the CPU by slices of rows."""
    cuts = _slices(X)
    if len(cuts) == 1:
        return squared_norms(X - Y, weight)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        parts = (squared_norms((x[i] - y[i])[None], _of(weight, i))[0] for i in cuts)
        return sum(parts, X.new_zeros(()))

    return torch.stack([distance(x, y) for x, y in zip(X, Y, strict=True)])


def squared_columns(X: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the squared norm of each column of a stack D^½ X ``[S, N, n]``, ``[S, n]``; on the CPU by slices of rows.

    A sum down the columns of a large tensor is slow on the CPU.
    """
    cuts = _slices(X)
    if len(cuts) == 1:
        return weighed(X.square(), weight).sum(1)
    zero = X.new_zeros(X.shape[2])
    return torch.stack([sum((weighed(x[i].square(), _of(weight, i)).sum(0) for i in cuts), zero) for x in X])

"""Small values that processes send each other: numbers, texts, tensors, and lists, tuples and dicts of them.

Nothing that arrives is unpickled as :func:`torch.distributed.broadcast_object_list` does: torch's reader of weights
admits no other kinds of values, and so runs no code of whoever wrote them.
"""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def device_of(group: dist.ProcessGroup) -> str:
    """Return the kind of device whose tensors a group exchanges."""
    return "cuda" if dist.get_backend(group) == "nccl" else "cpu"


def broadcast(value: Any, group: dist.ProcessGroup) -> Any:
    """Return the ``value`` of the first process of a group, in all of them."""
    first, device = dist.get_process_group_ranks(group)[0], device_of(group)
    mine = _packed(value).to(device) if dist.get_rank(group) == 0 else None
    size = torch.tensor([0 if mine is None else len(mine)], device=device)
    dist.broadcast(size, first, group=group)
    if mine is None:
        mine = torch.empty(int(size), dtype=torch.uint8, device=device)
    dist.broadcast(mine, first, group=group)
    return _unpacked(mine)


def gathered(value: Any, group: dist.ProcessGroup, timeout: float | None = None) -> list[Any]:
    """Return the ``value`` of every process of a group, by rank, in all of them.

    Args:
        value: This process's.
        group: The processes.
        timeout: Seconds after which a wait for another process gives up; ``None``: the group's own.
    """
    mine = _packed(value).to(device_of(group))
    sizes = [int(size) for size in _all_gather(mine.new_tensor([len(mine)], dtype=torch.int64), group, timeout)]
    padded = mine.new_zeros(max(sizes))
    padded[: len(mine)] = mine
    pieces = zip(_all_gather(padded, group, timeout), sizes, strict=True)
    return [_unpacked(piece[:size]) for piece, size in pieces]


def _all_gather(mine: Tensor, group: dist.ProcessGroup, timeout: float | None) -> list[Tensor]:
    pieces = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    work = dist.all_gather(pieces, mine, group=group, async_op=True)
    assert work is not None
    work.wait() if timeout is None else work.wait(timedelta(seconds=timeout))
    return pieces


def _packed(value: Any) -> Tensor:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def _unpacked(data: Tensor) -> Any:
    return torch.load(io.BytesIO(bytes(data.cpu().numpy())), map_location="cpu", weights_only=True)

"""The first process of a run, which alone loads data and speaks, and what it does for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from gamlp_admm.errors import InputError

T = TypeVar("T")


def is_first(group: Any) -> bool:
    """Whether this process is the first of a run's process group, whoever made it; ``None`` is a run in one process."""
    return group is None or dist.get_rank(group) == 0


def size(group: Any) -> int:
    """Return the number of processes of a run's group, 1 for ``None``."""
    return 1 if group is None else dist.get_world_size(group)


def on_first(action: Callable[[], T], group: Any) -> T:
    """Run ``action`` in the first process of ``group``; return its result, any picklable value, in all of them.

    Raises:
        InputError: The action raised it; then all processes do.
    """
    if group is None:
        return action()
    box: list[Any] = [None]
    if is_first(group):
        try:
            box = [(action(), None)]
        except InputError as error:
            box = [(None, str(error))]
    dist.broadcast_object_list(box, dist.get_process_group_ranks(group)[0], group=group)
    value, problem = box[0]
    if problem is not None:
        raise InputError(problem)
    result: T = value
    return result

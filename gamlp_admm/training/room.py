"""Where matrices lie that have a row a node: in memory, or in scratch files that the operating system pages."""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.errors import InputError, byte_count, file_name
from gamlp_admm.system.words import size

SHARE = 4
"""A matrix lies in memory up to this part of the cap: features, their centred copy and what is made of it are three."""

ENTRIES = 2**22
"""Entries of the rows that are read at a time."""


@dataclass(frozen=True)
class Room:
    """Memory for matrices of many rows, and a folder for those that are too large.

    Attributes:
        memory: Bytes; a matrix of more than a quarter of them lies in a scratch file. ``None``: all lie in memory.
        folder: Where scratch files are made; they have no name there, and are gone when nothing holds them any more,
            however the process ends. ``None``: where the system has its temporary files.
    """

    memory: int | None = None
    folder: Path | None = None

    @classmethod
    def of(cls, memory: object, scratch: object, data: Any) -> Room:
        """Return what a caller asks for, checked.

        Args:
            memory: Bytes, or a text such as ``"4GiB"``; ``None`` for any.
            scratch: The folder; ``None`` for ``$TMPDIR``, else that of stored features, else the system's.
            data: Has stored features as ``store``, or has none.

        Raises:
            InputError: One of them cannot be that.
        """
        folder = None if scratch is None else Path(file_name("scratch", scratch)).expanduser()
        if folder is not None and not folder.is_dir():
            raise InputError(f"scratch {folder} is no folder")
        store = getattr(getattr(data, "store", None), "path", None)
        if folder is None and "TMPDIR" not in os.environ and store is not None and os.access(store, os.W_OK):
            folder = store
        return cls(None if memory is None else byte_count("memory", memory), folder)

    def empty(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """Return a matrix ``[rows, columns]`` to be written to, of the dtype and on the device of ``like``.

        Raises:
            InputError: Its scratch file does not fit into the folder.
        """
        count = rows * columns * like.element_size()
        if self.memory is None or like.is_cuda or count <= self.memory // SHARE:
            return like.new_empty(rows, columns)
        try:
            with tempfile.TemporaryFile(dir=self.folder, prefix="gamlp-admm-") as file:
                # All of it now: where a disk fills up under a mapping, the process is killed.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, count)
                else:
                    file.truncate(count)
                mapping = mmap.mmap(file.fileno(), count)
        except OSError as error:
            where = self.folder or tempfile.gettempdir()
            raise InputError(
                f"scratch: a file of {size(count)} for features cannot be made in {where} ({error.strerror or error}); "
                "allowed: another folder, or more memory"
            ) from None
        return torch.frombuffer(mapping, dtype=like.dtype).view(rows, columns)


IN_MEMORY = Room()


@torch.no_grad()
def gathered(x: Tensor, rows: Tensor, like: Tensor, room: Room) -> Tensor:
    """Return some rows of features, checked, in the type and on the device of ``like``; no other copy is made.

    Args:
        x: Features of all nodes, ``[N, F]``, which may be memory-mapped.
        rows: Numbers of nodes, ``[n]``.
        like: Gives dtype and device.
        room: Where the rows come to lie.

    Raises:
        InputError: There are NaN or infinite ones, or there is no room for them.
    """
    made = room.empty(len(rows), x.shape[1], like)
    wrong: list[Tensor] = []
    step = max(ENTRIES // max(x.shape[1], 1), 1)
    for part, out in zip(torch.split(rows, step), torch.split(made, step), strict=True):
        found = x[part.to(x.device)]
        out.copy_(found)
        if not torch.isfinite(found.sum()):  # without a temporary; a sum that overflows is looked at closely
            wrong.append(part[~torch.isfinite(found).all(1).cpu()])
    if any(map(len, wrong)):
        raise InputError(
            f"data.x has NaN or infinite values in {sum(map(len, wrong))} of the nodes used, first in row "
            f"{int(torch.cat(wrong)[0])}; allowed: finite numbers"
        )
    return made

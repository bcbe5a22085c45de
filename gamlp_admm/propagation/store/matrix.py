"""A matrix in a file: written window by window, memory-mapped to be read.

The file is a safetensors file with one tensor, ``x``, in rows, so that the library of that name reads it, too. It is
as large as the matrix from the beginning; what was not written yet is 0.
"""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path

import torch
from torch import Tensor

from gamlp_admm.errors import InputError, unknown

DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "float64": "F64"}
"""Types of matrices by torch's names, and as files call them."""

WINDOW = 2**24
"""Bytes of the file that are mapped at a time while it is written: mapped pages count as memory of the process."""

NAME = "x"
ALIGNMENT = 64


def create(path: Path, shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Make the file of a matrix of zeros, which takes up space on the disk where it is written to.

    Args:
        path: The file.
        shape: ``(R, C)``.
        dtype: One of :data:`DTYPES`.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise unknown("dtype of a stored matrix", name, DTYPES)
    size = shape[0] * shape[1] * dtype.itemsize
    told = {NAME: {"dtype": DTYPES[name], "shape": [*shape], "data_offsets": [0, size]}}
    header = json.dumps(told, separators=(",", ":")).encode()
    header += b" " * (-(len(header) + 8) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)


def described(path: Path) -> tuple[tuple[int, int], torch.dtype, int]:
    """Return shape, type and the number of bytes before the first number of a file that :func:`create` made.

    Raises:
        InputError: It is no such file, or not as long as it should be.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            told = json.loads(file.read(length))[NAME] if length < WINDOW else {}
        R, C = map(int, told["shape"])
        dtype = {name: getattr(torch, ours) for ours, name in DTYPES.items()}[told["dtype"]]
        actual = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is no file of stored features") from None
    start, size = 8 + length, R * C * dtype.itemsize
    if actual != start + size:
        raise InputError(f"{path} has {actual:,} bytes, and {start + size:,} are needed: it was cut off, or added to")
    return (R, C), dtype, start


def mapped(path: Path) -> Tensor:
    """Return the matrix ``[R, C]``, which is read from the disk where it is looked at, and as often as memory asks for.

    What is written to the tensor stays in memory and does not reach the file.

    Raises:
        InputError: The file is no matrix.

    Example:
        >>> import tempfile, pathlib, torch
        >>> from gamlp_admm.propagation.store import matrix
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "x.safetensors")
        ...     matrix.create(path, (3, 4), torch.float32)
        ...     matrix.write(path, 1, 2, torch.ones(2, 2))
        ...     matrix.mapped(path).sum(1).tolist()
        [0.0, 2.0, 2.0]
    """
    shape, dtype, start = described(path)
    if 0 in shape:
        return torch.empty(shape, dtype=dtype)
    with path.open("rb") as file:
        # A private mapping that reserves no memory for what may be written to it: the file may be larger than memory.
        flags = {"flags": mmap.MAP_PRIVATE | _NO_RESERVE, "prot": mmap.PROT_READ | mmap.PROT_WRITE}
        mapping = mmap.mmap(file.fileno(), 0, **(flags if os.name != "nt" else {"access": mmap.ACCESS_COPY}))
    return torch.frombuffer(mapping, dtype=dtype, count=shape[0] * shape[1], offset=start).view(shape)


_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if os.uname().sysname == "Linux" else 0) if os.name != "nt" else 0


def write(path: Path, row: int, column: int, values: Tensor) -> None:
    """Write a window of a matrix.

    Args:
        path: The file.
        row: The first row.
        column: The first column.
        values: ``[r, c]``, on any device; brought to the file's type.
    """
    (R, C), dtype, start = described(path)
    if not (0 <= row <= R - len(values) and 0 <= column <= C - values.shape[1]):
        raise InputError(f"{path.name} has shape {[R, C]}; values {[*values.shape]} do not fit at {[row, column]}")
    width = C * dtype.itemsize
    step = max(WINDOW // width, 1) if width else len(values)
    with path.open("r+b") as file:
        for low in range(0, len(values) if width else 0, step):
            part = values[low : low + step].to("cpu", dtype)
            begin = start + (row + low) * width
            if part.shape[1] == C:
                file.seek(begin)
                file.write(part.contiguous().view(torch.uint8).numpy().data)
                continue
            page = begin // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            with mmap.mmap(file.fileno(), begin - page + len(part) * width, offset=page) as window:
                numbers = torch.frombuffer(window, dtype=dtype, count=len(part) * C, offset=begin - page)
                numbers.view(-1, C)[:, column : column + part.shape[1]] = part
                del numbers  # which holds the window open

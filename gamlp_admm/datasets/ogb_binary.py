"""ogbn-papers100M, read from OGB's binary files: 57 GB of features and 26 GB of edges that stay on the disk."""

from __future__ import annotations

import math
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.datasets.ogb import by_name, cached_as, masks
from gamlp_admm.datasets.raw import check_entries, reading
from gamlp_admm.datasets.readers import reader
from gamlp_admm.errors import InputError
from gamlp_admm.system.files import replacing

LOCAL_HEADER = 30
"""Bytes of a zip member's own header; at 26 and 28 the lengths of the name and the extra field that follow it."""

COPIED = 2**24
"""Bytes that are unpacked at a time."""


@reader("ogb-binary")
def read_ogb_binary(paths: list[Path]) -> Data:
    """Read ogbn-papers100M, directed as OGB stores it, without loading its features and edges.

    Members of ``data.npz`` that are not compressed are mapped into memory where they lie; compressed ones, as OGB's
    are, are first unpacked into the user's cache folder, once.

    Args:
        paths: ``raw/data.npz`` with ``node_feat`` [N, F] and ``edge_index`` [2, E], ``raw/node-label.npz`` with
            ``node_label`` [N, 1], NaN where no label is known, and ``split/time/{train,valid,test}.csv.gz``.

    Returns:
        Data with ``x`` and ``edge_index`` mapped, read-only: writing into them in place ends the process; ``y`` [N]
        and three masks [N].

    Raises:
        InputError: If a raw file cannot be read, or there is no room to unpack it.
    """
    files = by_name(paths)
    with reading(files["node-label.npz"]), np.load(files["node-label.npz"], allow_pickle=False) as arrays:
        y = torch.from_numpy(arrays["node_label"]).flatten()
    x, edges = (mapped(files["data.npz"], name) for name in ("node_feat", "edge_index"))
    return Data(x=x, edge_index=edges, y=y, **masks(files, len(y)))


def mapped(path: Path, name: str) -> Tensor:
    """Return an array of an ``.npz`` file as a tensor that is read from the disk when it is used.

    Args:
        path: The file.
        name: Name of the array.

    Raises:
        InputError: There is no such array, it cannot be read, or there is no room to unpack it.
    """
    with reading(path), zipfile.ZipFile(path) as archive, path.open("rb") as file:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type == zipfile.ZIP_STORED:
            file.seek(member.header_offset + 26)
            lengths = (int.from_bytes(file.read(2), "little") for _ in range(2))
            file.seek(member.header_offset + LOCAL_HEADER + sum(lengths))
            return _mapped(file)
    unpacked = cached_as([path], f"-{name}.npy")
    if not unpacked.is_file():
        _unpack(path, member, unpacked)
    with reading(unpacked), unpacked.open("rb") as file:
        return _mapped(file)


def _mapped(file: IO[bytes]) -> Tensor:
    """Map the array whose ``.npy`` header a file stands at."""
    head = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, by_column, dtype = head[np.lib.format.read_magic(file)](file)
    if dtype.hasobject:
        raise ValueError("it holds objects, not numbers")
    if dtype.kind == "f":
        check_entries(math.prod(shape))
    # Not copy-on-write: a kernel refuses such a mapping where it is larger than the machine's memory.
    array = np.memmap(file, dtype, "r", file.tell(), shape, "F" if by_column else "C")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _unpack(path: Path, member: zipfile.ZipInfo, target: Path) -> None:
    remedy = "a cache folder elsewhere can be chosen by $XDG_CACHE_HOME"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < member.file_size:
            needed = f"{member.file_size / 1e9:,.1f} GB are needed, {free / 1e9:,.1f} GB are free"
            raise InputError(f"no room to unpack {path} into {target.parent}: {needed}; {remedy}")
    except OSError as error:
        raise InputError(f"cannot unpack {path} into {target.parent} ({error.strerror}); {remedy}") from error
    with (
        replacing(target) as part,
        reading(path),
        zipfile.ZipFile(path) as archive,
        archive.open(member) as source,
        part.open("wb") as out,
    ):
        shutil.copyfileobj(source, out, COPIED)

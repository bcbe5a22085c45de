"""Open Graph Benchmark node data sets, read from OGB's raw csv.gz files.

The ``ogb`` package is not used: it asks the network for its newest version when imported, and it loads its
processed files by an unrestricted ``pickle`` that PyTorch 2.6 and later refuse. The raw layout is the same,
so a folder that ``ogb`` made is read here and the other way round. Parsing takes seconds, hence a cache of
plain tensors in the user's cache folder, keyed by the raw files' paths, sizes and times.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import DTypeLike
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.datasets.raw import cache_folder, most_unpacked, reading
from gamlp_admm.datasets.readers import reader
from gamlp_admm.errors import InputError
from gamlp_admm.system.files import replacing


@reader("ogb")
def read_ogb(paths: list[Path]) -> Data:
    """Read an OGB node-property data set with one label a node, directed as OGB stores it.

    Args:
        paths: ``raw/{edge,node-feat,node-label}.csv.gz`` and ``split/<kind>/{train,valid,test}.csv.gz`` in
            the data set's folder, e.g. ``ogb/ogbn_arxiv``.

    Returns:
        Data with ``x`` [N, F], ``edge_index`` [2, E], ``y`` [N] and three masks [N] of OGB's split.

    Raises:
        InputError: If a raw file cannot be read.

    Source:
        Hu et al., "Open Graph Benchmark: Datasets for Machine Learning on Graphs", NeurIPS 2020, arXiv
        2005.00687.
    """
    files = {path.name.removesuffix(".csv.gz"): path for path in paths}
    name = files["edge"].parents[1].name
    cached = cache_folder() / "ogb" / f"{name}-{_fingerprint(paths)}.safetensors"
    with contextlib.suppress(OSError, SafetensorError):  # absent, or damaged: read the raw files
        return Data(**load_file(cached))
    x = _read_csv(files["node-feat"], np.float32)
    tensors = {
        "x": x,
        "edge_index": _read_csv(files["edge"], np.int64).T.contiguous(),
        "y": _read_csv(files["node-label"], np.int64).flatten(),
    }
    for split, key in (("train", "train"), ("val", "valid"), ("test", "test")):
        mask = torch.zeros(len(x), dtype=torch.bool)
        nodes = _read_csv(files[key], np.int64).flatten()
        with reading(files[key]):
            mask[nodes] = True
        tensors[f"{split}_mask"] = mask
    with contextlib.suppress(OSError, InputError):  # without a writable cache the next load is as slow as this one
        cached.parent.mkdir(parents=True, exist_ok=True)
        with replacing(cached) as part:
            save_file(tensors, part)
    return Data(**tensors)


def _read_csv(path: Path, dtype: DTypeLike) -> Tensor:
    """Read a compressed table of numbers as a tensor [rows, columns]."""
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy only warns of an empty file
        return torch.from_numpy(np.loadtxt(_lines(path), dtype=dtype, delimiter=",", ndmin=2))


def _lines(path: Path) -> Iterator[str]:
    left = most_unpacked(path)
    with gzip.open(path, "rt", encoding="ascii") as file:
        while line := file.readline(left + 1):
            left -= len(line)
            if left < 0:
                raise ValueError(f"it unpacks to more than {most_unpacked(path):,} bytes")
            yield line


def _fingerprint(paths: list[Path]) -> str:
    """Return a name for the present contents of some files."""
    facts = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(paths)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

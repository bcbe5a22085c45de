"""Open Graph Benchmark node data sets, read from OGB's raw csv.gz files.

OGB's own readers are not used: the ``ogb`` package loads its processed files by an unrestricted ``pickle`` that PyTorch
2.6 and later refuse. The raw layout is the same, so a folder that ``ogb`` made is read here and the other way round.
Parsing takes seconds (ogbn-products: about two minutes), hence a cache of plain tensors in the user's cache folder,
keyed by the raw files' paths, sizes and times.

Source:
    Hu et al., "Open Graph Benchmark: Datasets for Machine Learning on Graphs", NeurIPS 2020, arXiv 2005.00687.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
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

PARTS = {"train": "train", "val": "valid", "test": "test"}
"""What the parts of a split are called here, and by OGB."""


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
    """
    return Data(**kept(paths, lambda: _directed(by_name(paths))))


@reader("ogb-undirected")
def read_ogb_undirected(paths: list[Path]) -> Data:
    """Read an undirected one, of which OGB stores each edge once: as :func:`read_ogb`, with both directions."""

    def make() -> dict[str, Tensor]:
        tensors = _directed(by_name(paths))
        return tensors | {"edge_index": both_directions(tensors["edge_index"])}

    return Data(**kept(paths, make))


@reader("ogb-proteins")
def read_ogb_proteins(paths: list[Path]) -> Data:
    """Read ogbn-proteins, whose nodes have no features of their own and many labels.

    Features are the means of the edge features around a node, as in OGB's examples on the leaderboard.

    Args:
        paths: ``raw/{edge,edge-feat,node-label}.csv.gz`` and ``split/species/{train,valid,test}.csv.gz``.

    Returns:
        Data with ``x`` [N, F], ``edge_index`` [2, E] in both directions, ``y`` [N, T] float32, each 0 or 1, three masks
        [N], and ``node_species`` [N, 1] where that file is there. Species are no features: those of validation and
        test nodes have no training nodes.

    Raises:
        InputError: If a raw file cannot be read.
    """
    files = by_name(paths)
    places = (files["edge"].parent / f"{name}.csv.gz" for name in ("node_species", "species"))  # ogb renames it
    species = next((place for place in places if place.is_file()), None)

    def make() -> dict[str, Tensor]:
        y = read_csv(files["node-label"], np.float32)
        edges = read_csv(files["edge"], np.int64).T.contiguous()
        with reading(files["edge-feat"]):
            x = mean_of_edges(edges, read_csv(files["edge-feat"], np.float32), len(y))
        more = {} if species is None else {"node_species": read_csv(species, np.int64)}
        return {"x": x, "edge_index": both_directions(edges), "y": y, **masks(files, len(y)), **more}

    return Data(**kept([*paths, *filter(None, [species])], make))


def mean_of_edges(edges: Tensor, features: Tensor, num_nodes: int) -> Tensor:
    """Return the mean of the features of the edges at each node.

    Args:
        edges: ``[2, E]``, each edge once.
        features: ``[E, F]``.
        num_nodes: N.

    Returns:
        ``[N, F]``; 0 at a node without edges.
    """
    total = features.new_zeros(num_nodes, features.shape[1])
    for ends in edges:
        total.index_add_(0, ends, features)
    return total / torch.bincount(edges.flatten(), minlength=num_nodes).clamp(min=1)[:, None]


def both_directions(edges: Tensor) -> Tensor:
    """Return ``[2, 2E]``, every edge of ``[2, E]`` followed by its reverse: OGB's order."""
    return torch.stack([edges, edges.flip(0)], dim=2).flatten(1)


def masks(files: Mapping[str, Path], num_nodes: int) -> dict[str, Tensor]:
    """Return ``train_mask``, ``val_mask`` and ``test_mask`` ``[N]`` of the files ``train``, ``valid`` and ``test``."""
    found = {}
    for part, name in PARTS.items():
        mask = torch.zeros(num_nodes, dtype=torch.bool)
        nodes = read_csv(files[name], np.int64).flatten()
        with reading(files[name]):
            mask[nodes] = True
        found[f"{part}_mask"] = mask
    return found


def by_name(paths: list[Path]) -> dict[str, Path]:
    """Return raw files by name: ``edge`` for ``…/raw/edge.csv.gz``."""
    return {path.name.removesuffix(".csv.gz"): path for path in paths}


def kept(paths: list[Path], make: Callable[[], dict[str, Tensor]], kind: str = "") -> dict[str, Tensor]:
    """Return the tensors that are made of raw files, from the user's cache folder where they are there.

    Args:
        paths: The raw files.
        make: Reads them.
        kind: Which tensors, where several are made of the same files.
    """
    cached = cached_as(paths, f"{kind}.safetensors")
    with contextlib.suppress(OSError, SafetensorError):  # absent, or damaged: read the raw files
        found: dict[str, Tensor] = load_file(cached)
        return found
    tensors = make()
    with contextlib.suppress(OSError, InputError):  # without a writable cache the next load is as slow as this one
        cached.parent.mkdir(parents=True, exist_ok=True)
        with replacing(cached) as part:
            save_file(tensors, part)
    return tensors


def cached_as(paths: list[Path], suffix: str) -> Path:
    """Return the place in the user's cache folder for what is made of the present contents of raw files."""
    folder = next(path.parent for path in paths[0].parents if path.name == "raw").name
    facts = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(paths)]
    return cache_folder() / "ogb" / f"{folder}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}{suffix}"


def read_csv(path: Path, dtype: DTypeLike) -> Tensor:
    """Read a compressed table of numbers as a tensor [rows, columns].

    Raises:
        InputError: It is none.
    """
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy only warns of an empty file
        return torch.from_numpy(np.loadtxt(csv_lines(path), dtype=dtype, delimiter=",", ndmin=2))


def csv_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a compressed text, up to as many bytes as it may unpack to."""
    left = most_unpacked(path)
    with gzip.open(path, "rt", encoding="ascii") as file:
        while line := file.readline(left + 1):
            left -= len(line)
            if left < 0:
                raise ValueError(f"it unpacks to more than {most_unpacked(path):,} bytes")
            yield line


def _directed(files: Mapping[str, Path]) -> dict[str, Tensor]:
    x = read_csv(files["node-feat"], np.float32)
    return {
        "x": x,
        "edge_index": read_csv(files["edge"], np.int64).T.contiguous(),
        "y": read_csv(files["node-label"], np.int64).flatten(),
        **masks(files, len(x)),
    }

"""Readers: each makes a :class:`torch_geometric.data.Data` from raw files or from an installed library.

They give the same tensors as the PyG class of the same data set but keep no processed copy: reading takes at
most a few seconds, and a raw folder can be read-only. What takes longer is kept in the user's cache folder.
"""

from __future__ import annotations

import gzip
import json
import math
import warnings
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data
from torch_geometric.io import parse_npz, read_planetoid_data

from gamlp_admm.datasets.neighbours import kept_neighbour_graph, neighbour_graph
from gamlp_admm.datasets.pickles import unpickled
from gamlp_admm.datasets.raw import check_entries, reading
from gamlp_admm.errors import InputError

Reader: TypeAlias = Callable[[list[Path]], Data]
"""From the raw files of a data set, none for those that come with a library, to its data."""

NEIGHBOURS = 10
"""Nearest neighbours that an image is joined to."""

READERS: dict[str, Reader] = {}
"""The readers by the name that a data set's description gives as its ``loader``."""


def reader(name: str) -> Callable[[Reader], Reader]:
    """Return a decorator that makes a reader known by name.

    Raises:
        InputError: The name is taken.
    """
    if name in READERS:
        raise InputError(f"reader {name!r} is there already")

    def register(function: Reader) -> Reader:
        READERS[name] = function
        return function

    return register


@reader("planetoid")
def read_planetoid(paths: list[Path]) -> Data:
    """Read Cora, CiteSeer or PubMed: the eight files ``ind.<name>.*``, masks of the public split included.

    Args:
        paths: The files, in a folder ``planetoid/<Name>/raw``.

    Returns:
        Data with ``x`` [N, F], ``edge_index`` [2, E], ``y`` [N] and three masks [N].

    Raises:
        InputError: If a file cannot be read.

    Source:
        Yang, Cohen, Salakhutdinov, "Revisiting Semi-Supervised Learning with Graph Embeddings", ICML 2016.
    """
    folder = paths[0].parent
    prefix = folder.parent.name.lower()
    with warnings.catch_warnings():  # PyG's reader adds a filter of its own to the process
        for path in paths:
            with reading(path):
                check_planetoid(path)
        try:
            return read_planetoid_data(str(folder), prefix)
        except Exception:
            remedy = "put good copies there"
            raise InputError(f"the raw files in {folder} do not belong together; {remedy}") from None


def check_planetoid(path: Path) -> None:
    """Check that one of the eight files can be read, and that its sparse matrix is one, before it is made dense."""
    if path.suffix == ".index":
        np.loadtxt(path, dtype=np.int64)
        return
    warnings.filterwarnings("ignore", message=".*`scipy.sparse.csr` name")
    with path.open("rb") as file:
        held = unpickled(file)
    if path.suffix != ".graph":
        check_entries(math.prod(held.shape))
    if scipy.sparse.issparse(held):
        held.check_format(full_check=True)  # which its conversion takes for granted


@reader("gnn-benchmark")
def read_gnn_benchmark(paths: list[Path]) -> Data:
    """Read one of the Amazon and Coauthor graphs: a single npz file; features are made dense and binary.

    Args:
        paths: The file.

    Returns:
        Data with ``x`` [N, F], ``edge_index`` [2, E] (undirected, without self-loops) and ``y`` [N].

    Raises:
        InputError: If the file cannot be read.

    Source:
        Shchur et al., "Pitfalls of Graph Neural Network Evaluation", 2018, arXiv 1811.05868.
    """
    (path,) = paths
    with reading(path), path.open("rb") as file, np.load(file) as arrays:
        check_entries(math.prod(arrays["attr_shape"].tolist()))
        return parse_npz(arrays, to_undirected=True)


@reader("flickr")
def read_flickr(paths: list[Path]) -> Data:
    """Read Flickr: ``adj_full.npz``, ``feats.npy``, ``class_map.json`` and ``role.json``.

    Args:
        paths: The four files.

    Returns:
        Data with ``x`` [N, F], ``edge_index`` [2, E], ``y`` [N] and three masks [N].

    Raises:
        InputError: If a file cannot be read.

    Source:
        Zeng et al., "GraphSAINT: Graph Sampling Based Inductive Learning Method", ICLR 2020, arXiv
        1907.04931.
    """
    files = {path.name: path for path in paths}
    with reading(files["feats.npy"]):
        stored = np.load(files["feats.npy"], mmap_mode="r")  # where the header is compared with the file
        check_entries(stored.size)
        x = torch.from_numpy(stored.astype(np.float32))
    path = files["adj_full.npz"]
    with reading(path), path.open("rb") as file, np.load(file) as csr:
        adjacency = scipy.sparse.csr_matrix((csr["data"], csr["indices"], csr["indptr"]), csr["shape"])
        edges = adjacency.tocoo()
        edge_index = torch.from_numpy(np.stack([edges.row, edges.col]).astype(np.int64))
    y = torch.full((len(x),), -1)
    with reading(files["class_map.json"]):
        classes = json.loads(files["class_map.json"].read_text())
        y[[int(node) for node in classes]] = torch.tensor(list(classes.values()))
    data = Data(x=x, edge_index=edge_index, y=y)
    with reading(files["role.json"]):
        role = json.loads(files["role.json"].read_text())
        for part, key in (("train", "tr"), ("val", "va"), ("test", "te")):
            mask = torch.zeros(len(x), dtype=torch.bool)
            mask[role[key]] = True
            data[f"{part}_mask"] = mask
    return data


@reader("idx")
def read_idx(paths: list[Path]) -> Data:
    """Read images and their labels from idx files, as MNIST and Fashion-MNIST come; there is no graph.

    Args:
        paths: ``{train,t10k}-images-idx3-ubyte.gz`` and ``{train,t10k}-labels-idx1-ubyte.gz``.

    Returns:
        Data with ``x`` [N, pixels], scaled to [0, 1], an empty ``edge_index`` [2, 0], ``y`` [N] and three masks
        [N]. Rows are the training images, then the test images, both in the order of their files; the last
        twelfth of the training images (of 60,000: 5,000) validates.

    Raises:
        InputError: If a file cannot be read, or the files do not fit each other.

    Source:
        LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE
        1998 (MNIST; the idx format is described with its files); Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel
        Image Dataset for Benchmarking Machine Learning Algorithms", 2017, arXiv 1708.07747.
    """
    files = {path.name.partition("-idx")[0]: path for path in paths}
    train, train_labels = _read_labelled(files["train-images"], files["train-labels"])
    test, test_labels = _read_labelled(files["t10k-images"], files["t10k-labels"])
    if train.shape[1:] != test.shape[1:]:
        with reading(files["t10k-images"]):
            raise ValueError(f"its images have {_times(test.shape[1:])} pixels, not {_times(train.shape[1:])}")
    x = np.empty((len(train) + len(test), train[0].size), np.float32)
    for images, rows in ((train, x[: len(train)]), (test, x[len(train) :])):
        np.divide(images.reshape(rows.shape), 255, out=rows, dtype=np.float32)
    row = torch.arange(len(x))
    train_mask, test_mask = row < len(train) - len(train) // 12, row >= len(train)
    return Data(
        x=torch.from_numpy(x),
        edge_index=torch.empty(2, 0, dtype=torch.long),
        y=torch.from_numpy(np.concatenate([train_labels, test_labels], dtype=np.int64)),
        train_mask=train_mask,
        val_mask=~(train_mask | test_mask),
        test_mask=test_mask,
    )


@reader("idx-knn")
def read_idx_knn(paths: list[Path]) -> Data:
    """Read images from idx files, joined by a 10-nearest-neighbour graph.

    Two images, of whichever parts, have an edge if either is among the other's 10 nearest by Euclidean distance of
    pixels, of which ties go to the lower node number. The graph is built once and kept in the user's cache folder.

    Args:
        paths: As of :func:`read_idx`.

    Returns:
        Data as :func:`read_idx`, with an undirected ``edge_index`` [2, E] without self-loops.

    Raises:
        InputError: If a file cannot be read, or the files do not fit each other.
    """
    data = read_idx(paths)
    data.edge_index = kept_neighbour_graph((data.x * 255).round_().byte().numpy(), NEIGHBOURS)
    return data


def _read_labelled(images: Path, labels: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read images [N, height, width] and as many labels [N]."""
    pixels, classes = _read_idx_file(images, 3), _read_idx_file(labels, 1)
    if len(pixels) != len(classes):
        with reading(labels):
            raise ValueError(f"{len(classes):,} labels for the {len(pixels):,} images of {images.name}")
    return pixels, classes


def _read_idx_file(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read one compressed idx file: a magic number, the size of each dimension, and the bytes themselves."""
    with reading(path), gzip.open(path) as file:
        magic = bytes([0, 0, 8, dimensions])  # 8 says that the elements are unsigned bytes
        if (found := file.read(4)) != magic:
            raise ValueError(f"it starts with {found!r}, not with the magic number {magic!r}")
        shape: list[int] = np.frombuffer(file.read(4 * dimensions), ">u4", dimensions).tolist()
        announced = math.prod(shape)
        check_entries(announced)
        content = file.read(announced + 1)
        if not announced == len(content) > 0:
            follow = f"{len(content):,}" if len(content) <= announced else "more"
            raise ValueError(f"its header announces {_times(shape)} bytes, but {follow} follow")
        return np.frombuffer(content, np.uint8).reshape(shape)


def _times(sizes: Iterable[int]) -> str:
    return " x ".join(map(str, sizes))


@reader("karate")
def read_karate(_: list[Path]) -> Data:
    """Make Zachary's karate club, with the one training node a class that PyG marks in it.

    Returns:
        Data with ``x`` [34, 34] (the identity), ``edge_index`` [2, 156], ``y`` [34] and ``train_mask`` [34].
    """
    from torch_geometric.datasets import KarateClub  # with all others a second to import

    return KarateClub()[0]


@reader("digits")
def read_digits(_: list[Path]) -> Data:
    """Make scikit-learn's bundled digits, without a graph.

    Returns:
        Data with ``x`` [1797, 64], pixels scaled to [0, 1], an empty ``edge_index`` [2, 0] and ``y`` [1797].
    """
    digits = torch.from_numpy(_digits())
    return Data(x=(digits[:, :-1] / 16).float(), edge_index=torch.empty(2, 0, dtype=torch.long), y=digits[:, -1].long())


def _digits() -> NDArray[np.float64]:
    """Return pixels and class [1797, 65] from the file that scikit-learn reads, which itself takes long to import."""
    found = find_spec("sklearn")
    path = Path((found and found.origin) or "").parent / "datasets/data/digits.csv.gz"
    if path.is_file():
        return np.loadtxt(path, delimiter=",")
    from sklearn.datasets import load_digits

    return np.column_stack(load_digits(return_X_y=True))


@reader("digits-knn")
def read_digits_knn(_: list[Path]) -> Data:
    """Make scikit-learn's bundled digits, joined by a 10-nearest-neighbour graph.

    Two digits have an edge if either is among the other's 10 nearest by Euclidean distance of pixels, of which ties
    go to the lower node number.

    Returns:
        Data as :func:`read_digits`, with an undirected ``edge_index`` [2, E] without self-loops.
    """
    data = read_digits([])
    data.edge_index = neighbour_graph((data.x * 16).byte().numpy(), NEIGHBOURS)
    return data

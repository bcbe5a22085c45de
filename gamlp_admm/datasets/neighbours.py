"""Graphs of nearest neighbours: two images have an edge if either is among the other's nearest.

Pixels are integers, so squared Euclidean distances are integers, and ties go to the lower node number: the graph is
the same on every machine, for every number of threads. What floating point does here is to leave out pairs that are
provably too far apart. With z the coordinates of x - c in some orthonormal directions and r the length of the rest,

    ‖x - y‖² ≥ ‖z_x - z_y‖² + (r_x - r_y)²        (triangle inequality in the other directions)

for any centre c; the principal components make the bound tight. It is one matrix product with 8 times fewer columns
than the pixels of MNIST. All pairs whose bound is not above the distance of ``count`` others are then compared exactly.

A large graph takes a while and so is kept: in the user's cache folder, under a name that is made from the pixels.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gamlp_admm.datasets.raw import cache_folder, one_line
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.system.files import replacing

VERSION = 1
"""Of what the graph is; a change of it leaves what is in caches."""

COMPONENTS = 96
"""With more the product takes longer, with fewer more pairs are left: of MNIST 100 a node; with 64, thrice as many."""

ROWS = 128
"""Nodes whose neighbours are sought at a time; 36 MB for 70,000 nodes."""

SAMPLE = 10_000
"""Images, about, whose principal components are taken: any orthonormal directions give a bound."""

GROUPS = 1024
"""Groups of nodes whose maxima stand for them in the first choice of candidates."""

SLACK = 2.0**-14
"""What a bound is lowered by, relative to ‖x - c‖² + ‖y - c‖².

In float32, with u = 2⁻²⁴, the roundings of n coordinates and of a sum of n products come to less than 2 (n + 4) u of
that: 2⁻¹⁶ for n = 98. Those of float64 are nothing beside it.
"""

logger = logging.getLogger(__name__)


def kept_neighbour_graph(pixels: NDArray[np.uint8], count: int) -> Tensor:
    """Return :func:`neighbour_graph`, built once: the next time, it is read from the user's cache folder.

    The file is found by the pixels themselves, and by ``count``; one that is damaged is built and written again. Where
    nothing can be written the graph is built each time, with an ``InputWarning``.

    Args:
        pixels: Images [N, P].
        count: Nearest neighbours of a node.

    Returns:
        ``edge_index`` [2, E].
    """
    key = hashlib.sha256(f"{VERSION} {count} {pixels.shape} ".encode())
    key.update(np.ascontiguousarray(pixels).data)
    path = cache_folder() / "neighbours" / f"{key.hexdigest()[:32]}.safetensors"
    edge_index = _read(path)
    if edge_index is None:
        edge_index = neighbour_graph(pixels, count)
        _keep(path, edge_index)
    return edge_index


def neighbour_graph(pixels: NDArray[np.uint8], count: int) -> Tensor:
    """Join images to their nearest by Euclidean distance: an edge if either is among the other's nearest.

    Args:
        pixels: Images [N, P].
        count: Nearest neighbours of a node.

    Returns:
        ``edge_index`` [2, E], undirected, without self-loops, sorted.
    """
    nodes = len(pixels)
    neighbours = nearest(pixels, count)
    one, other = np.repeat(np.arange(nodes), neighbours.shape[1]), neighbours.ravel()
    edges = np.unique(np.concatenate([one * nodes + other, other * nodes + one]))
    return torch.from_numpy(np.stack(np.divmod(edges, nodes)))


def nearest(pixels: NDArray[np.uint8], count: int, rows: int = ROWS) -> NDArray[np.int64]:
    """Find each image's nearest others, exactly.

    Args:
        pixels: Images [N, P], N ≥ 2; P at most 33,025, with which squared distances are 32-bit integers.
        count: How many; all others if there are fewer.
        rows: Images whose neighbours are sought at a time.

    Returns:
        Their numbers [N, count], the nearest first, of equally near ones the lower number first.
    """
    nodes = len(pixels)
    count = min(count, nodes - 1)
    columns = _columns(pixels)
    keys = np.empty((rows, nodes), np.float32)  # one for all: new memory takes longer than the product's output
    found = np.empty((nodes, count), np.int64)
    starts = range(0, nodes, rows)
    for done, start in enumerate(starts):
        if done % -(-len(starts) // 10) == 0:
            logger.info("nearest neighbours: %d of %d nodes have theirs", start, nodes)
        block = found[start : start + rows]
        block[:] = _nearest(pixels, columns, keys[: len(block)], start, count)
    return found


def _columns(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return [C + 2, N]: C principal components, the length of the rest, and minus half the lowered ‖x - c‖²."""
    nodes = len(pixels)
    sample = pixels[:: -(-nodes // SAMPLE)].astype(np.float64)
    centre = sample.mean(axis=0)
    sample -= centre
    directions = np.linalg.eigh(sample.T @ sample)[1][:, -COMPONENTS:]
    components = directions.shape[1]
    columns = np.empty((components + 2, nodes), np.float32)
    for start in range(0, nodes, 4096):
        x = pixels[start : start + 4096] - centre
        z, squares = x @ directions, (x**2).sum(axis=1)
        part = columns[:, start : start + 4096]
        part[:components] = z.T
        part[-2] = np.sqrt(np.maximum(squares - (z**2).sum(axis=1), 0))
        part[-1] = (SLACK - 1) / 2 * squares
    return columns


def _nearest(
    pixels: NDArray[np.uint8], columns: NDArray[np.float32], keys: NDArray[np.float32], start: int, count: int
) -> NDArray[np.int64]:
    """Find the nearest others [B, count] of the nodes from ``start`` on, as many as ``keys`` [B, N] has rows."""
    stop, nodes = start + len(keys), keys.shape[1]
    rows = columns[:, start:stop].T.copy()
    halves = -rows[:, -1]
    rows[:, -1] = 1
    np.matmul(rows, columns, out=keys)  # a squared distance is at least 2 (halves[i] - keys[i, j])
    np.fill_diagonal(keys[:, start:stop], -np.inf)

    # Whichever nodes are compared first, the distance of the last of `count` is one that the nearest are within.
    groups = min(nodes, GROUPS + count)
    best = keys[:, : nodes // groups * groups].reshape(len(keys), -1, groups).max(axis=1)
    row, node = _at_least(keys, np.partition(best, groups - count, axis=1)[:, groups - count])
    distances = _distances(pixels, start + row, node)
    within = distances[_first(row, distances, len(keys), count)[:, -1]]

    row, node = _at_least(keys, (halves - within / 2).astype(np.float32))
    return node[_first(row, _distances(pixels, start + row, node), len(keys), count)]


def _at_least(keys: NDArray[np.float32], threshold: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns, sorted, of the keys [B, N] that are not below the threshold [B] of their row."""
    row, column = np.divmod(np.flatnonzero(keys >= threshold[:, None]), keys.shape[1])
    return row, column


def _distances(pixels: NDArray[np.uint8], one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the squared distances [M] of M pairs of images, which are exact."""
    distances = np.empty(len(one), np.int32)
    for start in range(0, len(one), 2048):  # what a processor's cache holds
        pair = slice(start, start + 2048)
        difference = np.subtract(pixels[one[pair]], pixels[other[pair]], dtype=np.int32)
        np.einsum("mp,mp->m", difference, difference, out=distances[pair])
    return distances


def _first(row: NDArray[np.int64], distances: NDArray[np.int32], rows: int, count: int) -> NDArray[np.int64]:
    """Return which [B, count] of some pairs are the nearest of their row; rows are sorted and have that many."""
    order = np.lexsort((distances, row))  # stable, so that ties stay in the order of nodes
    chosen: NDArray[np.int64] = order[np.searchsorted(row, np.arange(rows))[:, None] + np.arange(count)]
    return chosen


def _read(path: Path) -> Tensor | None:
    """Read a kept graph; None if there is none, or if it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            edge_index: Tensor = file.get_tensor("edge_index")
            kept = (file.metadata() or {}).get("sha256")
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        logger.info("%s is not to be read (%s)", path, one_line(error))
        return None
    if kept != _checksum(edge_index):
        logger.info("%s is damaged", path)
        return None
    return edge_index


def _keep(path: Path, edge_index: Tensor) -> None:
    """Write a graph, as a whole: a process that builds the same at the same time writes the same."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            save_file({"edge_index": edge_index}, part, {"sha256": _checksum(edge_index)})
    except (OSError, InputError, SafetensorError) as error:
        message = f"the graph of nearest neighbours cannot be kept and is built at each loading ({one_line(error)})"
        warnings.warn(message, InputWarning, stacklevel=2)


def _checksum(edge_index: Tensor) -> str:
    return hashlib.sha256(edge_index.contiguous().numpy().data).hexdigest()

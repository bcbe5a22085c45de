"""Graphs of the shape of large ones, made in files: power-law degrees, and classes that neighbours share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data

from gamlp_admm.propagation.store import matrix

COMMUNITIES = 4
"""Communities of a class, which have nothing in common but their label."""

HOMOPHILY = 0.6
"""Share of edges whose ends were drawn from one community."""

MISLABELLED = 0.15
"""Share of labels that are drawn at random: what is right of the others is all that can be learned."""

SIGNAL = 0.1
"""Deviation of the communities' means, of features whose noise has a deviation of 1."""

EXPONENT = 2.2
CHUNK = 2**22


@dataclass(frozen=True)
class Shape:
    """What a graph is like.

    Attributes:
        nodes: Number of nodes.
        edges: Entries of ``edge_index``.
        both_ways: Whether each edge is there in both directions.
        columns: Features of a node.
        classes: Number of classes.
        train: Nodes that train.
        val: Nodes that validate.
        test: Nodes that test.
    """

    nodes: int
    edges: int
    both_ways: bool
    columns: int
    classes: int
    train: int
    val: int
    test: int


def make(folder: Path, shape: Shape, seed: int = 0) -> None:
    """Write a graph: ``edges.npy`` int32 ``[2, E]``, ``x.safetensors`` and ``nodes.npz``, a few millions at a time."""
    rng = np.random.default_rng(seed)
    communities = rng.integers(0, COMMUNITIES * shape.classes, shape.nodes, dtype=np.int16)
    _edges(folder / "edges.npy", shape, communities, rng)
    means = SIGNAL * rng.standard_normal((COMMUNITIES * shape.classes, shape.columns), np.float32)
    matrix.create(folder / "x.safetensors", (shape.nodes, shape.columns), torch.float32)
    for low in range(0, shape.nodes, CHUNK // shape.columns):
        own = communities[low : low + CHUNK // shape.columns]
        noise = rng.standard_normal((len(own), shape.columns), np.float32)
        matrix.write(folder / "x.safetensors", low, 0, torch.from_numpy(noise + means[own]))
    random = rng.integers(0, shape.classes, shape.nodes, dtype=np.int16)
    mislabelled = rng.random(shape.nodes, np.float32) < MISLABELLED
    y = np.where(mislabelled, random, communities % shape.classes).astype(np.int64)
    order, masks = rng.permutation(shape.nodes), {}
    for name, count in (("train", shape.train), ("val", shape.val), ("test", shape.test)):
        rows, order = order[:count], order[count:]
        masks[f"{name}_mask"] = np.zeros(shape.nodes, bool)
        masks[f"{name}_mask"][rows] = True
    np.savez(folder / "nodes.npz", y=y, **masks)


def _edges(path: Path, shape: Shape, communities: np.ndarray, rng: np.random.Generator) -> None:
    # Ends are drawn among stubs: a node has as many as its degree, and those of a community lie together.
    half = shape.edges // 2 if shape.both_ways else shape.edges
    wanted = rng.random(shape.nodes, np.float32).clip(1e-9) ** (-1 / (EXPONENT - 1))
    degrees = np.minimum(wanted, shape.nodes**0.5)
    degrees = np.maximum(degrees * (2 * half / degrees.sum()), 1).astype(np.int64)
    order = np.argsort(communities, kind="stable").astype(np.int32)
    stubs = np.repeat(order, degrees[order])
    ends = np.concatenate([[0], np.cumsum(np.bincount(communities, degrees))]).astype(np.int64)
    made = np.lib.format.open_memmap(path, "w+", np.int32, (2, half * (2 if shape.both_ways else 1)))
    for low in range(0, half, CHUNK):
        count = min(CHUNK, half - low)
        source = stubs[rng.integers(0, len(stubs), count)]
        own, same = communities[source], rng.random(count, np.float32) < HOMOPHILY
        first, last = np.where(same, ends[own], 0), np.where(same, ends[own + 1], len(stubs))
        target = stubs[first + (rng.random(count) * (last - first)).astype(np.int64)]
        made[:, low : low + count] = source, target
        if shape.both_ways:
            made[:, half + low : half + low + count] = target, source


def load(folder: Path) -> Data:
    """Return a graph that :func:`make` wrote; edges and features are memory-mapped."""
    nodes = {name: torch.from_numpy(array) for name, array in np.load(folder / "nodes.npz").items()}
    edges = torch.from_numpy(np.load(folder / "edges.npy", mmap_mode="c"))
    return Data(edge_index=edges, x=matrix.mapped(folder / "x.safetensors"), **nodes)


def ceiling(shape: Shape) -> float:
    """Return the accuracy of who knows every node's class."""
    return 1 - MISLABELLED * (1 - 1 / shape.classes)

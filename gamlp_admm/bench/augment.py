"""How fast features are propagated, beside what else multiplies sparse matrices, and beside the reading of the rows.

No product can be faster than the rows that it gathers are read: the *bound* is the time of reading the same rows in the
same order, by the same instructions, in bags of 4,096 that are summed and thrown away. Graphs are random ones with
power-law degrees, each edge stored both ways. Times are the least of some repetitions, which take turns.

Before each turn from edges to states as much memory as it may take is touched, and freed: a virtual machine that gives
free memory back to its host gets it again page by page, in a second or two a GiB, which is no method's time.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric import transforms as T
from torch_geometric.data import Data
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from gamlp_admm import propagation
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment import environment
from gamlp_admm.propagation.features import blank
from gamlp_admm.propagation.product import tile_width
from gamlp_admm.system.memory import available
from gamlp_admm.system.peak import PeakMemory
from gamlp_admm.transforms import AugmentFeatures

HOPS = 4
BAG = 4096
TAKEN = 12
"""Times the features' memory that a method takes, states apart and side by side."""

MOST = 2**32
"""Bytes of states of others that are put side by side."""
OURS, BOUND, SIGN, EDGE_INDEX = "this package", "bound", "T.SIGN", "EdgeIndex"
CSR, CSR64, SCIPY = "torch CSR", "torch CSR, int64", "SciPy"


@dataclass(frozen=True)
class Shape:
    """The size of a graph.

    Attributes:
        nodes: N.
        edges: Stored edges, two for each that is there.
        exponent: Of the power law of the degrees.
    """

    nodes: int
    edges: int
    exponent: float = 2.2


SHAPES = {
    "1e5": Shape(10_000, 100_000),
    "1e6": Shape(100_000, 1_000_000),
    "arxiv": Shape(169_343, 2_315_598),
    "1e7": Shape(500_000, 10_000_000),
    "products": Shape(2_449_029, 123_718_280),
}
"""Graphs by name: ogbn-arxiv's and ogbn-products' numbers of nodes and edges, and powers of ten."""


def edges_of_shape(shape: Shape, seed: int = 0) -> Tensor:
    """Return random edges ``[2, E]``, each stored both ways."""
    rng, half = np.random.default_rng(seed), shape.edges // 2
    degrees = np.minimum(rng.pareto(shape.exponent - 1, shape.nodes) + 1, shape.nodes**0.5)
    ends = np.cumsum(degrees / degrees.sum())
    ends[-1] = 1.0
    names, edges = rng.permutation(shape.nodes), np.empty((2, 2 * half), np.int64)
    for low in range(0, half, 2**22):
        high = min(low + 2**22, half)
        for line in (0, 1):  # sorted numbers are looked up faster
            found = names[np.searchsorted(ends, np.sort(rng.random(high - low)))]
            edges[line, low:high] = rng.permutation(found) if line else found
    edges[:, half:] = edges[::-1, :half]
    return torch.from_numpy(edges)


def one_hop(edges: Tensor, x: Tensor, methods: Sequence[str], repeat: int) -> dict[str, float]:
    """Return seconds of one product Ã H by method, and of the bound; Ã is there already.

    A large graph's features are in tiles of columns already, as they are in all hops but the first.
    """
    N, columns = x.shape
    matrix = propagation.Scheme((1,), "sym", alpha=0.1, t=3.0, direction="both").matrix(edges, None, x)
    gathered = matrix if isinstance(matrix, propagation.GatherMatrix) else propagation.from_edges(edges, None, N)
    indptr, indices, out = gathered.indptr, gathered.indices, torch.empty_like(x)
    if matrix is gathered:
        matrix = replace(gathered, root=None)  # which scales features once, not in each hop
        tiles = [tile.contiguous() for tile in torch.split(x, tile_width(matrix) or columns, 1)]
    else:
        tiles = [x]
    outs = [torch.empty_like(tile) for tile in tiles]
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: [propagation.product(matrix, tile, to) for tile, to in zip(tiles, outs, strict=True)],
        BOUND: lambda: _read(indices, x),
    }
    values = torch.ones(len(indices))
    if CSR in methods:
        small = torch.sparse_csr_tensor(indptr.int(), indices, values, (N, N))
        runs[CSR] = lambda: torch.mm(small, x, out=out)
    if CSR64 in methods:
        large = torch.sparse_csr_tensor(indptr, indices.long(), values, (N, N))
        runs[CSR64] = lambda: torch.mm(large, x, out=out)
    if SCIPY in methods:
        parts = values.numpy(), indices.numpy(), indptr.int().numpy()
        A = sparse.csr_array(parts, shape=(N, N))
        runs[SCIPY] = lambda: A @ x.numpy()
    if EDGE_INDEX in methods:
        rows = torch.arange(N).repeat_interleave(indptr.diff())
        pairs = EdgeIndex(torch.stack([rows, indices.long()]), sparse_size=(N, N), sort_order="row")
        runs[EDGE_INDEX] = lambda: pairs.matmul(x, values)
    return _least(runs, repeat)


def whole(edges: Tensor, x: Tensor, methods: Sequence[str], repeat: int) -> dict[str, float]:
    """Return seconds of ``[H, ÃH, …, Ã⁴H]`` from edges and features, normalisation included, by method."""
    data = Data(x=x, edge_index=edges)
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: AugmentFeatures(HOPS)(data),
        SIGN: lambda: _sign(data),
        CSR: lambda: _by_hand(edges, x, _torch_csr),
        SCIPY: lambda: _by_hand(edges, x, _scipy),
        EDGE_INDEX: lambda: _by_hand(edges, x, _edge_index),
    }
    taken = {name: run for name, run in runs.items() if name == OURS or name in methods}
    return _least(taken, repeat, lambda: touch(TAKEN * x.nbytes + edges.nbytes))


def measure(name: str, columns: int, threads: int, methods: Sequence[str], repeat: int = 3) -> dict[str, Any]:
    """Measure a graph.

    Args:
        name: Of :data:`SHAPES`.
        columns: Of the features.
        threads: Threads.
        methods: What is compared, of :data:`METHODS`.
        repeat: Repetitions.

    Returns:
        ``shape``, ``nodes``, ``edges``, ``columns``, ``threads``, and seconds by method: of ``hop`` and ``whole``.
    """
    shape, before = SHAPES[name], torch.get_num_threads()
    edges = edges_of_shape(shape)
    x = torch.randn(shape.nodes, columns, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(threads)
    try:
        with _quiet():
            times = {"hop": one_hop(edges, x, methods, repeat), "whole": whole(edges, x, methods, repeat)}
    finally:
        torch.set_num_threads(before)
    sizes = {"nodes": shape.nodes, "edges": edges.shape[1], "columns": columns, "threads": threads}
    return {"shape": name, **sizes, **times}


METHODS = (CSR, CSR64, SCIPY, EDGE_INDEX, SIGN)
"""What is compared."""


def peak(nodes: int, columns: int, kind: str, memory: int | None = None) -> int | None:
    """Return by how many bytes memory grows at most while features are propagated, in a process of its own.

    Args:
        nodes: N; there are ten stored edges a node.
        columns: Of the features.
        kind: Type of the result: ``"float32"`` or ``"bfloat16"``.
        memory: Cap in bytes, beyond the input, for a result in files; ``None`` for one in memory.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_peak, nodes, columns, kind, memory).result()


def _peak(nodes: int, columns: int, kind: str, memory: int | None) -> int | None:
    torch.set_num_threads(1)
    data = Data(x=torch.randn(nodes, columns), edge_index=edges_of_shape(Shape(nodes, 10 * nodes)))
    warm = Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]]))
    AugmentFeatures(HOPS)(warm)
    with tempfile.TemporaryDirectory() as folder:
        where: dict[str, Any] = {}
        if memory is not None:
            held = data.x.nbytes + data.edge_index.nbytes
            where = {"out": str(Path(folder, "store")), "memory": memory + held}
            AugmentFeatures(HOPS, out=str(Path(folder, "warm")))(warm)
        with PeakMemory() as measured:
            AugmentFeatures(HOPS, dtype=getattr(torch, kind), **where)(data)
    return measured.extra


MEMORY = 200_000, 128
"""Nodes and columns whose peak memory is measured."""


def report(
    shapes: Sequence[str], columns: Sequence[int], threads: Sequence[int], repeat: int = 3, memory: bool = False
) -> dict[str, Any]:
    """Measure graphs one after the other.

    Args:
        shapes: Of :data:`SHAPES`.
        columns: Numbers of columns of the features.
        threads: Numbers of threads.
        repeat: Repetitions.
        memory: Whether peak memory is measured, too.

    Returns:
        ``rows`` of :func:`measure`, ``memory`` and ``environment``.

    Raises:
        InputError: A shape is unknown, or a number is not positive.
    """
    for name in shapes:
        if name not in SHAPES:
            raise unknown("shape", name, SHAPES)
    for what, numbers in (("columns", columns), ("threads", threads)):
        if min(numbers) < 1:
            raise InputError(f"{what} is {min(numbers)}: it must be positive")
    rows = [measure(name, width, number, METHODS, repeat) for name in shapes for width in columns for number in threads]
    return {"rows": rows, "memory": peaks() if memory else [], "environment": environment("cpu")}


def peaks() -> list[dict[str, Any]]:
    """Return the peak memory of :data:`MEMORY`, by type and place of the result."""
    nodes, columns = MEMORY
    made = []
    for kind in ("float32", "bfloat16"):
        size = nodes * columns * (HOPS + 1) * getattr(torch, kind).itemsize
        for where, memory in (("memory", None), ("files, memory=250 MiB", 250 * 2**20)):
            extra = peak(nodes, columns, kind, memory)
            made.append({"dtype": kind, "where": where, "size": size, "extra": extra})
    return made


def _read(indices: Tensor, x: Tensor) -> None:
    for low in range(0, len(indices), 256 * BAG):
        part = indices[low : low + 256 * BAG]
        bags = torch.arange(0, len(part) + BAG, BAG, dtype=torch.int32).clamp_(max=len(part))
        F.embedding_bag(part, x, bags, mode="sum", include_last_offset=True)


def _by_hand(edges: Tensor, x: Tensor, normalized: Callable[[Tensor, Tensor, int], Callable[[Any], Any]]) -> object:
    index, weight = gcn_norm(edges, None, len(x))
    multiply, states = normalized(index, weight, len(x)), [x]
    for _ in range(HOPS):
        states.append(multiply(states[-1]))
    return _side_by_side(states)


def _torch_csr(index: Tensor, weight: Tensor, N: int) -> Callable[[Tensor], Tensor]:
    P = torch.sparse_coo_tensor(index.flip(0), weight, (N, N)).to_sparse_csr()
    return lambda H: P @ H


def _scipy(index: Tensor, weight: Tensor, N: int) -> Callable[[Tensor], Tensor]:
    P = sparse.coo_array((weight.numpy(), tuple(index.flip(0).int().numpy())), shape=(N, N)).tocsr()
    return lambda H: torch.from_numpy(P @ H.numpy())


def _edge_index(index: Tensor, weight: Tensor, N: int) -> Callable[[Tensor], Tensor]:
    pairs, order = EdgeIndex(index.flip(0), sparse_size=(N, N)).sort_by("row")
    values = weight[order]
    return lambda H: pairs.matmul(H, values)


def _sign(data: Data) -> object:
    made = T.SIGN(HOPS)(data)
    return _side_by_side([made.x, *(made[f"x{k}"] for k in range(1, HOPS + 1))])


def _side_by_side(states: list[Tensor]) -> object:
    """Return states as one matrix; very large ones as they are, which favours those who make them."""
    return torch.cat(states, 1) if sum(state.nbytes for state in states) < MOST else states


def touch(size: int) -> None:
    """Touch so much memory, half of what is free at most, and free it."""
    blank((min(size, available() // 2),), torch.uint8).fill_(0)


def _least(
    runs: dict[str, Callable[[], object]], repeat: int, before: Callable[[], object] = lambda: None
) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            before()
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: min(taken) for name, taken in times.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch calls its sparse tensors new
        yield

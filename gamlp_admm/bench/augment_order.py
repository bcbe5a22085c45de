"""Few rows and wide features: features of the labelled nodes alone, beside features of all nodes, in time and memory.

Each way is measured in a process of its own, on one thread, with the graph loaded before, and memory touched
(:func:`gamlp_admm.bench.augment.touch`): the processor time, which other processes change less than they do the time
that passes, and by how much the process grows at most. Beside ``AugmentFeatures`` there is PyG's ``T.SIGN``, with
self-loops, of whose states the labelled rows are taken. All values are compared.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch_geometric import transforms as T
from torch_geometric.data import Data

from gamlp_admm.bench.augment import touch
from gamlp_admm.datasets import load_dataset
from gamlp_admm.errors import InputError
from gamlp_admm.system.peak import PeakMemory
from gamlp_admm.transforms import AugmentFeatures

SIGN, ALL, LABELLED = WAYS = ("T.SIGN", "all", "labelled")
"""What is measured: features of all nodes, twice, and of the labelled ones."""

ROOM = 7 * 2**30
"""Bytes that are touched before: more than any way takes."""

HOPS = 4
REPEATS = 3
PHYSICS = (34_493, 247_962, 8_415, 1_137_311, 2_100)
"""Nodes, edges, words, words of all nodes, and labelled nodes of Coauthor Physics."""

GRAPHS = ("coauthor-physics", "made")


@dataclass(frozen=True)
class WayMeasured:
    """What making features took.

    Attributes:
        graph: The graph's name.
        way: One of :data:`WAYS`.
        seconds: Processor time.
        extra: Bytes by which the process grew at most; ``None`` where the system does not say.
        difference: Of the values, from those of ``T.SIGN``, at most, as a share of the largest; ``None`` for these.
    """

    graph: str
    way: str
    seconds: float
    extra: int | None
    difference: float | None


def made_graph(nodes: int, edges: int, words: int, numbers: int, labelled: int, seed: int = 0) -> Data:
    """Return a graph of the shape of a citation graph: degrees and frequencies of words follow power laws.

    Args:
        nodes: N.
        edges: Undirected edges that are drawn; some are drawn twice.
        words: F.
        numbers: Words of all nodes that are drawn.
        labelled: Nodes in the masks.
        seed: Seed of everything.
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(count: int, size: int, exponent: float) -> torch.Tensor:
        """Numbers below ``size``, the k-th as frequent as ``(k + 10)^-exponent``, in random order."""
        weights = (torch.arange(size) + 10.0).pow(-exponent).cumsum(0)
        ranks = torch.searchsorted(weights, torch.rand(count, generator=generator) * weights[-1])
        return torch.randperm(size, generator=generator)[ranks.clamp_max(size - 1)]

    ends = torch.stack([torch.randint(nodes, (edges,), generator=generator), drawn(edges, nodes, 0.6)])
    x = torch.zeros(nodes, words)
    x[torch.randint(nodes, (numbers,), generator=generator), drawn(numbers, words, 1.0)] = 1
    chosen = torch.randperm(nodes, generator=generator)[:labelled]
    masks = torch.zeros(3, nodes, dtype=torch.bool)
    for mask, part in zip(masks, chosen.tensor_split(3), strict=True):
        mask[part] = True
    data = Data(x=x, edge_index=torch.cat([ends, ends.flip(0)], 1), y=torch.zeros(nodes, dtype=torch.long))
    data.train_mask, data.val_mask, data.test_mask = masks
    return data


def loaded(graph: str) -> Data:
    """Return a graph of :data:`GRAPHS`.

    Raises:
        InputError: There are no such data here.
    """
    return made_graph(*PHYSICS) if graph == "made" else load_dataset(graph).data  # nosec B615  # ours


def measure(data: Data, graph: str, way: str, folder: Path) -> WayMeasured:
    """Make features in this process, on one thread.

    Args:
        data: The graph.
        graph: Its name.
        way: One of :data:`WAYS`.
        folder: Where ``T.SIGN`` leaves its values of the labelled nodes, and others find them.
    """
    torch.set_num_threads(1)
    labelled = data.train_mask | data.val_mask | data.test_mask
    touch(min(ROOM, 8 * HOPS * data.x.nbytes))
    with PeakMemory() as peak:
        start = time.process_time()
        x = _features(data, way, labelled)
        seconds = time.process_time() - start
    kept, difference = folder / f"{graph}.pt", None
    x = x if len(x) == labelled.sum() else x[labelled]
    if way == SIGN:
        torch.save(x, kept)
    else:
        expected = torch.load(kept, weights_only=True, mmap=True)
        difference = float((x - expected).abs().max() / expected.abs().max())
    return WayMeasured(graph, way, seconds, peak.extra, difference)


def _features(data: Data, way: str, labelled: Tensor) -> Tensor:
    if way != SIGN:
        made: Tensor = AugmentFeatures(HOPS, rows=None if way == ALL else way)(data).x
        return made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its sparse tensors new
        states = T.SIGN(HOPS)(T.AddRemainingSelfLoops()(Data(x=data.x, edge_index=data.edge_index)))
    return torch.cat([states.x[labelled], *(states[f"x{k}"][labelled] for k in range(1, HOPS + 1))], 1)


def _in_a_process(graph: str, way: str, folder: Path) -> WayMeasured:
    return measure(loaded(graph), graph, way, folder)


def run(graphs: Iterable[str] = GRAPHS, repeats: int = REPEATS) -> list[dict[str, Any]]:
    """Measure every way on some graphs, one after the other, each time in a process of its own.

    Args:
        graphs: Of :data:`GRAPHS`; one whose data are not here is left out.
        repeats: How often.

    Returns:
        The attributes of :class:`WayMeasured`, JSON values.
    """
    results: list[WayMeasured] = []
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for graph in graphs:
            for _ in range(repeats):
                try:
                    for way in WAYS:
                        with context.Pool(1) as pool:
                            results.append(pool.apply(_in_a_process, (graph, way, Path(folder))))
                except InputError:
                    break
    return [asdict(result) for result in results]


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Return a table: of each graph and way the medians, and how many times those of the labelled rows they are."""
    lines = [
        "| graph | rows | s | MiB | times as long | times as much memory | largest difference |",
        "|---|---|" + "---:|" * 5,
    ]
    for graph in dict.fromkeys(each["graph"] for each in results):
        every = {way: [each for each in results if (each["graph"], each["way"]) == (graph, way)] for way in WAYS}
        few = _medians(every[LABELLED])
        for way, measured in every.items():
            if not measured:
                continue
            seconds, extra = _medians(measured)
            compared = ["", ""] if way == LABELLED else [f"{seconds / few[0]:.1f}", f"{extra / max(few[1], 1):.1f}"]
            apart = [each["difference"] for each in measured if each["difference"] is not None]
            last = f"{max(apart):.0e}" if apart else ""
            cells = graph, way, f"{seconds:.2f}", f"{extra / 2**20:,.0f}", *compared, last
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _medians(measured: Sequence[dict[str, Any]]) -> tuple[float, float]:
    return median(each["seconds"] for each in measured), median(each["extra"] or 0 for each in measured)

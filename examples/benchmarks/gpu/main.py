"""Training and propagation on GPUs, beside the card's own rate, PyG and the CPU of the same machine.

One GPU: ``python examples/benchmarks/gpu/main.py``; several: ``torchrun --nproc-per-node 2
examples/benchmarks/gpu/main.py --parts exchange``.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch_geometric import transforms as T
from torch_geometric.data import Data
from torch_geometric.nn.conv.gcn_conv import gcn_norm

sys.path.insert(0, str(Path(__file__).parents[1]))

import pages

from gamlp_admm import GAMLP, AugmentFeatures, PdADMMG, load_dataset
from gamlp_admm.admm.matmul import matmul
from gamlp_admm.algorithms import trainer
from gamlp_admm.algorithms.base import ADMMSession
from gamlp_admm.algorithms.captured import CapturedSession, CompiledSession
from gamlp_admm.bench.augment import SHAPES, Shape, edges_of_shape
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import environment

PARTS = ("iterations", "propagation", "training", "exchange")
HOPS = 4


@dataclass(frozen=True)
class Size:
    """Rows, neurons and layers of a network, and how many iterations of it are timed."""

    rows: int
    width: int
    layers: int
    iterations: int = 50

    def __str__(self) -> str:
        return f"{self.rows:,} × {self.width:,} × {self.layers}"

    @property
    def operations(self) -> int:
        """Of the products of an iteration: four a layer, two in the first, whose inputs stay."""
        return 2 * self.rows * self.width**2 * (4 * self.layers - 2)


SIZES = (Size(140, 100, 2, 100), Size(140, 100, 10, 100), Size(20_000, 500, 10, 30), Size(50_000, 2_000, 10, 8))
SMALL = (Size(140, 100, 2, 6), Size(300, 50, 3, 6))
COMPILED = 1_000
"""Rows from which compiled updates are timed, too."""

GRAPHS, COLUMNS = ("arxiv", "1e7"), 128
DATASETS = ("cora", "amazon-photo")


@dataclass(frozen=True, kw_only=True, repr=False)
class Plain(PdADMMG):
    """pdADMM-G whose iterations are sent to the GPU command by command."""

    session = ADMMSession


class Replayed(CapturedSession):
    """Iterations that are replayed from a CUDA graph, however large they are."""

    largest = math.inf


@dataclass(frozen=True, kw_only=True, repr=False)
class Captured(PdADMMG):
    """pdADMM-G whose iterations are replayed."""

    session = Replayed


@dataclass(frozen=True, kw_only=True, repr=False)
class Compiled(PdADMMG):
    """The same, with element-wise updates that are compiled."""

    session = CompiledSession


def synchronize(device: torch.device) -> None:
    """Wait until a device has computed all that it was sent."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(run: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Return the median seconds of a call, after one that does not count."""
    found = []
    for _ in range(repeats + 1):
        synchronize(device)
        begin = time.perf_counter()
        run()
        synchronize(device)
        found.append(time.perf_counter() - begin)
    return statistics.median(found[1:])


def product_rate(size: Size, precision: str, device: torch.device) -> float:
    """Return operations a second of the products of an iteration of the hidden layers, with nothing between them."""
    P, W = torch.randn(size.rows, size.width, device=device), torch.randn(size.width, size.width, device=device)
    multiply, count = matmul(precision).bmm, 20
    stack = [t.expand(max(size.layers - 2, 1), -1, -1).contiguous() for t in (P, W.mT)]
    seconds = timed(lambda: [multiply(*stack) for _ in range(count)], device)
    return 2 * size.rows * size.width**2 * len(stack[0]) * count / seconds


def iteration(how: Any, size: Size, device: torch.device, group: Any = None) -> float:
    """Return the seconds of an iteration in the second half of a run; in the first, what stays is made."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size.rows, size.width, generator=generator)
    y = torch.randint(4, (size.rows,), generator=generator)
    data = SimpleNamespace(x=x.to(device), y=y.to(device), train_mask=torch.ones(size.rows, dtype=torch.bool))
    model = GAMLP(size.width, size.width, 4, size.layers, init="kaiming").to(device)
    half, more = size.iterations, {} if group is None else {"process_group": group}
    result = how.fit(model, data, 2 * half, seed=0, grow=None, evaluate_every=half, **more)
    first, second = (record["seconds"] for record in result.history[-2:])
    return (second - first) / half


def precisions(device: torch.device) -> Iterator[str]:
    """Yield the precisions in which products are fast here."""
    for name in ("fp32", "tf32", "bf16"):
        try:
            PdADMMG(matmul=name).fit(*tiny(device), 1, seed=0, grow=None)
        except InputError:
            continue
        yield name


def tiny(device: torch.device) -> tuple[GAMLP, Any]:
    """Return a small network and its data."""
    x, y = torch.randn(20, 8, device=device), torch.arange(20, device=device) % 4
    return GAMLP(8, 8, 4, 3).to(device), SimpleNamespace(x=x, y=y, train_mask=torch.ones(20, dtype=torch.bool))


def iterations(sizes: tuple[Size, ...], device: torch.device) -> list[dict[str, Any]]:
    """Return rows: rate of the products, seconds of an iteration, replayed, and of an epoch of Adam."""
    rows = []
    for size in sizes:
        adam = iteration(trainer("adam"), size, device)
        for name in precisions(device):
            given = {"matmul": name, "solver": "linesearch", "scale": "none"}
            kinds = {"plain": Plain} | ({"replayed": Captured} if device.type == "cuda" else {})
            kinds |= {"compiled": Compiled} if device.type == "cuda" and size.rows >= COMPILED else {}
            row = {what: iteration(kind(**given), size, device) for what, kind in kinds.items()}
            rate = product_rate(size, name, device)
            rows.append({"size": str(size), "matmul": name, "rate": rate, "adam": adam, **row})
            rows[-1]["operations"] = size.operations
            print(rows[-1], file=sys.stderr)
    return rows


def propagation(graphs: dict[str, Shape], columns: int, device: torch.device) -> list[dict[str, Any]]:
    """Return rows: seconds from edges and features to ``[H, ÃH, …, Ã⁴H]``, normalisation included, and least ratios."""
    rows = []
    for name, shape in graphs.items():
        here = Data(x=torch.randn(shape.nodes, columns), edge_index=edges_of_shape(shape))
        there = Data(x=here.x.to(device), edge_index=here.edge_index.to(device))

        def by_hand(there: Data = there) -> torch.Tensor:
            index, weight = gcn_norm(there.edge_index, None, len(there.x))
            matrix = torch.sparse_coo_tensor(index.flip(0), weight, (len(there.x),) * 2).coalesce().to_sparse_csr()
            states = [there.x]
            for _ in range(HOPS):
                states.append(matrix @ states[-1])
            return torch.cat(states, 1)

        def sign(there: Data = there) -> torch.Tensor:
            made = T.SIGN(HOPS)(there)
            return torch.cat([made.x, *(made[f"x{k}"] for k in range(1, HOPS + 1))], 1)

        runs = {
            "ours": lambda there=there: AugmentFeatures(HOPS)(there),
            "torch CSR": by_hand,
            "T.SIGN": sign,
        }
        row: dict[str, Any] = {"graph": name, "nodes": shape.nodes, "edges": shape.edges, "columns": columns}
        row |= {what: timed(run, device, 3) for what, run in runs.items()}
        row["ours, CPU"] = timed(lambda here=here: AugmentFeatures(HOPS)(here), torch.device("cpu"), 2)
        apart = AugmentFeatures(HOPS)(there).x.cpu() - AugmentFeatures(HOPS)(here).x
        row["difference"] = float(apart.norm() / AugmentFeatures(HOPS)(here).x.norm())
        rows.append(row)
        print(row, file=sys.stderr)
    return rows


def training(names: tuple[str, ...], count: int, device: torch.device) -> list[dict[str, Any]]:
    """Return rows: seconds and validation accuracy of ten layers, grown as ever, on the GPU and on the CPU."""
    rows = []
    for name in names:
        data = AugmentFeatures(hops=4)(load_dataset(name, seed=10).data)
        row: dict[str, Any] = {"dataset": name}
        for where in dict.fromkeys((device, torch.device("cpu"))):
            for kind in (Plain, PdADMMG) if where.type == "cuda" else (PdADMMG,):
                model = GAMLP(data.num_features, 100, int(data.y.max()) + 1, 10).to(where)
                placed = data.clone().to(str(where))
                synchronize(device)
                begin = time.perf_counter()
                result = kind().fit(model, placed, count, seed=0)
                synchronize(device)
                what = f"{where.type}{', not replayed' if kind is Plain else ''}"
                row[what] = time.perf_counter() - begin, result.best["val_accuracy"]
        rows.append(row)
        print(row, file=sys.stderr)
    return rows


def exchange(size: Size, device: torch.device) -> dict[str, Any]:
    """Return seconds of an iteration in one process, and of that many layers in each of several; of p and q alone."""
    rank, count = dist.get_rank(), dist.get_world_size()
    sent = torch.randn(size.rows, size.width, device=device)

    def both() -> None:
        peers = [peer for peer in (rank - 1, rank + 1) if 0 <= peer < count]
        works = [work for peer in peers for work in (dist.isend(sent, peer), dist.irecv(torch.empty_like(sent), peer))]
        for work in works:
            assert work is not None
            work.wait()

    how = PdADMMG(solver="linesearch", scale="none")
    one = iteration(how, size, device)
    more = Size(size.rows, size.width, count * size.layers, size.iterations)
    several, messages = iteration(how, more, device, dist.group.WORLD), timed(both, device)
    hidden = min(max(1 - (several - one) / messages, 0.0), 1.0)
    return {"size": str(size), "processes": count, "one": one, "several": several, "messages": messages} | {
        "hidden": hidden
    }


def tables(results: pages.Results) -> dict[str, str]:
    """Return the tables of the pages."""
    made = {}
    if rows := results.get("iterations"):
        headings = ["rows × neurons × layers", "`--matmul`", "card's products, TFLOP/s", "command by command, ms"]
        headings += ["of the rate", "replayed, ms", "of the rate", "compiled, ms", "of the rate", "Adam, ms"]
        made["iterations"] = pages.table(headings, lines(rows), 2)
    if rows := results.get("propagation"):
        methods = ("ours", "torch CSR", "T.SIGN", "ours, CPU")
        found = [
            [row["graph"], f"{row['nodes']:,}", f"{row['edges']:,}", *(f"{1e3 * row[name]:.3g}" for name in methods)]
            for row in rows
        ]
        made["propagation"] = pages.table(["graph", "nodes", "edges", *(f"{name}, ms" for name in methods)], found)
    if rows := results.get("training"):
        places = [key for key in rows[0] if key != "dataset"]
        found = [[row["dataset"], *(f"{row[p][0]:.2f} s, {100 * row[p][1]:.1f} %" for p in places)] for row in rows]
        made["training"] = pages.table(["", *places], found)
    made["environment"] = f"{results['device']}; {results['date']}; {pages.versions(results)}."
    return made


def lines(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return the lines of the table of iterations."""
    made = []
    for row in rows:
        line = [row["size"], row["matmul"], f"{row['rate'] / 1e12:.3g}"]
        for kind in ("plain", "replayed", "compiled"):
            took = row.get(kind)
            share = "" if took is None else f"{row['operations'] / took / row['rate']:.0%}"
            line += ["" if took is None else f"{1e3 * took:.3g}", share]
        made.append([*line, f"{1e3 * row['adam']:.3g}"])
    return made


PAGES = pages.Pages(Path(__file__).parent, tables, ("docs/gpu.md",), indent=1)


def main() -> None:
    """Measure, and renew the pages."""
    args = pages.arguments(__doc__, PARTS).parse_args()
    if args.tables:
        PAGES.renew(PAGES.read())
        return
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    results = {**pages.stamp(), "environment": environment(device.type), "device": name}
    if "iterations" in args.parts and size == 1:
        results["iterations"] = iterations(SMALL if args.quick else SIZES, device)
    warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")  # of others' matrices
    if "propagation" in args.parts and size == 1:
        graphs = {"small": Shape(500, 4_000)} if args.quick else {graph: SHAPES[graph] for graph in GRAPHS}
        results["propagation"] = propagation(graphs, 8 if args.quick else COLUMNS, device)
    if "training" in args.parts and size == 1:
        results["training"] = training(("karate",) if args.quick else DATASETS, 5 if args.quick else 200, device)
    if "exchange" in args.parts and size > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        results["exchange"] = exchange(SMALL[0] if args.quick else SIZES[2], device)
        dist.destroy_process_group()
    if local == 0:
        print("\n\n".join(tables(results).values()))
        if "exchange" in results:
            print(results["exchange"])
        if not args.quick:
            PAGES.renew(PAGES.save(results))


if __name__ == "__main__":
    main()

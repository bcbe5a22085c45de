"""Iterations on one GPU or several: their rate beside the card's own, CUDA graphs, how much of exchange is hidden.

One GPU: ``python examples/benchmarks/gpu.py``; several: ``torchrun --nproc-per-node 2 examples/benchmarks/gpu.py``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.admm.matmul import matmul
from gamlp_admm.algorithms.captured import CapturedSession


@dataclass(frozen=True, kw_only=True, repr=False)
class Captured(PdADMMG):
    """pdADMM-G whose iterations are replayed from a CUDA graph."""

    session = CapturedSession


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


def synchronize(device: torch.device) -> None:
    """Wait until a device has computed all that it was sent."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product_rate(args: argparse.Namespace, device: torch.device) -> float:
    """Return operations a second of a product of the network's shape."""
    P, W = (torch.randn(1, rows, args.width, device=device) for rows in (args.rows, args.width))
    return 2 * args.rows * args.width**2 / timed(lambda: matmul(args.matmul).bmm(P, W.mT), device)


def operations(rows: int, width: int, layers: int) -> int:
    """Return operations in the products of an iteration: four a layer, two in the first, whose inputs stay."""
    return 2 * rows * width * width * (4 * layers - 2)


def iteration(kind: type[PdADMMG], args: argparse.Namespace, layers: int, device: torch.device, group: Any) -> float:
    """Return the seconds of an iteration in the second half of a run; in the first, what stays is made."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(args.rows, args.width, generator=generator)
    y = torch.randint(4, (args.rows,), generator=generator)
    data = SimpleNamespace(x=x.to(device), y=y.to(device), train_mask=torch.ones(args.rows, dtype=torch.bool))
    model = GAMLP(args.width, args.width, 4, layers, init="kaiming").to(device)
    trainer = kind(matmul=args.matmul, solver="linesearch", scale="none")
    half = args.iterations
    result = trainer.fit(model, data, 2 * half, seed=0, grow=None, evaluate_every=half, process_group=group)
    first, second = (record["seconds"] for record in result.history[-2:])
    return (second - first) / half


def exchange(args: argparse.Namespace, device: torch.device) -> float:
    """Return the seconds that p and q of an iteration take to the neighbours and back, with nothing else to do."""
    rank, size = dist.get_rank(), dist.get_world_size()
    sent = torch.randn(args.rows, args.width, device=device)

    def both() -> None:
        peers = [peer for peer in (rank - 1, rank + 1) if 0 <= peer < size]
        works = [work for peer in peers for work in (dist.isend(sent, peer), dist.irecv(torch.empty_like(sent), peer))]
        for work in works:
            assert work is not None
            work.wait()

    return timed(both, device)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--layers", type=int, default=10, help="of each process")
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--matmul", default="fp32", choices=("fp32", "tf32", "bf16"))
    args = parser.parse_args()
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    rate, work = product_rate(args, device), operations(args.rows, args.width, args.layers)
    rows = [(f"{args.layers} layers, one process", iteration(PdADMMG, args, args.layers, device, None))]
    if device.type == "cuda":
        rows.append(("the same, replayed", iteration(Captured, args, args.layers, device, None)))
    lines = [f"{name}: {rate / 1e12:.3g} TFLOP/s in products, {args.matmul}"]
    if size > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        rows.append(
            (
                f"{size * args.layers} layers, {size} processes",
                iteration(PdADMMG, args, size * args.layers, device, dist.group.WORLD),
            )
        )
        messages = exchange(args, device)
        hidden = 1 - max(rows[-1][1] - rows[0][1], 0.0) / messages
        lines.append(f"exchange alone {messages * 1e3:.3g} ms, of which {max(hidden, 0.0):.0%} are hidden")
    for title, seconds in rows:
        lines.append(f"{title}: {seconds * 1e3:.3g} ms an iteration, {work / seconds / rate:.0%} of the product rate")
    if local == 0:
        print("\n".join(lines))
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

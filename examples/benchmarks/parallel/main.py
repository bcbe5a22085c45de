"""Layer-parallel training: one process beside two in the same run, and a cost model that predicts larger ones.

python examples/benchmarks/parallel/main.py            # writes results.json and the tables of README.md
python examples/benchmarks/parallel/main.py --quick    # a small network, prints only
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.parallel.balance import partition
from gamlp_admm.system.allocator import keep_freed_memory

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, stamp, table

HERE = Path(__file__).parent
WARM, MEASURED = 2, 10  # iterations


@dataclass(frozen=True)
class Network:
    """The measured network: synthetic nodes, one thread a process."""

    nodes: int = 20_000
    features: int = 500
    hidden: int = 500
    classes: int = 10
    layers: int = 10


def train(network: Network, layers: int, group: object = None) -> dict:
    """Return seconds an iteration, and what each process computed, waited and sent."""
    torch.set_num_threads(1)
    keep_freed_memory()
    data = None
    if group is None or dist.get_rank() == 0:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(network.nodes, network.features, generator=generator)
        mask = torch.ones(network.nodes, dtype=torch.bool)
        data = SimpleNamespace(x=x, y=x[:, : network.classes].argmax(1), train_mask=mask)
    model = GAMLP(network.features, network.hidden, network.classes, layers, init="kaiming")
    result = PdADMMG(rho=0.1, nu=0.1, mu=0.01, solver="linesearch").fit(
        model, data, WARM + MEASURED, seed=0, grow=None, evaluate_every=WARM, process_group=group, gather="none"
    )
    seconds = {record["iteration"]: record["seconds"] for record in result.history}
    each = (seconds[WARM + MEASURED] - seconds[WARM]) / MEASURED
    return {"seconds": each, "objective": result.history[-1]["objective"], "processes": result.processes}


def worker(path: str, network: Network) -> None:
    """Train as one of torchrun's processes; measure the link between the first two; the first writes the result."""
    dist.init_process_group("gloo")
    result = train(network, network.layers, dist.group.WORLD)
    result["bandwidth"] = bandwidth(network)
    if dist.get_rank() == 0:
        Path(path).write_text(json.dumps(result))
    dist.destroy_process_group()


def bandwidth(network: Network) -> float:
    """Return bytes a second that one field's message takes between two processes."""
    message = torch.zeros(network.nodes, network.hidden)
    times = []
    for _ in range(5):
        dist.barrier()
        begin = time.perf_counter()
        if dist.get_rank() == 0:
            dist.send(message, 1)
            dist.recv(message, 1)
        else:
            dist.recv(message, 0)
            dist.send(message, 0)
        times.append((time.perf_counter() - begin) / 2)
    return message.nbytes / statistics.median(times)


def two_processes(network: Network) -> dict:
    """Run :func:`worker` in two processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/result.json"
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
        options = ["--worker", path, "--network", json.dumps(asdict(network))]
        subprocess.run([sys.executable, *command, *options], check=True, capture_output=True)
        return json.loads(Path(path).read_text())


# --- the cost model -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """What the model knows of a machine, all measured with one thread.

    Attributes:
        network: What it was measured with.
        product_rate: Operations a second in products of the network's shape.
        entry_seconds: Time of the element-wise work of a hidden layer, an entry of its outputs.
        first_seconds: Time of an iteration of the first layer beyond its two products.
        last_seconds: Time of an iteration of the last layer.
        bandwidth: Bytes a second between two processes.
    """

    network: Network
    product_rate: float
    entry_seconds: float
    first_seconds: float
    last_seconds: float
    bandwidth: float

    def predict(self, network: Network, stages: int, shards: int = 1) -> float:
        """Return seconds an iteration on stages × shards processes: the slowest stage, and q's way to the next one.

        p travels while W, b and z are computed, so only q's message adds to the time.
        """
        rows, n = network.nodes / shards, network.hidden
        scale = rows / self.network.nodes * n / self.network.hidden
        first = 2 * 2 * rows * network.features * n / self.product_rate + self.first_seconds * scale
        hidden = 4 * 2 * rows * n * n / self.product_rate + self.entry_seconds * rows * n
        costs = [first, *[hidden] * (network.layers - 2), self.last_seconds * scale]
        slowest = max(sum(costs[l] for l in part) for part in partition(costs, stages))
        return slowest + (4 * rows * n / self.bandwidth if stages > 1 else 0.0)


def product_rate(network: Network) -> float:
    """Return operations a second of the four products of a hidden layer."""
    torch.set_num_threads(1)
    P, Z = torch.randn(2, 1, network.nodes, network.hidden)
    W = torch.randn(1, network.hidden, network.hidden)
    calls = (lambda: P @ W.mT, lambda: Z @ W, lambda: Z.mT @ P, lambda: P @ W.mT)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        for call in calls:
            call()
        times.append(time.perf_counter() - begin)
    return 8.0 * network.nodes * network.hidden**2 / statistics.median(times)


def calibrate(network: Network, link: float) -> Machine:
    """Measure networks of one, two, three and five layers in one process; none of them is what is predicted."""
    rate = product_rate(network)
    seconds = {layers: train(network, layers)["seconds"] for layers in (1, 2, 3, 5)}
    entries = network.nodes * network.hidden
    hidden = (seconds[5] - seconds[3]) / 2
    first = seconds[2] - seconds[1]  # a lone layer has the last one's prox and products
    return Machine(
        network=network,
        product_rate=rate,
        entry_seconds=(hidden - 8 * entries * network.hidden / rate) / entries,
        first_seconds=first - 4 * entries * network.features / rate,
        last_seconds=seconds[1],
        bandwidth=link,
    )


def predictions(machine: Machine) -> str:
    """Return the predicted speed-ups of deep and wide networks."""
    rows = []
    for hidden in (1000, 2000, 4000):
        network = Network(hidden=hidden, layers=64)
        one = machine.predict(network, 1)
        rows.append(
            [f"64 layers × {hidden:,}", *(f"{one / machine.predict(network, p):.1f}×" for p in (4, 8, 16, 32, 64))]
        )
    return table(["predicted speed-up on P processes", "4", "8", "16", "32", "64"], rows)


# --- results ------------------------------------------------------------------------------------------------


def measured(network: Network, repeats: int) -> Results:
    """Return what one process and two take in turn, and what the model predicts."""
    pairs = [(train(network, network.layers), two_processes(network)) for _ in range(repeats)]
    one, two = pairs[0]
    assert one["objective"] == two["objective"]  # the same bits
    machine = calibrate(network, statistics.median(b["bandwidth"] for _, b in pairs))
    waits = [process["wait_seconds"] / process["seconds"] for _, b in pairs for process in b["processes"]]
    known = asdict(machine)
    return {
        "network": known.pop("network"),
        "seconds": [statistics.median(pair[i]["seconds"] for pair in pairs) for i in range(2)],
        "speedups": [a["seconds"] / b["seconds"] for a, b in pairs],
        "predicted_seconds": [machine.predict(network, 1), machine.predict(network, 2)],
        "machine": known,
        "wait_share": [min(waits), max(waits)],
        "pairs": pairs,
        **stamp(),
    }


def measured_table(results: Results) -> str:
    """Return what was measured, and the prediction of it."""
    network, speedups = Network(**results["network"]), results["speedups"]
    one, two = results["seconds"]
    predicted = results["predicted_seconds"][1]
    least, most = (100 * share for share in results["wait_share"])
    ((boundary, sent),) = results["pairs"][0][1]["processes"][0]["wire_bytes"].items()
    rows = [
        ["seconds an iteration, 1 process", f"{one:.2f}"],
        ["seconds an iteration, 2 processes", f"{two:.2f}"],
        [
            "speed-up, median of the pairs (range)",
            f"{statistics.median(speedups):.2f} ({min(speedups):.2f}–{max(speedups):.2f})",
        ],
        ["share of time waiting, over processes and runs", f"{least:.1f}–{most:.1f} %"],
        [
            f"bytes over boundary {int(boundary) + 1}\\|{int(boundary) + 2}, each way, an iteration",
            f"{sent / (WARM + MEASURED) / 1e6:.1f} MB",
        ],
        [
            "predicted seconds an iteration, 2 processes",
            f"{predicted:.2f} ({100 * (predicted / two - 1):+.1f} %)",
        ],
    ]
    size = f"{network.layers} layers × {network.hidden}, {network.nodes:,} nodes × {network.features} features"
    return table([size, "measured"], rows)


def model_line(machine: Machine) -> str:
    """Return what the model knows of the machine."""
    rates = [
        f"products {machine.product_rate / 1e9:.0f} Gflop/s",
        f"element-wise work {1e9 * machine.entry_seconds:.1f} ns an entry",
        f"link {machine.bandwidth / 1e9:.2f} GB/s",
    ]
    ends = machine.first_seconds + machine.last_seconds
    return f"Model: {', '.join(rates)}; the ends of the network {ends:.2f} s."


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    machine = Machine(Network(**results["network"]), **results["machine"])
    versions = results["environment"]["versions"]
    ours = f"gamlp_admm {versions['gamlp-admm']}, torch {versions['torch']}"
    return {
        "measured": measured_table(results),
        "model": model_line(machine),
        "predicted": predictions(machine),
        "environment": f"{ours}, one thread a process, seed 0, {results['date']}.",
    }


PAGES = Pages(HERE, tables, (), indent=1)


def main() -> None:
    """Measure, predict and write."""
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker, Network(**json.loads(given.network)))
        return
    if given.tables:
        results = PAGES.read()
    else:
        small = Network(nodes=500, features=32, hidden=32)
        results = measured(small, 1) if given.quick else PAGES.save(measured(Network(), given.repeats))
    print("\n\n".join(tables(results).values()))
    if not given.quick:
        PAGES.renew(results)


if __name__ == "__main__":
    main()

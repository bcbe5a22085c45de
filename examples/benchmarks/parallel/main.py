"""Layer-parallel training: one process beside two in the same run, and a cost model that predicts larger ones.

python examples/benchmarks/parallel/main.py            # writes results.json and the tables of README.md
python examples/benchmarks/parallel/main.py --quick    # a small network, prints only
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
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

from gamlp_admm import GAMLP, PdADMMG, __version__
from gamlp_admm.parallel.balance import partition
from gamlp_admm.system.allocator import keep_freed_memory

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
    result = PdADMMG(rho=0.1, nu=0.1, mu=0.01).fit(
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
        product_rate: Operations a second in products of the network's shape.
        entry_seconds: Time of the element-wise work of a hidden layer, an entry of its outputs.
        first_seconds: Time of an iteration of the first layer beyond its two products.
        last_seconds: Time of an iteration of the last layer.
        bandwidth: Bytes a second between two processes.
    """

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
        scale = rows / NETWORK.nodes * n / NETWORK.hidden
        first = 2 * 2 * rows * network.features * n / self.product_rate + self.first_seconds * scale
        hidden = 4 * 2 * rows * n * n / self.product_rate + self.entry_seconds * rows * n
        costs = [first, *[hidden] * (network.layers - 2), self.last_seconds * scale]
        slowest = max(sum(costs[l] for l in part) for part in partition(costs, stages))
        return slowest + (4 * rows * n / self.bandwidth if stages > 1 else 0.0)


NETWORK = Network()


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
        product_rate=rate,
        entry_seconds=(hidden - 8 * entries * network.hidden / rate) / entries,
        first_seconds=first - 4 * entries * network.features / rate,
        last_seconds=seconds[1],
        bandwidth=link,
    )


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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


def main() -> None:
    """Measure, predict and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker")
    parser.add_argument("--network")
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, Network(**json.loads(options.network)))
        return
    global NETWORK
    NETWORK = Network(nodes=500, features=32, hidden=32) if options.quick else NETWORK
    pairs = [
        (train(NETWORK, NETWORK.layers), two_processes(NETWORK)) for _ in range(1 if options.quick else options.repeats)
    ]
    one, two = pairs[0]
    assert one["objective"] == two["objective"]  # the same bits
    speedups = [a["seconds"] / b["seconds"] for a, b in pairs]
    seconds = [statistics.median(pair[i]["seconds"] for pair in pairs) for i in range(2)]
    machine = calibrate(NETWORK, statistics.median(b["bandwidth"] for _, b in pairs))
    predicted = machine.predict(NETWORK, 2)
    waits = [process["wait_seconds"] / process["seconds"] for _, b in pairs for process in b["processes"]]
    boundary = two["processes"][0]["wire_bytes"]
    results = {
        "network": asdict(NETWORK),
        "seconds": seconds,
        "speedups": speedups,
        "predicted_seconds": [machine.predict(NETWORK, 1), predicted],
        "machine": asdict(machine),
        "wait_share": [min(waits), max(waits)],
        "pairs": pairs,
        "versions": {"gamlp_admm": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "date": datetime.date.today().isoformat(),
    }
    ((boundary_name, sent),) = boundary.items()
    each = sent / (WARM + MEASURED)
    size = f"{NETWORK.layers} layers × {NETWORK.hidden}, {NETWORK.nodes:,} nodes × {NETWORK.features} features"
    rows = [
        ["seconds an iteration, 1 process", f"{seconds[0]:.2f}"],
        ["seconds an iteration, 2 processes", f"{seconds[1]:.2f}"],
        [
            "speed-up, median of the pairs (range)",
            f"{statistics.median(speedups):.2f} ({min(speedups):.2f}–{max(speedups):.2f})",
        ],
        ["share of time waiting, over processes and runs", f"{100 * min(waits):.1f}–{100 * max(waits):.1f} %"],
        [
            f"bytes over boundary {int(boundary_name) + 1}\\|{int(boundary_name) + 2}, each way, an iteration",
            f"{each / 1e6:.1f} MB",
        ],
        [
            "predicted seconds an iteration, 2 processes",
            f"{predicted:.2f} ({100 * (predicted / seconds[1] - 1):+.1f} %)",
        ],
    ]
    rates = [
        f"products {machine.product_rate / 1e9:.0f} Gflop/s",
        f"element-wise work {1e9 * machine.entry_seconds:.1f} ns an entry",
        f"link {machine.bandwidth / 1e9:.2f} GB/s",
    ]
    text = "\n\n".join(
        [
            table([size, "measured"], rows),
            f"Model: {', '.join(rates)}; the ends of the network {machine.first_seconds + machine.last_seconds:.2f} s.",
            predictions(machine),
            f"gamlp_admm {__version__}, torch {torch.__version__}, one thread a process, seed 0, {results['date']}.",
        ]
    )
    print(text)
    if options.quick:
        return
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    readme = HERE / "README.md"
    head, _, rest = readme.read_text().partition("<!-- results -->\n")
    readme.write_text(f"{head}<!-- results -->\n\n{text}\n\n<!-- end -->{rest.partition('<!-- end -->')[2]}")


if __name__ == "__main__":
    main()

"""Training over slow networks: two processes in network namespaces of their own, and a link between them.

python links.py PATH ASKED      # one of the two processes, as :func:`linked` starts them
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from gamlp_admm.experiment import Experiment, run
from gamlp_admm.experiment.comparison import plan
from gamlp_admm.system.allocator import keep_freed_memory

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import table

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Link:
    """What joins the two processes.

    Attributes:
        title: What tables call it.
        rate: Megabits a second, each way; ``None`` for as many as can be.
        delay: Seconds that a packet travels.
    """

    title: str
    rate: int | None = None
    delay: float = 0.0

    def limit(self, device: str) -> None:
        """Let a network device of this process's namespace send at most at this rate, in bursts of a millisecond."""
        subprocess.run(["tc", "qdisc", "del", "dev", device, "root"], check=False, stderr=subprocess.DEVNULL)
        if self.rate is not None:
            bucket = ["rate", f"{self.rate}mbit", "burst", str(max(self.rate * 125, 16_000)), "latency", "100ms"]
            subprocess.run(["tc", "qdisc", "add", "dev", device, "root", "tbf", *bucket], check=True)


@dataclass(frozen=True)
class Case:
    """How p and q travel.

    Attributes:
        codec: The codec.
        staleness: The staleness.
        repeats: How often it is measured over each link.
    """

    codec: str
    staleness: int = 0
    repeats: int = 2

    @property
    def title(self) -> str:
        """What tables call it."""
        return f"`{self.codec}`" + (", staleness 1" if self.staleness else "")


LINKS = (
    Link("unlimited"),
    Link("10 Gbit/s", 10_000),
    Link("1 Gbit/s", 1_000),
    Link("100 Mbit/s", 100),
    Link("10 Mbit/s", 10),  # over which evaluations, which are not counted, take most of the quarter of an hour
    Link("1 Gbit/s, 20 ms", 1_000, 0.02),
    Link("100 Mbit/s, 20 ms", 100, 0.02),
)
CASES = tuple(
    Case(codec, staleness, 1 if codec == "fp32" else 2)
    for codec in ("fp32", "int2-delta", "lean")
    for staleness in (0, 1)
)
TARGET = 0.94  # validation accuracy with all 10 layers
DEEP = 6  # iterations with all layers, at least, over which one is timed
LIMIT = 25.0  # seconds after which a run is given up
SETTINGS = {
    "dataset": "digits-knn",
    "layers": 10,
    "grow": (2, 5, 10),
    "hidden": 500,
    "iterations": 15,
    "nu": 0.01,
    "mu": 0.001,
    "evaluate_every": 2,
    "scale": "none",
    "decay_to": "zero",
    "init": "kaiming",
    "solver": "linesearch",
}

ISOLATED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"),
)
"""In namespaces of its own, which end, with all processes in them, when this one does, however that comes about."""

# Two network namespaces, joined by a pair of virtual Ethernet devices, or by a process that lets packets wait.
NAMESPACES = """
set -e
ip link set lo up
unshare --net sleep 100000 & peer=$!
sleep 0.5
{join}
ip addr add 10.0.0.1/24 dev va; ip link set va up
nsenter -t $peer -n sh -c 'ip link set lo up; ip addr add 10.0.0.2/24 dev vb; ip link set vb up'
export MASTER_ADDR=10.0.0.1 MASTER_PORT=29511 WORLD_SIZE=2
RANK=0 GLOO_SOCKET_IFNAME=va {command} & one=$!
nsenter -t $peer -n env RANK=1 GLOO_SOCKET_IFNAME=vb {command}
wait $one
"""
ETHERNET = "ip link add name va type veth peer name vb netns $peer"
DELAYED = "coproc {python} {script} $peer {delay}; read -u ${{COPROC[0]}} ready"


def worker(path: str, asked: str) -> None:
    """Train each case over each link as one of two processes; the first one writes what was measured."""
    keep_freed_memory()
    given = json.loads(asked)
    cases, links = [Case(**case) for case in given["cases"]], [Link(**link) for link in given["links"]]
    dist.init_process_group("gloo")
    rows: list[dict[str, Any]] = []
    trained(Case("fp32"), {**given["settings"], "iterations": 2})  # everything is in memory, and the link in use
    for turn in range(max(case.repeats for case in cases)):
        for link in links:
            if given["apart"]:
                link.limit(os.environ["GLOO_SOCKET_IFNAME"])
            for case in cases:
                if turn < case.repeats:
                    dist.barrier()
                    rows.append({"link": link.title, **asdict(case), **trained(case, given["settings"])})
                    if dist.get_rank() == 0:
                        told = {name: rows[-1][name] for name in ("seconds_to_target", "deep_seconds", "wait_share")}
                        print(link.title, case.title, told, file=sys.stderr)
    if dist.get_rank() == 0:
        Path(path).write_text(json.dumps(rows))
    dist.destroy_process_group()


def trained(case: Case, settings: dict[str, Any]) -> dict[str, Any]:
    """Train until the target is reached, and return how long that took."""
    layers, before = settings["layers"], 0

    def enough(progress: Any) -> bool:
        nonlocal before
        record = progress.record
        if record["layers"] < layers:
            before = record["iteration"]
        deep = record["layers"] == layers and record["iteration"] - before >= DEEP
        return record["seconds"] > LIMIT or (deep and record["val_accuracy"] >= TARGET)

    experiment = Experiment(threads=1, processes=2, cache="none", staleness=case.staleness, **settings)
    ((_, each),) = plan(experiment, [case.codec], (0,))
    report = run(each, (enough,), None, dist.group.WORLD).report
    history = report["history"]
    deep = [record for record in history if record["layers"] == layers]
    first = history[-1 - len(deep)] if len(deep) < len(history) else {"iteration": 0, "seconds": 0.0}
    reached = next((r for r in deep if r["val_accuracy"] >= TARGET), None)
    return {
        "seconds_to_target": reached and reached["seconds"],
        "iterations_to_target": reached and reached["iteration"],
        "deep_seconds": deep[-1]["seconds"] - first["seconds"] if deep else None,
        "deep_iterations": deep[-1]["iteration"] - first["iteration"] if deep else None,
        "bytes_to_target": reached and reached["bytes_sent"],
        "wait_share": [p["wait_seconds"] / p["seconds"] for p in report["processes"]],
        "history": [(r["iteration"], r["seconds"], r["val_accuracy"]) for r in history],
    }


def linked(cases: Sequence[Case], links: Sequence[Link], settings: dict[str, Any], apart: bool) -> list[dict]:
    """Run :func:`worker` in two processes, ``apart`` in namespaces or side by side, over links of one delay."""
    (delay,) = {link.delay for link in links}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/rows.json"
        asked = {
            "cases": list(map(asdict, cases)),
            "links": list(map(asdict, links)),
            "settings": settings,
            "apart": apart,
        }
        command = shlex.join([sys.executable, __file__, path, json.dumps(asked)])
        if apart:
            python, script = shlex.quote(sys.executable), shlex.quote(str(HERE / "delay.py"))
            join = DELAYED.format(python=python, script=script, delay=delay) if delay else ETHERNET
            called = [*ISOLATED, "bash", "-c", NAMESPACES.format(join=join, command=command)]
        else:
            alone = "export MASTER_ADDR=127.0.0.1 MASTER_PORT=29511 WORLD_SIZE=2"
            called = ["bash", "-c", f"{alone}\nRANK=0 {command} & one=$!\nRANK=1 {command}\nwait $one"]
        if subprocess.run(called, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode:
            raise SystemExit(f"the processes over a link of {links[0].title} failed")
        return json.loads(Path(path).read_text())


def network(
    quick: bool, save: Callable[[dict[str, Any]], object], done: list[dict[str, Any]], only: str = ""
) -> dict[str, Any]:
    """Return what every case took over every link that begins with a part of ``only``, which ``;`` divides.

    Links of one delay take turns, so that they meet a machine of one speed; rows are saved delay by delay.
    """
    settings, cases = SETTINGS, CASES
    if quick:
        settings = {**SETTINGS, "hidden": 16, "iterations": 3, "layers": 3, "grow": "none"}
        cases = tuple(Case(case.codec, case.staleness, 1) for case in CASES[1:3])
    result: dict[str, Any] = {"settings": settings, "target": TARGET, "limit": LIMIT, "rows": []}
    if quick:
        return {**result, "rows": linked(cases, LINKS[:1], settings, apart=False)}
    chosen = [link for link in LINKS if link.title.startswith(tuple(only.split(";")))]
    for delay in dict.fromkeys(link.delay for link in chosen):
        links = [link for link in chosen if link.delay == delay]
        kept = [row for row in done if row["link"] not in {link.title for link in links}]
        done = result["rows"] = kept + linked(cases, links, settings, apart=True)
        save({"network": result})
    return result


def best(rows: Sequence[dict[str, Any]], link: str, case: Case) -> dict[str, Any] | None:
    """Return the fastest run of a case over a link."""
    found = [r for r in rows if (r["link"], r["codec"], r["staleness"]) == (link, case.codec, case.staleness)]
    return min(found, key=lambda row: row["history"][-1][1], default=None)


def network_tables(measured: dict[str, Any]) -> dict[str, str]:
    """Return the tables by name: seconds to the target, beside those over an unlimited link, and an iteration's."""
    rows = measured["rows"]
    links = [link.title for link in LINKS if any(row["link"] == link.title for row in rows)]
    cases = [case for case in CASES if best(rows, links[0], case)]
    to_target, iterations = [], []
    for case in cases:
        first, each = best(rows, links[0], case), [best(rows, link, case) for link in links]
        to_target.append([case.title, *(_reached(row, first, measured["limit"]) for row in each)])
        iterations.append([case.title, *(_iteration(row) for row in each)])
    return {
        "network": table([f"to {100 * measured['target']:.0f} %, s", *links], to_target),
        "iterations": table(["an iteration, ms; waiting", *links], iterations),
    }


def _reached(row: dict[str, Any] | None, unlimited: dict[str, Any] | None, limit: float) -> str:
    if row is None or row["seconds_to_target"] is None:
        return "" if row is None else f"> {limit:.0f}" if row["history"][-1][1] > limit else "not"
    seconds = row["seconds_to_target"]
    if not unlimited or row is unlimited or not unlimited["seconds_to_target"]:
        return f"{seconds:.1f}"
    return f"{seconds:.1f} ({seconds / unlimited['seconds_to_target']:.2f}×)"


def _iteration(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    waiting = f"{100 * max(row['wait_share']):.0f} %"
    return f"{1e3 * row['deep_seconds'] / row['deep_iterations']:.0f}; {waiting}" if row["deep_seconds"] else waiting


if __name__ == "__main__":
    worker(*sys.argv[1:])

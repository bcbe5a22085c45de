"""Large graphs from edges to a trained model, within a cap of memory: seconds and peak memory of each step.

python examples/benchmarks/scale/main.py --parts products         # the size of ogbn-products, synthetic
python examples/benchmarks/scale/main.py --parts papers           # a twentieth of ogbn-papers100M
python examples/benchmarks/scale/main.py --quick                  # a small graph, prints only

Every step is a process of its own; what is counted of it is memory that is no file's (RssAnon), which the system cannot
take back. All files lie in one folder, which is removed at the end (--folder says where: products takes 8 GB).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import graphs
from graphs import Shape
from pages import Pages, Results, arguments, stamp, table

from gamlp_admm import AugmentFeatures, load_graph, load_predictor
from gamlp_admm.cli import main as command_line
from gamlp_admm.errors import byte_count

GIB = 2**30


@dataclass(frozen=True)
class Task:
    """A graph, and what is done with it.

    Attributes:
        shape: The graph.
        hops: Hops of its features.
        memory: The cap of augmenting and of training.
        labelled: Whether only features of nodes that train, validate or test are kept.
        options: Options of training.
        threads: Threads.
    """

    shape: Shape
    hops: int
    memory: str
    labelled: bool = False
    options: tuple[str, ...] = ()
    threads: int = 2


PRODUCTS = Shape(2_449_029, 123_718_280, True, 100, 47, 196_615, 39_323, 2_213_091)
PAPERS = Shape(111_059_956, 1_615_685_872, False, 128, 172, 1_207_179, 125_265, 214_338)
TWENTIETH = Shape(*(n // 20 for n in (PAPERS.nodes, PAPERS.edges)), False, 128, 172, 60_358, 6_263, 10_716)
TRAINED = ("--batch-size", "512", "--iterations", "5", "--evaluate-every", "5", "--layers", "2", "--threads", "1")
TASKS = {
    "products": Task(PRODUCTS, 3, "4GiB", False, (*TRAINED, "--hidden", "256")),
    "papers": Task(TWENTIETH, 3, "6GiB", True, (*TRAINED, "--hidden", "256")),
}
QUICK = Task(
    Shape(5_000, 100_000, True, 32, 10, 1_000, 500, 3_500), 2, "64MiB", True, (*TRAINED, "--hidden", "32"), threads=1
)

# --- the steps ------------------------------------------------------------------------------------------------


def make(task: Task, folder: Path) -> None:
    """Make the graph."""
    graphs.make(folder, task.shape)


def augment(task: Task, folder: Path) -> None:
    """Propagate features into a store."""
    data = graphs.load(folder)
    rows = "labelled" if task.labelled else None
    AugmentFeatures(task.hops, out=folder / "store", memory=task.memory, rows=rows)(data)


def train(task: Task, folder: Path) -> None:
    """Train from the store."""
    files = ("--save", str(folder / "model.safetensors"), "--json", str(folder / "run.json"), "--quiet")
    status = command_line(["train", "--data", str(folder / "store"), "--memory", task.memory, *task.options, *files])
    if status:
        sys.exit(status)


def predict(task: Task, folder: Path) -> None:
    """Predict from the store, and note the accuracy on test nodes."""
    loaded = load_graph(folder / "store")
    made, test = load_predictor(folder / "model.safetensors")(loaded), loaded.data.test_mask
    accuracy = float((made.classes[test] == loaded.data.y[test]).double().mean())
    (folder / "accuracy.json").write_text(json.dumps(accuracy))


STEPS = {step.__name__: step for step in (make, augment, train, predict)}

# --- what they take -------------------------------------------------------------------------------------------


def measured(task: Task, step: str, folder: Path) -> Results:
    """Run a step in a process of its own; return its seconds, and the peak of its memory that is no file's."""
    begin, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        [sys.executable, __file__, "--step", step, "--task", json.dumps(asdict(task)), "--folder", folder]
    )
    while process.poll() is None:
        peak = max(peak, anonymous(process.pid))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{step} ended with {process.returncode}")
    return {"seconds": time.perf_counter() - begin, "bytes": peak}


def anonymous(pid: int) -> int:
    """Return the bytes of a process that are no file's, 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def of(task: Task, place: str | None) -> Results:
    """Run all steps of a task; return what each takes, what is on the disk, and the accuracy."""
    with tempfile.TemporaryDirectory(prefix="gamlp-admm-scale-", dir=place) as name:
        folder = Path(name)
        steps = {}
        for step in STEPS:
            steps[step] = measured(task, step, folder)
            print(
                f"{step}: {steps[step]['seconds']:.1f} s, {steps[step]['bytes'] / GIB:.2f} GiB",
                file=sys.stderr,
                flush=True,
            )
        report = json.loads((folder / "run.json").read_text())
        disk = {
            path.name: sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) for path in (folder / "store",)
        }
        disk |= {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
        return {
            "task": asdict(task),
            "steps": steps,
            "disk": disk,
            "start": report["history"][0]["test_accuracy"],
            "best": report["best"]["test_accuracy"],
            "predicted": json.loads((folder / "accuracy.json").read_text()),
            "training_seconds": report["seconds"]["train"],
        }


def task_of(told: dict[str, Any]) -> Task:
    """Return a task of its JSON."""
    return Task(**{**told, "shape": Shape(**told["shape"]), "options": tuple(told["options"])})


# --- the pages ------------------------------------------------------------------------------------------------


def gib(count: float) -> str:
    """Return bytes as text."""
    digits = 1 if count >= 10 * GIB else 2 if count >= GIB / 100 else 4
    return f"{count / GIB:.{digits}f}"


def planned(shape: Shape, hops: int, labelled: bool, hidden: int, width: int) -> list[tuple[str, str, int]]:
    """Return the bytes of a task on paper: what it is, where it lies, how large it is."""
    entries = shape.edges * (1 if shape.both_ways else 2) + shape.nodes
    rows = shape.train + shape.val + shape.test if labelled else shape.nodes
    used, states = shape.train + shape.val + shape.test, hops + 1
    d = shape.columns * states
    return [
        ("edges, int32", "file", 8 * shape.edges),
        ("features, float32", "file", 4 * shape.nodes * shape.columns),
        ("the matrix: a row's neighbours, int32", "memory or file", 4 * entries + 12 * shape.nodes),
        ("columns in work, three times", "memory", 3 * 4 * shape.nodes * width),
        ("the store", "file", 4 * rows * d),
        ("rows in training, in their units", "scratch file", 4 * used * d),
        ("the start: training rows centred, and turned", "scratch files", 2 * 4 * shape.train * d),
        (
            "the start: scores of training rows by each linear model",
            "memory",
            2 * (states + 2) * 4 * shape.train * shape.classes,
        ),
        ("the start: hidden neurons of training rows, eight times", "memory", 8 * 4 * shape.train * hidden),
        ("the first layer, with what batches leave behind", "memory", 4 * d * (2 * hidden + 40)),
        ("targets and outputs of all rows", "memory", 2 * 4 * used * shape.classes),
    ]


def plan_table() -> str:
    """Return the plan of both data sets at their full size."""
    products, papers = planned(PRODUCTS, 3, False, 256, 100), planned(PAPERS, 3, True, 256, 4)
    rows = [[what, where, gib(a), gib(b)] for (what, where, a), (_, _, b) in zip(products, papers, strict=True)]
    for what, part in (("augmenting", slice(0, 5)), ("training", slice(5, None))):
        sums = (sum(size for _, where, size in plan[part] if "memory" in where) for plan in (products, papers))
        rows.append([f"**{what}, in memory**", "", *(f"**{gib(total)}**" for total in sums)])
    return table(["what", "where", "ogbn-products, GiB", "ogbn-papers100M, GiB"], rows, left=2)


def steps_table(results: Results) -> str:
    """Return what each step took."""
    rows = []
    for name, found in results["tasks"].items():
        cap = byte_count("memory", found["task"]["memory"])
        for step, took in found["steps"].items():
            limit = gib(cap) if step in ("augment", "train") else ""
            rows.append([name, step, f"{took['seconds']:.0f}", gib(took["bytes"]), limit])
    return table(["graph", "step", "seconds", "peak memory, GiB", "cap, GiB"], rows, left=2)


def accuracy_table(results: Results) -> str:
    """Return what the models are worth."""
    rows = []
    for name, found in results["tasks"].items():
        best = graphs.ceiling(task_of(found["task"]).shape)
        shares = (found["start"], found["best"], found["predicted"], best)
        rows.append([name, gib(sum(found["disk"].values())), *(f"{100 * share:.1f}" for share in shares)])
    names = [
        "graph",
        "on the disk, GiB",
        "start, %",
        "best, %",
        "predicted from the store, %",
        "who knows the classes, %",
    ]
    return table(names, rows)


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    if "tasks" not in results:
        return {"plan": plan_table()}
    versions = results["environment"]["versions"]
    told = f"gamlp_admm {versions['gamlp-admm']}, torch {versions['torch']}, 2 threads, seed 0, {results['date']}."
    made = {"steps": steps_table(results), "accuracy": accuracy_table(results), "environment": told}
    return {"plan": plan_table()} | made


PAGES = Pages(Path(__file__).parent, tables, ("docs/scale.md",), indent=1)


def main() -> None:
    """Run the tasks, and renew the pages."""
    parser = arguments(__doc__, list(TASKS))
    parser.add_argument("--folder", help="where files are made and removed; default: the system's temporary files")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        task = task_of(json.loads(given.task))
        torch.set_num_threads(task.threads)
        STEPS[given.step](task, Path(given.folder))
        return
    if given.quick:
        print("\n\n".join(list(tables({**stamp(), "tasks": {"small": of(QUICK, given.folder)}}).values())[1:]))
        return
    if not given.tables:
        for name in given.parts:
            done = {**PAGES.read().get("tasks", {}), name: of(TASKS[name], given.folder)}
            PAGES.save({**stamp(), "tasks": done})
    PAGES.renew(PAGES.read())
    print("\n\n".join(tables(PAGES.read()).values()))


if __name__ == "__main__":
    main()

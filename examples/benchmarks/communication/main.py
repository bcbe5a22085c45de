"""Quantised communication: accuracy against bytes, what coding costs, and training over a slow network.

python examples/benchmarks/communication/main.py                    # all parts; writes results and pages
python examples/benchmarks/communication/main.py --parts network    # some of them
python examples/benchmarks/communication/main.py --parts accuracy,to-accuracy --only "cora 100"   # these rows alone
python examples/benchmarks/communication/main.py --quick            # a small network, prints only

``accuracy`` needs the raw files of the five data sets under $GAMLP_ADMM_DATA and takes an hour and a half on two cores.
``network`` needs Linux and the rights to make network namespaces and limit links (iproute2's ip and tc): two minutes a
link, but fifteen where it is slowest.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.codecs import Codec, codec, native
from gamlp_admm.experiment import Experiment, prepare, run
from gamlp_admm.experiment.comparison import Comparison, plan
from gamlp_admm.system.allocator import keep_freed_memory

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import to_accuracy as nearing
from links import network, network_tables
from pages import Pages, Results, arguments, percent, stamp, table, versions

HERE = Path(__file__).parent
PARTS = ("accuracy", "to-accuracy", "cost", "network", "staleness")

SETTINGS = {
    "cora": {"operator": "ppr", "hops": 10, "nu": 0.1, "mu": 0.01},
    "citeseer": {"operator": "ppr", "hops": 10, "nu": 0.01, "mu": 0.01},
    "amazon-photo": {"operator": "ppr", "hops": 10, "nu": 0.001, "mu": 0.001},
    "amazon-computers": {"operator": "sym", "hops": (1, 2), "nu": 0.01, "mu": 0.01},
    "coauthor-cs": {"operator": "ppr", "hops": 10, "nu": 0.01, "mu": 0.01},
}
SHARES = "60/20/20"
SETTINGS |= {f"{name} {SHARES}": {**SETTINGS[name], "split": SHARES} for name in ("amazon-photo", "amazon-computers")}
DRAWN = {"init": "kaiming", "solver": "linesearch"}  # the network grows, and all layers step alike
RAW = {"scale": "none", "decay_to": "zero", **DRAWN}  # what these penalties are for
GROWN = {"layers": 10, "grow": (2, 5, 10)}
WIDTHS = {100: 200, 1000: 100}  # neurons: iterations of each stage of growth, 2, 5 and 10 layers
CODECS = ("fp32", "int4-delta", "int2-delta", "changed:int2-delta", "lean", "grid:auto:256", "grid:auto:65536")
OF_SHARES = ("fp32", "int2-delta", "lean")  # codecs of splits by shares
OF_100 = ("changed:int2-delta",)  # codecs of 100 neurons alone
SEEDS = (0, 1, 2, 3, 4)


# --- accuracy -----------------------------------------------------------------------------------------------


def accuracy_of(dataset: str, hidden: int, codec: str, seeds: tuple[int, ...], settings: dict[str, Any]) -> dict:
    """Train one network under one codec from every seed; return its row of the comparison, and a mean history."""
    keep_freed_memory()
    name, _, _ = dataset.partition(" ")
    experiment = Experiment(dataset=name, hidden=hidden, threads=1, cache="none", **RAW, **settings)
    prepared, comparison = prepare(experiment), Comparison()
    for name, each in plan(experiment, [codec], seeds):
        comparison.add(name, run(each, (), prepared))
    (row,) = comparison.rows()
    reports = comparison.reports[codec]
    histories = zip(*(report["history"] for report in reports), strict=True)
    return {
        "dataset": dataset,
        "hidden": hidden,
        **row,
        "test_accuracies": [report["best"]["test_accuracy"] for report in reports],
        "history": [
            {
                "iteration": records[0]["iteration"],
                "bytes_sent": statistics.fmean(record["bytes_sent"] for record in records),
                "test_accuracy": [record["test_accuracy"] for record in records],
            }
            for records in histories
        ],
    }


def tasks(quick: bool) -> list[tuple[str, int, str, tuple[int, ...], dict[str, Any]]]:
    """Return the arguments of every call of :func:`accuracy_of`, the longest first."""
    if quick:
        small = {"layers": 3, "iterations": 5, "operator": "sym", "hops": 1, "evaluate_every": 1}
        return [("karate", 16, codec, (0, 1), small) for codec in ("fp32", "int2-delta", "grid:auto:256")]
    shared = {**GROWN, "evaluate_every": 10}
    return [
        (
            dataset,
            hidden,
            codec,
            SEEDS,
            {**settings, **shared, "iterations": WIDTHS[hidden]},
        )
        for hidden in sorted(WIDTHS, reverse=True)
        for codec in CODECS
        for dataset, settings in SETTINGS.items()
        if (codec in OF_SHARES or "split" not in settings) and (hidden == 100 or codec not in OF_100)
    ]


def accuracy(quick: bool, done: list[dict], only: str) -> list[dict]:
    """Return the rows of all tasks, those of an earlier, interrupted call among them."""
    known = {(row["dataset"], row["hidden"], row["codec"]) for row in done}
    missing = [task for task in tasks(quick) if task[:3] not in known]
    return [accuracy_of(*t) for t in missing] if quick else completed("accuracy", accuracy_of, done, missing, only, 3)


def to_accuracy(quick: bool, done: list[dict], only: str) -> list[dict]:
    """Return the rows of :mod:`to_accuracy`, those of an earlier call among them."""
    if quick:
        small = {"layers": 3, "operator": "sym", "hops": 1, "evaluate_every": 1}
        before = {**RAW, **small, "iterations": 20, "grow": (2, 3), "codec": "fp32"}
        missing = [("karate", 16, (0, 1), before, {**nearing.NOW, **small})]
    else:
        known = {(row["dataset"], row["hidden"]) for row in done}
        missing = [
            (
                dataset,
                hidden,
                SEEDS,
                {**RAW, **settings, **GROWN, "iterations": WIDTHS[hidden], "evaluate_every": 2, "codec": "fp32"},
                {"layers": 10, **nearing.NOW, **{k: v for k, v in settings.items() if k in nearing.FEATURES}},
            )
            for hidden in WIDTHS
            for dataset, settings in SETTINGS.items()
            if (dataset, hidden) not in known
        ]
    if quick:
        return [nearing.compared(*task) for task in missing]
    return completed("to-accuracy", nearing.compared, done, missing, only, 2)


def completed(
    part: str, measure: Callable[..., dict], done: list[dict], missing: list[Any], only: str, named: int
) -> list[dict]:
    """Return rows of a part, and those that are measured now, each kept as soon as it is there.

    Args:
        part: Its name.
        measure: Measures a row.
        done: Rows that are there.
        missing: Arguments of the others.
        only: What the first arguments of those wanted now, with spaces between, begin with.
        named: How many arguments those are.
    """
    rows = list(done)
    titles = [" ".join(map(str, task[:named])) for task in missing]
    wanted = [task for task, title in zip(missing, titles, strict=True) if f"{title} ".startswith(only and f"{only} ")]
    with ProcessPoolExecutor(torch.get_num_threads(), mp_context=get_context("spawn")) as pool:
        started = {pool.submit(measure, *task): task for task in wanted}
        for finished in as_completed(started):
            rows.append(finished.result())
            print(part, *started[finished][:named], file=sys.stderr)
            PAGES.save({part: rows})
    return rows


# --- what coding costs --------------------------------------------------------------------------------------

COST = {"nodes": 20_000, "hidden": 500, "layers": 10}
COSTS = {  # codecs, and which part of the rows differs from what both ends hold
    **{f"`{name}`": (name, 1) for name in ("fp16", "int8-delta", "int4-delta", "int2-delta", "grid:-0.1:2:256")},
    "`lean`, all rows": ("lean", 1),
    "`lean`, a tenth of the rows": ("lean", 10),
}


def seconds_of(call: Any, repeats: int) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def iteration_seconds(size: dict[str, int], name: str, iterations: int) -> float:
    """Return the time of an iteration of a network on synthetic nodes, in one process and thread."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size["nodes"], size["hidden"], generator=generator)
    data = SimpleNamespace(x=x, y=x[:, :10].argmax(1), train_mask=torch.ones(len(x), dtype=torch.bool))
    model = GAMLP(size["hidden"], size["hidden"], 10, size["layers"], init="kaiming")
    trainer = PdADMMG(rho=0.1, nu=0.1, mu=0.01, codec=name, solver="linesearch")
    history = trainer.fit(model, data, 1 + iterations, seed=0, evaluate_every=1).history
    return statistics.median(b["seconds"] - a["seconds"] for a, b in pairwise(history))


def cost(quick: bool) -> dict[str, Any]:
    """Compare encoding and decoding p and q of a layer with its iteration, and iterations with and without a codec."""
    keep_freed_memory()
    torch.set_num_threads(1)
    size = {"nodes": 200, "hidden": 32, "layers": 3} if quick else COST
    repeats = 2 if quick else 5
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, size["nodes"], size["hidden"], generator=generator).relu_()
    after = x + 0.02 * torch.randn(x.shape, generator=generator)
    rows, runs = [], dict[str, list[float]]()
    for title, (name, every) in list(COSTS.items())[-3:] if quick else COSTS.items():
        coder, before = codec(name), x.clone()
        before[:, ::every] = after[:, ::every]
        assert isinstance(coder, Codec)
        payload, _ = coder.transmit(x, before)
        if name not in runs:
            runs[name] = [iteration_seconds(size, each, 3) for each in ("fp32", name)]
        full, coded = runs[name]
        row = {"codec": title, "full": full, "coded": coded}
        for by, serves in (("", native.serves), ("_by_operators", lambda *_: False)):
            with mock.patch.object(native, "serves", serves):
                encode = seconds_of(lambda coder=coder, before=before: coder.transmit(x, before), repeats)
                decode = seconds_of(lambda c=coder, load=payload, before=before: c.decode(load, x, before), repeats)
            share = 2 * (encode + decode) / (full / size["layers"])
            row |= {f"encode{by}": encode, f"decode{by}": decode, f"share{by}": share}
        rows.append(row)
        print(rows[-1], file=sys.stderr)
    return {"size": size, "rows": rows}


# --- layers that do not wait --------------------------------------------------------------------------------

STALE_CODECS = ("fp32", "int2-delta")
SPLIT_SEEDS = (10, 11, 12, 13, 14)


def unwaited_of(dataset: str, codec: str, staleness: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Train on several random splits, with or without staleness; return what validated best, and what came last."""
    keep_freed_memory()
    shared = {**RAW, "staleness": staleness, "split": "per-class:20:30", "threads": 1, "cache": "none", **settings}
    histories = [
        run(Experiment(dataset=dataset, codec=codec, split_seed=seed, seed=seed, **shared)).report["history"]
        for seed in SPLIT_SEEDS
    ]
    deep = [[r for r in history if r["layers"] == shared["layers"]] for history in histories]
    return {
        "dataset": dataset,
        "codec": codec,
        "staleness": staleness,
        "best": [max(r["val_accuracy"] for r in records) for records in deep],
        "last": [records[-1]["val_accuracy"] for records in deep],
        "objective": [records[-1]["objective"] for records in deep],
        "primal_residual": [records[-1]["primal_residual"] for records in deep],
    }


def unwaited(quick: bool, done: list[dict]) -> list[dict]:
    """Return the rows of every data set and codec, those of an earlier, interrupted call among them."""
    shared = {"layers": 10, "grow": (2, 5, 10), "hidden": 100, "iterations": WIDTHS[100], "evaluate_every": 10}
    of = {name: {**settings, **shared} for name, settings in SETTINGS.items() if "split" not in settings}
    if quick:
        of = {
            "karate": {"layers": 3, "grow": "none", "iterations": 5, "operator": "sym", "hops": 1, "evaluate_every": 1}
        }
    rows = [] if quick else list(done)
    known = {(row["dataset"], row["codec"], row["staleness"]) for row in rows}
    for task in ((d, c, s) for d in of for c in STALE_CODECS for s in (0, 1)):
        if task not in known:
            rows.append(unwaited_of(*task, of[task[0]]))
            print(*task, f"{statistics.fmean(rows[-1]['best']):.4f}", file=sys.stderr)
            if not quick:
                PAGES.save({"staleness": rows})
    return rows


# --- results ------------------------------------------------------------------------------------------------


def accuracy_table(rows: list[dict], hidden: int, which: str = "test_accuracy") -> str:
    """Return test accuracies by codec and data set, and how many times fewer bytes were sent."""
    cells = {(row["codec"], row["dataset"]): row for row in rows if row["hidden"] == hidden}
    datasets = [name for name in (*SETTINGS, "karate") if any(dataset == name for _, dataset in cells)]
    lines = []
    for name in [name for name in CODECS if any(coded == name for coded, _ in cells)]:
        found = [cells.get((name, dataset)) for dataset in datasets]
        accuracies = [
            f"{100 * row[f'{which}_mean']:.1f} ± {100 * row[f'{which}_std']:.1f}" if row else "" for row in found
        ]
        fewer = [f"{min(row[f'times_fewer_than_{whom}'] for row in found if row):.1f}×" for whom in ("fp32", "authors")]
        lines.append([f"`{name}`", *accuracies, *fewer])
    return table([f"{hidden:,} neurons", *datasets, "less than fp32", "than p, q, u"], lines)


def cost_table(measured: dict[str, Any]) -> str:
    """Return what encoding and decoding cost."""
    lines = []
    for row in measured["rows"]:
        slower = f"{100 * (row['coded'] / row['full'] - 1):+.1f} %"
        both = ("", "_by_operators")
        times = [" / ".join(f"{1e3 * row[f'{name}{by}']:.1f}" for by in both) for name in ("encode", "decode")]
        shares = " / ".join(f"{100 * row[f'share{by}']:.1f}" for by in both)
        lines.append([row["codec"], *times, f"{shares} %", slower])
    size = measured["size"]
    entries = f"{size['nodes'] * size['hidden']:,} entries"
    layer = 1e3 * statistics.median(row["full"] for row in measured["rows"]) / size["layers"]
    columns = "encode, ms", "decode, ms", f"p and q, of a layer's iteration of {layer:.0f} ms", "whole run, 1 process"
    return table([entries, *columns], lines)


def unwaited_table(rows: list[dict]) -> str:
    """Return validation accuracies with and without staleness, by codec and data set."""
    cells = {(row["codec"], row["staleness"], row["dataset"]): row for row in rows}
    datasets = list(dict.fromkeys(dataset for _, _, dataset in cells))
    lines = []
    for name, staleness in dict.fromkeys(key[:2] for key in cells):
        found = [cells.get((name, staleness, dataset)) for dataset in datasets]
        accuracies = [
            f"{percent(row['best'])}; {100 * statistics.fmean(row['last']):.1f}" if row else "" for row in found
        ]
        lines.append([f"`{name}`" + (", staleness 1" if staleness else ""), *accuracies])
    return table(["best on validation; last", *datasets], lines)


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    made = {}
    for hidden in dict.fromkeys(row["hidden"] for row in results.get("accuracy", [])):
        made[f"accuracy {hidden}"] = accuracy_table(results["accuracy"], hidden)
        made[f"last {hidden}"] = accuracy_table(results["accuracy"], hidden, "last_test_accuracy")
    if results.get("to-accuracy"):
        made["to-accuracy"] = nearing.tables(results["to-accuracy"])
    if "cost" in results:
        made["cost"] = cost_table(results["cost"])
    if "network" in results:
        made |= network_tables(results["network"])
    if "staleness" in results:
        made["staleness"] = unwaited_table(results["staleness"])
    made["environment"] = f"{results['date']}; float32, one thread a process; {versions(results)}."
    return made


PAGES = Pages(HERE, tables, ("docs/communication-results.md",))


def plot(rows: list[dict], hidden: int, path: Path) -> None:
    """Plot test accuracy against bytes, means and ranges over seeds, a panel a data set."""
    from matplotlib.figure import Figure

    datasets = [name for name in SETTINGS if any(r["dataset"] == name and r["hidden"] == hidden for r in rows)]
    figure = Figure(figsize=(3.2 * len(datasets), 3.4), layout="constrained")
    panels = figure.subplots(1, len(datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        for name in CODECS:
            for row in rows:
                if (row["dataset"], row["hidden"], row["codec"]) == (dataset, hidden, name):
                    sent = [record["bytes_sent"] for record in row["history"]]
                    low, mean, high = (
                        [of(record["test_accuracy"]) for record in row["history"]]
                        for of in (min, statistics.fmean, max)
                    )
                    (line,) = axes.plot(sent, mean, label=name, linewidth=1.1)
                    axes.fill_between(sent, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set(xscale="log", title=dataset, xlabel="bytes sent")
        axes.set_ylim(bottom=0.5)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy")
    panels[0].legend(fontsize=7)
    figure.savefig(path, dpi=110)


def measured(parts: Sequence[str], quick: bool, before: Results, only: str = "") -> Results:
    """Return what was measured before, with these parts renewed."""
    results = {**before, **stamp()}
    if "accuracy" in parts:
        results["accuracy"] = accuracy(quick, before.get("accuracy", []), only)
    if "to-accuracy" in parts:
        results["to-accuracy"] = to_accuracy(quick, before.get("to-accuracy", []), only)
    if "cost" in parts:
        results["cost"] = cost(quick)
    if "network" in parts:
        results["network"] = network(quick, PAGES.save, before.get("network", {}).get("rows", []), only)
    if "staleness" in parts:
        results["staleness"] = unwaited(quick, before.get("staleness", []))
    return results


def main() -> None:
    """Measure and write."""
    parser = arguments(__doc__, PARTS)
    parser.add_argument(
        "--only",
        default="",
        help="rows that begin with this: data set, neurons, codec; or links, divided by ;",
    )
    given = parser.parse_args()
    if given.quick:
        print("\n\n".join(tables(measured(given.parts, True, {})).values()))
        return
    results = PAGES.read()
    if not given.tables:
        results = PAGES.save(measured(given.parts, False, results, given.only))
    PAGES.renew(results)
    for hidden in WIDTHS:
        if any(row["hidden"] == hidden for row in results.get("accuracy", [])):
            plot(results["accuracy"], hidden, HERE / f"accuracy-{hidden}.png")


if __name__ == "__main__":
    main()

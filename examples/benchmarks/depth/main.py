"""Deep networks: why ten layers collapsed, and what units, weight decay to the identity and growth do about it.

python examples/benchmarks/depth/main.py                  # all parts; writes results, plots and pages
python examples/benchmarks/depth/main.py --parts curves   # some of them: curves, factors, decays, depths, …
python examples/benchmarks/depth/main.py --quick          # small networks, prints only

Needs the raw files of Cora and Amazon Photo under $GAMLP_ADMM_DATA. One thread; results.json is written part by part.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch_geometric.data import Data
from torch_geometric.transforms import Compose, ToUndirected

from gamlp_admm import GAMLP
from gamlp_admm.algorithms import trainer
from gamlp_admm.datasets import load_dataset
from gamlp_admm.system.allocator import keep_freed_memory
from gamlp_admm.training.growth import depths as stages_of
from gamlp_admm.training.result import Result
from gamlp_admm.transforms import AugmentFeatures

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, percent, stamp, table, versions

HERE = Path(__file__).parent
SEEDS = (0, 1, 2, 3, 4)
DEPTHS = (2, 5, 10, 20, 50)
RATES = (1e-3, 3e-3, 1e-2)
NUS, RATIOS = (1e-3, 1e-2, 1e-1, 1.0), (0.01, 0.03, 0.1, 0.3, 1.0)
AUGMENT = Compose([ToUndirected(), AugmentFeatures(operator="ppr", hops=10)])

Settings = dict[str, Any]
Row = dict[str, Any]


class Size(NamedTuple):
    """How large everything is."""

    hidden: int = 100
    wide: int = 500
    iterations: int = 40  # of each stage
    curve: int = 60
    every: int = 5
    depths: tuple[int, ...] = DEPTHS
    datasets: tuple[str, ...] = ("cora", "amazon-photo")
    seeds: tuple[int, ...] = SEEDS
    rates: tuple[float, ...] = RATES
    nus: tuple[float, ...] = NUS
    ratios: tuple[float, ...] = RATIOS


QUICK = Size(16, 20, 3, 3, 1, (2, 5, 10), ("digits-knn",), (0, 1), (1e-2,), (1e-2, 1e-1), (0.1,))


@cache
def graph(name: str) -> Data:
    """Return a data set with augmented features."""
    data = AUGMENT(load_dataset(name).data)
    assert isinstance(data, Data)
    return data


def trained(
    data: Any, settings: Settings, layers: int, hidden: int, iterations: int, seed: int = 0, **how: Any
) -> tuple[Result, GAMLP]:
    """Train a network on data; return the result and the network."""
    named = {"algorithm": "pdadmm-g", **settings}
    if named["algorithm"].startswith("pdadmm"):
        named = {"solver": "linesearch", **named}
    model = GAMLP(data.num_features, hidden, int(data.y.max()) + 1, layers, init=named.pop("init", "kaiming"))
    model.to(data.x.dtype)
    how = {"evaluate_every": 1, **how}
    result = trainer(named.pop("algorithm"), **named).fit(model, data, iterations, seed=seed, **how)
    said = f"{100 * result.best['test_accuracy']:.1f} % {result.seconds:.1f} s"
    print(layers, hidden, iterations, seed, settings, said, file=sys.stderr, flush=True)
    return result, model


def chosen(result: Result, layers: int | None = None) -> Row:
    """Return accuracies of a stage, the last one by default: best on validation, and after its last iteration."""
    layers = layers or result.history[-1]["layers"]
    records = [record for record in result.history if record["layers"] == layers]
    best = max(records, key=lambda record: record["val_accuracy"])
    found = {
        "val": best["val_accuracy"],
        "test": best["test_accuracy"],
        "last": records[-1]["test_accuracy"],
        "loss": records[-1]["train_loss"],
    }
    return {name: float(f"{value:.6g}") for name, value in found.items()}


# --- curves -------------------------------------------------------------------------------------------------

PAPERS: Settings = {"init": "normal", "scale": "none", "decay_to": "zero", "rho": 1e-4, "nu": 1e-4, "mu": 1e-2}
CURVES: dict[str, tuple[Settings, bool, str]] = {
    "a": (PAPERS, False, "raw, ν 1e-4, μ 0.01"),
    "b": (PAPERS, True, "raw, ν 1e-4, μ 0.01, grown"),
    "c": ({**PAPERS, "mu": 1e-5}, False, "raw, ν 1e-4, μ = ν/10"),
    "d": ({**PAPERS, "mu": 1e-5}, True, "raw, ν 1e-4, μ = ν/10, grown"),
    "e": ({}, False, "unit, ν 0.01, μ = ν/10"),
    "f": ({"decay_to": "zero"}, True, "unit, ν 0.01, μ = ν/10, grown, decay to zero"),
    "g": ({}, True, "defaults: as f, decay to identity"),
    "h": ({"init": "identity"}, False, "as e, identity start"),
    "i": ({"algorithm": "adam"}, False, "Adam, raw"),
    "j": ({"algorithm": "adam", "scale": "unit", "init": "identity"}, False, "Adam, unit, identity start"),
}
"""Settings, whether grown, and title. What is not given has pdADMM-G's default."""


def signal(model: GAMLP, x: torch.Tensor) -> list[float]:
    """Return how far the rows are apart after each hidden layer: the root mean square distance from their mean."""
    spreads = []
    with torch.no_grad():
        for layer in model.linears[:-1]:
            x = model.f(layer(x))
            spreads.append(float((x - x.mean(0)).square().sum(1).mean().sqrt()))
    return spreads


def curves(size: Size) -> Row:
    """Return the histories of ten layers on the first data set, from one seed."""
    data, depth = graph(size.datasets[0]), 10
    stages = len(stages_of("auto", depth))
    kept = ("iteration", "layers", "objective", "train_loss", "train_accuracy", "val_accuracy", "test_accuracy")
    rows = []
    for name, (settings, grown, title) in CURVES.items():
        how = {"grow": "auto" if grown else None, "select": "last"}
        iterations = size.curve * (1 if grown else stages)
        tried = [{**settings, "lr": lr} for lr in size.rates] if "algorithm" in settings else [settings]
        runs = [trained(data, each, depth, size.hidden, iterations, **how) for each in tried]
        best = max(range(len(runs)), key=lambda i: chosen(runs[i][0])["val"])
        result, model = runs[best]
        history = [{key: float(f"{record[key]:.5g}") for key in kept} for record in result.history]
        spread = signal(model, data.x[data.train_mask])
        rows.append(
            {"name": name, "title": title, "settings": tried[best], "history": history, "signal": spread}
            | chosen(result)
        )
    return {"rows": rows, "num_train": int(data.train_mask.sum()), "dataset": size.datasets[0]}


def curves_table(measured: Row) -> str:
    """Return how the runs ended."""
    lines = []
    for row in measured["rows"]:
        last = row["history"][-1]
        objective = last["objective"] / measured["num_train"]
        rate = f", learning rate {row['settings']['lr']:g}" if "lr" in row["settings"] else ""
        cells = [f"{objective:.2g}", f"{last['train_loss']:.2g}", f"{last['train_loss'] / objective:.2g}"]
        if "lr" in row["settings"]:
            cells[0] = cells[2] = ""
        spread = ", ".join(f"{row['signal'][i]:.1g}" for i in (0, 4, 8))
        accuracies = [f"{100 * row[which]:.1f}" for which in ("val", "test", "last")]
        lines.append([f"{row['name']}. {row['title']}{rate}", *cells, spread, *accuracies])
    headings = [
        "objective a row",
        "training loss",
        "loss / objective",
        "signal, layers 1, 5, 9",
        "validation",
        "test",
        "test, last",
    ]
    return table([f"{measured['dataset']}, 10 layers", *headings], lines)


def plot_curves(measured: Row, path: Path) -> None:
    """Plot objective, training loss and accuracies against iterations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.8), layout="constrained")
    panels = figure.subplots(1, 3)
    for i, row in enumerate(measured["rows"]):
        history = row["history"]
        x = [record["iteration"] for record in history]
        colour = {"i": "black", "j": "C8"}.get(row["name"], f"C{i}")
        wide = {"color": colour, "linewidth": 2.4 if row["name"] == "g" else 1.3}
        if "algorithm" not in row["settings"]:
            panels[0].plot(x, [record["objective"] / measured["num_train"] for record in history], **wide)
        panels[1].plot(x, [record["train_loss"] for record in history], **wide)
        panels[2].plot(
            x, [record["test_accuracy"] for record in history], label=f"{row['name']}. {row['title']}", **wide
        )
        panels[2].plot(x, [record["val_accuracy"] for record in history], **wide | {"linewidth": 0.7, "linestyle": ":"})
    for axes, title in zip(panels, ("objective, a training row", "training loss of the forward pass", ""), strict=True):
        axes.set(xlabel="iteration", title=title)
        axes.grid(alpha=0.3)
    panels[0].set_yscale("log")
    panels[1].set_yscale("log")
    panels[2].set(title="test accuracy (dotted: validation)", ylim=(0, 0.9))
    figure.legend(loc="outside lower center", ncols=4, fontsize=8.5)
    figure.savefig(path, dpi=110)


# --- factors ------------------------------------------------------------------------------------------------

STARTS = (("none", "normal"), ("none", "kaiming"), ("unit", "normal"), ("unit", "kaiming"))


def factors(size: Size) -> Row:
    """Return accuracies of ten layers on the first data set: units, start, ν, μ and growth in all combinations."""
    data = graph(size.datasets[0])
    rows = []
    for scale, init in STARTS:
        for grown in (False, True):
            for nu in (1e-4, 1e-2):
                for mu in (1e-2, nu / 10):
                    settings = {"scale": scale, "init": init, "decay_to": "zero", "nu": nu, "mu": mu}
                    how = {"grow": "auto" if grown else None, "evaluate_every": size.every, "select": "last"}
                    count = size.iterations * (1 if grown else len(stages_of("auto", 10)))
                    runs = [trained(data, settings, 10, size.hidden, count, s, **how) for s in size.seeds[:3]]
                    spread = [signal(model, data.x[data.train_mask])[-1] for _, model in runs]
                    found = [chosen(result) for result, _ in runs]
                    rows.append({**settings, "grown": grown, "runs": found, "signal": spread})
    return {"rows": rows}


def factors_table(measured: Row) -> str:
    """Return mean accuracies, best on validation."""
    rows = measured["rows"]
    columns = list(dict.fromkeys((row["nu"], row["mu"]) for row in rows))
    lines = []
    for grown in (False, True):
        for start in STARTS:
            cells = [r for r in rows if (r["grown"], r["scale"], r["init"]) == (grown, *start)]
            name = f"{'grown' if grown else 'not grown'}, {'raw' if start[0] == 'none' else 'unit'}, {start[1]}"
            lines.append([name, *(f"{100 * mean(cell, 'test'):.1f}" for cell in cells)])
    return table(["test accuracy, %", *(f"ν {nu:g}, μ {mu:g}" for nu, mu in columns)], lines)


# --- depths -------------------------------------------------------------------------------------------------

DEEP: dict[str, Settings] = {
    "pdADMM-G, defaults": {},
    "pdADMM-G, decay to zero": {"decay_to": "zero"},
    "pdADMM-G, not grown": {"grow": None},
    "Adam, raw features": {"algorithm": "adam", "scale": "none"},
    "Adam, unit features": {"algorithm": "adam", "scale": "unit"},
}


def depths(size: Size) -> Row:
    """Return accuracies by depth: of one run grown through all depths, or of runs at each depth from the start."""
    shapes = [*((depth, size.hidden) for depth in size.depths), (10, size.wide)]
    rows = []
    for dataset in size.datasets:
        data = graph(dataset)
        for name, fixed in DEEP.items():
            settings = dict(fixed)
            grow = settings.pop("grow", "auto")
            grown = grow == "auto" and "algorithm" not in settings
            cells: dict[str, list[Row]] = {}
            rates = {}
            for depth, hidden in shapes:
                key = f"{depth} x {hidden}"
                stages = stages_of("auto", depth)
                if grown and depth < max(size.depths) and hidden == size.hidden:
                    continue  # a stage of the run to the greatest depth
                count = size.iterations * (1 if grown else len(stages))
                how = {"grow": grow, "evaluate_every": size.every}
                seeds = size.seeds[: 3 if hidden == size.wide else None]
                if "algorithm" in settings:
                    first = {
                        lr: trained(data, {**settings, "lr": lr}, depth, hidden, count, **how) for lr in size.rates
                    }
                    rates[key] = max(first, key=lambda lr: chosen(first[lr][0])["val"])
                    results = [first[rates[key]][0]]
                    named = {**settings, "lr": rates[key]}
                    results += [trained(data, named, depth, hidden, count, s, **how)[0] for s in seeds[1:]]
                else:
                    results = [trained(data, settings, depth, hidden, count, s, **how)[0] for s in seeds]
                if grown and hidden == size.hidden:
                    for stage in size.depths:
                        cells[f"{stage} x {hidden}"] = [chosen(result, stage) for result in results]
                else:
                    cells[key] = [chosen(result) for result in results]
            rows.append({"dataset": dataset, "name": name, "cells": cells, "rates": rates})
    return {"shapes": [f"{depth} x {hidden}" for depth, hidden in shapes], "rows": rows}


def depths_table(measured: Row, which: str) -> str:
    """Return accuracies by network and algorithm."""
    lines = []
    for row in measured["rows"]:
        cells = [percent([run[which] for run in row["cells"][shape]]) for shape in measured["shapes"]]
        lines.append([f"{row['dataset']}, {row['name']}", *cells])
    titles = {"test": "best on validation", "last": "last iteration"}
    return table(
        [f"test accuracy, %, {titles[which]}", *(shape.replace("x", "×") for shape in measured["shapes"])], lines
    )


# --- decays -------------------------------------------------------------------------------------------------


def decays(size: Size) -> Row:
    """Return accuracies by depth of runs grown to the greatest one, under stronger and weaker decay to both ends."""
    rows = []
    for dataset in size.datasets:
        for ratio in (0.1, 0.3, 1.0):
            for to in ("identity", "zero"):
                settings = {"decay_to": to, "nu": 1e-2, "mu": ratio * 1e-2}
                how = {"layers": max(size.depths), "hidden": size.hidden, "iterations": size.iterations}
                runs = [
                    trained(graph(dataset), settings, **how, seed=seed, evaluate_every=size.every)[0]
                    for seed in size.seeds[:2]
                ]
                cells = {str(depth): [chosen(result, depth) for result in runs] for depth in size.depths}
                rows.append({"dataset": dataset, "ratio": ratio, "to": to, "cells": cells})
    return {"rows": rows}


def decays_table(measured: Row) -> str:
    """Return mean accuracies by depth."""
    lines = []
    for row in measured["rows"]:
        cells = [f"{100 * mean({'runs': runs}, 'test'):.1f}" for runs in row["cells"].values()]
        lines.append([f"{row['dataset']}, μ/ν {row['ratio']:g}, to {row['to']}", *cells])
    return table(["test accuracy, %", *(f"{depth} layers" for depth in measured["rows"][0]["cells"])], lines)


# --- penalties ----------------------------------------------------------------------------------------------


def searched(data: Any, size: Size, seeds: Iterable[int], layers: int = 10, **more: Any) -> list[Row]:
    """Return the runs of each pair of penalties."""
    settings = {"scale": "unit", **more}
    hidden = settings.pop("hidden", size.hidden)
    how = {"evaluate_every": size.every}
    cells = []
    for nu in size.nus:
        for ratio in size.ratios:
            named = {**settings, "nu": nu, "mu": ratio * nu}
            runs = [chosen(trained(data, named, layers, hidden, size.iterations, seed, **how)[0]) for seed in seeds]
            cells.append({"nu": nu, "ratio": ratio, "runs": runs})
    return cells


def mean(cell: Row, which: str) -> float:
    return statistics.fmean(run[which] for run in cell["runs"])


def is_default(cell: Row) -> bool:
    return math.isclose(cell["nu"], 1e-2) and math.isclose(cell["ratio"], 0.1)


def penalties(size: Size) -> Row:
    """Return accuracies of ten layers over a grid of ν and μ/ν, in units of the features' own and raw."""
    rows = []
    for dataset in size.datasets:
        for scale in ("unit", "none"):
            rows.append(
                {
                    "dataset": dataset,
                    "scale": scale,
                    "cells": searched(graph(dataset), size, size.seeds[:2], scale=scale),
                }
            )
    return {"rows": rows}


def penalties_table(measured: Row, scale: str) -> str:
    """Return mean test accuracies, best on validation."""
    lines = []
    for row in measured["rows"]:
        if row["scale"] != scale:
            continue
        nus = dict.fromkeys(cell["nu"] for cell in row["cells"])
        ratios = dict.fromkeys(cell["ratio"] for cell in row["cells"])
        for nu in nus:
            cells = [f"{100 * mean(cell, 'test'):.1f}" for cell in row["cells"] if cell["nu"] == nu]
            lines.append([f"{row['dataset']}, ν {nu:g}", *cells])
    return table([f"test accuracy, %, scale {scale}", *(f"μ/ν {ratio:g}" for ratio in ratios)], lines)


# --- scales -------------------------------------------------------------------------------------------------


def changed(data: Any, x: torch.Tensor) -> Data:
    """Return data with other features."""
    return Data(x=x, y=data.y, train_mask=data.train_mask, val_mask=data.val_mask, test_mask=data.test_mask)


def masks(y: torch.Tensor, train: int, val: int, test: int, seed: int) -> Row:
    """Return masks of ``train`` nodes a class, and of ``val`` and ``test`` of the others."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    first = torch.cat([order[y[order] == c][:train] for c in range(int(y.max()) + 1)])
    others = order[~torch.isin(order, first)]
    parts = {"train": first, "val": others[:val], "test": others[val : val + test]}
    return {
        f"{name}_mask": torch.zeros(len(y), dtype=torch.bool).index_fill_(0, part, True) for name, part in parts.items()
    }


def block_model(nodes: int, distance: float, train: int, seed: int, val: int = 500, test: int = 1000) -> Data:
    """Return a graph of four blocks, of ten edges a node, 60 % of them within its block.

    Features are 64 normal numbers of variance 1 around a mean of each class; means are ``distance`` long.
    """
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(nodes) % 4
    ends = torch.randint(nodes, (5 * nodes,), generator=g)
    step = torch.where(torch.rand(len(ends), generator=g) < 0.6, 0, torch.randint(1, 4, ends.shape, generator=g))
    others = 4 * torch.randint(nodes // 4, ends.shape, generator=g) + (y[ends] + step) % 4
    means = torch.nn.functional.normalize(torch.randn(4, 64, generator=g)) * distance
    x = torch.randn(nodes, 64, generator=g) + means[y]
    data = Data(x=x, y=y, edge_index=torch.stack([ends, others]), **masks(y, train, val, test, seed))
    return AUGMENT(data)


def compared(title: str, problems: Sequence[Data], size: Size, layers: int = 10, raw: bool = False, **more: Any) -> Row:
    """Return defaults and the best of the grid, chosen on validation for each problem."""
    row: Row = {"title": title, "problems": []}
    for data in problems:
        found = {"unit": searched(data, size, (0,), layers, **more)}
        if raw:
            found["none"] = searched(data, size, (0,), layers, scale="none", **more)
        row["problems"].append(found)
    return row


def scales(size: Size) -> Row:
    """Return runs on features in other units, on block models and with other numbers of training rows."""
    quick = size is QUICK
    data = graph(size.datasets[0])
    how = {"evaluate_every": size.every}
    g = torch.Generator().manual_seed(0)
    offset = torch.randn(data.num_features, generator=g) * data.x.std()
    powers = []
    for dtype in (torch.float32, torch.float64):
        for k in (-3, 0) if quick else range(-3, 4):
            for shift in (0.0, 1.0, 100.0):
                x = (data.x.to(dtype) + shift * offset.to(dtype)) * 10.0**k
                result, _ = trained(changed(data, x), {}, 10, size.hidden, size.iterations, **how)
                found = {"objective": result.history[-1]["objective"], "iteration": result.best["iteration"]}
                powers.append({"dtype": str(dtype).split(".")[1], "k": k, "shift": shift, **found, **chosen(result)})
    rows = []
    factors = 10 ** (6 * torch.rand(1 if quick else 5, generator=g) - 3)
    rescaled = [changed(data, data.x * factor) for factor in factors]
    rows.append(compared(f"{size.datasets[0]}, times a constant", rescaled, size, raw=True))
    columns = [changed(data, data.x * 10 ** (2 * torch.rand(data.num_features, generator=g) - 1)) for _ in factors[:2]]
    rows.append(compared(f"{size.datasets[0]}, each column times its own constant", columns, size))
    for distance in (1.0,) if quick else (0.5, 1.0, 2.0):
        nodes, val, test = (200, 50, 70) if quick else (2000, 500, 1000)
        graphs = [block_model(nodes, distance, 20, seed, val, test) for seed in range(1 if quick else 2)]
        rows.append(compared(f"block model, means {distance:g} long", graphs, size))
    for count in (5,) if quick else (5, 20, 80):
        own = graph(size.datasets[-1])
        split = [Data(x=own.x, y=own.y, **masks(own.y, count, 500, 2000, seed)) for seed in range(1 if quick else 2)]
        rows.append(compared(f"{size.datasets[-1]}, {count} a class", split, size))
    for count in () if quick else (25, 250, 2500):
        large = [block_model(12_000, 1.0, count, 0)]
        rows.append(compared(f"block model, {4 * count:,} rows, 5 layers of 32", large, size, 5, hidden=32))
    return {"powers": powers, "factors": factors.tolist(), "rows": rows}


def powers_table(measured: Row) -> str:
    """Return what changes when features are multiplied and shifted."""
    lines = []
    for dtype in ("float32", "float64"):
        for shift in (0.0, 1.0, 100.0):
            rows = [row for row in measured["powers"] if (row["dtype"], row["shift"]) == (dtype, shift)]
            base = next(row for row in measured["powers"] if (row["dtype"], row["k"], row["shift"]) == (dtype, 0, 0.0))
            apart = max(abs(row["objective"] / base["objective"] - 1) for row in rows)
            cells = [
                " to ".join(f"{100 * end(row[which] for row in rows):.1f}" for end in (min, max))
                for which in ("test", "last")
            ]
            lines.append([f"{dtype}, {f'shifted by {shift:g}' if shift else 'not shifted'}", *cells, f"{apart:.1g}"])
    headings = ["test accuracy, %", "test, last", "largest relative difference of the final objective"]
    return table(["times 10^k, k = −3 … 3", *headings], lines)


def scales_table(measured: Row) -> str:
    """Return defaults beside the best of the grid."""
    lines = []
    for row in measured["rows"]:
        problems = row["problems"]
        best = {scale: [max(each[scale], key=lambda c: mean(c, "val")) for each in problems] for scale in problems[0]}
        default = [next(filter(is_default, each["unit"])) for each in problems]

        def average(cells: list[Row]) -> float:
            return 100 * statistics.fmean(mean(cell, "test") for cell in cells)

        differences = [100 * (mean(d, "test") - mean(b, "test")) for d, b in zip(default, best["unit"], strict=True)]
        found = " ".join(f"{cell['nu']:g}, {cell['ratio']:g};" for cell in best["unit"]).rstrip(";")
        raw = f"{average(best['none']):.1f}" if "none" in best else ""
        values = [f"{average(default):.1f}", f"{average(best['unit']):.1f}", f"{min(differences):+.1f}", raw, found]
        lines.append([row["title"], *values])
    headings = ["defaults", "tuned", "least difference", "tuned, scale none", "tuned ν, μ/ν"]
    return table(["test accuracy, %", *headings], lines)


def sensitivity_table(measured: Row) -> str:
    """Return what one penalty does while the other has its default."""
    lines = []
    for row in measured["rows"]:
        grids = [each["unit"] for each in row["problems"]]
        pairs = [(cell["nu"], cell["ratio"]) for cell in grids[0]]
        ends = [pair for pair in pairs if math.isclose(pair[1], 0.1)] + [
            pair for pair in pairs if math.isclose(pair[0], 1e-2)
        ]
        accuracies = [
            statistics.fmean(
                mean(cell, "test") for grid in grids for cell in grid if (cell["nu"], cell["ratio"]) == pair
            )
            for pair in ends
        ]
        lines.append([row["title"], *(f"{100 * accuracy:.1f}" for accuracy in accuracies)])
    nus = [f"ν {nu:g}, μ/ν {ratio:g}" for nu, ratio in ends]
    return table(["test accuracy, %", *nus], lines)


# --- results ------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Size], Row]] = {
    "curves": curves,
    "factors": factors,
    "decays": decays,
    "depths": depths,
    "penalties": penalties,
    "scales": scales,
}
TABLES: dict[str, tuple[str, Callable[[Row], str]]] = {
    "curves": ("curves", curves_table),
    "factors": ("factors", factors_table),
    "decays": ("decays", decays_table),
    "depths best": ("depths", lambda measured: depths_table(measured, "test")),
    "depths last": ("depths", lambda measured: depths_table(measured, "last")),
    "penalties unit": ("penalties", lambda measured: penalties_table(measured, "unit")),
    "penalties none": ("penalties", lambda measured: penalties_table(measured, "none")),
    "powers": ("scales", powers_table),
    "scales": ("scales", scales_table),
    "sensitivity": ("scales", sensitivity_table),
}


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    made = {name: show(results[part]) for name, (part, show) in TABLES.items() if part in results}
    took = ", ".join(f"{part} {results[part]['seconds'] / 60:.1f}" for part in PARTS if part in results)
    made["environment"] = f"{results['date']}; one thread, float32; minutes of CPU time: {took}; {versions(results)}."
    return made


PAGES = Pages(HERE, tables, ("docs/depth.md",))


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__, tuple(PARTS)).parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    results: Results = {} if given.quick else PAGES.read()
    for part in () if given.tables else given.parts:
        begin = time.process_time()
        measured = PARTS[part](QUICK if given.quick else Size())
        results |= {part: {**measured, "seconds": time.process_time() - begin}, **stamp()}
        if not given.quick:
            results = PAGES.save(results)
    if given.quick:
        print("\n\n".join(tables(results).values()))
        return
    plot_curves(results["curves"], HERE / "curves.png")
    PAGES.renew(results)


if __name__ == "__main__":
    main()

"""Cora and CiteSeer: accuracy of pdADMM-G beside Adam on the same features and network, and the time of both.

    python examples/benchmarks/cora/main.py            # all of it; writes results.json and the tables in README.md
    python examples/benchmarks/cora/main.py --quick    # a minute's check on the karate club; writes nothing

Settings are chosen on validation: ``tune`` tries the same number of settings for both algorithms, ``accuracy`` trains
the chosen ones from five seeds, ``time`` runs both algorithms in turn.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, Prepared, Run, prepare, run, seeded, summarize
from gamlp_admm.system.allocator import keep_freed_memory

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, stamp, table, versions

HERE = Path(__file__).parent
PARTS = ("tune", "accuracy", "time")
ADMM, ADAM = "pdadmm-g", "adam"
Options = dict[str, Any]
RAW = {"scale": "none", "decay_to": "zero"}  # the papers' units and weight decay

FEATURES = {
    "Cora, sym": {"dataset": "cora", "operator": "sym", "hops": 4},
    "Cora, ppr": {"dataset": "cora", "operator": "ppr", "hops": 10},
    "CiteSeer, sym": {"dataset": "citeseer", "operator": "sym", "hops": 4},
    "CiteSeer, ppr": {"dataset": "citeseer", "operator": "ppr", "hops": 10},
}
NETWORKS: dict[int, dict[str, Options]] = {
    2: {
        ADMM: {**RAW, "layers": 2, "iterations": 100},
        ADAM: {"layers": 2, "iterations": 200, "evaluate_every": 2},
    },
    10: {
        ADMM: {**RAW, "grow": (2, 5, 10), "iterations": 60},
        ADAM: {"layers": 10, "iterations": 200, "evaluate_every": 2},
    },
}
"""Adam gets 200 iterations, as in the papers, and is evaluated as often as pdADMM-G with 2 layers."""

CASES = [case for case in product(FEATURES, NETWORKS) if case != ("CiteSeer, sym", 10)]
GRIDS = {
    ADMM: {"nu": (1e-4, 1e-3, 1e-2, 1e-1), "mu": (1e-2, 3e-2, 1e-1)},
    ADAM: {"lr": (1e-3, 3e-3, 1e-2), "weight_decay": (0.0, 5e-4, 5e-3, 5e-2)},
}
TUNING_SEEDS, SEEDS = (0, 1, 2), (0, 1, 2, 3, 4)
TIMED = [("Cora, sym", 2), ("Cora, sym", 10), ("Cora, ppr", 2), ("Cora, ppr", 10)]
TIMED_ITERATIONS, REPETITIONS = 100, 7
THREADS = 1


class Plan:
    """What is run; ``quick`` shrinks all of it to a check that everything works, on data that come with PyG."""

    def __init__(self, quick: bool) -> None:
        self.features: dict[str, Options] = FEATURES
        self.networks, self.grids = NETWORKS, GRIDS
        self.cases, self.timed, self.plain = CASES, TIMED, {"digits-knn": {}}
        self.tuning_seeds, self.seeds = TUNING_SEEDS, SEEDS
        self.iterations, self.repetitions = TIMED_ITERATIONS, REPETITIONS
        if quick:
            self.features = {"Karate, ppr": {"dataset": "karate", "operator": "ppr", "hops": 10, "hidden": 8}}
            self.networks = {
                2: {ADMM: {**RAW, "layers": 2, "iterations": 4}, ADAM: {"layers": 2, "iterations": 4}},
                10: {ADMM: {**RAW, "grow": (2, 10), "iterations": 4}, ADAM: {"layers": 10, "iterations": 4}},
            }
            self.grids = {ADMM: {"nu": (1e-2, 1e-1)}, ADAM: {"lr": (1e-3, 1e-2)}}
            self.cases = self.timed = [("Karate, ppr", 2), ("Karate, ppr", 10)]
            self.plain = {"karate": {"iterations": 4}}
            self.tuning_seeds = self.seeds = (0, 1)
            self.iterations, self.repetitions = 3, 1

    def base(self, features: str, layers: int, algorithm: str) -> Options:
        """Return the options of a case that are not tuned."""
        # An iteration of either is measured, from weights that are drawn.
        drawn = {"init": "kaiming", "auto": "none"}
        named = {**drawn, "solver": "linesearch"} if algorithm == ADMM else {**drawn, "algorithm": algorithm}
        return {**self.features[features], **named, **self.networks[layers][algorithm]}


def experiment(options: Options) -> Experiment:
    return Experiment(**{"evaluate_every": 1, **options}, threads=THREADS, cache="none")


def command(options: Options, seeds: Sequence[int]) -> str:
    """Return the command line that repeats runs."""
    often = {"evaluate_every": options.get("evaluate_every", 1)}
    given = {**options, **often, "threads": THREADS, "seeds": tuple(seeds)}
    texts = {k: ",".join(map(str, v)) if isinstance(v, tuple) else f"{v}" for k, v in given.items()}
    return "gamlp-admm train " + " ".join(f"--{k.replace('_', '-')} {v}" for k, v in texts.items())


def key(features: str, layers: int) -> str:
    return f"{features}, {layers} layers"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- running ------------------------------------------------------------------------------------------------


class Features:
    """Loads and augments each data set once; holds one at a time."""

    def __init__(self) -> None:
        self.of: Options = {}
        self.prepared: Prepared | None = None

    def __call__(self, options: Options) -> Prepared:
        if self.prepared is None or self.of != options:
            self.of, self.prepared = options, None
            self.prepared = prepare(experiment(options))
        return self.prepared


def train(options: Options, seeds: Sequence[int], prepared: Prepared) -> list[Run]:
    return [run(each, (), prepared) for each in seeded(experiment(options), seeds)]


def tune(plan: Plan, load: Features) -> Iterator[tuple[str, Any]]:
    """Yield, for each case and algorithm, the mean validation accuracy of every setting of its grid."""
    for features, layers in plan.cases:
        prepared = load(plan.features[features])
        for algorithm, grid in plan.grids.items():
            tried = []
            for values in product(*grid.values()):
                setting = dict(zip(grid, values, strict=True))
                options = {**plan.base(features, layers, algorithm), **setting, "evaluate_every": 10}
                try:
                    runs = train(options, plan.tuning_seeds, prepared)
                    accuracy = summarize(runs)["summary"]["val_accuracy_mean"]
                except FloatingPointError:  # diverged
                    accuracy = 0.0
                tried.append({**setting, "val_accuracy": accuracy})
            say(f"tuned {algorithm} on {key(features, layers)}: {chosen(tried)}")
            yield f"{key(features, layers)}, {algorithm}", tried


def chosen(tried: list[Options]) -> Options:
    """Return the setting that is best on validation; the earlier on ties."""
    best = max(tried, key=lambda setting: setting["val_accuracy"])
    return {name: value for name, value in best.items() if name != "val_accuracy"}


def accuracy(plan: Plan, load: Features, tuning: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the accuracies of each case with pdADMM-G, Adam as it comes and tuned Adam."""
    for name, options in plan.plain.items():
        prepared = load({"dataset": name})
        yield name, {ADMM: measured({"dataset": name, **options}, plan.seeds, prepared)}
    for features, layers in plan.cases:
        prepared, case = load(plan.features[features]), key(features, layers)
        settings = {name: chosen(tuning[f"{case}, {name}"]) for name in (ADMM, ADAM)}
        methods = {
            ADMM: {**plan.base(features, layers, ADMM), **settings[ADMM]},
            "adam, lr 0.001": {**plan.base(features, layers, ADAM), "lr": 1e-3},
            "adam, tuned": {**plan.base(features, layers, ADAM), **settings[ADAM]},
        }
        yield case, {name: measured(options, plan.seeds, prepared) for name, options in methods.items()}


def measured(options: Options, seeds: Sequence[int], prepared: Prepared) -> dict[str, Any]:
    runs = train(options, seeds, prepared)
    report = summarize(runs)
    row = {"command": command(options, seeds), **report["summary"]}
    row["runs"] = [{"seed": r["seed"], "best": r["best"], "last": r["last"]} for r in report["runs"]]
    say(f"{row['test_accuracy_mean']:.4f} ± {row['test_accuracy_std']:.4f}  {row['command']}")
    return row


def timing(plan: Plan, load: Features) -> Iterator[tuple[str, Any]]:
    """Yield the times of both algorithms: same features, network and iterations, run in turn."""
    for features, layers in plan.timed:
        prepared = load(plan.features[features])
        options: dict[str, Options] = {
            name: {**plan.features[features], "algorithm": name, "layers": layers, "iterations": plan.iterations}
            for name in (ADMM, ADAM)
        }
        options[ADMM] |= {"grow": "none", "nu": 1e-2, "mu": 1e-2}
        for name in options:
            run(replace(experiment(options[name]), iterations=3), (), prepared)
        repetitions = []
        for repetition in range(plan.repetitions):
            order = list(options) if repetition % 2 == 0 else list(options)[::-1]
            repetitions.append({name: seconds(experiment(options[name]), prepared) for name in order})
        commands = {name: command(options[name], (0,)) for name in options}
        row = {"commands": commands, "iterations": plan.iterations, "repetitions": repetitions, "ratio": {}}
        for what in ("iteration", "total"):
            ratios = [each[ADAM][what] / each[ADMM][what] for each in repetitions]
            row["ratio"][what] = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
        say(f"time of {key(features, layers)}: Adam / pdADMM-G {json.dumps(row['ratio'])}")
        yield key(features, layers), row


def seconds(timed: Experiment, prepared: Prepared) -> dict[str, float]:
    """Return seconds an iteration, and in all without what the algorithms share: loading and augmenting."""
    report = run(timed, (), prepared).report
    shared = prepared.load_seconds + prepared.augment_seconds
    return {
        "iteration": report["seconds"]["train"] / report["last"]["iteration"],
        "total": report["seconds"]["total"] - shared,
    }


# --- tables -------------------------------------------------------------------------------------------------


def mean(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{row['test_accuracy_mean']:.3f} ± {row['test_accuracy_std']:.3f}"


def both(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{mean(row)} ({row['val_accuracy_mean']:.3f})"


def accuracy_table(results: Results) -> str:
    columns = (ADMM, "adam, lr 0.001", "adam, tuned")
    rows = [[case, *(both(methods.get(c)) for c in columns)] for case, methods in results["accuracy"].items()]
    return table(["data, features, network", "pdADMM-G", "Adam, lr 0.001", "Adam, tuned"], rows, left=4)


def commands_list(results: Results) -> str:
    lines = []
    for case, methods in results["accuracy"].items():
        lines += [f"# {case}", *(row["command"] for row in methods.values()), ""]
    for case, row in results["time"].items():
        lines += [f"# time, {case}", *row["commands"].values(), ""]
    return "\n".join(["```sh", *lines[:-1], "```"])


def time_table(results: Results) -> str:
    rows = []
    for case, row in results["time"].items():
        ratios = [f"{r['median']:.1f} ({r['min']:.1f} to {r['max']:.1f})" for r in row["ratio"].values()]
        each = [1e3 * statistics.median(r[name]["iteration"] for r in row["repetitions"]) for name in (ADMM, ADAM)]
        rows.append([case, *ratios, *(f"{ms:.2f}" for ms in each)])
    headings = ["iteration: Adam / pdADMM-G", "total: Adam / pdADMM-G", "pdADMM-G, ms", "Adam, ms"]
    return table(["features, network", *headings], rows, left=5)


def environment_line(results: Results) -> str:
    return f"{results['date']}; {results['environment']['threads']} thread, float32; {versions(results)}."


TABLES: dict[str, Callable[[Results], str]] = {
    "accuracy": accuracy_table,
    "time": time_table,
    "commands": commands_list,
    "environment": environment_line,
}


PAGES = Pages(HERE, lambda results: {name: show(results) for name, show in TABLES.items()}, indent=1)


# --- main ---------------------------------------------------------------------------------------------------


def main(args: Sequence[str] | None = None) -> int:
    given = arguments(__doc__, PARTS).parse_args(args)
    results: Results = {} if given.quick else PAGES.read()
    keep_freed_memory()
    plan, load = Plan(given.quick), Features()
    work: dict[str, Callable[[], Iterator[tuple[str, Any]]]] = {
        "tune": lambda: tune(plan, load),
        "accuracy": lambda: accuracy(plan, load, results["tune"]),
        "time": lambda: timing(plan, load),
    }
    try:
        for part in () if given.tables else sorted(given.parts, key=PARTS.index):
            results[part] = {}
            for name, row in work[part]():
                results[part][name] = row
                results |= stamp()
                results["environment"]["threads"] = THREADS
                if not given.quick:
                    PAGES.save(results)
    except InputError as error:
        say(f"main.py: {error}")
        return 2
    for name in ("accuracy", "time"):
        if name in results:
            print(TABLES[name](results), end="\n\n")
    if not given.quick:
        PAGES.renew(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())

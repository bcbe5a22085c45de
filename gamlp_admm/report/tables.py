"""Tables of what runs gave, and of data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gamlp_admm.report.runs import words
from gamlp_admm.system.words import percent as percent
from gamlp_admm.system.words import size as size

if TYPE_CHECKING:  # importing torch takes a second, which tables do not need
    from gamlp_admm.datasets import DatasetRow

SPLITS = ("train", "val", "test")


def metric_of(report: dict[str, Any]) -> str:
    """Return the name of the metric that a run was selected by, of its report; older ones do not say it."""
    return str(report.get("metric", "accuracy"))


def run_table(report: dict[str, Any], verbose: bool = False) -> Group:
    """Return the summary of one run: metrics and cost.

    Args:
        report: What ``train --json`` writes.
        verbose: Whether to say, too, where it ran, how, and which side of the convergence theorem it is on.
    """
    config, best, last = report["config"], report["best"], report["last"]
    table = Table(title=headline(config), title_justify="left", title_style="bold")
    metrics = list(dict.fromkeys((metric_of(report), "r2" if "val_r2" in last else "accuracy")))
    named = metrics != ["accuracy"]
    for column in ("weights", "iteration", *(["metric"] if named else []), "train", "validation", "test"):
        table.add_column(column, justify="left" if column in ("weights", "metric") else "right")
    at_best = next((r for r in report["history"] if r["iteration"] == best["iteration"]), last)
    for name, chosen in (("best on validation", {**at_best, **best}), ("last", last)):
        which = [name, str(chosen["iteration"])]
        for metric in metrics:
            values = [percent(chosen[f"{split}_{metric}"]) for split in SPLITS]
            table.add_row(*which, *([metric] if named else []), *values)
            which = ["", ""]
    seconds = report["seconds"]
    each = 1e3 * seconds["train"] / last["iteration"]
    cached = " (cached)" if report.get("augment", {}).get("cached") else ""
    lines = [
        f"{seconds['train']:.3g} s training ({each:.3g} ms an iteration), "
        f"{seconds['augment']:.3g} s augmentation{cached}, {seconds['total']:.3g} s in all",
        f"{report['num_parameters']:,} parameters, {traffic(report)}",
    ]
    if official := report.get("ogb"):
        figures = ", ".join(
            f"{percent(official[part])} {text}" for part, text in (("valid", "validation"), ("test", "test"))
        )
        lines.append(f"OGB's evaluator: {figures} ({official['metric']})")
    if report.get("codec") is not None:
        lines.append(codec_line(report["codec"]))
    if verbose:
        about = {"device": report["environment"]["device"]}
        about |= {name: report[name] for name in ("units", "solver", "theorem") if report[name] is not None}
        lines += [f"{name}: {text}" for name, text in about.items()]
    if len(report["processes"]) > 1:
        lines += [process_line(process) for process in report["processes"]]
    return Group(table, *map(Text, lines))


def traffic(report: dict[str, Any]) -> str:
    """Return what a run sent from layer to layer or, where one process had them all, would have sent, as text."""
    total = size(report["bytes_sent_total"])
    if len(report["processes"]) < 2:
        return f"would send {total} between layers in processes of their own"
    sent = sum(sum(process["wire_bytes"].values()) for process in report["processes"])
    evaluated = size(sum(process.get("evaluation_bytes") or 0 for process in report["processes"]))
    return f"sent {size(sent)} between processes ({total} with a process a layer), and {evaluated} to evaluate"


def codec_line(chosen: dict[str, Any]) -> str:
    """Return which codecs ``auto`` chose, why, and whether bytes ran out, on one line."""
    ended, budget = chosen["ended"], chosen["budget"]
    over = "" if ended is None else f"; ended after iteration {ended}: another could exceed {size(budget)}"
    return f"codec auto: {chosen['chosen']} ({chosen['why']}){over}"


def process_line(process: dict[str, Any]) -> str:
    """Return what one process did, on one line."""
    if process["layers"] is None:
        return f"rank {process['rank']}: no layers"
    first, last = process["layers"]
    seconds, wait = process["seconds"], process["wait_seconds"]
    sent = ", ".join(f"{size(count)} over {l + 1}|{l + 2}" for l, count in sorted(process["wire_bytes"].items()))
    return (
        f"rank {process['rank']}: layers {first}-{last}, {seconds - wait:.3g} s computing{shares(process)}, "
        f"{wait:.3g} s waiting, sent {sent or 'nothing'}"
    )


def shares(process: dict[str, Any]) -> str:
    """Return what the computing of a process went to, as text in parentheses; nothing where that is not known."""
    split = {name: seconds for name, seconds in process.get("split", {}).items() if name != "wait"}
    computing = process["seconds"] - process["wait_seconds"]
    parts = [f"{name} {seconds / computing:.0%}" for name, seconds in split.items() if seconds >= 0.01 * computing > 0]
    return f" ({', '.join(parts)})" if parts else ""


def headline(config: dict[str, Any]) -> str:
    """Return what a run is, on one line."""
    hops = config["hops"]
    steps = "" if hops is None else f" {hops}" if isinstance(hops, int) else f" {','.join(map(str, hops))}"
    shape = f"{config['layers']} layers" + (f" x {config['hidden']}" if config["layers"] > 1 else "")
    codec = config["codec"]
    coded = "" if codec in (None, "fp32", "fp64") else f", codec {codec}"
    return f"{config['algorithm']} on {config['dataset']}: {shape}, operator {config['operator']}{steps}{coded}"


def seeds_table(report: dict[str, Any]) -> Table:
    """Return the summary of several seeds."""
    runs, summary = report["runs"], report["summary"]
    metric = metric_of(runs[0])
    title = headline(runs[0]["config"]) + ("" if metric == "accuracy" else f"; {metric}")
    table = Table(title=title, title_justify="left", title_style="bold", show_footer=True)
    table.add_column("seed", "mean ± std", justify="right")
    columns = {
        "validation": ("best", f"val_{metric}", f"val_{metric}"),
        "test": ("best", f"test_{metric}", f"test_{metric}"),
        "last test": ("last", f"test_{metric}", f"last_test_{metric}"),
    }
    for title, (_, _, name) in columns.items():
        mean, std = summary[f"{name}_mean"], summary[f"{name}_std"]
        table.add_column(title, "-" if mean is None else f"{mean:.4f} ± {std:.4f}", justify="right")
    table.add_column("seconds", justify="right")
    chosen = runs[0].get("codec")
    table.caption, table.caption_justify = None if chosen is None else codec_line(chosen), "left"
    for run in runs:
        accuracies = [percent(run[selected][key]) for selected, key, _ in columns.values()]
        table.add_row(str(run["seed"]), *accuracies, f"{run['seconds']['train']:.3g}")
    return table


def comparison_table(rows: Sequence[dict[str, Any]], config: dict[str, Any]) -> Table:
    """Return the table of a comparison of codecs.

    Args:
        rows: What :meth:`gamlp_admm.experiment.comparison.Comparison.rows` returns.
        config: The options of one of the runs.
    """
    metric = metric_of(rows[0])
    title = headline(config | {"algorithm": "codecs"}) + ("" if metric == "accuracy" else f"; {metric}")
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("codec", no_wrap=True)
    table.caption = f"99 %: of the best validation {words(metric)} of {rows[0]['codec']}, seed by seed"
    table.caption_justify = "left"
    columns = ("test", "last test", "bytes an iteration", "bytes in all", "less than fp32", "than authors", "seconds")
    for column in (*columns, "bytes to 99 %", "seconds to 99 %"):
        table.add_column(column, justify="right", overflow="fold")

    def accuracy(row: dict[str, Any], name: str) -> str:
        mean, deviation = row[f"{name}_mean"], row[f"{name}_std"]
        return "-" if mean is None else f"{mean:.4f}" + (f" ± {deviation:.4f}" if row["seeds"] > 1 else "")

    def times(row: dict[str, Any], name: str) -> str:
        return "-" if row[name] is None else f"{row[name]:.3g}x"

    def to_near(row: dict[str, Any], name: str, text: Callable[[float], str]) -> str:
        reached = row["seeds_at_99"]
        return text(row[name]) if row[name] is not None else f"{reached} of {row['seeds']} seeds" if reached else "-"

    for row in rows:
        table.add_row(
            row["codec"],
            accuracy(row, f"test_{metric}"),
            accuracy(row, f"last_test_{metric}"),
            size(row["bytes_per_iteration"]),
            size(row["bytes_total"]),
            times(row, "times_fewer_than_fp32"),
            times(row, "times_fewer_than_authors"),
            f"{row['seconds']:.3g}",
            to_near(row, "bytes_to_99", size),
            to_near(row, "seconds_to_99", "{:.3g}".format),
        )
    return table


def datasets_table(rows: Sequence[DatasetRow]) -> Table:
    """Return the table of data sets."""
    table = Table(box=SIMPLE_HEAD, padding=0)
    table.add_column("name", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for column in ("nodes", "edges", "features", "classes", "download"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("present", no_wrap=True)
    table.add_column("licence", overflow="fold")
    table.add_column("origin", overflow="fold")
    for row in rows:
        counts = [f"{n:,}" for n in (row.nodes, row.edges, row.features, row.classes)]
        download = size(row.download_bytes) if row.download_bytes else "none"
        present = "yes" if row.present else "no"
        table.add_row(row.name, row.kind, *counts, download, present, row.licence, row.origin)
    return table

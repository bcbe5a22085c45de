"""Bytes to 99 % of the best validation accuracy of 0.1.0 in 32 bits: 0.1.0's training beside what is trained now.

What 0.1.0 did is what the part ``accuracy`` trains with ``fp32``: weights drawn at random, all layers stepped alike, a
network that grows. Now it starts from the data and solves what pays, with ``codec="auto"``. Both are networks of the
same layers on the same features and split; the target is 99 % of the best validation accuracy of 0.1.0's run from the
same seed, at full depth.

Bytes are those of the iterations. The forward pass with which each stage of growth starts sends activations in full; it
is counted beside them, for both.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pages import table

from gamlp_admm.experiment import Experiment, prepare, run
from gamlp_admm.experiment.nearing import first_near, target
from gamlp_admm.system.allocator import keep_freed_memory

NOW = {"init": "ridge", "solver": "auto", "nu": 0.01, "codec": "auto", "iterations": 10, "evaluate_every": 1}
FEATURES = ("operator", "hops", "split")


def start_bytes(report: Mapping[str, Any], record: Mapping[str, Any]) -> int:
    """Return the bytes of the forward passes that the stages of growth up to a record started with."""
    config = report["config"]
    depths = [depth for depth in dict.fromkeys(r["layers"] for r in report["history"]) if depth <= record["layers"]]
    return sum(4 * report["num_nodes"]["train"] * config["hidden"] * (depth - 1) for depth in depths)


def spent(report: Mapping[str, Any], score: float | None) -> dict[str, Any] | None:
    """Return what a run has spent when it first has a score, ``None`` if it never has."""
    record = first_near(report, score)
    if record is None:
        return None
    told = {key: record[key] for key in ("iteration", "bytes_sent", "seconds", "val_accuracy", "test_accuracy")}
    return told | {"start_bytes": start_bytes(report, record)}


def compared(
    dataset: str, hidden: int, seeds: Sequence[int], before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any]:
    """Train as 0.1.0 did and as now, from every seed; return what both spent until the target."""
    keep_freed_memory()
    row: dict[str, Any] = {"dataset": dataset, "hidden": hidden, "before": [], "now": [], "chosen": None}
    for settings in (before, now):
        name, _, _ = dataset.partition(" ")
        experiment = Experiment(dataset=name, hidden=hidden, threads=1, cache="none", **settings)
        prepared = prepare(experiment)
        reports = [run(experiment.changed({"seed": seed}), (), prepared).report for seed in seeds]
        if settings is before:
            row["targets"] = [target(report) for report in reports]
        else:
            row["chosen"] = reports[0]["codec"]["chosen"]
        spendings = [spent(report, score) for report, score in zip(reports, row["targets"], strict=True)]
        row["before" if settings is before else "now"] = spendings
    return row


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of bytes, means over the seeds."""
    lines = []
    for row in sorted(rows, key=lambda row: (row["hidden"], row["dataset"])):
        before, now = (_means(row[which]) for which in ("before", "now"))
        if before is None or now is None:
            reached = f"{sum(each is not None for each in row['now'])} of {len(row['now'])} seeds"
            lines.append([row["dataset"], f"{row['hidden']:,}", "", "", reached, "", "", ""])
            continue
        whole = [sum(each) for each in (before[1:], now[1:])]
        fewer = "at the start" if now[1] == 0 else f"{before[1] / now[1]:,.0f}×"
        figures = [f"{before[0]:.0f}", _megabytes(before[1]), f"{now[0]:.0f}", _megabytes(now[1]), fewer]
        lines.append([row["dataset"], f"{row['hidden']:,}", *figures, f"{whole[0] / whole[1]:,.0f}×"])
    heads = ["data set", "neurons", "0.1.0: iterations", "MB", "now: iterations", "MB", "fewer", "with starts"]
    return table(heads, lines)


def _means(spendings: Sequence[Mapping[str, Any] | None]) -> tuple[float, float, float] | None:
    known = [each for each in spendings if each is not None]
    if len(known) < len(spendings):
        return None
    iteration, sent, start = (
        statistics.fmean(each[key] for each in known) for key in ("iteration", "bytes_sent", "start_bytes")
    )
    return iteration, sent, start


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.3g}"

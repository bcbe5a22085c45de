"""Test accuracy on all data sets, ours beside Adam, GCN, SGC, SIGN and published figures.

    python examples/benchmarks/accuracy/main.py            # runs `gamlp-admm bench accuracy`; an hour or two on 2 cores
    python examples/benchmarks/accuracy/main.py --renew    # what a change has moved; the rest is kept
    python examples/benchmarks/accuracy/main.py --quick    # a check on the karate club; writes nothing

What is done is kept in ``--out``, so that an interrupted run goes on where it was. Then results.json and the tables of
the pages are renewed.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gamlp_admm import cli
from gamlp_admm.report import accuracy_markdown

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, table, versions

HERE = Path(__file__).parent
RUNS = {
    "usual": ("bench", "accuracy"),
    "random": ("bench", "accuracy", "--splits", "random", "--methods", "pdadmm-g,pdadmm-g:10,sgc"),
}
RENEWED = {
    "usual": (
        ("cora,citeseer,amazon-photo,amazon-computers,coauthor-cs,coauthor-physics", "ridge"),
        ("amazon-computers", "pdadmm-g,pdadmm-g:smooth,pdadmm-g:10,pdadmm-g-q:10"),
    ),
    "random": (("amazon-computers", "pdadmm-g,pdadmm-g:10"),),
}
"""Data sets and methods that ``--renew`` runs again: those whose figures a change has moved."""

QUICK = ("--datasets", "karate", "--methods", "pdadmm-g,sgc", "--seeds", "0,1", "--jobs", "1")
FLOORS = {
    "pdADMM-G, 10 layers": (0.825, 0.725, 0.800, 0.900, 0.917, 0.926),
    "pdADMM-G": (0.840, 0.738, 0.825, 0.915, 0.925, 0.933),
}
"""What was aimed at, for the data sets of :data:`AIMED`: above the best published figure of pdADMM-G(-Q)."""

FIRST = ("pdADMM-G", "pdADMM-G, 10 layers", "Adam", "Adam, 10 layers", "GCN", "Ridge regression")
"""The methods of the first page."""

AIMED = ("cora", "citeseer", "amazon-computers", "amazon-photo", "coauthor-cs", "coauthor-physics")


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return a report in which what a newer one has measured stands for what the older one had."""
    names = [column["dataset"] for column in before["columns"]]
    rows = {(row["group"], row["method"], row["neurons"]): row for row in before["rows"]}
    for row in now["rows"]:
        if row["group"] != "published":
            key = row["group"], row["method"], row["neurons"]
            kept = rows.setdefault(key, {**row, "cells": [None] * len(names)})
            for column, cell in zip(now["columns"], row["cells"], strict=True):
                if cell is not None:
                    kept["cells"][names.index(column["dataset"])] = cell
    renewed = {(job["job"]["dataset"], job["job"]["method"]) for job in now["jobs"]}
    jobs = [job for job in before["jobs"] if (job["job"]["dataset"], job["job"]["method"]) not in renewed]
    order = ("ours", "peers", "published")
    sorted_rows = sorted(rows.values(), key=lambda row: order.index(row["group"]))
    return before | {"rows": sorted_rows, "jobs": now["jobs"] + jobs, "renewed": now["date"]}


def starting(report: dict[str, Any], start: str) -> str:
    """Return the lines of a report that start so: its table with ``|``, sources of published figures with ``- ``."""
    return "\n".join(line for line in accuracy_markdown(report).splitlines() if line.startswith(start))


def first(report: dict[str, Any]) -> str:
    """Return the table of the first page: some rows, without the spread of their seeds."""
    rows = [row for row in report["rows"] if row["group"] != "published"]
    lines = [
        [method, *(f"{cell['mean']:.3f}" for cell in row["cells"])]
        for method in FIRST
        for row in rows
        if row["method"] == method
    ]
    return table(["test accuracy", *(column["dataset"] for column in report["columns"])], lines)


def drawn(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report without the data sets that have one split alone."""
    kept = [i for i, column in enumerate(report["columns"]) if column["splits"] == "random"]
    rows = [row | {"cells": [row["cells"][i] for i in kept]} for row in report["rows"] if row["group"] != "published"]
    return report | {"columns": [report["columns"][i] for i in kept], "rows": rows}


def when(report: dict[str, Any]) -> str:
    """Return the date of a report, and of what it keeps of an older one."""
    date, renewed = report["date"][:10], report.get("renewed", "")[:10]
    return f"{date} (ridge regression, and pdADMM-G on Computers: {renewed})" if renewed else date


def floors(report: dict[str, Any]) -> str:
    """Return what was aimed at, and what was reached."""
    datasets = [column["dataset"] for column in report["columns"]]
    lines = []
    for method, aims in FLOORS.items():
        (row,) = [row for row in report["rows"] if row["group"] == "ours" and row["method"] == method]
        reached = [row["cells"][datasets.index(name)]["mean"] for name in AIMED]
        cells = [f"{aim:.3f}, {mean:.3f}" for aim, mean in zip(aims, reached, strict=True)]
        lines.append([method, *cells])
    return table(["aimed at, reached", *AIMED], lines, left=1 + len(AIMED))


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the pages, by the names of their places."""
    usual = results["usual"]
    return {
        "first": first(usual),
        "usual": starting(usual, "|"),
        "random": starting(drawn(results["random"]), "|"),
        "floors": floors(usual),
        "sources": starting(usual, "- "),
        "environment": f"{when(usual)}, one thread a run, float32; {versions(usual)}.",
    }


PAGES = Pages(HERE, tables, ("README.md", "docs/results.md"), indent=1)


def main(args: Sequence[str] | None = None) -> int:
    parser = arguments(__doc__)
    parser.add_argument("--out", default="bench-accuracy", help="folder of what is done")
    parser.add_argument("--jobs", help="processes; by default one a core")
    parser.add_argument("--renew", action="store_true", help="run what a change has moved alone")
    given = parser.parse_args(args)
    results: Results = PAGES.read() if given.tables or given.renew else {}
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "report.json"
        how = [*QUICK, "--out", folder, "--quiet"] if given.quick else ["--out", given.out]
        if given.jobs is not None:
            how += ["--jobs", given.jobs]
        for kind, command in {} if given.tables else RUNS.items():
            if given.quick and kind == "random":
                continue
            renew = given.renew and not given.quick
            for chosen in RENEWED[kind] if renew else (None,):
                named = () if chosen is None else ("--datasets", chosen[0], "--methods", chosen[1])
                status = cli.main([*command, *named, *how, "--json", str(written)])
                if status != 0:
                    return status
                report = json.loads(written.read_text(encoding="utf-8"))
                notes = [note.partition("; place")[0] for note in report["notes"]]  # without folders of this machine
                jobs = [{key: job[key] for key in ("job", "result")} for job in report["jobs"]]
                report |= {"command": shlex.join(["gamlp-admm", *command]), "notes": notes, "jobs": jobs}
                results[kind] = merged(results[kind], report) if renew else report
    if given.quick:
        print(starting(results["usual"], "|"))
        return 0
    PAGES.save(results)
    PAGES.renew(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())

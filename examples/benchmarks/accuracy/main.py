"""Test accuracy on all data sets, ours beside Adam, GCN, SGC, SIGN and published figures.

    python examples/benchmarks/accuracy/main.py            # runs `gamlp-admm bench accuracy`; an hour or two on 2 cores
    python examples/benchmarks/accuracy/main.py --quick    # a check on the karate club; writes nothing

What is done is kept in ``--out``, so that an interrupted run goes on where it was. Then results.json and the tables of
the pages are renewed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gamlp_admm import cli
from gamlp_admm.report import accuracy_markdown

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PAGES = [HERE / "README.md", ROOT / "README.md"]
COMMAND = ("bench", "accuracy", "--splits", "both")
QUICK = ("--datasets", "karate", "--methods", "pdadmm-g,sgc", "--seeds", "0,1", "--jobs", "1")
FLOORS = {
    "pdADMM-G, 10 layers": (0.825, 0.725, 0.800, 0.900, 0.917, 0.926),
    "pdADMM-G": (0.840, 0.738, 0.825, 0.915, 0.925, 0.933),
}
"""What was aimed at, for the data sets of :data:`AIMED`: above the best published figure of pdADMM-G(-Q)."""

AIMED = ("cora", "citeseer", "amazon-computers", "amazon-photo", "coauthor-cs", "coauthor-physics")


def only(report: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a report with the columns of one kind of split."""
    kept = [i for i, column in enumerate(report["columns"]) if column["splits"] == kind]
    rows = [{**row, "cells": [row["cells"][i] for i in kept]} for row in report["rows"]]
    columns = [report["columns"][i] for i in kept]
    return {**report, "columns": columns, "rows": [row for row in rows if any(row["cells"])]}


def table(report: dict[str, Any], kind: str) -> str:
    """Return the table of one kind of split."""
    lines = accuracy_markdown(only(report, kind)).splitlines()
    return "\n".join(line for line in lines if line.startswith("|"))


def floors(report: dict[str, Any]) -> str:
    """Return what was reached beside what was aimed at, on the usual split."""
    usual = only(report, "usual")
    datasets = [column["dataset"] for column in usual["columns"]]
    lines = [f"| aimed at, reached | {' | '.join(AIMED)} |", "| --- |" + " --- |" * len(AIMED)]
    for row in usual["rows"]:
        if row["group"] == "ours" and (aims := FLOORS.get(row["method"])):
            cells = [row["cells"][datasets.index(name)] if name in datasets else None for name in AIMED]
            pairs = zip(aims, cells, strict=True)
            lines.append(
                f"| {row['method']} | "
                + " | ".join(f"{aim:.3f}, " + (f"{cell['mean']:.3f}" if cell else "-") for aim, cell in pairs)
                + " |"
            )
    return "\n".join(lines)


def sources(report: dict[str, Any]) -> str:
    """Return where the published figures are from."""
    return "\n".join(line for line in accuracy_markdown(report).splitlines() if line.startswith("- "))


def environment_line(report: dict[str, Any]) -> str:
    """Return command, date and versions."""
    versions = ", ".join(f"{name} {number}" for name, number in report["environment"]["versions"].items())
    return f"`{report['command']}`; {report['date'][:10]}, one thread a run, float32; {versions}."


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "usual": lambda report: table(report, "usual"),
    "random": lambda report: table(report, "random"),
    "floors": floors,
    "sources": sources,
    "environment": environment_line,
}


def fill(text: str, results: dict[str, Any]) -> str:
    """Return a page with its tables renewed: what stands between ``<!-- accuracy: NAME -->`` and ``<!-- end -->``."""
    pattern = re.compile(r"(<!-- accuracy: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda m: f"{m[1]}{TABLES[m[2]](results)}\n{m[3]}", text)


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a check on the karate club; writes nothing")
    parser.add_argument("--tables", action="store_true", help="only renew the pages from results.json")
    parser.add_argument("--out", default="bench-accuracy", help="folder of what is done")
    parser.add_argument("--jobs", help="processes; by default one a core")
    given = parser.parse_args(args)
    file = HERE / "results.json"
    if given.quick:
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / "report.json"
            status = cli.main([*COMMAND, *QUICK, "--out", folder, "--json", str(written), "--quiet"])
            if status == 0:
                print(table(json.loads(written.read_text(encoding="utf-8")), "usual"))
            return status
    status = 0
    if not given.tables:
        jobs = () if given.jobs is None else ("--jobs", given.jobs)
        status = cli.main([*COMMAND, "--out", given.out, *jobs, "--json", str(file)])
    if status == 0:
        results = json.loads(file.read_text(encoding="utf-8"))
        for page in PAGES:
            page.write_text(fill(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())

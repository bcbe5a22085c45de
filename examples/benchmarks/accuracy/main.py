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
import shlex
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
RUNS = {
    "usual": ("bench", "accuracy"),
    "random": ("bench", "accuracy", "--splits", "random", "--methods", "pdadmm-g,pdadmm-g:10,sgc"),
}
QUICK = ("--datasets", "karate", "--methods", "pdadmm-g,sgc", "--seeds", "0,1", "--jobs", "1")
FLOORS = {
    "pdADMM-G, 10 layers": (0.825, 0.725, 0.800, 0.900, 0.917, 0.926),
    "pdADMM-G": (0.840, 0.738, 0.825, 0.915, 0.925, 0.933),
}
"""What was aimed at, for the data sets of :data:`AIMED`: above the best published figure of pdADMM-G(-Q)."""

AIMED = ("cora", "citeseer", "amazon-computers", "amazon-photo", "coauthor-cs", "coauthor-physics")


def table(report: dict[str, Any]) -> str:
    """Return the table of a report."""
    return "\n".join(line for line in accuracy_markdown(report).splitlines() if line.startswith("|"))


def drawn(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report without the data sets that have one split alone."""
    kept = [i for i, column in enumerate(report["columns"]) if column["splits"] == "random"]
    rows = [row | {"cells": [row["cells"][i] for i in kept]} for row in report["rows"] if row["group"] != "published"]
    return report | {"columns": [report["columns"][i] for i in kept], "rows": rows}


def floors(report: dict[str, Any]) -> str:
    """Return what was aimed at, and what was reached."""
    datasets = [column["dataset"] for column in report["columns"]]
    lines = [f"| aimed at, reached | {' | '.join(AIMED)} |", "| --- |" + " --- |" * len(AIMED)]
    for method, aims in FLOORS.items():
        (row,) = [row for row in report["rows"] if row["group"] == "ours" and row["method"] == method]
        reached = [row["cells"][datasets.index(name)]["mean"] for name in AIMED]
        cells = [f"{aim:.3f}, {mean:.3f}" for aim, mean in zip(aims, reached, strict=True)]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def sources(report: dict[str, Any]) -> str:
    """Return where the published figures are from."""
    return "\n".join(line for line in accuracy_markdown(report).splitlines() if line.startswith("- "))


def environment_line(report: dict[str, Any]) -> str:
    """Return date and versions."""
    versions = ", ".join(f"{name} {number}" for name, number in report["environment"]["versions"].items())
    return f"{report['date'][:10]}, one thread a run, float32; {versions}."


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "usual": lambda results: table(results["usual"]),
    "random": lambda results: table(drawn(results["random"])),
    "floors": lambda results: floors(results["usual"]),
    "sources": lambda results: sources(results["usual"]),
    "environment": lambda results: environment_line(results["usual"]),
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
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if given.tables else {}
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "report.json"
        how = [*QUICK, "--out", folder, "--quiet"] if given.quick else ["--out", given.out]
        if given.jobs is not None:
            how += ["--jobs", given.jobs]
        for kind, command in {} if given.tables else RUNS.items():
            if given.quick and kind == "random":
                continue
            status = cli.main([*command, *how, "--json", str(written)])
            if status != 0:
                return status
            report = json.loads(written.read_text(encoding="utf-8"))
            notes = [note.partition("; place")[0] for note in report["notes"]]  # without folders of this machine
            jobs = [{key: job[key] for key in ("job", "result")} for job in report["jobs"]]
            results[kind] = report | {"command": shlex.join(["gamlp-admm", *command]), "notes": notes, "jobs": jobs}
    if given.quick:
        print(table(results["usual"]))
        return 0
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

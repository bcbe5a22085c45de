"""Accuracy, time and memory with many labels, beside ridge and logistic regression, Adam, GCN and published figures.

    python examples/benchmarks/many-labels/main.py            # runs `gamlp-admm bench many-labels`, one job at a time
    python examples/benchmarks/many-labels/main.py --quick    # a check on the karate club; writes nothing

What is done is kept in ``--out``, so that an interrupted run goes on where it was. Then results.json and the tables of
the page are renewed.
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
from gamlp_admm.bench.many_labels import METHODS
from gamlp_admm.report import many_labels_markdown

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, conditions, table

HERE = Path(__file__).parent
COMMAND = ("bench", "many-labels")
SMALL = "cora,citeseer,amazon-photo,amazon-computers"
RUNS = (
    (SMALL, "pdadmm-g,pdadmm-g:10,ridge,logistic,adam,adam-full,gcn", "0,1,2,3,4"),
    ("coauthor-cs", "pdadmm-g,logistic,adam", "0,1,2,3,4"),
    ("coauthor-cs", "ridge,adam-full", "0,1,2"),
    ("coauthor-physics", "pdadmm-g,adam", "0,1,2,3,4"),
    ("coauthor-physics", "adam-full", "0"),
    ("mnist-knn", "pdadmm-g,ridge,adam,adam-full", "0,1,2"),
)
"""Data sets, methods and seeds: what takes a day on two cores is left out, and left to the command."""

QUICK = ("--datasets", "karate", "--methods", "pdadmm-g,ridge,logistic", "--seeds", "0,1")


def starting(report: dict[str, Any], start: str) -> str:
    """Return the lines of a report that start so: its table with ``|``, sources of published figures with ``- ``."""
    return "\n".join(line for line in many_labels_markdown(report).splitlines() if line.startswith(start))


def chosen(results: Results) -> str:
    """Return which settings Adam and GCN have on each data set, and the time of trying all of them."""
    lines = []
    for job in results["jobs"]:
        name = job["job"]["dataset"], job["job"]["method"]
        if job["tried"] > 1 and job["job"]["seed"] == results["seeds"][0]:
            settings = ", ".join(f"{key} {value}" for key, value in job["result"]["settings"].items())
            lines.append([*name, str(job["tried"]), f"{job['tried_seconds']:.0f}", settings])
    return table(["data set", "method", "tried", "s", "chosen"], lines, left=5)


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the page, by the names of their places; of what has not been measured, nothing."""
    if not results:
        return {}
    return {
        "table": starting(results, "|"),
        "chosen": chosen(results),
        "sources": starting(results, "- "),
        "environment": conditions(results),
    }


PAGES = Pages(HERE, tables)


def kept(job: dict[str, Any]) -> dict[str, Any]:
    """Return what results.json keeps of a job: of its curve the evaluations that were the best so far."""
    result, points = job["result"], {name: [] for name in job["result"]["curve"]}
    for point in zip(*result["curve"].values(), strict=True):
        seconds, val, test = point
        if not points["val_accuracy"] or val > points["val_accuracy"][-1]:
            for name, value in zip(points, (round(seconds, 5), val, test), strict=True):
                points[name].append(value)
    tried = {"tried": len(job["tried"]), "tried_seconds": sum(each["seconds"] for each in job["tried"])}
    return {"job": job["job"], "result": {**result, "curve": points}, **tried}


def joined(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the reports of several runs as one."""
    rows, jobs, notes = ([each for report in reports for each in report[key]] for key in ("rows", "jobs", "notes"))
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    rows = [row for at, row in enumerate(rows) if row not in rows[:at]]  # published ones of several runs
    order = [*METHODS.values()]  # published ones after them, as they stand
    rows.sort(
        key=lambda row: (
            datasets.index(row["dataset"]),
            order.index(row["method"]) if row["group"] != "published" else len(order),
        )
    )
    notes = [note.partition("; place")[0] for note in notes]  # without folders of this machine
    first = reports[0]
    return first | {"rows": rows, "jobs": [kept(job) for job in jobs], "notes": notes, "date": first["date"][:10]}


def main(args: Sequence[str] | None = None) -> int:
    parser = arguments(__doc__)
    parser.add_argument("--out", default="bench-many-labels", help="folder of what is done")
    given = parser.parse_args(args)
    if given.tables:
        PAGES.renew(PAGES.read())
        return 0
    reports, commands = [], []
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "report.json"
        quick = [*QUICK, "--out", folder, "--quiet"]
        for run in [None] if given.quick else RUNS:
            names = ("--datasets", "--methods", "--seeds")
            chosen = [] if run is None else [word for pair in zip(names, run, strict=True) for word in pair]
            how = quick if run is None else [*chosen, "--out", given.out]
            status = cli.main([*COMMAND, *how, "--json", str(written)])
            if status != 0:
                return status
            reports.append(json.loads(written.read_text(encoding="utf-8")))
            commands.append(shlex.join(["gamlp-admm", *COMMAND, *chosen]))
    report = joined(reports) | {"command": "; ".join(commands)}
    if given.quick:
        print(starting(report, "|"))
        return 0
    PAGES.renew(PAGES.save(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

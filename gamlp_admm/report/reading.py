"""Reading reports of runs back from JSON; what is not as it should be is named."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError
from gamlp_admm.report.runs import RunReport, RunSet

RUN_FILE = "run.json"
"""The report in the directory of a run."""

MEASURES = re.compile(r"(train|val|test)_\w+|\w+_residual|iteration|layers|objective|seconds|bytes_sent")
"""Keys of records that stand for numbers; others may be added, and are not looked at."""

LARGEST = 1e150
"""Squares and quotients of larger numbers would be none; what has diverged so far has no place in a chart."""

ALLOWED = "allowed: a file of train --json or compare --json, or a directory of train --log-dir"


def read(paths: Sequence[Path]) -> list[RunSet]:
    """Read runs from files and directories.

    Args:
        paths: Each the JSON of ``train --json`` or ``compare --json``, or the directory of ``train --log-dir``.

    Returns:
        The settings, with labels that differ.

    Raises:
        InputError: There is no such file, two are one, or one is damaged or something else.
    """
    sets: list[RunSet] = []
    seen: dict[str, Path] = {}
    for path in paths:
        file = run_file(path)
        if (other := seen.setdefault(os.path.realpath(file), path)) is not path:
            raise InputError(f"{other} and {path} are one run; give each once")
        found = run_sets(_loaded(path, file), str(path))
        name = (file.resolve().parent.name if file.name == RUN_FILE else path.stem) or str(path)
        alone = len(paths) == 1
        sets += [replace(each, label=_label(each.label, "" if alone else name) or name) for each in found]
    return _told_apart(sets)


def run_file(path: Path) -> Path:
    """Return the file of a run: itself, or the one in its directory."""
    return path / RUN_FILE if path.is_dir() else path


def _label(inner: str, outer: str) -> str:
    return ", ".join(part for part in (outer, inner) if part)


def _told_apart(sets: list[RunSet]) -> list[RunSet]:
    labels = [each.label for each in sets]
    numbers = [labels[:i].count(label) + 1 for i, label in enumerate(labels)]
    return [
        replace(each, label=f"{each.label} ({number})") if labels.count(each.label) > 1 else each
        for each, number in zip(sets, numbers, strict=True)
    ]


def _loaded(path: Path, file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{file} cannot be read ({why}); {ALLOWED}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({' '.join(str(error).split())}); {ALLOWED}") from None


def run_sets(report: Any, source: str) -> list[RunSet]:
    """Return the settings of what ``train --json`` or ``compare --json`` wrote; one alone has no label.

    Args:
        report: The JSON.
        source: What messages call it.

    Raises:
        InputError: It is something else.
    """
    look = _Reader(source)
    report = look.of("the whole", report, dict)
    if "runs" not in report:
        return [RunSet("", (look.run(report, ""),))]
    listed = look.of("runs", report["runs"], list)
    runs = [look.run(run, f"runs[{i}].") for i, run in enumerate(listed)]
    if not runs:
        look.fail("runs", "is empty")
    if "rows" not in report:
        return [RunSet("", tuple(runs))]
    sets: list[RunSet] = []
    for i, row in enumerate(look.of("rows", report["rows"], list)):
        row = look.of(f"rows[{i}]", row, dict)
        seeds = look.of(f"rows[{i}].seeds", row.get("seeds"), int)
        sets.append(RunSet(look.of(f"rows[{i}].codec", row.get("codec"), str), tuple(runs[:seeds])))
        if seeds < 1 or len(sets[-1].runs) < seeds:
            look.fail(f"rows[{i}].seeds", f"is {seeds}, but there are {len(runs)} runs for it")
        runs = runs[seeds:]
    if runs or not sets:
        look.fail("rows", f"has no row for {len(runs)} of the runs")
    return sets


WORDS = {dict: "a table", list: "a list", str: "a text", int: "an integer"}


class _Reader:
    """Takes reports apart; what is not as it should be is named."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, where: str, what: str) -> None:
        raise InputError(f"{self.source} is no report of a run: {where} {what}; {ALLOWED}")

    def of(self, where: str, value: Any, kind: type) -> Any:
        """Return a value that must be of a kind."""
        if not isinstance(value, kind) or isinstance(value, bool):
            self.fail(where, f"is not {WORDS[kind]}" if value is not None else "is missing")
        return value

    def number(self, where: str, value: Any) -> float | None:
        """Return a number, ``None`` for one that is missing, not finite or beyond what can be drawn."""
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            self.fail(where, "is no number")
        if value is None or not abs(value) < LARGEST:
            return None
        return float(value) if abs(value) * LARGEST > 1 else 0.0

    def numbers(self, where: str, table: Any) -> dict[str, float | None]:
        """Return a table of numbers."""
        table = self.of(where, table, dict)
        return {key: self.number(f"{where}.{key}", value) for key, value in table.items()}

    def record(self, where: str, table: Any) -> dict[str, float | None]:
        """Return what a record measures."""
        table = self.of(where, table, dict)
        return self.numbers(where, {key: value for key, value in table.items() if MEASURES.fullmatch(key)})

    def run(self, report: Any, at: str) -> RunReport:
        """Return the report of one run, whose parts messages call ``at`` + name."""
        report = self.of(at.rstrip(".") or "the whole", report, dict)
        config = self.of(f"{at}config", report.get("config"), dict)
        for key, kind in (("algorithm", str), ("operator", str), ("layers", int), ("hidden", int)):
            self.of(f"{at}config.{key}", config.get(key), kind)
        for key, kinds in (("hops", int | list), ("codec", str)):
            if not isinstance(config.get(key, 0.0), kinds | None):
                self.fail(f"{at}config.{key}", "is not what it may be" if key in config else "is missing")
        rows = self.of(f"{at}per_class", report.get("per_class", {}), dict)
        confusion = dict(self.of(f"{at}confusion", report.get("confusion", {}), dict))
        classes = [str(name) for name in self.of(f"{at}confusion.classes", confusion.pop("classes", []), list)]
        listed = self.of(f"{at}processes", report.get("processes", []), list)
        notes = {name: report.get(name) for name in ("split", "theorem", "solver", "units")}
        return RunReport(
            dataset=self.of(f"{at}dataset", report.get("dataset"), str),
            metric=self.of(f"{at}metric", report.get("metric", "accuracy"), str),
            config=config,
            columns=self.columns(f"{at}history", report.get("history")),
            best=self.record(f"{at}best", report.get("best")),
            last=self.record(f"{at}last", report.get("last")),
            seconds=self.numbers(f"{at}seconds", report.get("seconds")),
            environment=self.of(f"{at}environment", report.get("environment", {}), dict),
            per_class={s: self.classes(f"{at}per_class.{s}", each) for s, each in rows.items()},
            confusion={s: self.counts(f"{at}confusion.{s}", each, len(classes)) for s, each in confusion.items()},
            classes=classes,
            notes={name: str(note) for name, note in notes.items() if note},
            processes=[self.process(f"{at}processes[{i}]", each) for i, each in enumerate(listed)],
            num_parameters=self.of(f"{at}num_parameters", report.get("num_parameters"), int),
            seed=self.of(f"{at}seed", report.get("seed"), int),
        )

    def columns(self, where: str, history: Any) -> dict[str, list[float | None]]:
        """Return a history by key."""
        records = [self.record(f"{where}[{i}]", record) for i, record in enumerate(self.of(where, history, list))]
        if not records:
            self.fail(where, "is empty")
        keys = dict.fromkeys(key for record in records for key in record)
        columns = {key: [record.get(key) for record in records] for key in keys}
        for key in ("iteration", "layers", "bytes_sent"):
            if None in columns.get(key, [None]):
                self.fail(where, f"has a record without {key}")
        steps = columns["iteration"]
        if any(b <= a for a, b in pairwise(steps)):  # type: ignore[operator]  # none is None
            self.fail(where, "has iterations that do not rise")
        if not any(key.startswith("test_") for key in columns):
            self.fail(where, "measures nothing on test nodes")
        if "primal_residual" in columns:
            squared = columns["primal_residual"]
            columns["primal_residual"] = [None if v is None or v < 0 else math.sqrt(v) for v in squared]
        return columns

    def classes(self, where: str, rows: Any) -> list[dict[str, Any]]:
        """Return the rows of single classes of a split."""
        result = []
        for i, row in enumerate(self.of(where, rows, list)):
            row = dict(self.of(f"{where}[{i}]", row, dict))
            name = str(row.pop("class", i))
            result.append({"class": name} | self.numbers(f"{where}[{i}]", row))
        return result

    def counts(self, where: str, rows: Any, size: int) -> list[list[int]]:
        """Return a confusion matrix."""
        rows = [self.of(f"{where}[{i}]", row, list) for i, row in enumerate(self.of(where, rows, list))]
        if [len(row) for row in rows] != [size] * size:
            self.fail(where, f"is no square matrix of {size} classes")
        return [[self.of(f"{where}[{i}][{j}]", n, int) for j, n in enumerate(row)] for i, row in enumerate(rows)]

    def process(self, where: str, summary: Any) -> dict[str, Any]:
        """Return the summary of a process."""
        summary = self.of(where, summary, dict)
        numbers = {key: self.number(f"{where}.{key}", summary.get(key)) for key in ("seconds", "wait_seconds")}
        numbers["evaluation_bytes"] = self.number(f"{where}.evaluation_bytes", summary.get("evaluation_bytes", 0))
        layers = summary.get("layers")
        if layers is not None and len(self.of(f"{where}.layers", layers, list)) != 2:
            self.fail(f"{where}.layers", "is no pair")
        wire = self.numbers(f"{where}.wire_bytes", summary.get("wire_bytes", {}))
        if not all(key.isdecimal() for key in wire):  # JSON has no numbers for keys
            self.fail(f"{where}.wire_bytes", "has a key that is no boundary")
        sent = {int(key): value or 0.0 for key, value in wire.items()}
        return {
            "rank": self.of(f"{where}.rank", summary.get("rank"), int),
            "layers": layers,
            "wire_bytes": sent,
            "split": self.numbers(f"{where}.split", summary.get("split", {})),
            **numbers,
        }

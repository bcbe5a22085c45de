"""One HTML page of one or more runs, which needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gamlp_admm.experiment.declaration import GROUPS
from gamlp_admm.experiment.options import declared
from gamlp_admm.report.charts import COLOURS, Chart, chart
from gamlp_admm.report.curves import curve, starts_of_stages
from gamlp_admm.report.runs import FALLING, RunReport, RunSet, common_metric, mean_and_deviation, words
from gamlp_admm.report.tables import headline, percent, process_line, size

FOLDER = Path(__file__).parent / "html"
SPLITS = {"test": "test", "val": "validation"}
OTHER = "Other"


def html_page(sets: Sequence[RunSet]) -> str:
    """Return the page.

    Args:
        sets: What :func:`gamlp_admm.report.reading.read` returns.
    """
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    metric = common_metric(sets)
    title, subtitle = _titles(sets)
    text = (
        _templates()
        .get_template("page.html")
        .render(
            title=title,
            subtitle=subtitle,
            sets=sets,
            metric=words(metric),
            key=metric,
            rows=_rows(sets, metric),
            charts=list(_charts(sets, metric)),
            classes=[_classes(each) for each in sets],
            options=_options(sets),
            environments=_environments(sets),
            colours=COLOURS,
            process_line=process_line,
            splits=SPLITS,
            style=(FOLDER / "page.css").read_text(encoding="utf-8"),
            script=script,
            digest=digest,
        )
    )
    return text.encode("utf-8", "replace").decode()  # JSON may hold halves of characters, which no file can


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"percent": percent, "size": size, "seconds": _seconds, "plus_minus": _plus_minus}
    return templates


def _titles(sets: Sequence[RunSet]) -> tuple[str, str]:
    if len(sets) == 1:
        run = sets[0].first
        title, _, shape = headline(run.config | {"dataset": run.dataset}).rpartition(": ")
        seeds = ", ".join(str(each.seed) for each in sets[0].runs)
        return title, f"{shape}, {'seed' if len(sets[0].runs) == 1 else 'seeds'} {seeds}"
    datasets = dict.fromkeys(each.first.dataset for each in sets)
    return f"{len(sets)} settings on {', '.join(datasets)}", f"Side by side: {', '.join(each.label for each in sets)}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g} s" if value < 1000 else f"{value:,.0f} s"


def _plus_minus(pair: tuple[float, float] | None, several: bool) -> str:
    if pair is None:
        return "–"
    return f"{pair[0]:.4f}" + (f" ±\u00a0{pair[1]:.4f}" if several else "")


@dataclass(frozen=True)
class Row:
    """What the table of runs says of one setting: each a mean over its seeds."""

    label: str
    run: RunReport
    several: int
    top: bool
    test: tuple[float, float] | None
    val: tuple[float, float] | None
    last: tuple[float, float] | None
    sent: float
    fewer: float | None
    seconds: float | None
    more: list[tuple[str, tuple[float, float] | None]]


def _rows(sets: Sequence[RunSet], metric: str) -> list[Row]:
    sent = [math.fsum(run.bytes_sent for run in each.runs) / len(each.runs) for each in sets]
    found = [each.mean("best", f"test_{metric}") for each in sets]
    alike = len({each.first.dataset for each in sets}) == 1 and len(set(found)) > 1
    best = min if metric in FALLING else max
    top = best((pair[0] for pair in found if pair), default=None) if alike else None
    return [_row(each, metric, count, max(sent), top) for each, count in zip(sets, sent, strict=True)]


def _row(each: RunSet, metric: str, sent: float, most: float, top: float | None) -> Row:
    test = each.mean("best", f"test_{metric}")
    trained = mean_and_deviation([run.seconds.get("train") for run in each.runs])
    return Row(
        label=each.label,
        run=each.first,
        several=len(each.runs),
        top=test is not None and test[0] == top,
        test=test,
        val=each.mean("best", f"val_{metric}"),
        last=each.mean("last", f"test_{metric}"),
        sent=sent,
        fewer=most / sent if sent else None,
        seconds=trained and trained[0],
        more=[(words(name), each.mean("best", f"test_{name}")) for name in each.first.metrics if name != metric],
    )


def _charts(sets: Sequence[RunSet], metric: str) -> Iterator[Chart]:
    """Yield the charts: of one setting its measures, of several each measure with a curve a setting."""
    name, shares = words(metric), metric not in FALLING
    if len(sets) == 1:
        (alone,) = sets
        stages = starts_of_stages(alone.first)
        parts = {"test": "test", "val": "validation", "train": "training"}
        columns = {f"{part}_{metric}": title for part, title in parts.items()}
        found = [
            chart(
                f"{name[0].upper()}{name[1:]}",
                [curve(alone, key, title) for key, title in columns.items()],
                shares=shares,
                stages=stages,
                dots=[_selected(alone, key, "iteration") for key in columns],
                note=SELECTED if len(alone.runs) == 1 else "",
            ),
            _against_bytes([(alone, key, title) for key, title in columns.items()][:2], name, shares),
            *(
                chart(title, [curve(alone, key, label) for key, label in labels.items()], stages=stages)
                for title, labels in ALONE.items()
            ),
        ]
    else:
        found = [
            chart(f"Test {name}", _each(sets, f"test_{metric}"), shares=shares),
            _against_bytes([(each, f"test_{metric}", each.label) for each in sets], f"test {name}", shares),
            chart(f"Validation {name}", _each(sets, f"val_{metric}"), shares=shares),
            *(chart(title, _each(sets, key)) for key, title in BESIDE.items()),
        ]
    yield from (each for each in found if each is not None)


SELECTED = "Dots: the weights that are best on validation."
UNSENT = "Where those are of the start, before anything is sent, there is no place for them."
ALONE = {
    "Objective and training loss": {"objective": "objective", "train_loss": "training loss"},
    "Residuals": {"primal_residual": "primal residual, norm", "dual_residual": "dual residual, norm"},
}
BESIDE = {
    "train_loss": "Training loss",
    "primal_residual": "Primal residual, norm",
    "dual_residual": "Dual residual, norm",
}


def _each(sets: Sequence[RunSet], key: str) -> list[Any]:
    return [curve(each, key, each.label) for each in sets]


def _selected(each: RunSet, key: str, x: str) -> tuple[float, float] | None:
    """Return where the selected weights are: means over the seeds, against bytes; of one seed, against iterations."""
    if x == "iteration" and len(each.runs) > 1:
        return None
    places = [mean_and_deviation([run.at_best(column) for run in each.runs]) for column in (x, key)]
    across, up = places
    return None if across is None or up is None else (across[0], up[0])


def _against_bytes(lines: Sequence[tuple[RunSet, str, str]], name: str, shares: bool) -> Chart | None:
    if not any(run.bytes_sent > 0 for each, _, _ in lines for run in each.runs):
        return None
    curves = [curve(each, key, label, x="bytes_sent") for each, key, label in lines]
    dots = [_selected(each, key, "bytes_sent") for each, key, _ in lines]
    unsent = any(dot is not None and dot[0] <= 0 for dot in dots)
    note = f"{SELECTED} {UNSENT}" if unsent else SELECTED
    title = f"{name[0].upper()}{name[1:]} against bytes"
    return chart(title, curves, shares=shares, in_bytes=True, dots=dots, note=note)


@dataclass(frozen=True)
class SplitClasses:
    """Single classes of one split: a row a class, means over the seeds; and the counts, summed over them."""

    name: str
    rows: list[dict[str, Any]]
    confusion: list[list[int]]
    shares: list[list[float]]


@dataclass(frozen=True)
class Classes:
    """Single classes of one setting."""

    label: str
    names: list[str]
    splits: list[SplitClasses]
    seeds: int


def _classes(each: RunSet) -> Classes:
    names = each.first.classes
    splits = []
    for split, title in SPLITS.items():
        tables = [run.per_class.get(split, []) for run in each.runs]
        if tables[0] and len({tuple(row["class"] for row in table) for table in tables}) == 1:
            matrices = [run.confusion.get(split, []) for run in each.runs]
            counts = [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=False)]
            shares = [[n / max(1, sum(row)) for n in row] for row in counts]
            splits.append(SplitClasses(title, [_mean_row(rows) for rows in zip(*tables, strict=True)], counts, shares))
    return Classes(each.label, names, splits, len(each.runs))


def _mean_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found = {key: mean_and_deviation([row.get(key) for row in rows]) for key in ("precision", "recall", "f1")}
    return {"class": rows[0]["class"], "nodes": int(rows[0].get("nodes") or 0)} | found


@dataclass(frozen=True)
class OptionRow:
    """An option as the runs used it: what it is called, what it does, a value a setting, and whether they differ."""

    name: str
    help: str
    values: list[str]
    differ: bool


def _options(sets: Sequence[RunSet]) -> dict[str, list[OptionRow]]:
    """Return the options that apply, in the sections of help; unknown ones, of other packages, last."""
    known = declared()
    rows: dict[str, list[OptionRow]] = {group: [] for group in (*GROUPS, OTHER)}
    configs = [[run.config for run in each.runs] for each in sets]
    for name in dict.fromkeys([*known, *(name for config in configs for name in config[0])]):
        values = [_shown(dict.fromkeys(_text(config.get(name)) for config in runs)) for runs in configs]
        if any(values):
            option = known[name].option if name in known else None
            group, help = (option.group, option.help) if option else (OTHER, "")
            rows[group].append(OptionRow(name.replace("_", "-"), help, values, len(set(values)) > 1))
    return {group: found for group, found in rows.items() if found}


def _shown(values: dict[str, None]) -> str:
    return ", ".join(value for value in values if value)


def _text(value: Any) -> str:
    """Return the value of an option as text, empty where it does not apply."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _environments(sets: Sequence[RunSet]) -> dict[str, list[str]]:
    """Return versions and machine by name: a value a setting, or one where all of them have the same."""
    tables = []
    for run in (each.first for each in sets):
        counts = [(name, run.environment.get(name)) for name in ("processes", "threads")]
        counted = [f"{n} {name}" if n != 1 else f"1 {SINGULAR[name]}" for name, n in counts if n is not None]
        machine = ", ".join([_text(run.environment.get("device")), *counted])
        versions = run.environment.get("versions")
        tables.append({"machine": machine} | (versions if isinstance(versions, dict) else {}))
    if all(table == tables[0] for table in tables):
        tables = tables[:1]
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: [_text(table.get(name)) for table in tables] for name in names}


SINGULAR = {"processes": "process", "threads": "thread"}

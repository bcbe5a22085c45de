"""The table of a benchmark of accuracy as data: what was trained here, and published figures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gamlp_admm.bench.jobs import Job
from gamlp_admm.datasets import DatasetInfo, dataset_info
from gamlp_admm.datasets.info import Published
from gamlp_admm.datasets.splits import USUAL


def summarize(records: Sequence[dict[str, Any]], jobs: Sequence[Job], methods: Mapping[str, str]) -> dict[str, Any]:
    """Return the table of a benchmark as data.

    Args:
        records: Records of outcomes.
        jobs: The plan that they come from.
        methods: What can be trained, by name, and how the table calls it.

    Returns:
        ``columns``, the data sets and splits that there are results for; ``rows``, a method each: ``group`` (``ours``,
        ``peers`` or ``published``), ``method``, ``neurons`` of published ones, and ``cells``, one a column or ``None``:
        ``mean``; where trained here also ``std`` (sample standard deviation), ``seeds`` (that are done), ``planned``,
        ``val_mean`` and ``seconds`` (mean, of training); where published ``source``.
    """
    done: dict[tuple[tuple[str, str], str], list[dict[str, Any]]] = {}
    for record in records:
        job = Job(**record["job"])
        done.setdefault((job.column, job.method), []).append(record["result"])
    planned = [*dict.fromkeys(job.column for job in jobs)]
    columns = [column for column in planned if any(key == column for key, _ in done)]
    seeds = len({job.seed for job in jobs})
    rows: list[dict[str, Any]] = []
    for method, title in methods.items():
        cells = [cell(done.get((column, method)), seeds) for column in columns]
        if any(cells):
            group = "ours" if method.startswith("pdadmm") else "peers"
            rows.append({"group": group, "method": title, "neurons": None, "cells": cells})
    figures: dict[tuple[str, int | None], dict[tuple[str, str], dict[str, Any]]] = {}
    for column in columns:
        for figure in published(dataset_info(column[0]), column[1]):
            known = {"mean": figure.accuracy, "source": figure.source}
            figures.setdefault((figure.method, figure.neurons), {})[column] = known
    for (method, neurons), by_column in sorted(figures.items(), key=lambda item: item[0][1] or 0):
        cells = [by_column.get(column) for column in columns]
        rows.append({"group": "published", "method": method, "neurons": neurons, "cells": cells})
    return {"columns": [titled(*column) for column in columns], "rows": rows}


def published(info: DatasetInfo, split: str = USUAL) -> list[Published]:
    """Return the figures that were published of a split."""
    return [figure for figure in info.published if figure.split == split]


def cell(results: list[dict[str, Any]] | None, planned: int) -> dict[str, Any] | None:
    """Return means over the results of some jobs, of which so many are planned."""
    if not results:
        return None
    test, val, seconds = ([r[key] for r in results] for key in ("test_accuracy", "val_accuracy", "seconds"))
    return {
        "mean": statistics.fmean(test),
        "std": statistics.stdev(test) if len(test) > 1 else None,
        "seeds": len(test),
        "planned": planned,
        "val_mean": statistics.fmean(val),
        "seconds": statistics.fmean(seconds),
    }


def titled(dataset: str, kind: str) -> dict[str, str]:
    """Return a column: data set, kind of split, and what the table calls that split."""
    usual = {"public": "public split", "per-class": "papers' split"}.get(dataset_info(dataset).split, "usual split")
    title = {USUAL: usual, "random": "random splits"}.get(kind, kind)
    return {"dataset": dataset, "splits": kind, "title": title}

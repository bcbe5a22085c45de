"""The same training under several codecs, side by side: accuracy, bytes, seconds.

Bytes are compared with those that the same run would have sent with p and q in 32-bit floating point, and with p, q and
u in it, as the authors' released code does.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamlp_admm.codecs.plan import AUTO, Plan
from gamlp_admm.errors import InputError, several
from gamlp_admm.experiment.nearing import spent
from gamlp_admm.experiment.outcome import Run, metric_name, summary
from gamlp_admm.experiment.resolve import Experiment, Resolved, check_kind
from gamlp_admm.experiment.runner import prepare, run
from gamlp_admm.experiment.seeds import seeded
from gamlp_admm.experiment.source import handed
from gamlp_admm.system.words import percent
from gamlp_admm.training.result import Callback

if TYPE_CHECKING:
    import pandas as pd

COMPARED = ("fp32", "int8-delta", "int4-delta", "int2-delta", "grid:auto:256")


def plan(experiment: Experiment, codecs: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, Resolved]]:
    """Return the codec and the options of every run of a comparison.

    A grid makes pdADMM-G-Q of pdADMM-G, and another codec pdADMM-G of pdADMM-G-Q: that is what they are. Checkpoints go
    to a folder a codec and seed. What limits ``auto`` is for it alone.

    Args:
        experiment: The options that all runs share.
        codecs: Codecs, by name.
        seeds: Seeds of the weights.

    Raises:
        InputError: An option is wrong, or a codec or seed is given twice.
    """
    check_kind(experiment)
    codecs = several("codecs", codecs, "codecs")
    if not codecs or len(set(codecs)) < len(codecs):
        raise InputError(f"codecs {','.join(codecs)!r}: allowed: different codecs, at least one")
    limited = [name for name in ("bytes", "link") if getattr(experiment, name) is not None]
    if limited and AUTO not in codecs:
        raise InputError(f"{limited[0]} is for codec {AUTO}, which is not among {','.join(codecs)}")
    result: list[tuple[str, Resolved]] = []
    for name in codecs:
        on_grid = bool(Plan.of(name).gridded)
        algorithm = experiment.algorithm
        if algorithm in ("pdadmm-g", "pdadmm-g-q"):
            algorithm = "pdadmm-g-q" if on_grid else "pdadmm-g"
        quantize = experiment.quantize if on_grid else None
        folder = experiment.checkpoint
        if folder is not None:
            folder = str(Path(folder) / re.sub(r"[^\w.+=-]", "_", name))
        each = replace(experiment, codec=name, algorithm=algorithm, quantize=quantize, checkpoint=folder)
        each = each if name == AUTO else replace(each, bytes=None, link=None)
        result += [(name, one) for one in seeded(each.resolve(), seeds)]
    return result


@dataclass(repr=False)
class Comparison:
    """What the runs of a comparison gave, as far as they are done.

    Attributes:
        reports: The runs' reports (:class:`gamlp_admm.experiment.Run`), by codec.

    Example:
        >>> from gamlp_admm.experiment import Comparison, Experiment, run
        >>> comparison = Comparison()
        >>> for codec in ("fp32", "bf16"):
        ...     experiment = Experiment(dataset="karate", operator="sym", hidden=8, iterations=3, codec=codec)
        ...     comparison.add(codec, run(experiment))
        >>> [row["times_fewer_than_fp32"] for row in comparison.rows()]
        [1.0, 2.0]
    """

    reports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __repr__(self) -> str:
        tests = {row["codec"]: percent(row["test_accuracy_mean"]) for row in self.rows()}
        return (
            f"<{type(self).__name__} by test accuracy: {', '.join(f'{codec} {test}' for codec, test in tests.items())}>"
        )

    def add(self, codec: str, done: Run) -> None:
        """Add a run."""
        self.reports.setdefault(codec, []).append(done.report)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a codec: accuracies (mean and sample standard deviation over seeds), bytes and seconds.

        Where runs are selected by another ``metric``, its name and its figures too, as ``test_roc_auc_mean``.

        ``bytes_per_iteration`` is that at the final depth, ``bytes_total`` the mean over seeds;
        ``times_fewer_than_fp32`` and ``times_fewer_than_authors`` compare it with p and q, and with p, q and u, in
        32-bit floating point. ``bytes_to_99`` and ``seconds_to_99`` are those until 99 % of the best validation score
        of the first codec's run from the same seed (:func:`gamlp_admm.experiment.nearing.spent`).
        """
        rows = []
        reference = next(iter(self.reports.values()), [])
        for codec, reports in self.reports.items():
            full = statistics.fmean(map(fp32_bytes, reports))
            total = statistics.fmean(report["bytes_sent_total"] for report in reports)
            rows.append(
                {
                    "codec": codec,
                    "algorithm": reports[0]["algorithm"],
                    "seeds": len(reports),
                    **({} if (metric := metric_name(reports[0])) == "accuracy" else {"metric": metric}),
                    **{name: value for name, value in summary(reports).items() if not name.startswith("last_val")},
                    "bytes_per_iteration": bytes_per_iteration(reports[0]),
                    "bytes_total": total,
                    "times_fewer_than_fp32": full / total if total else None,
                    "times_fewer_than_authors": 1.5 * full / total if total else None,
                    "seconds": statistics.fmean(report["seconds"]["train"] for report in reports),
                    **spent(reports, reference),
                }
            )
        return rows

    def table(self) -> pd.DataFrame:
        """Return :meth:`rows` as a data frame, with the codec as index."""
        import pandas as pd

        return pd.DataFrame(self.rows()).set_index("codec")

    def report(self) -> dict[str, Any]:
        """Return what ``compare --json`` writes: the rows, and all reports."""
        return {"rows": self.rows(), "runs": [report for reports in self.reports.values() for report in reports]}


def compare(
    experiment: Experiment,
    codecs: Sequence[str] = COMPARED,
    seeds: Sequence[int] = (0,),
    callbacks: Sequence[Callback] = (),
    *,
    data: Any = None,
) -> pd.DataFrame:
    """Train the same network under several codecs.

    Args:
        experiment: The options that all runs share.
        codecs: Codecs, by name (:mod:`gamlp_admm.codecs`).
        seeds: Seeds of the weights; each codec is trained from each.
        callbacks: Called after each evaluated iteration.
        data: A graph of one's own in place of the data set: a path, what :func:`gamlp_admm.datasets.load_graph` takes,
            or what it returned.

    Returns:
        A data frame with a row a codec and the columns of :meth:`Comparison.rows`. ``attrs["report"]`` holds the
        report of ``compare --json``, with every run's history.

    Raises:
        InputError: An option or the data set is wrong.

    Example:
        >>> from gamlp_admm.experiment import Experiment, compare
        >>> experiment = Experiment(dataset="karate", operator="sym", hidden=8, iterations=3)
        >>> table = compare(experiment, codecs=["fp32", "int8"])
        >>> bool(table.bytes_total["int8"] < table.bytes_total["fp32"])
        True
    """
    experiment, graph = handed(experiment, data)
    runs = plan(experiment, codecs, seeds)
    comparison, prepared = Comparison(), prepare(runs[0][1], data=graph, split_only=True)
    for codec, each in runs:
        comparison.add(codec, run(each, callbacks, prepared))
    table = comparison.table()
    table.attrs["report"] = comparison.report()
    return table


def _stages(report: dict[str, Any]) -> list[tuple[int, int, int]]:
    """Return depth, iterations and bytes of each stage of growth."""
    last = {record["layers"]: (record["iteration"], record["bytes_sent"]) for record in report["history"]}
    ends = [(0, 0), *last.values()]
    return [(depth, k - j, b - a) for depth, (j, a), (k, b) in zip(last, ends[:-1], ends[1:], strict=True)]


def bytes_per_iteration(report: dict[str, Any]) -> float:
    """Return what a run sent in an iteration at its final depth."""
    _, iterations, sent = _stages(report)[-1]
    return sent / iterations


def fp32_bytes(report: dict[str, Any]) -> int:
    """Return what a run would have sent with p and q in 32-bit floating point."""
    entries = report["num_nodes"]["train"] * report["config"]["hidden"]
    return sum(iterations * (depth - 1) * 2 * 4 * entries for depth, iterations, _ in _stages(report))

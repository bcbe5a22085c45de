"""What runs spend until they come near to a validation score: bytes and seconds to accuracy.

The score is 99 % of the best that another run reached, of the reference's codec and the same seed. Counted are records
of the network at its final depth, as for the best; what came before is part of what is spent.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gamlp_admm.experiment.outcome import metric_name
from gamlp_admm.training.metrics import METRICS

SHARE = 0.99
"""How near: the share of the best score."""


def _scores(report: Mapping[str, Any]) -> list[tuple[float, Mapping[str, Any]]]:
    # Of the records at the final depth; more is better.
    metric, depth = METRICS[metric_name(report)], report["config"]["layers"]
    scored = [(metric.better(record)[1], record) for record in report["history"] if record["layers"] == depth]
    return [(score, record) for score, record in scored if score is not None]


def target(report: Mapping[str, Any], share: float = SHARE) -> float | None:
    """Return the score that is near to the best of a run; ``None`` where it has no validation scores.

    Args:
        report: Its report.
        share: How near. Of a loss, of which less is better, the rest is added.
    """
    best = max((score for score, _ in _scores(report)), default=None)
    return None if best is None else best - (1 - share) * abs(best)


def first_near(report: Mapping[str, Any], score: float | None) -> Mapping[str, Any] | None:
    """Return the first record of a run with a score, ``None`` where it never has."""
    if score is None:
        return None
    return next((record for reached, record in _scores(report) if reached >= score), None)


def spent(reports: Sequence[Mapping[str, Any]], reference: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return what runs spent until they came near to the best of the reference's run from the same seed.

    Args:
        reports: The runs of a codec.
        reference: Those of the codec that they are compared with.

    Returns:
        ``bytes_to_99`` and ``seconds_to_99``, means over the runs, ``None`` unless all came so near; and
        ``seeds_at_99``, how many did.

    Example:
        >>> from gamlp_admm.experiment import Experiment, run
        >>> from gamlp_admm.experiment.nearing import spent
        >>> report = run(Experiment(dataset="karate", operator="sym", hidden=8, iterations=3)).report
        >>> spent([report], [report])["seeds_at_99"]
        1
    """
    targets = {report["seed"]: target(report) for report in reference}
    found = [first_near(report, targets.get(report["seed"])) for report in reports]
    near = [record for record in found if record is not None]
    told: dict[str, float | None] = {"seeds_at_99": len(near)}
    for key in ("bytes", "seconds"):
        values = [record["bytes_sent" if key == "bytes" else key] for record in near]
        told[f"{key}_to_99"] = statistics.fmean(values) if values and len(near) == len(reports) else None
    return told

"""How often a run is evaluated where that is left open: by counted operations, so that all processes agree."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gamlp_admm.parallel.balance import layer_costs

SHARE = 1 / 8
"""Of a run's cost that evaluations may have."""

SHORT, RECORDS, LOOKS = 40, 7, 3
"""Iterations below which a stage has a record each; least records of others, least evaluations while patience waits."""

CALL = 2e5
"""Operations of a matrix product that take as long as the call of an operator on little data."""


def iteration_cost(shapes: Sequence[tuple[int, int]], rows: int) -> float:
    """Return what an iteration of ADMM costs, in operations of a matrix product: 12 calls a layer, and 60.

    Args:
        shapes: (n_out, n_in) of each layer.
        rows: Training rows N.
    """
    return sum(layer_costs(shapes, rows)) + CALL * (60 + 12 * len(shapes))


def evaluation_cost(shapes: Sequence[tuple[int, int]], rows: int, evaluated: int, ranked: bool = False) -> float:
    """Return what an evaluation costs: a product a layer of all rows evaluated, and the objective of the training rows.

    Entries count eight times, as in :func:`gamlp_admm.parallel.balance.layer_costs`.

    Args:
        shapes: (n_out, n_in) of each layer.
        rows: Training rows N.
        evaluated: Rows of all splits.
        ranked: Whether outputs are sorted for a metric, which takes as long as 6,000 operations an entry.
    """
    forward = evaluated * sum(2.0 * n_out * n_in + 8.0 * 3 * n_out for n_out, n_in in shapes)
    terms = rows * sum(8.0 * 20 * n_out for n_out, _ in shapes)
    figures = evaluated * shapes[-1][0] * (6_000.0 if ranked else 0.0)
    return forward + terms + figures + CALL * (60 + 4 * len(shapes))


def interval(
    shapes: Sequence[tuple[int, int]],
    rows: int,
    evaluated: int,
    iterations: int,
    patience: int | None = None,
    ranked: bool = False,
) -> int:
    """Return the iterations from one evaluation to the next: the fewest that keep their share of the cost.

    Args:
        shapes: (n_out, n_in) of each layer, as they are solved.
        rows: Training rows N.
        evaluated: Rows of all splits.
        iterations: Those of the stage. Of fewer than 40 each is evaluated; each seventh of more ends with one.
        patience: Iterations that are waited for a better validation score; each third of them ends with one, too.
        ranked: Whether outputs are sorted for a metric.

    Example:
        >>> from gamlp_admm.training.interval import interval
        >>> deep = [(100, 141), *[(100, 100)] * 8, (7, 100)]  # Cora: 140 rows are trained on, 1,640 evaluated
        >>> interval(deep, 140, 1_640, 200), interval(deep, 140, 1_640, 50), interval(deep, 140, 1_640, 200, patience=6)
        (13, 7, 2)
        >>> interval(deep, 140, 1_640, 39)
        1
    """
    if iterations < SHORT:
        return 1
    evaluation = evaluation_cost(shapes, rows, evaluated, ranked)
    fewest = math.ceil((1 / SHARE - 1) * evaluation / iteration_cost(shapes, rows))
    most = min(iterations // RECORDS, iterations if patience is None else patience // LOOKS)
    return max(1, min(fewest, most))

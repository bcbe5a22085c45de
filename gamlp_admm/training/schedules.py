"""Penalty schedules: how ρ and ν change while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gamlp_admm.errors import InputError, unknown

Record = dict[str, Any]
Schedule = Callable[[Sequence[Record], int], float]
"""From a stage's records and number of iterations so far to the factor by which ρ and ν exceed their start values."""

MOST = 1e12
"""The largest factor: penalties are at most as large themselves, and their products stay within what float32 holds."""


def constant(records: Sequence[Record], elapsed: int) -> float:
    """Keep ρ and ν."""
    return 1.0


def every(iterations: int = 100, factor: float = 10.0, limit: float = 1e4) -> Schedule:
    """Multiply ρ and ν by ``factor`` every so many iterations, up to ``limit`` times the start (dlADMM, KDD 2019)."""
    count, reached = 0, 1.0

    def schedule(records: Sequence[Record], elapsed: int) -> float:
        nonlocal count, reached
        if elapsed // iterations < count:
            count, reached = 0, 1.0
        while count < elapsed // iterations:  # on from the last call: a long run does not count anew each time
            count, reached = count + 1, min(reached * factor, limit)  # a power would overflow
        return reached

    return schedule


def stall(patience: int = 10, factor: float = 10.0, limit: float = 1e4, tolerance: float = 1e-3) -> Schedule:
    """Multiply ρ and ν by ``factor`` when the training loss stalls, up to ``limit`` times the start.

    It stalls when the loss of the forward pass has not fallen by the relative ``tolerance`` below its best since the
    last change for ``patience`` evaluations. The released pdADMM-G code does the like.
    """
    count, reached, best, since = 0, 1.0, float("inf"), 0
    newest: Record | None = None  # of those that are counted

    def schedule(records: Sequence[Record], elapsed: int) -> float:
        nonlocal count, reached, best, since, newest
        if not (0 < count <= len(records) and records[count - 1] == newest):  # not those of the last call, and more
            count, reached, best, since = 0, 1.0, float("inf"), 0
        for newest in records[count:]:
            loss = newest["train_loss"]
            if loss < best * (1 - tolerance):
                best, since = loss, 0
            else:
                since += 1
            if since >= patience:
                reached, best, since = reached * factor, float("inf"), 0
        count = len(records)
        return min(reached, limit)

    return schedule


SCHEDULES: dict[str, Callable[..., Schedule]] = {"constant": lambda: constant, "every": every, "stall": stall}


def schedule(spec: str | Schedule) -> Schedule:
    """Return the schedule that ``spec`` names.

    Args:
        spec: ``constant``, ``every[:iterations[:factor[:limit]]]``, ``stall[:patience[:factor[:limit]]]``, or a
            callable.

    Raises:
        InputError: The name is not known, or a number cannot be read.
    """
    if callable(spec):
        return spec
    if not isinstance(spec, str):
        raise unknown("schedule", spec, [*SCHEDULES, "a callable"])
    name, *numbers = spec.split(":")
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    try:
        values = [int(numbers[0]), *map(float, numbers[1:])] if numbers else []
        if not all(0 < v <= MOST for v in values):  # NaN is not
            raise ValueError
        return SCHEDULES[name](*values)
    except (ValueError, TypeError):
        raise InputError(
            f"schedule {spec!r}: allowed: constant, every:ITERATIONS:FACTOR:LIMIT, stall:PATIENCE:FACTOR:LIMIT; "
            f"numbers above 0, up to {MOST:g}"
        ) from None

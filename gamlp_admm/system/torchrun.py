"""Which of a run's processes this one is, as torchrun's environment says: for what comes before they have a group."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

from gamlp_admm.errors import InputError, InputWarning


def is_worker() -> bool:
    """Whether this process was started as one of several."""
    return world_size() > 1


def rank() -> int:
    """Return this process's number, 0 where it is alone."""
    return _place()[0]


def world_size() -> int:
    """Return the number of processes, 1 where this one is alone."""
    return _place()[1]


def _place() -> tuple[int, int]:
    # Containers and other launchers set one of the variables, or nonsense, for purposes of their own.
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return 0, 1
    return (rank, size) if 0 <= rank < size else (0, 1)


def local_world_size() -> int | None:
    """Return how many of the processes are on this machine; ``None`` where the environment does not number them."""
    try:
        size, _ = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    except (KeyError, ValueError):
        return None
    return size


def check() -> None:
    """Check that the environment of a command that trains says plainly which of the processes it is.

    Raises:
        InputError: A variable is no number, or not one that fits the others; or one is missing.
    """
    if not (os.environ.get("RANK") and os.environ.get("WORLD_SIZE")):
        return
    size = _number("WORLD_SIZE", 1)
    _number("RANK", 0, size - 1)
    for name in ("LOCAL_WORLD_SIZE", "LOCAL_RANK"):
        if name in os.environ:
            _number(name, 1 if name == "LOCAL_WORLD_SIZE" else 0)
    if size > 1 and not started_here():
        if not os.environ.get("MASTER_ADDR"):
            raise InputError(f"WORLD_SIZE is {size} in the environment, but MASTER_ADDR, the first one's, is not set")
        _number("MASTER_PORT", 1, 65535)


def warn_if_half_set() -> None:
    """Warn that this process runs alone if only one of ``RANK`` and ``WORLD_SIZE`` is set, as torchrun never does."""
    given = [name for name in ("RANK", "WORLD_SIZE") if os.environ.get(name)]
    if len(given) == 1:
        missing = "RANK" if given == ["WORLD_SIZE"] else "WORLD_SIZE"
        what = f"{given[0]} is set in the environment, but {missing} is not: this process runs alone"
        warnings.warn(what, InputWarning, stacklevel=3)


def _number(name: str, least: int, most: int | None = None) -> int:
    text = os.environ.get(name)
    if not text:
        raise InputError(f"{name} is not set in the environment, but RANK and WORLD_SIZE are")
    allowed = f"an integer from {least}" + ("" if most is None else f" to {most}")
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        raise InputError(f"{name} is {text!r} in the environment; allowed: {allowed}")
    return value


FOLDER = "GAMLP_ADMM_RUN"
"""Variable with the private folder of the processes that ``--processes`` started: their store, and how they ended."""

PARENT = "GAMLP_ADMM_STARTED"
"""Variable with the process that started them."""


def started_here() -> bool:
    """Whether ``--processes`` started this process, on one machine."""
    return FOLDER in os.environ and is_worker()


def on_one_machine() -> bool:
    """Whether the environment says that all processes of the run are on this machine."""
    return started_here() or os.environ.get("LOCAL_WORLD_SIZE") == str(world_size())


def note_of(rank: int) -> str:
    """Return the name of the file in which a process leaves how it ended."""
    return f"end-{rank}.json"


def note(kind: str, status: int, line: str) -> None:
    """Leave, for the process that started this one, the line that it ends with.

    Args:
        kind: ``own``: an error of its own; ``lost``: it lost another process; ``interrupted``.
        status: Its exit status.
        line: What there is to say.
    """
    text = json.dumps({"kind": kind, "status": status, "line": line})
    (Path(os.environ[FOLDER]) / note_of(rank())).write_text(text, encoding="utf-8")

"""The file that keeps a search: Optuna's journal, a line of JSON an operation, looked at before Optuna reads it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamlp_admm.datasets.raw import one_line
from gamlp_admm.errors import InputError, InputWarning

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

ROW = {"state": str, "standing": bool, "options": dict, "searched": dict, "config": dict, "best": list, "last": list}
"""What the row of a trial has, and of which type; its accuracies are numbers, unless it failed."""


def storage(path: str | Path | None) -> BaseStorage:
    """Return a storage of Optuna, in a file or, for ``None``, in memory.

    Where a search was killed while it wrote, its last line is half a line: it is cut off, with a warning.

    Raises:
        InputError: The file is none that a search has written, is damaged, or cannot be written.
    """
    from optuna.storages import InMemoryStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if path is None:
        return InMemoryStorage()
    try:
        if Path(path).exists():
            _check(Path(path))
        lock = JournalFileOpenLock(str(path))
        if _ends_in_half_a_line(Path(path)):
            lock.acquire()  # nobody else is writing it
            try:
                _cut(Path(path))
            finally:
                lock.release()
        return JournalStorage(JournalFileBackend(str(path), lock))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"storage {path} cannot be written ({error.strerror or error})") from None
    except Exception as error:  # of operations that do not follow each other Optuna raises almost any
        raise InputError(f"storage {path} is damaged ({one_line(error)})") from None


def _check(path: Path) -> None:
    """Check that a file holds operations of a journal, whole lines of JSON but for the last."""
    if not path.is_file():
        raise InputError(f"storage {path} is not a regular file")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") and (number > 1 or line.startswith(b'{"op_code":'[: len(line)])):
                return
            try:
                known = isinstance(json.loads(line)["op_code"], int)
            except (ValueError, KeyError, TypeError, IndexError, RecursionError):
                known = False
            if not known and number == 1:
                raise InputError(f"storage {path} is not a file that tune has written")
            if not known:
                raise InputError(f"storage {path} is damaged: line {number} is no record of a search")


def _ends_in_half_a_line(path: Path) -> bool:
    return path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
    warnings.warn(
        f"storage {path} ended in half a line, as of a search that was killed; it goes on from the one before",
        InputWarning,
        stacklevel=2,
    )


def check(path: str | Path | None, trials: Iterable[FrozenTrial], attributes: Mapping[str, Any]) -> None:
    """Check what a study holds of a search.

    Args:
        path: Its file.
        trials: Its trials, each with its row.
        attributes: Its own attributes: what was searched, and the runs of the finals.

    Raises:
        InputError: Something is not as a search writes it.
    """
    for trial in trials:
        if "row" in trial.user_attrs and not _is_row(trial.user_attrs["row"]):
            raise InputError(f"storage {path} is damaged: trial {trial.number} is not as tune writes it")
    for name, value in attributes.items():
        table = isinstance(value, dict) and isinstance(value.get("search"), dict)
        if not (table if name == "search" else _are_numbers(value) and len(value) in (0, 2)):
            raise InputError(f"storage {path} is damaged: its {name!r} is not as tune writes it")


def _is_row(row: Any) -> bool:
    if not (isinstance(row, dict) and all(isinstance(row.get(name), kind) for name, kind in ROW.items())):
        return False
    scores = [row.get(name) for name in ("val_accuracy", "last_val_accuracy")]
    return all(map(_are_numbers, (row["best"], row["last"]))) and (row["state"] == "failed" or _are_numbers(scores))


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, int | float) for value in values)

"""Whose a checkpoint's directory is: no other experiment may go on from it, and none replaces it unasked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from gamlp_admm.algorithms import registry
from gamlp_admm.errors import InputError
from gamlp_admm.experiment.options import declared, names_where, renamed
from gamlp_admm.experiment.resolve import SUITED, Resolved
from gamlp_admm.parallel.first import on_first
from gamlp_admm.system.durable import sync
from gamlp_admm.system.files import replacing
from gamlp_admm.training import checkpoint, generations

NOTE = "experiment.json"


def has_checkpoint(directory: Path) -> bool:
    """Return whether a run has left a checkpoint there."""
    return bool(generations.numbers(directory))


def check(used: Resolved) -> None:
    """Check that an experiment may have the directory of its checkpoint.

    Raises:
        InputError: As :func:`claimed` says.
    """
    if used.checkpoint is not None:
        directory = Path(used.checkpoint)
        with checkpoint.held(directory) if directory.is_dir() else nullcontext():
            _check(used, directory)


def _check(used: Resolved, directory: Path) -> None:
    if used.overwrite:
        return
    if has_checkpoint(directory) and (directory / NOTE).exists():
        noted = renamed(_noted(directory / NOTE))
        for name, value in _config(used).items():
            before = noted.get(name, _default(name, used))
            if before != value:
                owner = f"checkpoint directory {directory} belongs to a run with {name}={before}"
                raise InputError(f"{owner}, not {value}")
    if used.resume:
        generations.check_present(directory)
    else:
        generations.check_vacant(directory)


@contextmanager
def claimed(used: Resolved, process_group: Any) -> Iterator[str | os.PathLike[str] | None]:
    """Give the directory of an experiment's checkpoint, which in the first process is locked, and note whose it is.

    Raises:
        InputError: It belongs to a run with other options, there is nothing to resume, a run would be replaced, another
            process has it, or it cannot be written.
    """
    with ExitStack() as stack:
        place: list[str | os.PathLike[str] | None] = [used.checkpoint]

        def claim() -> None:
            directory = Path(str(used.checkpoint))
            if not directory.is_dir():  # before it is made
                _check(used, directory)
            place[0] = stack.enter_context(checkpoint.held(directory))
            _check(used, directory)
            if used.overwrite:
                generations.vacate(directory)
            with replacing(directory / NOTE) as part:
                part.write_text(json.dumps(_config(used), indent=1), encoding="utf-8")
                sync(part)
            sync(directory)

        if used.checkpoint is not None:
            on_first(claim, process_group)
        yield place[0]


def _config(used: Resolved) -> dict[str, Any]:
    # The risk that is left to the data is noted as that of classes, as before it was.
    free = names_where(free=True)
    values = {**used.values(), "loss": used.loss or SUITED["classes"]}
    return dict(_plain({name: value for name, value in values.items() if name not in free}))


def _default(name: str, used: Resolved) -> Any:
    # What an option stood at before it was one.
    option = declared()[name].option
    return _plain(registry.defaults(used.algorithm).get(name) if option.setting else option.default)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _noted(note: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{note}, which says whose checkpoint this is, cannot be read ({error}); remove it if it is this run's"
        ) from None

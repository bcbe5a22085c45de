"""Whose a checkpoint's directory is: no other experiment may go on from it or replace it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError
from gamlp_admm.experiment.options import names_where
from gamlp_admm.experiment.resolve import Resolved
from gamlp_admm.system.files import write_text
from gamlp_admm.training import checkpoint


def has_checkpoint(directory: Path, processes: int) -> bool:
    """Return whether a run in so many processes has left its checkpoint."""
    return (directory / checkpoint.file_name(0, processes)).exists()


def claim(directory: Path, used: Resolved) -> None:
    """Note in a checkpoint's directory whose it is.

    Raises:
        InputError: It belongs to a run with other options, there is nothing to resume, or it cannot be written.
    """
    note, free = directory / "experiment.json", names_where(free=True)
    config = json.loads(json.dumps({name: value for name, value in used.values().items() if name not in free}))
    if used.resume and not has_checkpoint(directory, used.processes):
        missing = directory / checkpoint.file_name(0, used.processes)
        raise InputError(f"no checkpoint to resume from: {missing} does not exist")
    checkpoint.make_directory(directory)
    before = _noted(note) if note.exists() else config
    for name, value in config.items():
        if before.get(name, value) != value:
            owner = f"checkpoint directory {directory} belongs to a run with {name}={before[name]}"
            raise InputError(f"{owner}, not {value}")
    write_text(note, json.dumps(config, indent=1))


def _noted(note: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{note}, which says whose checkpoint this is, cannot be read ({error}); remove it if it is this run's"
        ) from None

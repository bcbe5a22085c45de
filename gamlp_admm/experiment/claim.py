"""Whose a checkpoint's directory is: no other experiment may go on from it or replace it."""

from __future__ import annotations

import json
from pathlib import Path

from gamlp_admm.errors import InputError
from gamlp_admm.experiment.options import names_where
from gamlp_admm.experiment.resolve import Resolved
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
    try:
        before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else config
        directory.mkdir(parents=True, exist_ok=True)
        for name, value in config.items():
            if before.get(name, value) != value:
                owner = f"checkpoint directory {directory} belongs to a run with {name}={before[name]}"
                raise InputError(f"{owner}, not {value}")
        note.write_text(json.dumps(config, indent=1), encoding="utf-8")
    except OSError as error:
        raise InputError(f"checkpoint directory {directory} cannot be written ({error.strerror})") from None

"""Files of reports: checked before training, replaced as a whole."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError


def check_writable(option: str, path: Path) -> None:
    """Check that a file can be written.

    Args:
        option: The option that names it.
        path: The file.

    Raises:
        InputError: It cannot.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{option} {path} cannot be written: it is not a regular file")
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written ({error.strerror})") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new file beside ``path`` that takes its place when the block ends, and not if it raises."""
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, suffix=".part")
    os.close(handle)
    try:
        yield Path(name)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)  # mkstemp makes private files
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows with the same keys as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_history(path: Path, reports: Sequence[dict[str, Any]]) -> None:
    """Write the history of some runs as CSV, with a column for the seed."""
    rows = [{"seed": report["seed"], **record} for report in reports for record in report["history"]]
    write_text(path, csv_text(rows))

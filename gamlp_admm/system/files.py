"""Files that are written: checked beforehand, replaced as a whole."""

from __future__ import annotations

import csv
import io
import os
import secrets
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
    """Give a new file beside ``path`` that takes its place when the block ends, and not if it raises.

    Raises:
        InputError: There is no place for it.
    """
    part = path.absolute().parent / f"{secrets.token_hex(8)}.part"
    with _named(path):
        part.touch(exist_ok=False)
        mode = part.stat().st_mode  # what the umask leaves
    try:
        yield part
        with _named(path):
            part.chmod(mode)  # safetensors makes the file anew, for its user alone
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None


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

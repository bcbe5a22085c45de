"""Files that are written: checked beforehand, replaced as a whole; links are followed, devices written in place."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError

STREAMS = {"/dev/stdin": "0", "/dev/stdout": "1", "/dev/stderr": "2"}


def check_writable(option: str, path: Path) -> None:
    """Check that a file can be written, before the work that it is for.

    Args:
        option: The option that names it.
        path: The file.

    Raises:
        InputError: It cannot.
    """
    with _named(path, option):
        place, mode = _target(path)
        if mode is not None and not os.access(place or path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if place is not None:
            with tempfile.TemporaryFile(dir=place.parent):
                pass


def check_unlike(named: Iterable[tuple[str, Path]]) -> None:
    """Check that options name different files, so that none of them replaces another's.

    Args:
        named: Options and their files.

    Raises:
        InputError: Two name the same one.
    """
    seen: dict[str, str] = {}
    for option, path in named:
        if not is_special(path):
            other = seen.setdefault(os.path.realpath(path), option)
            if other != option:
                raise InputError(f"{other} and {option} name one file, {path}; give each its own")


def make_directory(option: str, path: Path) -> None:
    """Make a directory if it is absent.

    Args:
        option: What names it.
        path: The directory.

    Raises:
        InputError: It cannot be made.
    """
    with _named(path, option):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new file that takes the place of ``path`` when the block ends, and not if it raises.

    A link stays, and what it leads to is replaced, with its mode; a new file has the mode that the umask leaves. What
    is no regular file (a device, a pipe, ``/dev/stdout``) is written to instead.

    Raises:
        InputError: There is no place for it.
    """
    with _named(path):
        place, mode = _target(path)
        folder = Path(tempfile.mkdtemp()) if place is None else place.parent
        part = folder / f"{secrets.token_hex(8)}.part"
        part.touch(0o666 if mode is None else mode, exist_ok=False)
        mode = part.stat().st_mode if mode is None else mode  # what the umask leaves
    try:
        yield part
        with _named(path):
            if place is None:
                _pour(part, path)
            else:
                part.chmod(mode)  # safetensors makes the file anew, for its user alone
                os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)
        if place is None:
            folder.rmdir()


def _target(path: Path) -> tuple[Path | None, int | None]:
    """Return the file to replace, behind all links, ``None`` for what is written in place; and the mode of what is.

    Raises:
        OSError: It is a directory, or cannot be looked at.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "its name has a null character")
    try:
        found = path.stat()
    except FileNotFoundError:
        return Path(os.path.realpath(path)), None
    if stat.S_ISDIR(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EISDIR, "it is a folder" if stat.S_ISDIR(found.st_mode) else "it is a socket")
    place = None if is_special(path) else Path(os.path.realpath(path))
    return place, stat.S_IMODE(found.st_mode)


def is_special(path: Path) -> bool:
    """Tell whether a path is a device, a pipe, or a file that this process has open under a number."""
    return _descriptor(path) is not None or (os.path.exists(path) and not os.path.isfile(path))


def _descriptor(path: Path) -> int | None:
    """Return the number of the open file that a path such as ``/dev/stdout`` stands for."""
    number = STREAMS.get(str(path), "") or "".join(re.findall(r"^/(?:dev|proc/self)/fd/(\d+)$", str(path)))
    return int(number) if number else None


def _pour(part: Path, path: Path) -> None:
    """Write a file's contents to what is no regular file, or to one that is open: there, from where it stands."""
    number = _descriptor(path)
    if number is not None:
        sys.stdout.flush()
    with part.open("rb") as source, open(path if number is None else os.dup(number), "wb") as target:
        shutil.copyfileobj(source, target)


@contextmanager
def _named(path: Path, option: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written ({error.strerror or error})".lstrip()) from None


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows with the same keys as CSV, nothing of none."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_history(path: Path, reports: Sequence[dict[str, Any]]) -> None:
    """Write the history of some runs as CSV, with a column for the seed."""
    rows = [{"seed": report["seed"], **record} for report in reports for record in report["history"]]
    write_text(path, csv_text(rows))

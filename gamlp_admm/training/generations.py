"""The folder of a checkpoint: numbered generations, each whole or not there. No pickle.

::

    lock                              held by the run that writes
    history-00000006.jsonl            records, a line each, appended; two files by turns
    generation-00000007/              the state at one moment
        layers-1-5.safetensors        a file a process
        manifest.jsonl                written last: what belongs to the generation, with its SHA-256

The manifest is one line of JSON, and a second line with the SHA-256 of the first. A generation is there once its
manifest is, which is renamed into place when all files are on the disk. The last two are kept. They share no file, so
that a damaged one leaves the one before it whole.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from gamlp_admm.errors import DamageWarning, InputError
from gamlp_admm.system.durable import sha256, sync
from gamlp_admm.system.files import replacing
from gamlp_admm.training.records import Records

MANIFEST = "manifest.jsonl"
OURS = re.compile(r"generation-(\d{8})|history-\d{8}\.jsonl|[0-9a-f]{16}\.part")
FORMER = re.compile(r"checkpoint(-\d+-of-\d+)?\.safetensors")
"""Files of checkpoints before there were generations."""

Manifest = dict[str, Any]


class Damaged(Exception):
    """A file of a generation is not what was written; the message names it."""


def folder_of(directory: Path, number: int) -> Path:
    """Return the folder of a generation."""
    return directory / f"generation-{number:08}"


def numbers(directory: Path) -> list[int]:
    """Return the generations that have a manifest, the newest first."""
    found = (OURS.fullmatch(path.parent.name) for path in directory.glob(f"generation-*/{MANIFEST}"))
    return sorted((int(match[1]) for match in found if match and match[1]), reverse=True)


def make_directory(directory: Path) -> None:
    """Make the directory of a checkpoint if it is absent.

    Raises:
        InputError: It cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"checkpoint directory {directory} cannot be written ({error.strerror})") from None


def manifest_of(directory: Path, number: int) -> Manifest:
    """Return what a generation's manifest says.

    Raises:
        Damaged: It is not what was written.
    """
    path = folder_of(directory, number) / MANIFEST
    try:
        line, digest, *rest = path.read_bytes().split(b"\n")
        if rest != [b""] or hashlib.sha256(line).hexdigest().encode() != digest:
            raise ValueError
        return dict(json.loads(line))
    except (ValueError, OSError):
        raise Damaged(f"{path} is damaged") from None


def verified(directory: Path, number: int) -> Manifest:
    """Return what a generation's manifest says, once all its files are found to be what was written.

    Raises:
        Damaged: One is not.
    """
    manifest = manifest_of(directory, number)
    files = {folder_of(directory, number) / name: (digest, None) for name, digest in manifest["files"].items()}
    history = manifest["history"]
    files[directory / history["file"]] = history["sha256"], history["length"]
    for path, (digest, length) in files.items():
        try:
            right = sha256(path, length) == digest
        except OSError as error:
            raise Damaged(f"{path} cannot be read ({error.strerror})") from None
        if not right:
            raise Damaged(f"{path} is damaged")
    return manifest


def newest_whole(directory: Path) -> Manifest:
    """Return the manifest of the newest generation that is whole; warn of newer ones.

    Raises:
        InputError: There is none.
    """
    damaged = []
    for number in numbers(directory):
        try:
            manifest = verified(directory, number)
        except Damaged as error:
            damaged.append(str(error))
            continue
        if damaged:
            where = f"going on from the generation before it, of iteration {manifest['position']['iteration']}"
            warnings.warn(f"{'; '.join(damaged)}: {where}", DamageWarning, stacklevel=2)
        return manifest
    if damaged:
        raise InputError(f"no generation of the checkpoint in {directory} is whole: {'; '.join(damaged)}")
    check_present(directory)
    raise InputError(f"no generation of the checkpoint in {directory} is left")


def check_present(directory: Path) -> None:
    """Check that a directory has a run to go on from.

    Raises:
        InputError: It has none, or one of a version whose format is no longer read.
    """
    if numbers(directory):
        return
    for former in _former(directory):
        raise InputError(f"{former} is of an earlier version, whose checkpoints are no longer read: start another run")
    raise InputError(f"no checkpoint to resume from: {directory} has none")


def _former(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.glob("checkpoint*")) if FORMER.fullmatch(path.name)]


def check_vacant(directory: Path) -> None:
    """Check that a directory has no run that a new one would replace.

    Raises:
        InputError: It has one.
    """
    if numbers(directory) or _former(directory):
        raise InputError(f"checkpoint directory {directory} has a run{_reached(directory)}: {CHOICE}")


CHOICE = "resume (--resume) goes on from it, overwrite (--overwrite) replaces it"


def _reached(directory: Path) -> str:
    for number in numbers(directory):
        try:
            return f" of {manifest_of(directory, number)['position']['iteration']} iterations"
        except Damaged:
            continue
    return ""


def vacate(directory: Path) -> None:
    """Remove the run that a directory has; a kill on the way leaves a run that is whole, or none."""
    for number in sorted(numbers(directory)):
        (folder_of(directory, number) / MANIFEST).unlink()
    for path in _former(directory):
        path.unlink()
    sweep(directory, ())


def sweep(directory: Path, kept: Collection[int]) -> None:
    """Remove what interrupted writes and generations that are not kept have left.

    Args:
        directory: The directory, which this process has locked.
        kept: Numbers of the generations that are kept.
    """
    histories = set()
    for number in kept:
        try:
            histories.add(manifest_of(directory, number)["history"]["file"])
        except Damaged:
            continue
    for path in directory.iterdir():
        match = OURS.fullmatch(path.name)
        if match is None or path.name in histories:
            continue
        if match[1] is None:
            path.unlink(missing_ok=True)
        elif int(match[1]) not in kept:
            (path / MANIFEST).unlink(missing_ok=True)  # first, so that what is left of it is no generation
            shutil.rmtree(path, ignore_errors=True)


def commit(directory: Path, number: int, manifest: Manifest) -> None:
    """Write a generation's manifest, with which it is there.

    Raises:
        InputError: It cannot be written.
    """
    line = json.dumps(manifest).encode()
    folder = folder_of(directory, number)
    with replacing(folder / MANIFEST) as part:
        part.write_bytes(b"%s\n%s\n" % (line, hashlib.sha256(line).hexdigest().encode()))
        sync(part)
    sync(folder)
    sync(directory)


class History:
    """Writes the records of a run: into two files by turns, so that consecutive generations share none.

    Each is made anew by the process that writes it, and appended to from then on.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files: list[_Appended] = []

    def write(self, records: Sequence[dict[str, Any]], number: int) -> Manifest:
        """Write what a file does not have yet of all records so far; return what the manifest says of it."""
        if len(self.files) < 2:
            self.files.append(_Appended(self.directory / f"history-{number:08}.jsonl"))
        else:
            self.files.reverse()
        return self.files[-1].extend(records)


class _Appended:
    def __init__(self, path: Path) -> None:
        self.path, self.count, self.length, self.digest = path, 0, 0, hashlib.sha256()

    def extend(self, records: Sequence[dict[str, Any]]) -> Manifest:
        new = "".join(json.dumps(record) + "\n" for record in records[self.count :]).encode()
        with self.path.open("r+b" if self.count else "wb") as file:
            file.seek(self.length)  # a write that failed may have left a part of a line
            file.truncate()
            file.write(new)
        sync(self.path)
        self.count, self.length = len(records), self.length + len(new)
        self.digest.update(new)
        return {"file": self.path.name, "length": self.length, "sha256": self.digest.hexdigest()}


def read_history(directory: Path, manifest: Manifest) -> Records:
    """Return the records of a generation."""
    with (directory / manifest["history"]["file"]).open("rb") as file:
        return Records(json.loads(line) for line in file.read(manifest["history"]["length"]).splitlines())

"""What must outlive a crash: files on the disk, known by their SHA-256, and a lock that dies with who holds it."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from gamlp_admm.errors import InputError, InputWarning

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CHUNK = 1 << 20
LAST_MOMENTS = 2.0
"""Seconds that a process which was just killed may take to be gone."""


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():  # whose folders cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path, length: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first bytes.

    Args:
        path: The file.
        length: Number of bytes; ``None`` for all.
    """
    digest, left = hashlib.sha256(), length
    with path.open("rb") as file:
        while left is None or left > 0:
            read = file.read(CHUNK if left is None else min(CHUNK, left))
            if not read:
                break
            digest.update(read)
            left = None if left is None else left - len(read)
    return digest.hexdigest()


class Lock:
    """A folder that one run at a time writes to; a context manager, and a path to the folder.

    The lock is the system's (``flock``), so it ends with its process however that ends. Who waits is told who holds it.
    A run of several processes shares it (:meth:`share`): it ends with the last of them, none of which writes later.

    Args:
        folder: The folder, which must be there; its file ``lock`` is what is locked.
        what: What messages call it.
        shared: Whether another process of the run has it, and shares it.

    Raises:
        InputError: Another run holds it, or the folder cannot be written.
    """

    def __init__(self, folder: Path, what: str, shared: bool = False) -> None:
        self.folder, self.what, self.shared = folder, what, shared
        path = folder / "lock"
        try:
            self.file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{what} cannot be written ({error.strerror})") from None
        try:
            self._acquire(shared)
            if not shared:
                self._say(f"process {os.getpid()} on {socket.gethostname()}")
        except BaseException:
            self.file.close()
            raise

    def share(self) -> None:
        """Let other processes of the run have the lock, too."""
        self._acquire(shared=True)

    def _acquire(self, shared: bool) -> None:
        try:
            had = _locked(self.file, LAST_MOMENTS, shared)
        except OSError as error:
            if not shared:
                warnings.warn(f"{self.what} cannot be locked ({error.strerror})", InputWarning, stacklevel=2)
            return
        if not had:
            self.file.seek(0)
            raise InputError(f"{self.what} is in use by {self.file.read().strip() or 'another process'}")

    def _say(self, text: str) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.file.write(text)
        self.file.flush()

    def __fspath__(self) -> str:
        return str(self.folder)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if not self.shared:
            self._say("")
        self.file.close()


@contextmanager
def alone(path: Path, patience: float = 0.0) -> Iterator[bool]:
    """Hold the lock of a file while a block runs, so that one process at a time does some work.

    The file is there for that, and goes when the block ends. Who has waited for it looks whether the work is done.

    Args:
        path: The file, made where it is not there.
        patience: Seconds to wait.

    Yields:
        Whether the lock is held, or there are no locks on that disk.

    Raises:
        OSError: The file cannot be made.
    """
    with path.open("a") as file:
        try:
            had = _locked(file, patience)
        except OSError:
            had = True
        try:
            yield had
        finally:
            if had:
                with suppress(OSError):
                    path.unlink()


def _locked(file: IO[Any], patience: float, shared: bool = False) -> bool:
    """Lock an open file, if it is to be had in some seconds; return whether it was.

    Raises:
        OSError: Files there cannot be locked.
    """
    deadline = time.monotonic() + patience
    while fcntl is not None:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True

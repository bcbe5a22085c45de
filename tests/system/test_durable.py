"""Locks that die with who holds them, and digests."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.system import durable
from gamlp_admm.system.durable import Lock, alone, sha256


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "LAST_MOMENTS", 0.1)


def _hold(folder: str, pipe: Any) -> None:
    lock = Lock(Path(folder), "folder")
    pipe.send(os.getpid())
    pipe.recv()
    del lock


@pytest.mark.usefixtures("impatient")
def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("forkserver").Process(target=_hold, args=(str(tmp_path), theirs))
    process.start()
    try:
        pid = ours.recv()
        with pytest.raises(InputError, match=rf"^folder is in use by process {pid} on {socket.gethostname()}$"):
            Lock(tmp_path, "folder")
    finally:
        process.kill()
        process.join()
    with Lock(tmp_path, "folder") as lock:
        assert Path(lock) == tmp_path
        assert (tmp_path / "lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}"


@pytest.mark.usefixtures("impatient")
def test_one_process_holds_it_once(tmp_path: Path) -> None:
    with Lock(tmp_path, "folder"), pytest.raises(InputError, match="in use by process"):
        Lock(tmp_path, "folder")
    with Lock(tmp_path, "folder"):
        pass
    assert (tmp_path / "lock").read_text() == ""


@pytest.mark.usefixtures("impatient")
def test_a_run_of_several_processes_has_it_until_the_last_ends(tmp_path: Path) -> None:
    first = Lock(tmp_path, "folder")
    first.share()
    other = Lock(tmp_path, "folder", shared=True)
    first.file.close()  # as by a kill
    with pytest.raises(InputError, match=f"folder is in use by process {os.getpid()} on "):
        Lock(tmp_path, "folder")
    other.file.close()
    with Lock(tmp_path, "folder"):
        pass


def test_folders_that_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^folder cannot be written \(No such file or directory\)$"):
        Lock(tmp_path / "absent", "folder")

    def refuse(*_: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(durable.fcntl, "flock", refuse)
    with (
        pytest.warns(InputWarning, match=r"folder cannot be locked \(Function not implemented\)"),
        Lock(tmp_path, "folder"),
    ):
        pass


def test_digests_of_parts(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    for length in (None, 0, 1, durable.CHUNK, durable.CHUNK + 1, 10**9):
        assert sha256(tmp_path / "file", length) == hashlib.sha256(content[:length]).hexdigest()


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    with alone(path) as first, alone(path) as second:
        assert (first, second) == (True, False)
        assert path.exists()
    assert not path.exists()  # with who had it
    with pytest.raises(ZeroDivisionError), alone(path):
        _ = 1 / 0
    with alone(path) as again:
        assert again


def test_where_there_are_no_locks_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(durable.fcntl, "flock", unknown)
    with alone(tmp_path / "lock") as first, alone(tmp_path / "lock") as second:
        assert (first, second) == (True, True)

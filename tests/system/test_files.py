from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fitting import TRAINERS, network
from problems import blobs
from samples import GROWN

from gamlp_admm import GAMLP
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import run
from gamlp_admm.parallel.trace import Trace
from gamlp_admm.system import files


@pytest.fixture(params=[0o022, 0o027, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with contextlib.suppress(RuntimeError), files.replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with files.replacing(path) as part:
        part.write_text("half")
        assert not path.exists()
        part.write_text("whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_every_file_has_the_mode_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    files.write_text(tmp_path / "run.json", "{}")
    GAMLP(2, 3, 4, 2).save(tmp_path / "model")
    TRAINERS["adam"].fit(network(), blobs(), 2, checkpoint_dir=tmp_path / "kept")
    Trace(record=True).save(tmp_path / "trace", 0, "rank 0")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"run.json", "model", "rank-0.json", "lock", "manifest.jsonl"} < {path.name for path in written}
    assert {oct(path.stat().st_mode & 0o777) for path in written} == {oct(0o666 & ~umask)}
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert {oct(path.stat().st_mode & 0o777) for path in folders} == {oct(0o777 & ~umask)}


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path, modes = tmp_path / "model", []
    path.touch(0o600)
    with files.replacing(path) as part:
        modes.append(part.stat().st_mode & 0o777)  # nor is its new content for others to read meanwhile
    GAMLP(2, 3, 4, 2).save(path)
    assert [*modes, path.stat().st_mode & 0o777] == [0o600, 0o600]


@pytest.mark.parametrize("there", [True, False], ids=["leads to a file", "leads to nothing yet"])
def test_a_link_stays_and_what_it_leads_to_is_written(there: bool, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link, second = tmp_path / "elsewhere" / "file", tmp_path / "link", tmp_path / "second"
    if there:
        target.write_text("before")
    link.symlink_to("elsewhere/file")
    second.symlink_to(link)
    files.check_writable("json", second)
    files.write_text(second, "after")
    assert (target.read_text(), target.is_symlink()) == ("after", False)
    assert (os.readlink(link), os.readlink(second)) == ("elsewhere/file", str(link))
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_pipe_is_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    files.check_writable("save", path)  # without waiting for a reader
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    GAMLP(2, 3, 4, 2).save(path)
    reader.join(10)
    GAMLP(2, 3, 4, 2).save(tmp_path / "model")
    assert path.is_fifo()
    assert len(read[0]) == (tmp_path / "model").stat().st_size


def test_an_open_file_is_written_from_where_it_stands(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as file:  # as a shell opens it for >> log
        file.write("before ")
        file.flush()
        path = Path(f"/dev/fd/{file.fileno()}")
        inode = log.stat().st_ino
        files.check_writable("json", path)
        files.write_text(path, "written")
    assert log.read_text() == "before written"
    assert log.stat().st_ino == inode


def test_a_device_stays_a_device() -> None:
    before = os.stat("/dev/null")
    files.check_writable("save", Path("/dev/null"))
    GAMLP(2, 3, 4, 2).save("/dev/null")
    assert os.stat("/dev/null") == before


@pytest.mark.parametrize("name", ["absent/file", "folder", "file/below", "n" * 256, "null\0", "loop"])
def test_a_file_that_has_no_place_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / name
    with pytest.raises(InputError, match=rf"^json {path} cannot be written \([A-Za-z ]+\)$"):
        files.check_writable("json", path)
    with pytest.raises(InputError, match=rf"^{path} cannot be written \([A-Za-z ]+\)$"):
        files.write_text(path, "text")
    assert {each.name for each in tmp_path.rglob("*")} == {"folder", "file", "loop"}


def test_two_options_do_not_write_one_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    null = Path("/dev/null")
    files.check_unlike([("save", tmp_path / "file"), ("json", tmp_path / "other"), ("csv", null), ("plot", null)])
    with pytest.raises(InputError, match=r"^save and json name one file, .*link; give each its own$"):
        files.check_unlike([("save", tmp_path / "file"), ("json", tmp_path / "link")])


def test_history_has_one_row_a_record(tmp_path: Path) -> None:
    grown = run(GROWN).report
    files.write_history(tmp_path / "history.csv", [grown, grown])
    header, *rows = (tmp_path / "history.csv").read_text().splitlines()
    assert header.split(",") == ["seed", *grown["history"][0]]
    assert len(rows) == 2 * len(grown["history"])

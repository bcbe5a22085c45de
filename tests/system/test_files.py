from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from samples import GROWN

from gamlp_admm import GAMLP
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import run
from gamlp_admm.parallel.trace import Trace
from gamlp_admm.system import files
from gamlp_admm.training import checkpoint


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
    checkpoint.save(tmp_path / "kept", {"a": torch.ones(2)}, {})
    Trace(record=True).save(tmp_path / "trace", 0, "rank 0")
    (tmp_path / "run.json").chmod(0o600)
    files.write_text(tmp_path / "run.json", "{}")  # once more
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in written} == {"run.json", "model", checkpoint.file_name(), "rank-0.json"}
    assert {oct(path.stat().st_mode & 0o777) for path in written} == {oct(0o666 & ~umask)}


@pytest.mark.parametrize("name", ["absent/file", "folder", "file/below"])
def test_a_file_that_has_no_place_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    path = tmp_path / name
    with pytest.raises(InputError, match=rf"^{path} cannot be written \([A-Z][a-z ]+\)$"):
        files.write_text(path, "text")
    assert {each.name for each in tmp_path.rglob("*")} == {"folder", "file"}


def test_unwritable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"json .* is not a regular file"):
        files.check_writable("json", tmp_path)
    with pytest.raises(InputError, match=r"json .* cannot be written \(No such file or directory\)"):
        files.check_writable("json", tmp_path / "none" / "file")
    files.check_writable("json", tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_history_has_one_row_a_record(tmp_path: Path) -> None:
    grown = run(GROWN).report
    files.write_history(tmp_path / "history.csv", [grown, grown])
    header, *rows = (tmp_path / "history.csv").read_text().splitlines()
    assert header.split(",") == ["seed", *grown["history"][0]]
    assert len(rows) == 2 * len(grown["history"])

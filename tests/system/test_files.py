import contextlib

import pytest

from gamlp_admm.errors import InputError
from gamlp_admm.system import files


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with contextlib.suppress(RuntimeError), files.replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"json .* is not a regular file"):
        files.check_writable("json", tmp_path)
    with pytest.raises(InputError, match=r"json .* cannot be written \(No such file or directory\)"):
        files.check_writable("json", tmp_path / "none" / "file")
    files.check_writable("json", tmp_path / "file")
    assert not list(tmp_path.iterdir())

"""The file of a search, cut off and damaged."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from searches import KARATE, NU_AND_MU

from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.experiment import Experiment
from gamlp_admm.tuning import tune


@pytest.fixture
def kept(made_up: list[Experiment], tmp_path: Path) -> Path:
    """The file of a search of three trials."""
    tune(KARATE, NU_AND_MU, 3, storage=tmp_path / "search.log", finalists=0)
    return tmp_path / "search.log"


def test_a_search_that_was_killed_while_it_wrote_goes_on(kept: Path, made_up: list[Experiment]) -> None:
    whole = kept.read_bytes()
    expected = tune(KARATE, NU_AND_MU, 6, finalists=0).trials
    starts = [0, *(i + 1 for i, byte in enumerate(whole) if byte == ord("\n"))]
    for start, end in pairwise(starts):
        for cut in (start + 1, (start + end) // 2, end - 1):
            kept.write_bytes(whole[:cut])
            with pytest.warns(InputWarning, match=rf"{kept} ended in half a line"):
                found = tune(KARATE, NU_AND_MU, 6, storage=kept, finalists=0).trials
            assert [t["options"] for t in found] == [t["options"] for t in expected]


@pytest.mark.parametrize(
    "content", [b"something else\n", b"notes, no end", b"\x00", b"3\n", b"[]\n", b"[" * 10**5, b"{}\n"]
)
def test_a_file_of_another_kind_is_left_as_it_is(content: bytes, made_up: list[Experiment], tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"storage {path} is not a file that tune has written"):
        tune(KARATE, NU_AND_MU, 2, storage=path)
    assert path.read_bytes() == content
    assert made_up == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"val_accuracy":', b'"val_bccuracy":'),
        (b'"config":{', b'"config":0,"c":{'),
        (b'"best":[', b'"best":["x",'),
        (b'"state":"complete"', b'"state":7'),
        (b'"user_attr":{"search"', b'"user_attr":{"sear"'),
        (b'"op_code":4', b'"op_code":3'),
        (b'\n{"op', b"\n{op"),
        (b'"op_code":2', b'"op_code":99'),
    ],
)
def test_a_damaged_search_is_one_line_that_names_the_file(old: bytes, new: bytes, kept: Path) -> None:
    whole = kept.read_bytes()
    assert old in whole
    kept.write_bytes(whole.replace(old, new, 1))
    with pytest.raises(InputError, match=rf"storage {kept} (is damaged|is not a file|belongs)") as caught:
        tune(KARATE, NU_AND_MU, 4, storage=kept, finalists=0)
    assert "\n" not in str(caught.value)


def test_what_is_no_regular_file_is_no_storage(made_up: list[Experiment], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent/file", tmp_path / ("n" * 300)):
        with pytest.raises(InputError, match=rf"storage {path} (is not a regular file|cannot be written)"):
            tune(KARATE, NU_AND_MU, 2, storage=path)

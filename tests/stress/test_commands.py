"""A short form of the script: random command lines end as the documentation says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from stress import commands
from stress.commands import Ended, Line, run, stress


def test_random_command_lines_end_with_0_or_2_and_one_line() -> None:
    wrong: list[tuple[Line, Ended]] = []
    counts = stress(30, seed=7, report=lambda line, ended: wrong.append((line, ended)) if ended.wrong else None)
    assert wrong == []
    assert sum(counts.values()) == 30
    assert {"0", "2"} <= {status for _, status in counts}


@pytest.mark.parametrize(
    ("said", "status", "wrong"),
    [
        ("gamlp-admm: no such thing\n", 2, None),
        ("gamlp-admm: warning: odd\ngamlp-admm: no such thing\n", 2, None),
        ("", 0, None),
        ("", 1, "ended with 1"),
        ("", 2, "said 0 lines"),
        ("gamlp-admm: a\nb\n", 2, "said 2 lines"),
        ("Traceback (most recent call last)\n", 2, "said 1 lines"),
        ("Traceback (most recent call last)\n", 0, "printed a traceback"),
        ("", KeyError("x"), "ended with KeyError('x')"),
    ],
)
def test_what_ends_otherwise_is_noticed(
    said: str, status: Any, wrong: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(words: tuple[str, ...]) -> int:
        print(said, end="", file=sys.stderr)
        if isinstance(status, Exception):
            raise status
        return int(status)

    monkeypatch.setattr(commands, "main", main)
    assert run(Line("", ())).wrong == wrong


def test_every_file_that_is_damaged_is_read_when_it_is_whole(tmp_path: Path) -> None:
    commands.originals(tmp_path / "whole")
    found = {path.name for path in (tmp_path / "whole").iterdir()}
    assert {*commands.FILES} - {"raw", "bench.json"} | {"root", "bench"} == found
    assert run(Line("", ("predict", str(tmp_path / "whole/model"), "--out", "/dev/null"))).status == 0

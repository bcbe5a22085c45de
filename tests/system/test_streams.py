"""Standard streams that are closed, or whose reader leaves, end no command and lose no file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from commands import ranks
from samples import KARATE

from gamlp_admm.system import streams


def closing(*descriptors: int):
    """Return what closes descriptors of a process, before its command and behind Python's back, as a shell does."""
    for descriptor in descriptors:
        os.close(descriptor)
        setattr(sys, ("stdin", "stdout", "stderr")[descriptor], None)


def close_out() -> None:
    closing(1)


def close_err() -> None:
    closing(2)


def close_all() -> None:
    closing(0, 1, 2)


def full() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def pipe_without_reader() -> None:
    read, write = os.pipe()
    os.close(read)
    for descriptor in (1, 2):
        os.dup2(write, descriptor)


@pytest.mark.parametrize(
    ("before", "status", "says"),
    [
        (close_out, 0, ""),
        (close_err, 0, ""),
        (close_all, 0, ""),
        (pipe_without_reader, 1, ""),
        pytest.param(full, 1, "gamlp-admm: standard output cannot be written (No space left on device)", id="full"),
    ],
)
def test_the_report_is_written_all_the_same(before, status, says, tmp_path):
    if before is full and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    report = tmp_path / "report.json"
    with ranks(tmp_path, [*KARATE, "--json", report, "--save", tmp_path / "model"], before=before) as run:
        (ended,) = run.ended()
    assert (ended.status, "".join(ended.lines)) == (status, says)
    assert json.loads(report.read_text())["dataset"] == "karate"
    assert (tmp_path / "model").read_bytes()


def test_what_goes_to_a_closed_standard_output_is_refused_before_training(tmp_path):
    with ranks(tmp_path, [*KARATE, "--json", "-"], before=close_out) as run:
        (ended,) = run.ended()
    assert (ended.status, ended.lines) == (2, ["gamlp-admm: json -: standard output is closed; allowed: a file"])


def test_streams_that_are_replaced_stay_as_they_are(capsys):
    before = sys.stdout, sys.stderr
    with streams.enduring() as lost:
        assert (sys.stdout, sys.stderr) == before
        print("here")
        assert lost() is None
        assert streams.has_stdout()
    assert capsys.readouterr().out == "here\n"


def test_a_descriptor_that_fails_leads_nowhere(tmp_path):
    read, write = os.pipe()
    os.close(read)
    raw = streams._Enduring(write, "w", closefd=False)
    assert [raw.write(b"lost"), raw.write(b"too")] == [4, 3]
    assert isinstance(raw.failure, BrokenPipeError)
    assert Path(f"/proc/self/fd/{write}").resolve() == Path(os.devnull) or not Path("/proc").exists()
    os.close(write)

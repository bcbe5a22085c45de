"""``gamlp-admm report``: from files and directories to a page, and what is said where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(made()))
    return tmp_path / "run"


def test_a_page_of_a_directory_and_a_file(gamlp, run, tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(made(gain=0.01)))
    page = tmp_path / "page.html"
    page.write_text("an earlier one")
    assert gamlp("report", run, tmp_path / "b.json", "--output", page) == (0, "", "")
    assert "2 settings on toy" in page.read_text(encoding="utf-8")


def test_standard_output_and_the_usual_name(gamlp, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = gamlp("report", run, "--output", "-")
    assert (status, out.startswith("<!doctype html>"), Path("report.html").exists()) == (0, True, False)
    assert gamlp("report", run)[0] == 0
    assert Path("report.html").read_text(encoding="utf-8") == out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{run}/none.json"], "none.json cannot be read (No such file or directory); allowed: a file of train --json"),
        (["{run}/.."], "run.json cannot be read"),
        (["{run}", "{run}/run.json"], "are one run"),
        (["{run}", "--output", "{run}/run.json"], "name one file"),
        (["{run}", "--output", "{run}"], "cannot be written"),
        ([], "Missing argument 'RUN"),
    ],
)
def test_wrong_input_is_one_line(gamlp, run, arguments, said):
    status, out, err = gamlp("report", *(word.format(run=run) for word in arguments))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert json.loads((run / "run.json").read_text()) == made()


def test_a_page_needs_no_torch(run, tmp_path):
    code = (
        "import sys; from gamlp_admm.cli import main; assert main(sys.argv[1:]) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, "report", run, "--output", tmp_path / "r.html"], check=True, timeout=60)

"""The command that compares codecs, and what an interruption leaves."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gamlp_admm.cli import main
from gamlp_admm.experiment.claim import has_checkpoint
from gamlp_admm.experiment.comparison import COMPARED

COMMAND = [
    *("compare", "--dataset", "karate", "--operator", "sym", "--hops", "1", "--hidden", "16"),
    *("--grow", "2,5", "--iterations", "3", "--threads", "1"),
]


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = {kind: tmp_path / f"c.{kind}" for kind in ("json", "csv", "png")}
    options = ["--codecs", "fp32,int2-delta", "--seeds", "0,1", "--json", files["json"], "--csv", files["csv"]]
    assert main([*COMMAND, *map(str, options), "--plot", str(files["png"])]) == 0
    shown = capsys.readouterr().out
    report = json.loads(files["json"].read_text())
    rows = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    assert [row["codec"] for row in rows] == [row["codec"] for row in report["rows"]] == ["fp32", "int2-delta"]
    assert float(rows[1]["bytes_total"]) == report["rows"][1]["bytes_total"]
    assert len(report["runs"]) == 4
    assert {"config", "history", "environment"} <= report["runs"][0].keys()
    assert files["png"].stat().st_size > 1000
    ratio = report["rows"][1]["times_fewer_than_authors"]
    assert f"{ratio:.3g}x" in shown
    assert "int2-delta" in shown


def test_command_needs_no_options_beyond_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--quiet", "--csv", "-"]) == 0
    out = capsys.readouterr().out
    assert [row["codec"] for row in csv.DictReader(io.StringIO(out))] == list(COMPARED)


@pytest.mark.slow
def test_command_in_processes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    options = ["--codecs", "int2-delta,grid:auto:256", "--quiet", "--json"]
    assert main([*COMMAND, *options, str(one)]) == 0
    command = [sys.executable, "-m", "gamlp_admm", *COMMAND, *options, str(two), "--processes", "2"]
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    subprocess.run(command, check=True, timeout=100, capture_output=True, env=environment)
    serial, parallel = (json.loads(path.read_text()) for path in (one, two))
    for mine, theirs in zip(serial["runs"], parallel["runs"], strict=True):
        for a, b in zip(mine["history"], theirs["history"], strict=True):
            assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codecs", "int4,int4"], "different codecs"),
        (["--codecs", "int9"], "unknown codec 'int9'"),
        (["--seeds", "0,0"], "different integers"),
        (["--csv", "/nowhere/at/all.csv"], "csv /nowhere/at/all.csv cannot be written"),
        (["--plot", "curves.txt"], "allowed endings"),
        (["--codec", "int4"], "No such option"),
        (["--algorithm", "adam"], "codec does not apply to adam"),
    ],
)
def test_wrong_input_is_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.usefixtures("hears_ctrl_c")
def test_what_was_done_before_ctrl_c_is_written(tmp_path: Path) -> None:
    path, note = tmp_path / "rows.csv", tmp_path / "checkpoints"
    options = ["--codecs", "int8,int4", "--iterations", "300000", "--evaluate-every", "50", "--grow", "none"]
    options += ["--checkpoint-every", "50"]
    arguments = [*COMMAND, *options, "--layers", "2", "--patience", "20", "--csv", str(path), "--checkpoint", str(note)]
    # The first codec stops by patience; the second is interrupted when it has written a checkpoint.
    code = (
        "import sys, gamlp_admm.experiment.comparison as c\n"
        "from gamlp_admm.cli.main import main\n"
        "from dataclasses import replace\n"
        "made = c.plan\n"
        "def plan(*a):\n"
        "    first, *rest = made(*a)\n"
        "    return [first, *((name, replace(each, patience=0)) for name, each in rest)]\n"
        "c.plan = plan\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not has_checkpoint(note / "int4" / "seed-0") and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "interrupted at iteration" in error
    assert [row["codec"] for row in csv.DictReader(io.StringIO(path.read_text()))] == ["int8"]

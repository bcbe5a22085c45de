"""The same training under several codecs: the table, its bytes, the command, and what an interruption leaves."""

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
from typing import Any

import pandas as pd
import pytest

from gamlp_admm.cli import main
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment
from gamlp_admm.experiment import runner as experiments
from gamlp_admm.experiment.comparison import COMPARED, Comparison, compare, fp32_bytes, plan
from gamlp_admm.report import plot_comparison

SMALL = Experiment(dataset="karate", operator="sym", hops=1, hidden=16, layers=5, iterations=3, grow=(2, 5))
COMMAND = [
    *("compare", "--dataset", "karate", "--operator", "sym", "--hops", "1", "--hidden", "16"),
    *("--grow", "2,5", "--iterations", "3", "--threads", "1"),
]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return compare(SMALL, ("fp32", "int4", "int2-delta", "grid:auto:256"), (0, 1, 2))


def test_a_row_a_codec(table: pd.DataFrame) -> None:
    assert list(table.index) == ["fp32", "int4", "int2-delta", "grid:auto:256"]
    assert list(table["algorithm"]) == ["pdadmm-g"] * 3 + ["pdadmm-g-q"]
    assert (table["seeds"] == 3).all()
    entries = 4 * 16  # training nodes x neurons
    boundaries = 3 * (1 + 4)  # iterations x boundaries, of both stages
    assert table.loc["fp32", "bytes_total"] == boundaries * 2 * entries * 4
    assert table.loc["fp32", "bytes_per_iteration"] == 4 * 2 * entries * 4
    assert table.loc["int4", "bytes_total"] == boundaries * 2 * 4 * (8 + 2)
    assert table.loc["grid:auto:256", "bytes_total"] == boundaries * entries * (1 + 4)
    ratios = table["bytes_total"].iloc[0] / table["bytes_total"]
    pd.testing.assert_series_equal(table["times_fewer_than_fp32"], ratios, check_names=False)
    pd.testing.assert_series_equal(table["times_fewer_than_authors"], 1.5 * ratios, check_names=False)


def test_rows_are_of_the_runs(table: pd.DataFrame) -> None:
    run = experiments.run(Experiment(**{**vars(SMALL), "codec": "int4", "seed": 2})).report
    theirs = [report for report in table.attrs["report"]["runs"] if report["config"]["codec"] == "int4"]
    assert [report["seed"] for report in theirs] == [0, 1, 2]
    for key in ("best", "last", "bytes_sent_total", "num_nodes"):
        assert theirs[2][key] == run[key]
    means = [report["best"]["test_accuracy"] for report in theirs]
    assert table.loc["int4", "test_accuracy_mean"] == pytest.approx(sum(means) / 3)
    assert fp32_bytes(run) == table.loc["fp32", "bytes_total"]


def test_bytes_of_stages_of_different_length() -> None:
    stopped = Experiment(**{**vars(SMALL), "iterations": 40, "patience": 2, "evaluate_every": 2})
    report = experiments.run(stopped).report
    stages = {record["layers"]: record["iteration"] for record in report["history"]}
    assert stages[2] < 40
    assert fp32_bytes(report) == report["bytes_sent_total"]


def test_checkpoints_of_codecs_and_seeds_are_apart(tmp_path: Path) -> None:
    kept = Experiment(**{**vars(SMALL), "checkpoint": str(tmp_path)})
    codecs = ("int4:8-delta", "p:grid:auto:16/q:int8")
    first = compare(kept, codecs, (0, 1))
    assert len(list(tmp_path.glob("*/seed-*/experiment.json"))) == 4
    again = compare(Experiment(**{**vars(kept), "resume": True}), codecs, (0, 1))
    columns = [name for name in first.columns if name != "seconds"]
    pd.testing.assert_frame_equal(first[columns], again[columns])


@pytest.mark.parametrize(
    ("codecs", "message"),
    [
        ((), "different codecs, at least one"),
        (("int4", "int4"), "different codecs, at least one"),
        (("int4", "int7"), "unknown codec 'int7'"),
        (("grid:5:1:9",), "the lower one first"),
    ],
)
def test_wrong_codecs_are_named_before_anything_runs(codecs: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(SMALL, codecs, (0,))


def test_a_grid_makes_pdadmm_g_q() -> None:
    g_q = Experiment(dataset="karate", algorithm="pdadmm-g-q", quantize="pq")
    made = [each.resolve() for _, each in plan(g_q, ("fp32", "grid:paper"), (0,))]
    assert [(e.algorithm, e.codec, e.quantize) for e in made] == [
        ("pdadmm-g", "fp32", None),
        ("pdadmm-g-q", "grid:paper", "pq"),
    ]
    (_, plain), *_ = plan(Experiment(dataset="karate", algorithm="pdadmm"), ("grid:paper",), (0,))
    assert plain.algorithm == "pdadmm"


# --- the command --------------------------------------------------------------------------------------------


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
        while not (note / "int4" / "seed-0" / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "interrupted at iteration" in error
    assert [row["codec"] for row in csv.DictReader(io.StringIO(path.read_text()))] == ["int8"]


def test_plot_of_runs_without_test_nodes(tmp_path: Path) -> None:
    record: dict[str, Any] = {"codec": "int4", "seed": 0, "iteration": 1, "bytes_sent": 5, "test_accuracy": None}
    plot_comparison([record], tmp_path / "empty.pdf")
    assert (tmp_path / "empty.pdf").stat().st_size > 0


def test_comparison_of_nothing_has_no_rows() -> None:
    assert Comparison().rows() == []

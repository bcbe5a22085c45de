"""The command that benchmarks: what it prints and writes, its errors, processes, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from raw_ogb import make_products

from gamlp_admm.bench import timing
from gamlp_admm.bench.accuracy import METHODS, Accuracy, plan
from gamlp_admm.bench.augment import SHAPES, Shape
from gamlp_admm.bench.jobs import Job
from gamlp_admm.bench.many_labels import METHODS as MANY_LABELS
from gamlp_admm.bench.ogb import METHODS as OGB
from gamlp_admm.bench.running import Runner, run_jobs
from gamlp_admm.bench.speed_cases import METHODS as SPEED
from gamlp_admm.cli.bench import bench
from gamlp_admm.cli.main import main
from gamlp_admm.datasets import loading

KARATE = ["bench", "accuracy", "--datasets", "karate", "--jobs", "1"]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {kind: tmp_path / f"table.{kind}" for kind in ("json", "markdown")}
    options = ["--methods", "pdadmm-g,sgc", "--seeds", "0,1", "--out", tmp_path / "out"]
    arguments = [*KARATE, *map(str, options), *(f"--{kind}={path}" for kind, path in files.items())]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = json.loads(files["json"].read_text())
    assert report.keys() == {"columns", "rows", "seeds", "jobs", "notes", "environment", "command", "date"}
    assert report["command"].startswith("gamlp-admm bench accuracy --datasets karate")
    assert [(row["method"], row["group"]) for row in report["rows"]] == [("pdADMM-G", "ours"), ("SGC", "peers")]
    assert len(report["jobs"]) == len(list((tmp_path / "out").iterdir())) == 4
    cell = report["rows"][0]["cells"][0]
    mean = sum(job["result"]["test_accuracy"] for job in report["jobs"][:2]) / 2
    assert cell["mean"] == pytest.approx(mean)
    shown = f"{cell['mean']:.4f} ± {cell['std']:.4f}"
    assert shown in out
    assert shown in files["markdown"].read_text()


def test_command_with_many_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--datasets", "karate", "--methods", "ridge,logistic", "--seeds", "0,1"]
    files = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "json"), "--markdown", "-"]
    assert main(["bench", "many-labels", *options, *files]) == 0
    out, err = capsys.readouterr()
    report = json.loads((tmp_path / "json").read_text())
    assert report.keys() == {"rows", "seeds", "jobs", "notes", "environment", "command", "date"}
    assert report["environment"]["processes"] == 1  # times are to be relied on
    assert {job["job"]["split_seed"] for job in report["jobs"]} == {0, 1}
    ridge, logistic = report["rows"]
    assert (ridge["method"], logistic["method"]) == ("Ridge regression", "Logistic regression")
    assert f"| karate, 60/20/20 | Ridge regression, here | **{ridge['mean']:.4f} ± {ridge['std']:.4f}** |" in out
    assert f"{logistic['mean']:.4f} ± {logistic['std']:.4f}" in err


COMMANDS = [("accuracy", METHODS), ("many-labels", MANY_LABELS), ("ogb", OGB), ("speed", SPEED)]


@pytest.mark.parametrize(("command", "methods"), COMMANDS)
def test_command_names_every_method(command: str, methods: dict[str, str]) -> None:
    (found,) = (p for p in bench.commands[command].params if p.name == "methods")
    assert found.help.startswith(f"Of {', '.join(methods)}.")


@pytest.mark.parametrize(
    "args",
    [
        ["bench"],
        ["bench", "--help"],
        ["bench", "accuracy", "--help"],
        ["bench", "many-labels", "--help"],
        ["bench", "ogb", "--help"],
        ["bench", "augment", "--help"],
        ["bench", "speed", "--help"],
    ],
)
def test_help(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 0
    assert capsys.readouterr().out.startswith("Usage: gamlp-admm bench")


def test_help_does_not_import_torch() -> None:
    code = "import sys; from gamlp_admm.cli.main import main; status = main(['bench', 'many-labels', '--help'])"
    check = f"{code}; sys.exit(status or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--datasets", "karat"], "did you mean 'karate'?"),
        (["--methods", "sigm"], "did you mean 'sign'?"),
        (["--seeds", "1,1"], "different ones"),
        (["--seeds", "-1"], "seed -1: allowed: integers from 0 on"),
        (["--splits", "odd"], "allowed: usual, random, both"),
        (["--jobs", "0"], "'--jobs'"),
        (["--out", "/dev/null/folder"], "out /dev/null/folder cannot be written"),
        (["--json", "/no/such/folder/file"], "json /no/such/folder/file cannot be written"),
    ],
)
def test_wrong_input_is_one_line(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*KARATE, "--out", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_absent_data_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str], runs: list[Any]) -> None:
    root = tmp_path / "file"
    root.touch()  # nothing can be downloaded into a file
    options = ["--datasets", "cora,karate", "--methods", "sgc,gcn", "--root", root, "--out", tmp_path, "--jobs", "1"]
    assert main(["bench", "accuracy", *map(str, options), "--markdown", "-"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("gamlp-admm: cora is left out: ")
    assert err.count("left out") == 1
    assert "| test accuracy | karate, usual split |" in out
    assert "Note: cora" in out
    assert main(["bench", "accuracy", *map(str, options), "--datasets", "cora", "--quiet"]) == 2
    assert "no data set can be loaded: cora" in capsys.readouterr().err


def test_a_failure_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise FloatingPointError("no longer\nfinite")

    monkeypatch.setattr(Runner, "__call__", fail)
    arguments = [*KARATE, "--methods", "pdadmm-g", "--seeds", "3", "--out", str(tmp_path), "--quiet"]
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        "gamlp-admm: karate, pdadmm-g, seed 3 failed: FloatingPointError: no longer finite\n"
    )


def test_ctrl_c_keeps_what_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, runs: list[Any]
) -> None:
    quick = Runner.__call__

    def work(self: Runner, job: Job, tried: Any) -> dict[str, Any]:
        if job.seed == 2:
            raise KeyboardInterrupt
        return quick(self, job, tried)

    monkeypatch.setattr(Runner, "__call__", work)
    arguments = [*KARATE, "--methods", "gcn", "--seeds", "0,1,2,3", "--out", str(tmp_path)]
    assert main(arguments) == 1
    message = f"interrupted: 2 of 4 results are in {tmp_path}; the same command goes on from there"
    assert capsys.readouterr().err == f"gamlp-admm: {message}\n"
    monkeypatch.setattr(Runner, "__call__", quick)
    assert main(arguments) == 0
    assert [job.seed for job, _ in runs] == [0, 1, 2, 3]


@pytest.mark.slow  # tune shares its pool, and is tried every time
@pytest.mark.usefixtures("hears_ctrl_c")
def test_processes_and_ctrl_c(tmp_path: Path) -> None:
    """Two workers give the same as this process; a Ctrl-C on the terminal ends them and leaves one line."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    jobs = plan(["karate"], ["sgc", "gcn", "pdadmm-g"], range(40))
    command = [sys.executable, "-m", "gamlp_admm", "bench", "accuracy", "--datasets", "karate", "--jobs", "2"]
    command += ["--methods", "sgc,gcn,pdadmm-g", "--seeds", ",".join(map(str, range(40))), "--out", str(two)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as running:
        deadline = time.monotonic() + 80
        while (not two.exists() or not any(two.iterdir())) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        _, error = running.communicate(timeout=30)  # until all processes that could write there are gone
    assert running.returncode == 1
    assert error.count("\n") == 1
    assert error.startswith("gamlp-admm: interrupted: ")
    kept = {path.name: json.loads(path.read_text()) for path in two.iterdir()}
    assert 0 < len(kept) < len(jobs)
    wanted = [job for job in jobs if job.seed == 0 or job.file_name in kept][: len(kept) + 1]
    for outcome in run_jobs(Accuracy(), wanted, one):
        if outcome.job.file_name in kept:
            assert outcome.record is not None
            theirs = kept[outcome.job.file_name]
            for made in (outcome.record, theirs):
                for each in (made["result"], *made["tried"]):
                    each.pop("seconds")
            assert outcome.record == theirs


def test_command_with_ogb(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was stopped goes on, and what a submission asks for is printed."""
    info = make_products(tmp_path / "ogb/ogbn_products")
    monkeypatch.setattr(loading, "dataset_info", lambda name: info)
    monkeypatch.setattr("gamlp_admm.datasets.ogb.cache_folder", lambda: tmp_path / "cache")
    options = ["--datasets", "ogbn-products", "--methods", "ridge", "--root", str(tmp_path), "--threads", "1"]
    files = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "json")]
    assert main(["bench", "ogb", *options, *files, "--seeds", "0,1", "--quiet"]) == 0
    assert main(["bench", "ogb", *options, *files, "--seeds", "0,1,2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = json.loads((tmp_path / "json").read_text())
    assert report.keys() == {"rows", "seeds", "jobs", "notes", "environment", "command", "date"}
    (row,) = report["rows"]
    assert row["seeds"] == len(list((tmp_path / "out").iterdir())) == 3
    for shown in (
        "Dataset:                ogbn-products",
        f"{row['test_mean']:.4f} ± {row['test_std']:.4f} (acc; 3 seeds: 0, 1, 2; unbiased standard deviation)",
        f"Validation performance: {row['val_mean']:.4f} ± {row['val_std']:.4f}",
        f"#Params:                {row['num_parameters']:,}",
        "Hardware:  ",
        "Tuned hyperparameters:  ",
    ):
        assert shown in out
    assert main(["bench", "ogb", "--datasets", "cora"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_propagation_is_timed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SHAPES, "1e5", Shape(50, 400))
    files = ["--markdown", str(tmp_path / "it.md"), "--json", str(tmp_path / "it.json")]
    assert main(["bench", "augment", "--shapes", "1e5", "--columns", "3,5", "--repeat", "1", *files]) == 0
    assert "one hop" in capsys.readouterr().out
    assert (tmp_path / "it.md").read_text(encoding="utf-8").count("| 1e5 | 1 | 5 |") == 2
    report = json.loads((tmp_path / "it.json").read_text(encoding="utf-8"))
    assert [row["columns"] for row in report["rows"]] == [3, 5]
    assert main(["bench", "augment", "--shapes", "1e9"]) == 2
    assert "unknown shape '1e9'" in capsys.readouterr().err


def test_command_times_solvers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    files = [f"--{kind}={tmp_path / name}" for kind, name in (("json", "j"), ("markdown", "m"), ("plot", "p.png"))]
    assert main(["bench", "speed", "--quick", "--methods", "pdadmm-g,adam", "--target", "0.1", *files]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = json.loads((tmp_path / "j").read_text())
    assert report.keys() == {"rows", "growth", "slopes", "notes", "environment", "command", "date"}
    assert report["environment"]["threads"] == 1
    assert [row["method"] for row in report["rows"]] == ["pdADMM-G", "Adam"]
    assert (tmp_path / "p.png").stat().st_size > 0
    shown = f"{report['rows'][0]['calls']:,}"
    assert f" {shown} " in out
    assert f"| {shown} |" in (tmp_path / "m").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--problems", "larg"], "did you mean 'large'?"),
        (["--problems", "karate", "--plot", "growth.png"], "plot growth.png shows growth: --problems must have it"),
        (["--plot", "growth.odd"], "allowed endings"),
        (["--target", "2"], "target 2.0: allowed: above 0, up to 1"),
        (["--repeat", "0"], "'--repeat'"),
    ],
)
def test_speed_refuses_what_it_cannot_measure(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "speed", *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error

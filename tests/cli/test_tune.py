"""The command that searches: its errors, what it writes, processes, and Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from math import log10
from pathlib import Path
from typing import Any

import pytest

from gamlp_admm.cli import main
from gamlp_admm.datasets import dataset_info, info
from gamlp_admm.experiment import Experiment, run
from gamlp_admm.experiment.recipe import read_recipe
from gamlp_admm.tuning import measuring

DIGITS = ["tune", "--dataset", "digits-knn", "--iterations", "5", "--threads", "1"]


def one_line(error: str) -> str:
    assert error.count("\n") == 1
    assert error.startswith("gamlp-admm: ")
    return error


@pytest.mark.parametrize(
    ("searched", "message"),
    [
        ("nus=1:2", "unknown option to search 'nus': did you mean 'nu'? allowed: features, rho/nu,"),
        ("seed=1,2", "unknown option to search 'seed'"),
        ("nu", "allowed: NAME=CHOICE"),
        ("nu=1:0.1", "LOW < HIGH"),
        ("nu=0:1:log", "0 < LOW for log"),
        ("nu=1:2:3", "allowed: LOW:HIGH or LOW:HIGH:log, numbers"),
        ("nu=1:nan", "allowed: LOW:HIGH"),
        ("hidden=16.5:20", "allowed: LOW:HIGH or LOW:HIGH:log, integers"),
        ("layers=2,five", "search layers: 'five' is not allowed; allowed: integers"),
        ("layers=2,", "search layers: '' is not allowed"),
        ("layers=0,2", "search layers=0: layers must be a positive integer"),
        ("nu=-1:1", "search nu=-1.0"),
        ("activation=relu,rule", "unknown activation 'rule': did you mean 'relu'?"),
        ("normalize-features=yes", "allowed: true, false"),
        ("features=ppp/10", "unknown operator 'ppp'"),
        ("features=sym/4/3", "allowed: sym/HOPS"),
        ("features=ppr/10/2", "search features=ppr/10/2: alpha"),
        ("features=sym/4-x", "operator sym/4-x: allowed: sym/HOPS"),
        ("operator=sym,ppr", "operator is both set and searched"),
    ],
)
def test_wrong_spaces_are_one_line(searched: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DIGITS, "--operator", "sym", "--search", searched]) == 2
    assert message in one_line(capsys.readouterr().err)


def test_nothing_says_test_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DIGITS, "--trials", "2", "--finalists", "0", "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert "test" not in shown.out + shown.err


def test_ctrl_c_keeps_what_is_done(
    made_up: list[Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    formula = measuring.run

    def interrupted(*args: Any) -> Any:
        if len(made_up) == 4:
            raise KeyboardInterrupt
        return formula(*args)

    monkeypatch.setattr(measuring, "run", interrupted)
    kept, recipe = tmp_path / "search.log", tmp_path / "recipe.toml"
    options = ["--dataset", "karate", "--search", "nu=1e-4:0.5:log", "--storage", str(kept), "--recipe", str(recipe)]
    assert main(["tune", *options, "--trials", "8", "--finalists", "2", "--quiet"]) == 1
    said = one_line(capsys.readouterr().err)
    assert re.search(
        rf"interrupted after [45] trials: --storage {re.escape(str(kept))} goes on", said
    )  # 5: one repeated
    best = max(made_up, key=lambda e: -abs(log10((e.nu or 0) / 0.03)))
    assert read_recipe(recipe)["nu"] == best.nu
    monkeypatch.setattr(measuring, "run", formula)
    found = tmp_path / "found.json"
    assert main(["tune", *options, "--trials", "8", "--finalists", "2", "--quiet", "--json", str(found)]) == 0
    trials = json.loads(found.read_text())["trials"]
    finalists = [trial for trial in trials if trial["final_val_accuracy"] is not None]
    assert len(trials) == 8
    assert len(finalists) in (2, 3)  # the two best, and the first
    assert len(made_up) == sum(trial["state"] == "complete" for trial in trials) + 4 * len(finalists)


@pytest.mark.slow
@pytest.mark.usefixtures("hears_ctrl_c")
def test_processes_share_the_work_and_are_interrupted(tmp_path: Path) -> None:
    """Two processes end in order after Ctrl-C; what is there then is what one process finds."""
    options = ["--dataset", "karate", "--search", "nu=0.001,0.01,0.1", "--search", "mu=1e-4:1:log", "--trials", "9999"]
    files = ["--storage", "kept", "--json", "found.json", "--recipe", "recipe.toml", "--quiet"]
    command = [sys.executable, "-m", "gamlp_admm", "tune", *options, *files, "--jobs", "2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as running:
        kept, deadline = tmp_path / "kept", time.monotonic() + 60
        while running.poll() is None and time.monotonic() < deadline:
            if kept.exists() and kept.read_text().count('"row"') >= 4:
                break
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "interrupted after" in one_line(error)
    trials = json.loads((tmp_path / "found.json").read_text())["trials"]
    assert len(trials) >= 4
    assert read_recipe(tmp_path / "recipe.toml")["nu"] in (0.001, 0.01, 0.1)
    one = run(Experiment(dataset="karate", threads=1, **trials[2]["options"])).report["best"]["val_accuracy"]
    assert trials[2]["val_accuracy"] == one


def test_command_writes_the_recipe_of_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = shutil.copytree(info.catalogue_folder(), tmp_path / "datasets")
    monkeypatch.setattr(info, "catalogue_folder", lambda: copies)
    described, recipe, report = copies / "digits-knn.toml", tmp_path / "recipe.toml", tmp_path / "found.json"
    before = described.read_text()
    options = ["--search", "features=sym/1-2,heat/5", "--search", "nu=1e-4:0.1:log", "--trials", "4"]
    finals = ["--finalists", "1", "--final-seeds", "0,1", "--json", str(report), "--recipe", str(recipe), "--write"]
    assert main([*DIGITS, *options, *finals]) == 0
    found = json.loads(report.read_text())
    assert len(found["trials"]) == 4
    assert found["best"]["iterations"] == 5
    written = json.loads(json.dumps(read_recipe(recipe)))  # hops are a tuple in one and a list in the other
    assert written == found["best"] == json.loads(json.dumps(dict(dataset_info("digits-knn").recipe)))
    assert described.read_text().startswith(before[: before.index("[recipe]")])
    comment = recipe.read_text().splitlines()[1]
    assert comment.startswith("# gamlp-admm tune --search features=sym/1-2,heat/5 --search nu=1e-4:0.1:log --trials 4")
    assert str(tmp_path) not in comment
    shown = capsys.readouterr().out
    assert "0, as it stands" in shown
    command = next(line for line in shown.splitlines() if line.startswith("gamlp-admm train"))
    assert main([*command.split()[1:], "--quiet", "--json", str(report)]) == 0
    trained = json.loads(report.read_text())["config"]
    assert {name: trained[name] for name in written} == written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials", "0"], "trials must be an integer of at least 1"),
        (["--jobs", "0"], "jobs must be"),
        (["--seeds", "0,0"], "seeds '0,0': allowed: different integers"),
        (["--final-seeds", "0,0"], "final_seeds '0,0'"),
        (["--recipe", "/nowhere/at/all.toml"], "recipe /nowhere/at/all.toml cannot be written"),
        (["--storage", "/nowhere/at/all"], "storage /nowhere/at/all cannot be written"),
        (["--recipe", "r.toml", "--codec", "int4"], "cannot hold codec"),
        (["--dataset", "pyg:Planetoid:Cora", "--write"], "no description in a checkout"),
        (["--dataset", "cora", "--root", "/nowhere"], "cora"),
        (["--processes", "2"], "No such option"),
    ],
)
def test_wrong_input_is_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DIGITS, *options]) == 2
    assert message in one_line(capsys.readouterr().err)


def test_without_optuna(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main([*DIGITS, "--trials", "1"]) == 2
    assert one_line(capsys.readouterr().err) == "gamlp-admm: tune needs optuna: pip install 'gamlp-admm[tune]'\n"


@pytest.mark.parametrize("content", [b"[recipe", b"\xff\xfe", b"[[recipe]]\nnu = 1\n"])
def test_a_file_that_takes_no_recipe_is_said_before_the_search(gamlp, made_up, tmp_path, content):
    path = tmp_path / "kept.toml"
    path.write_bytes(content)
    status, _, err = gamlp("tune", "--dataset", "karate", "--trials", "2", "--recipe", path)
    assert (status, err.count("\n")) == (2, 1)
    assert f"recipe {path} is there, and no recipe can be written into it" in err
    assert made_up == []
    assert path.read_bytes() == content


@pytest.mark.parametrize("seconds", ["nan", "0", "-1"])
def test_a_time_that_is_none_is_refused(gamlp, made_up, seconds):
    status, _, err = gamlp("tune", "--dataset", "karate", "--timeout", seconds)
    assert (status, err) == (2, f"gamlp-admm: timeout must be a positive number of seconds, not {float(seconds)}\n")

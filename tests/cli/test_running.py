"""Files that are checked before training, and Ctrl-C during it."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from samples import KARATE

from gamlp_admm.experiment.claim import has_checkpoint
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.training.loop import Loop


def test_outputs_are_checked_before_training(gamlp, monkeypatch, tmp_path):
    monkeypatch.setattr("gamlp_admm.cli.running.train_all", lambda *_, **__: pytest.fail("trained"))
    assert gamlp(*KARATE, "--json", tmp_path)[0] == 2


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_writes_a_checkpoint_to_resume_from(gamlp, tmp_path):
    each = ["--checkpoint-every", "1", "--evaluate-every", "1"]
    args = [*KARATE, "--checkpoint", str(tmp_path), *each, "--json", "-", "--quiet"]
    command = [sys.executable, "-m", "gamlp_admm", *args]
    with subprocess.Popen([*command, "--iterations", "1000000"], stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not has_checkpoint(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert err.startswith("gamlp-admm: interrupted at iteration ")
    assert err.count("\n") == 1
    reached = int(err.split("iteration ")[1].split(":")[0])
    status, resumed, _ = gamlp(*args, "--iterations", reached + 3, "--resume")
    assert status == 0
    history = json.loads(resumed)["history"]
    assert [record["iteration"] for record in history] == list(range(reached + 4))


@pytest.mark.slow
def test_what_ignores_ctrl_c_goes_on(tmp_path):
    args = [*KARATE, "--checkpoint", str(tmp_path), "--checkpoint-every", "1", "--iterations", "300", "--quiet"]
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "gamlp_admm", *args]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not has_checkpoint(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")


# Ctrl-C and its like, in the middle of a run


@pytest.fixture
def stopping(monkeypatch):
    """Return a function that lets this process receive signals after its next iterations of a number."""

    def stop(*numbers, after=3):
        iterate = Loop._iterate

        def then_stop(self):
            iterate(self)
            if self.position.iteration == after:
                for number in numbers:
                    signal.raise_signal(number)

        monkeypatch.setattr(Loop, "_iterate", then_stop)

    return stop


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_stopped_keeps_the_best_weights_so_far(gamlp, tmp_path, stopping, number):
    stopping(number)
    save, logs = tmp_path / "model.safetensors", tmp_path / "logs"
    status, out, err = gamlp(*KARATE, "--save", save, "--log-dir", logs)
    report = json.loads((logs / "run.json").read_text())
    best = report["best"]
    assert (status, out, report["stopped"]) == (1, "", 3)
    worth = f"iteration {best['iteration']}, validation {best['val_accuracy']:.4f}"
    assert err == f"gamlp-admm: interrupted at iteration 3: {save} has the best weights so far ({worth})\n"
    assert [record["iteration"] for record in report["history"]] == [0, 1, 2, 3]
    assert best["val_accuracy"] == max(record["val_accuracy"] for record in report["history"])
    assert (logs / "model.safetensors").exists()
    assert len((logs / "history.csv").read_text().splitlines()) == 5
    assert gamlp("predict", save)[0] == 0


@pytest.mark.usefixtures("hears_ctrl_c")
def test_a_second_signal_ends_it_at_once(gamlp, tmp_path, stopping):
    stopping(signal.SIGINT, signal.SIGTERM)
    assert gamlp(*KARATE, "--save", tmp_path / "model") == (1, "", "gamlp-admm: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_what_is_stopped_keeps_its_checkpoint_too(gamlp, tmp_path, stopping, monkeypatch):
    kept = [*KARATE, "--checkpoint", tmp_path / "kept", "--save", tmp_path / "model", "--quiet"]
    stopping(signal.SIGTERM)
    status, _, err = gamlp(*kept)
    assert (status, err.count("\n")) == (1, 1)
    assert f"{tmp_path / 'model'} has the best weights so far (iteration " in err
    assert err.endswith(f"; --resume goes on from {tmp_path / 'kept'}\n")
    monkeypatch.undo()
    assert gamlp(*kept, "--resume") == (0, "", "")
    assert gamlp(*KARATE, "--save", tmp_path / "whole", "--quiet") == (0, "", "")
    one, other = (GAMLP.load(tmp_path / name)[0].state_dict() for name in ("model", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_stopped_seed_is_not_in_the_mean(gamlp, tmp_path, stopping, monkeypatch):
    seeds = [*KARATE, "--seeds", "0,1,2", "--json", tmp_path / "report.json", "--save", tmp_path / "model"]
    runs, iterate = [], Loop._iterate

    def stop_the_second(self):
        iterate(self)
        runs.append(self) if self not in runs else None
        if len(runs) == 2 and self.position.iteration == 2:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Loop, "_iterate", stop_the_second)
    status, _, err = gamlp(*seeds)
    report = json.loads((tmp_path / "report.json").read_text())
    assert status == 1
    assert " has the best weights so far (seed " in err
    assert [run["stopped"] for run in report["runs"]] == [None, 2]
    assert report["summary"]["last_test_accuracy_mean"] == report["runs"][0]["last"]["test_accuracy"]


def test_what_is_stopped_before_its_first_evaluation(gamlp, tmp_path, stopping):
    stopping(signal.SIGTERM, after=1)
    early = ["--init", "kaiming", "--evaluate-every", "4", "--plot", tmp_path / "plot.png", "--log-dir", tmp_path]
    status, _, err = gamlp(*KARATE, *early, "--seeds", "0")
    where = tmp_path / "model.safetensors"
    said = f"interrupted at iteration 1: {where} has the best weights so far (seed 0, not evaluated yet)"
    assert (status, err) == (1, f"gamlp-admm: {said}\n")
    assert gamlp("predict", where)[0] == 0
    assert (tmp_path / "history.csv").read_text() == "\n"


def test_nothing_is_kept_unasked(gamlp, tmp_path, stopping, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stopping(signal.SIGTERM)
    said = "gamlp-admm: interrupted at iteration 3: nothing of it is kept without --save, --log-dir or --checkpoint\n"
    assert gamlp(*KARATE) == (1, "", said)
    assert not list(tmp_path.iterdir())


# Iterates that are no longer finite

DIVERGING = [*KARATE, "--algorithm", "sgd", "--lr", "1e8", "--init", "kaiming"]
"""Diverges in its third iteration."""


@pytest.mark.parametrize("seeds", [[], ["--seeds", "0,1"]], ids=["one", "several"])
def test_what_diverges_keeps_the_best_weights_so_far(gamlp, tmp_path, seeds):
    save, logs = tmp_path / "model.safetensors", tmp_path / "logs"
    status, out, err = gamlp(*DIVERGING, *seeds, "--save", save, "--log-dir", logs, "--checkpoint", tmp_path / "kept")
    told = json.loads((logs / "run.json").read_text())
    report = told["runs"][0] if seeds else told
    best, what = report["best"], "iteration 3: the objective is no longer finite"
    assert (status, out, report["stopped"], report["diverged"]) == (1, "", 3, what)
    worth = f"{'seed 0, ' if seeds else ''}iteration {best['iteration']}, validation {best['val_accuracy']:.4f}"
    assert err == f"gamlp-admm: {what}; {save} has the best weights so far ({worth})\n"
    assert [record["iteration"] for record in report["history"]] == [1, 2]
    _, _, err = gamlp("predict", save, "--split", "test")
    assert err == f"accuracy on karate: test {best['test_accuracy']:.4f}\n"


def test_what_diverges_says_that_nothing_is_kept(gamlp):
    what = "iteration 3: the objective is no longer finite; nothing of it is kept without --save or --log-dir"
    assert gamlp(*DIVERGING) == (1, "", f"gamlp-admm: {what}\n")

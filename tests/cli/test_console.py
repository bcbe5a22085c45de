"""What every command says of errors and warnings, and the status it returns."""

import os
import subprocess
import sys
import warnings

import pytest
from samples import KARATE

from gamlp_admm.errors import InputWarning
from gamlp_admm.experiment import prepare


def test_quiet_prints_nothing(gamlp, monkeypatch):
    monkeypatch.setattr("gamlp_admm.experiment.runner.prepare", warned(prepare))
    assert gamlp(*KARATE, "--quiet") == (0, "", "")


def test_warnings_are_one_line(gamlp, monkeypatch):
    monkeypatch.setattr("gamlp_admm.experiment.runner.prepare", warned(prepare))
    status, _, err = gamlp(*KARATE)
    assert (status, err) == (0, "gamlp-admm: warning: odd input\n")


def warned(function):
    def with_warnings(*args, **options):
        for _ in range(2):
            warnings.warn("odd input", InputWarning, stacklevel=1)
        return function(*args, **options)

    return with_warnings


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "unknown command 'trian': did you mean 'train'?"),
        (["train", "--layer", "3"], "--layers"),
        (["train", "--no-such-thing"], "gamlp-admm train --help"),
        (["train", "--layers", "two"], "'--layers'"),
        (["train", "--layers", "0"], "layers must be a positive integer, not 0"),
        (["train", "--dataset", "karat"], "did you mean 'karate'?"),
        (["train", "--algorithm", "pdadm"], "did you mean 'pdadmm'?"),
        (["train", "--operator", "sim"], "did you mean 'sym'?"),
        (["train", "--activation", "rleu"], "did you mean 'relu'?"),
        (["train", "--solver", "exat"], "did you mean 'exact'?"),
        (["train", "--schedule", "stal"], "did you mean 'stall'?"),
        (["train", "--loss", "hinge"], "allowed: cross_entropy"),
        (["train", "--init", "kaming"], "did you mean 'kaiming'?"),
        (["train", "--device", "gpu"], "allowed: auto, cpu, cuda"),
        (["train", "--dtype", "half"], "allowed: float32, float64"),
        (["train", "--rho", "-1"], "rho must be positive"),
        (["train", "--nu", "0"], "must be positive"),
        (["train", "--mu", "-1"], "mu must not be negative"),
        (["train", "--hops", "-1"], "hops is -1"),
        (["train", "--hops", "a,b"], "integers separated by commas"),
        (["train", "--grow", "2,x"], "allowed: auto, none, or rising depths"),
        (["train", "--grow", "5,2"], "must rise"),
        (["train", "--lr", "1"], "lr does not apply to pdadmm-g"),
        (["train", "--algorithm", "adam", "--rho", "1"], "rho does not apply to adam"),
        (["train", "--seeds", "1,1"], "different integers"),
        (["train", "--seeds", "1,2", "--seed", "1"], "exclude each other"),
        (["train", "--resume"], "need checkpoint"),
        (["train", "--json", "/no/such/folder/file"], "json /no/such/folder/file cannot be written"),
        (["train", "--save", "/no/such/folder/file"], "save /no/such/folder/file cannot be written"),
        (["train", "--plot", "/no/such/folder/file.png"], "plot /no/such/folder/file.png cannot be written"),
        (["train", "--log-dir", "/dev/null/folder"], "log-dir /dev/null/folder cannot be written"),
        (["train", "--checkpoint", "/dev/null/folder"], "/dev/null/folder cannot be written"),
        (["predict"], "MODEL"),
        (["predict", "no-such-model"], "no model file no-such-model"),
        (["predict", __file__], "is not a model saved by gamlp_admm"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(gamlp, args, message):
    status, out, err = gamlp(*args)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_a_world_size_without_a_rank_is_no_worker_s(gamlp, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as some launchers and containers leave it
    monkeypatch.delenv("RANK", raising=False)
    status, out, err = gamlp("train", "--operator", "sim")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("gamlp-admm: unknown operator 'sim': did you mean 'sym'?")
    status, out, _ = gamlp(*KARATE)
    assert status == 0
    assert out


@pytest.mark.parametrize("debug", [True, False])
def test_other_errors_are_one_line_and_status_1(gamlp, monkeypatch, debug):
    def fail(*_):
        raise FloatingPointError("no longer\nfinite")

    monkeypatch.setattr("gamlp_admm.cli.running.train_all", fail)
    status, _, err = gamlp(*(["--debug"] if debug else []), *KARATE)
    assert status == 1
    assert err.endswith("gamlp-admm: FloatingPointError: no longer finite\n")
    assert ("Traceback" in err) == debug


def test_ctrl_c_before_training(gamlp, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("gamlp_admm.experiment.runner.prepare", interrupt)
    assert gamlp(*KARATE) == (1, "", "gamlp-admm: interrupted\n")


def test_a_closed_pipe_is_quiet(model):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gamlp_admm", "predict", str(model)]
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True) as running:
        os.close(write)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Error" not in err

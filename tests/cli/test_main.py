"""The command line: what it prints, writes and returns."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings

import click
import pytest
import torch

from gamlp_admm.algorithms import registry as trainers
from gamlp_admm.cli.main import commands, main
from gamlp_admm.cli.options import SectionOption
from gamlp_admm.datasets import list_datasets
from gamlp_admm.errors import InputWarning
from gamlp_admm.experiment import Experiment, prepare
from gamlp_admm.experiment.options import declared
from gamlp_admm.nn import activations, losses
from gamlp_admm.nn import gamlp as nn
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.training import checkpoint, schedules
from gamlp_admm.transforms import augment_features as transforms

KARATE = ["train", "--dataset", "karate", "--hidden", "8", "--iterations", "5"]


@pytest.fixture
def gamlp(capsys):
    """Return a function that runs a command and gives its status, output and errors."""

    def call(*args):
        status = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


# help


def train_options():
    command = commands.commands["train"]
    return {p.name: p for p in command.get_params(click.Context(command)) if isinstance(p, SectionOption)}


def test_help_does_not_import_torch():
    code = "import sys; from gamlp_admm.cli.main import main; status = main(['train', '--help'])"
    check = f"{code}; sys.exit(status or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--algorithm" in done.stdout


@pytest.mark.parametrize("args", [[], ["--help"], ["train", "--help"], ["predict", "--help"], ["--version"]])
def test_help(gamlp, args):
    status, out, err = gamlp(*args)
    assert (status, err) == (0, "")
    assert out


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("algorithm", trainers.ALGORITHMS),
        ("operator", transforms.OPERATORS),
        ("activation", activations.ACTIVATIONS),
        ("init", nn.INITS),
        ("schedule", schedules.SCHEDULES),
        ("loss", losses.RISKS),
    ],
)
def test_help_lists_every_name(option, names):
    found = train_options()[option]
    assert all(name in found.help for name in names)


def test_every_option_of_an_experiment_is_an_option_of_train():
    given = {"seeds", "save", "plot", "log_dir", "json", "quiet", "config", "print_config"}
    assert train_options().keys() == {*declared(), *given}


# train


def test_json_has_the_keys_of_the_contract(gamlp):
    status, out, err = gamlp(*KARATE, "--json", "-")
    assert status == 0
    assert "karate" in err
    report = json.loads(out)
    assert report.keys() == {
        *("dataset", "algorithm", "config", "environment", "history", "best", "last", "seconds"),
        *("bytes_sent_total", "num_parameters", "num_nodes", "seed", "converges", "theorem", "processes"),
    }
    assert report["config"].keys() == declared().keys()
    assert report["environment"].keys() == {"versions", "device", "processes", "threads"}
    assert len(report["history"]) == 5
    assert report["history"][0].keys() == {
        *("iteration", "layers", "objective", "primal_residual", "dual_residual", "train_loss"),
        *("train_accuracy", "val_accuracy", "test_accuracy", "seconds", "bytes_sent"),
    }
    assert report["best"].keys() == {"iteration", "val_accuracy", "test_accuracy"}
    assert report["last"].keys() == {"iteration", "train_accuracy", "val_accuracy", "test_accuracy"}
    assert report["seconds"].keys() == {"augment", "train", "total"}
    assert report["bytes_sent_total"] == report["history"][-1]["bytes_sent"] > 0


def test_two_runs_differ_only_in_seconds(gamlp):
    def timeless():
        report = json.loads(gamlp(*KARATE, "--json", "-")[1])
        del report["seconds"], report["processes"]
        for record in report["history"]:
            del record["seconds"]
        return report

    assert timeless() == timeless()


def test_seeds(gamlp):
    _, out, _ = gamlp(*KARATE, "--seeds", "4,2", "--json", "-", "--quiet")
    report = json.loads(out)
    assert [run["seed"] for run in report["runs"]] == [4, 2]
    assert {"test_accuracy_mean", "test_accuracy_std"} <= report["summary"].keys()


def test_quiet_prints_nothing(gamlp, monkeypatch):
    monkeypatch.setattr("gamlp_admm.experiment.runner.prepare", warned(prepare))
    assert gamlp(*KARATE, "--quiet") == (0, "", "")


def test_warnings_are_one_line(gamlp, monkeypatch):
    monkeypatch.setattr("gamlp_admm.experiment.runner.prepare", warned(prepare))
    status, _, err = gamlp(*KARATE)
    assert (status, err) == (0, "gamlp-admm: warning: odd input\n")


def warned(function):
    def with_warnings(*args):
        for _ in range(2):
            warnings.warn("odd input", InputWarning, stacklevel=1)
        return function(*args)

    return with_warnings


def test_log_dir_plot_save_and_json(gamlp, tmp_path):
    outputs = ["--save", tmp_path / "m", "--plot", tmp_path / "p.svg", "--json", tmp_path / "r.json"]
    assert gamlp(*KARATE, "--seeds", "0,1", *outputs, "--log-dir", tmp_path / "a" / "b")[0] == 0
    logged = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert logged == {"run.json", "history.csv", "model.safetensors"}
    assert {path.name for path in tmp_path.iterdir()} == {"m", "p.svg", "r.json", "a"}
    report = json.loads((tmp_path / "r.json").read_text())
    assert json.loads((tmp_path / "a" / "b" / "run.json").read_text()) == report
    _, metadata = GAMLP.load(tmp_path / "m")
    best = max(report["runs"], key=lambda run: run["best"]["val_accuracy"])
    assert metadata["test_accuracy"] == best["best"]["test_accuracy"]


def test_hops_may_be_a_set(gamlp):
    _, out, _ = gamlp(*KARATE, "--hops", "0,2", "--json", "-")
    assert json.loads(out)["config"]["hops"] == [0, 2]


def test_resume(gamlp, tmp_path):
    args = [*KARATE, "--layers", "3", "--checkpoint", tmp_path, "--json", "-"]
    _, first, _ = gamlp(*args)
    status, again, _ = gamlp(*args, "--resume")
    assert status == 0
    assert json.loads(again)["history"] == json.loads(first)["history"]
    status, _, err = gamlp(*args, "--resume", "--hidden", "9")
    assert status == 2
    assert "hidden=8, not 9" in err


# wrong input


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "unknown command 'trian': did you mean 'train'?"),
        (["train", "--layer", "3"], "'--layers'"),
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
        (["train", "--device", "gpu"], "allowed: cpu, cuda"),
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there(gamlp):
    status, _, err = gamlp("train", "--device", "cuda")
    assert (status, err.count("\n")) == (2, 1)
    assert "allowed: cpu" in err


def test_absent_data(gamlp, tmp_path):
    root = tmp_path / "file"
    root.touch()  # nothing can be downloaded into a file
    status, _, err = gamlp("train", "--dataset", "cora", "--root", root)
    assert (status, err.count("\n")) == (2, 1)
    assert "place the raw files in" in err


def test_outputs_are_checked_before_training(gamlp, monkeypatch, tmp_path):
    monkeypatch.setattr("gamlp_admm.cli.running.train_all", lambda *_: pytest.fail("trained"))
    assert gamlp(*KARATE, "--json", tmp_path)[0] == 2


# other failures


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
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gamlp_admm.experiment.runner.prepare", interrupt)
    assert gamlp(*KARATE) == (1, "", "gamlp-admm: interrupted\n")


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_writes_a_checkpoint_to_resume_from(gamlp, tmp_path):
    args = [*KARATE, "--checkpoint", str(tmp_path), "--checkpoint-every", "1", "--json", "-", "--quiet"]
    command = [sys.executable, "-m", "gamlp_admm", *args]
    with subprocess.Popen([*command, "--iterations", "1000000"], stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not (tmp_path / checkpoint.file_name()).exists() and time.monotonic() < deadline:
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
    assert [record["iteration"] for record in history] == list(range(1, reached + 4))


def test_what_ignores_ctrl_c_goes_on(tmp_path):
    args = [*KARATE, "--checkpoint", str(tmp_path), "--checkpoint-every", "1", "--iterations", "300", "--quiet"]
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "gamlp_admm", *args]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not (tmp_path / checkpoint.file_name()).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")


# predict and datasets


@pytest.fixture
def model(gamlp, tmp_path):
    gamlp(*KARATE, "--save", tmp_path / "model")
    return tmp_path / "model"


def test_predict_csv(gamlp, model, tmp_path):
    status, out, err = gamlp("predict", model)
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    network, _ = GAMLP.load(model)
    z = network(prepare(Experiment(dataset="karate")).data.x).detach()
    assert [int(row["node"]) for row in rows] == list(range(34))
    assert [int(row["class"]) for row in rows] == z.argmax(1).tolist()
    assert float(rows[3]["p1"]) == pytest.approx(torch.softmax(z, 1)[3, 1].item())
    assert err.startswith("accuracy on karate: train ")
    _, message, _ = gamlp("predict", model, "--out", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == out
    assert message == err


def test_predict_json_of_a_split(gamlp, model):
    status, out, err = gamlp("predict", model, "--format", "json", "--split", "test")
    assert status == 0
    prediction = json.loads(out)
    assert prediction.keys() == {"dataset", "split", "accuracy", "nodes"}
    assert len(prediction["nodes"]) == 20
    assert sum(prediction["nodes"][0]["probabilities"]) == pytest.approx(1)
    assert err == f"accuracy on karate: test {prediction['accuracy']['test']:.4f}\n"


def test_predict_with_other_features(gamlp, model):
    status, _, err = gamlp("predict", model, "--dataset", "digits")
    assert (status, err.count("\n")) == (2, 1)
    assert "features a node after augmentation" in err


def test_datasets(gamlp, tmp_path):
    _, table, _ = gamlp("datasets", "--root", tmp_path)
    rows = json.loads(gamlp("datasets", "--root", tmp_path, "--json")[1])
    assert [row["name"] for row in rows] == [row.name for row in list_datasets(tmp_path)]
    assert all(row["name"] in table and row["licence"] in table for row in rows)
    assert [row["name"] for row in rows if row["present"]] == ["digits", "digits-knn", "karate"]


def test_a_closed_pipe_is_quiet(model):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gamlp_admm", "predict", str(model)]
    with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True) as running:
        os.close(write)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Error" not in err

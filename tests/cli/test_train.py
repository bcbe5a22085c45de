"""Training: its options, what it reports and writes, and how it resumes."""

import json

import click
import pytest
import torch
from samples import KARATE

from gamlp_admm.algorithms import registry as trainers
from gamlp_admm.cli.options import SectionOption
from gamlp_admm.cli.train import train
from gamlp_admm.experiment.options import declared
from gamlp_admm.nn import activations, losses
from gamlp_admm.nn import gamlp as nn
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.training import schedules
from gamlp_admm.transforms import augment_features as transforms


def train_options():
    command = train
    return {p.name: p for p in command.get_params(click.Context(command)) if isinstance(p, SectionOption)}


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
    given = {"seeds", "save", "plot", "log_dir", "logger", "json", "quiet", "verbose", "config", "print_config"}
    assert train_options().keys() == {*declared(), *given}


def test_json_has_the_keys_of_the_contract(gamlp):
    status, out, err = gamlp(*KARATE, "--json", "-")
    assert status == 0
    assert "karate" in err
    report = json.loads(out)
    assert report.keys() == {
        *("dataset", "algorithm", "config", "environment", "history", "best", "last", "seconds"),
        *(
            "metric",
            "bytes_sent_total",
            "codec",
            "num_parameters",
            "num_nodes",
            "seed",
            "converges",
            "theorem",
            "start",
            "solver",
            "units",
            "split",
            "stopped",
            "diverged",
            "processes",
            "per_class",
            "confusion",
            "augment",
        ),
    }
    assert report["augment"] == {"cached": False, "found": 0, "made": 1, "keys": []}  # too little work to be kept
    assert report["split"].startswith("public-train: train_mask as it came with the data; 10 validation nodes drawn")
    assert report["config"].keys() == declared().keys()
    assert report["environment"].keys() == {"versions", "device", "processes", "threads"}
    assert len(report["history"]) == 6  # the start is iteration 0
    assert report["history"][0].keys() == {
        *("iteration", "layers", "objective", "primal_residual", "dual_residual", "train_loss"),
        *("train_accuracy", "val_accuracy", "test_accuracy", "seconds", "bytes_sent"),
    }
    assert report["best"].keys() == {"iteration", "val_accuracy", "test_accuracy", "metric"}
    assert report["last"].keys() == {"iteration", "train_accuracy", "val_accuracy", "test_accuracy"}
    assert report["seconds"].keys() == {"augment", "choose", "train", "total"}
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there(gamlp):
    status, _, err = gamlp("train", "--device", "cuda")
    assert (status, err.count("\n")) == (2, 1)
    assert "allowed: auto, cpu" in err


def test_absent_data(gamlp, tmp_path):
    root = tmp_path / "file"
    root.touch()  # nothing can be downloaded into a file
    status, _, err = gamlp("train", "--dataset", "cora", "--root", root)
    assert (status, err.count("\n")) == (2, 1)
    assert "place the raw files in" in err


def test_a_run_in_a_log_dir_is_not_replaced_unless_told_to(gamlp, tmp_path):
    logs = tmp_path / "logs"
    assert gamlp(*KARATE, "--quiet", "--log-dir", logs) == (0, "", "")
    before = {path.name: path.read_bytes() for path in logs.iterdir()}
    assert before.keys() == {"run.json", "history.csv", "model.safetensors"}
    status, _, err = gamlp(*KARATE, "--seed", "1", "--log-dir", logs)
    assert (status, err.count("\n")) == (2, 1)
    assert f"log-dir {logs} holds a run (run.json, history.csv, model.safetensors); allowed: another folder" in err
    assert {path.name: path.read_bytes() for path in logs.iterdir()} == before
    (logs / "notes").write_text("mine")
    assert gamlp(*KARATE, "--seed", "1", "--quiet", "--log-dir", logs, "--overwrite")[0] == 0
    assert json.loads((logs / "run.json").read_text())["seed"] == 1
    assert (logs / "notes").read_text() == "mine"


def test_what_goes_on_from_a_checkpoint_also_goes_on_with_its_log_dir(gamlp, tmp_path):
    where = ("--quiet", "--checkpoint", tmp_path / "kept", "--log-dir", tmp_path / "logs")
    assert gamlp(*KARATE, *where)[0] == 0
    assert gamlp(*KARATE, "--iterations", "7", *where, "--resume")[0] == 0
    assert json.loads((tmp_path / "logs" / "run.json").read_text())["last"]["iteration"] == 7


@pytest.mark.parametrize("place", ["n" * 300, "folder", "absent/file", "loop"])
def test_results_that_have_no_place_are_said_before_training(gamlp, tmp_path, place, monkeypatch):
    monkeypatch.setattr("gamlp_admm.experiment.runner.prepare", None)
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for option in ("--save", "--json", "--plot"):
        status, _, err = gamlp(*KARATE, option, tmp_path / place)
        assert (status, err.count("\n")) == (2, 1)
        assert f"{option[2:]} {tmp_path / place} cannot be written" in err


def test_results_in_one_file_are_refused(gamlp, tmp_path):
    status, _, err = gamlp(*KARATE, "--save", tmp_path / "it", "--json", tmp_path / "it")
    assert (status, err) == (2, f"gamlp-admm: save and json name one file, {tmp_path / 'it'}; give each its own\n")

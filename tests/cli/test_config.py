"""Options in a file, reports that repeat their run, and the file that is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gamlp_admm.cli import main
from gamlp_admm.experiment.options import declared

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Run = Callable[..., tuple[int, str, str]]
KARATE = ["--dataset", "karate", "--hidden", "8", "--iterations", "4"]


@pytest.fixture
def gamlp(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([*map(str, args)])
        return status, *capsys.readouterr()

    return run


def report(gamlp: Run, *args: object) -> dict[str, Any]:
    status, out, err = gamlp("train", *args, "--json", "-", "--quiet")
    assert status == 0, err
    return dict(json.loads(out))


def timeless(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def test_a_file_gives_options_and_the_command_line_wins(gamlp: Run, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('\ufeffdataset = "karate"\nhops = [0, 2]\nhidden = 8\niterations = 4\nnu = 1\nresidual = true\n')
    config = report(gamlp, "--config", file, "--hidden", "6", "--plain")["config"]
    assert (config["dataset"], config["hops"], config["hidden"], config["nu"]) == ("karate", [0, 2], 6, 1.0)
    assert config["residual"] is False


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("layer = 3", "unknown option in {file}: 'layer': did you mean 'layers'"),
        ('layers = "3"', "{file}: layers must be an integer, not '3'"),
        ("residual = 1", "{file}: residual must be true or false, not 1"),
        ('quiet = "yes"', "{file}: quiet must be true or false, not 'yes'"),
        ("json = 3", "{file}: json must be a text, not 3"),
        ("seeds = true", "{file}: seeds must be"),
        ("layers = ", "config {file} is not TOML"),
        ('activation = "rleu"', "{file}: unknown activation 'rleu': did you mean 'relu'"),
        ("config = 'x'", "unknown option in {file}: 'config'"),
        ("[recipe]\nnu = 0.1", "{file}: recipe must be a text"),
    ],
)
def test_a_wrong_file_is_one_line(gamlp: Run, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(content)
    status, out, err = gamlp("train", "--config", file)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message.format(file=file) in err


def test_a_file_that_is_not_there(gamlp: Run, tmp_path: Path) -> None:
    status, _, err = gamlp("train", "--config", tmp_path / "none.toml")
    assert (status, err.count("\n")) == (2, 1)
    assert "none.toml cannot be read" in err
    (tmp_path / "other.json").write_text('{"rows": []}')
    assert "is not the report of a run" in gamlp("train", "--config", tmp_path / "other.json")[2]


def test_the_printed_file_has_every_option_and_gives_what_was_given(gamlp: Run, tmp_path: Path) -> None:
    status, text, err = gamlp("train", *KARATE, "--hops", "0,2", "--residual", "--nu", "0.1", "--print-config")
    assert (status, err) == (0, "")
    given = {"dataset": "karate", "hidden": 8, "iterations": 4, "hops": [0, 2], "residual": True, "nu": 0.1}
    assert tomllib.loads(text) == given
    assert all(f"\n# {name} =" in text for name in declared() if name not in given)
    file = tmp_path / "run.toml"
    file.write_text(text)
    once = report(gamlp, *KARATE, "--hops", "0,2", "--residual", "--nu", "0.1")
    again = report(gamlp, "--config", file)
    assert again["config"] == once["config"]
    assert timeless(again["history"]) == timeless(once["history"])


def test_uncommented_defaults_are_options(gamlp: Run, tmp_path: Path) -> None:
    _, text, _ = gamlp("train", "--print-config")
    file = tmp_path / "run.toml"
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# dtype = ")]
    lines += [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# hidden = ")]
    file.write_text("\n".join(lines))
    assert report(gamlp, "--config", file, "--dataset", "karate", "--iterations", 1)["config"]["hidden"] == 100


def test_a_report_repeats_its_run_to_the_same_bits(gamlp: Run, tmp_path: Path) -> None:
    folder, again = tmp_path / "run", tmp_path / "again"
    checkpoint = ["--checkpoint", tmp_path / "checkpoint"]
    status, *_ = gamlp("train", *KARATE, "--layers", 5, "--operator", "ppr", "--log-dir", folder, *checkpoint)
    assert status == 0
    status, _, err = gamlp("train", "--config", folder / "run.json", "--log-dir", again)
    assert status == 0, err
    one, other = (load_file(place / "model.safetensors") for place in (folder, again))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    first, second = (json.loads((place / "run.json").read_text()) for place in (folder, again))
    assert timeless(first["history"]) == timeless(second["history"])
    outputs = ("checkpoint",)
    assert {k: v for k, v in first["config"].items() if k not in outputs} == {
        k: v for k, v in second["config"].items() if k not in outputs
    }


def test_a_report_of_several_seeds_repeats_them_all(gamlp: Run, tmp_path: Path) -> None:
    gamlp("train", *KARATE, "--seeds", "3,1", "--log-dir", tmp_path)
    again = report(gamlp, "--config", tmp_path / "run.json")
    assert [run["seed"] for run in again["runs"]] == [3, 1]
    assert report(gamlp, "--config", tmp_path / "run.json", "--seed", 5)["seed"] == 5


def test_other_commands_read_files_too(gamlp: Run, tmp_path: Path) -> None:
    file = tmp_path / "all.toml"
    file.write_text('dataset = "karate"\nhidden = 8\niterations = 3\nseeds = [0, 1]\ncodecs = ["int8", "int4"]\n')
    status, out, _ = gamlp("compare", "--config", file, "--json", "-", "--quiet")
    assert status == 0
    assert [(row["codec"], row["seeds"]) for row in json.loads(out)["rows"]] == [("int8", 2), ("int4", 2)]
    file.write_text(
        'dataset = "karate"\niterations = 2\nhidden = 4\ntrials = 1\nfinalists = 0\nsearch = ["nu=0.1,1"]\n'
    )
    status, out, _ = gamlp("tune", "--config", file, "--json", "-", "--quiet")
    assert status == 0
    assert json.loads(out)["space"] == {"nu": "0.1,1"}
    report_of_two = tmp_path / "compared.json"
    options = [*KARATE, "--codecs", "int8,int4", "--seeds", "0,1"]
    assert gamlp("compare", *options, "--json", report_of_two, "--quiet")[0] == 0
    status, out, _ = gamlp("compare", "--config", report_of_two, "--codecs", "int2", "--json", "-", "--quiet")
    assert status == 0
    assert [(row["codec"], row["seeds"]) for row in json.loads(out)["rows"]] == [("int2", 2)]
    file.write_text('datasets = ["cora"]\nmethod = "adam"\n')
    assert "'method': did you mean 'methods'" in gamlp("bench", "accuracy", "--config", file)[2]

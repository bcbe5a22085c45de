"""What another package adds through the registries is known to the command line's machinery."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gamlp_admm import codecs
from gamlp_admm.algorithms import registry
from gamlp_admm.cli import main
from gamlp_admm.cli.main import commands
from gamlp_admm.cli.tune import tune
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, Option, options, predict, register_option
from gamlp_admm.propagation import NamedOperator, operators, register_operator, sym

KARATE = ["--dataset", "karate", "--hidden", "8", "--iterations", "3"]
SHRUNK = ["--algorithm", "shrunk", "--shrink", "0.25", "--operator", "lazy", "--codec", "rounded:0.01"]


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    """Add what the module ``toys`` adds, and take it away again."""
    tables: list[dict[str, Any]] = [
        operators.OPERATORS,
        codecs.CODECS,
        codecs.FORMS,
        registry.ALGORITHMS,
        options._REGISTERED,
    ]
    before = [dict(table) for table in tables]
    sys.modules.pop("toys", None)
    import_module("toys")
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)


def report(capsys: pytest.CaptureFixture[str], *args: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["train", *map(str, args), "--json", "-", "--quiet"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_train_with_all_of_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = report(capsys, *KARATE, *SHRUNK, "--save", tmp_path / "model")
    config = found["config"]
    assert (config["algorithm"], config["shrink"]) == ("shrunk", 0.25)
    assert (config["operator"], config["hops"], config["codec"]) == ("lazy", 3, "rounded:0.01")
    assert found["bytes_sent_total"] == 3 * 2 * found["num_nodes"]["train"] * 8 * 2  # 16 bits of p and of q
    assert predict(tmp_path / "model").accuracy["test"] == found["best"]["test_accuracy"]
    plain = report(capsys, *KARATE, *SHRUNK, "--shrink", "1")
    assert plain["history"][0]["objective"] != found["history"][0]["objective"]
    assert plain["config"]["shrink"] == 1.0


def test_the_toy_s_default_and_what_it_is_not_for() -> None:
    assert Experiment.of({"algorithm": "shrunk"}).resolve().shrink == 0.5
    assert Experiment().resolve().shrink is None
    with pytest.raises(InputError, match="shrink does not apply to pdadmm-g"):
        Experiment.of({"shrink": 0.5}).resolve()
    with pytest.raises(InputError, match=r"shrink must be a number, not '1'"):
        Experiment.of({"algorithm": "shrunk", "shrink": "1"}).resolve()


def test_help_and_completion_know_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert "Algorithm (shrunk):\n  --shrink FLOAT  How much smaller weights start.  [default: 0.5]" in text
    (algorithm,) = (line for line in " ".join(text.split()).split(" --") if line.startswith("algorithm "))
    assert "shrunk" in algorithm
    assert "shrink" in {p.name for p in tune.get_params(commands.make_context("x", []))}


def test_files_reports_and_recipes_hold_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    main(["train", *KARATE, *SHRUNK, "--print-config"])
    file.write_text(capsys.readouterr().out)
    first = report(capsys, "--config", file)
    assert first["config"]["shrink"] == 0.25
    main(["train", "--config", str(file), "--log-dir", str(tmp_path / "log"), "--quiet"])
    again = report(capsys, "--config", tmp_path / "log" / "run.json")
    assert again["config"] == first["config"]
    file.write_text("[recipe]\nshrink = 0.75\n")
    assert report(capsys, *KARATE, "--algorithm", "shrunk", "--recipe", file)["config"]["shrink"] == 0.75


def test_a_checkpoint_belongs_to_its_value(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report(capsys, *KARATE, *SHRUNK, "--checkpoint", tmp_path)
    assert main(["train", *KARATE, *SHRUNK, "--shrink", "1", "--checkpoint", str(tmp_path), "--resume"]) == 2
    assert "belongs to a run with shrink=0.25, not 1.0" in capsys.readouterr().err


def test_compare_and_search_use_them(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    compared = ["--algorithm", "shrunk", "--shrink", "0.25", "--codecs", "fp32,rounded:0.01"]
    assert main(["compare", *KARATE, *compared, "--json", "-", "--quiet"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["codec"] for row in rows] == ["fp32", "rounded:0.01"]
    assert rows[0]["bytes_total"] == 2 * rows[1]["bytes_total"]
    searched = ["--algorithm", "shrunk", "--search", "shrink=0.1:1", "--search", "features=lazy/2,sym/2"]
    assert main(["tune", *KARATE, *searched, "--trials", "2", "--finalists", "0", "--json", "-", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["space"] == {"shrink": "0.1:1", "features": "lazy/2,sym/2"}


def test_names_that_are_taken_or_wrong() -> None:
    with pytest.raises(InputError, match="operator 'sym' is there already"):
        register_operator("sym", NamedOperator(sym))
    with pytest.raises(InputError, match="operator 'a/b'"):
        register_operator("a/b", NamedOperator(sym))
    with pytest.raises(InputError, match="codec 'int8' is there already"):
        codecs.register_codec("int8", codecs.codec)
    with pytest.raises(InputError, match="algorithm 'adam' is there already"):
        registry.register_algorithm("adam", "toys:Shrunk")
    with pytest.raises(InputError, match="option 'nu' is there already"):
        register_option("nu", float, Option("", ""))
    with pytest.raises(InputError, match="codec 'rounded:x': allowed: rounded:UNIT"):
        codecs.codec("rounded:x")


def test_an_installed_package_is_found(tmp_path: Path) -> None:
    information = tmp_path / "toys-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[gamlp_admm]\ntoys = toys\n")
    paths = [str(tmp_path), str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "gamlp_admm", "train", *KARATE, *SHRUNK, "--json", "-", "--quiet"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=True)
    assert json.loads(done.stdout)["config"]["shrink"] == 0.25
    (information / "entry_points.txt").write_text("[gamlp_admm]\ntoys = nowhere\n")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "extension toys (nowhere) cannot be loaded" in done.stderr

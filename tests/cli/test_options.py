"""Options in sections of help, and values that complete in the shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable

import click
import pytest
from click.shell_completion import ShellComplete

from gamlp_admm.algorithms import ALGORITHMS
from gamlp_admm.cli.console import PROGRAM
from gamlp_admm.cli.main import commands, main
from gamlp_admm.cli.options import SectionOption
from gamlp_admm.cli.train import train
from gamlp_admm.datasets import dataset_names
from gamlp_admm.experiment.declaration import GROUPS
from gamlp_admm.experiment.options import declared
from gamlp_admm.nn import ACTIVATIONS, RISKS
from gamlp_admm.propagation import OPERATORS


def complete(*words: str) -> list[str]:
    *before, last = words
    completer = ShellComplete(commands, {}, PROGRAM, "_GAMLP_ADMM_COMPLETE")
    return [item.value for item in completer.get_completions(before, last)]


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("--dataset", dataset_names()),
        ("--algorithm", ALGORITHMS),
        ("--operator", OPERATORS),
        ("--label-operator", OPERATORS),
        ("--activation", ACTIVATIONS),
        ("--loss", RISKS),
        ("--device", ("auto", "cpu", "cuda")),
        ("--codec", ("int8", "int2-delta")),
        ("--solver", ("exact", "linesearch", "backtracking")),
    ],
)
@pytest.mark.parametrize("command", ["train", "tune"])
def test_names_complete(command: str, option: str, names: Iterable[str]) -> None:
    assert {*names} <= {*complete(command, option, "")}
    (first, *_) = names
    assert first in complete(command, option, first[:2])
    assert complete(command, option, "?") == []


def test_the_last_of_several_names_completes() -> None:
    assert "fp16,int8-delta" in complete("compare", "--codecs", "fp16,int8")
    assert complete("bench", "accuracy", "--datasets", "cora,kar") == ["cora,karate"]


def test_options_and_commands_complete() -> None:
    assert "--epsilon-decay" in complete("train", "--eps")
    assert complete("tr") == ["train"]
    assert "train" in complete("nothing", "")


def test_the_shell_s_script_and_answers() -> None:
    environment = os.environ | {"_GAMLP_ADMM_COMPLETE": "bash_complete"}
    environment |= {"COMP_WORDS": "gamlp-admm train --algorithm dl", "COMP_CWORD": "3"}
    command = [sys.executable, "-c", f"from gamlp_admm.cli import main; main(); print({PROGRAM!r})"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "plain,dladmm\n"


def sections(text: str) -> dict[str, str]:
    found = re.split(r"^(\S.*):\n", text, flags=re.M)
    return dict(zip(found[1::2], found[2::2], strict=True))


def test_help_is_in_sections(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    found = sections(capsys.readouterr().out)
    assert [title for title in found if title in GROUPS] == [*GROUPS]
    for name, each in declared().items():
        flag = f"--{name.replace('_', '-')}"
        places = [title for title, body in found.items() if re.search(rf"^  {flag}\b(?!-)", body, flags=re.M)]
        assert places == [each.option.group], name


def test_what_one_algorithm_takes_is_listed_under_it(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--help"])
    found = sections(capsys.readouterr().out)
    assert re.findall(r"^  --([a-z-]+)", found["Algorithm (mDLAM)"], flags=re.M) == [
        *("epsilon", "epsilon-decay", "epsilon-min", "nesterov"),
    ]
    assert "--quantize" not in found["Algorithm"]


def test_parameters_are_made_once() -> None:
    command = train
    context = click.Context(command)
    once, again = ([p for p in command.get_params(context) if isinstance(p, SectionOption)] for _ in range(2))
    assert list(map(id, once)) == list(map(id, again))

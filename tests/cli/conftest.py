"""What tests of several commands share."""

from __future__ import annotations

from typing import Any

import pytest
from benches import quick_runs
from samples import KARATE
from searches import make_up

from gamlp_admm.bench.jobs import Job
from gamlp_admm.cli.main import main
from gamlp_admm.experiment import Experiment


@pytest.fixture
def gamlp(capsys):
    """Return a function that runs a command and gives its status, output and errors."""

    def call(*args):
        status = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def model(gamlp, tmp_path):
    gamlp(*KARATE, "--save", tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """Replace training in searches by a formula; return what was run."""
    return make_up(monkeypatch)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Job, tuple[Any, ...]]]:
    """Replace the training of benchmarks by a quick stand-in; return the list of what it is called with."""
    return quick_runs(monkeypatch)

"""What tests of several commands share."""

from __future__ import annotations

import pytest
from samples import KARATE

from gamlp_admm.cli.main import main


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

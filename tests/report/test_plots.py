"""Plots: their files, what they draw, and what they need."""

import sys
from pathlib import Path
from typing import Any

import pytest

from gamlp_admm import report as reports
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, run


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")])
def test_plots(tmp_path, grown, ending, magic):
    reports.plot(grown, tmp_path / f"run.{ending}")
    assert (tmp_path / f"run.{ending}").read_bytes().startswith(magic)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_plot_of_backpropagation_has_no_residuals(tmp_path):
    reports.plot(run(Experiment(dataset="karate", algorithm="adam", iterations=3)).report, tmp_path / "run.svg")
    drawn = (tmp_path / "run.svg").read_text()
    assert "<!-- objective -->" in drawn
    assert "<!-- primal residual -->" not in drawn


def test_plots_leave_the_global_state_alone(tmp_path, grown):
    before = "matplotlib.pyplot" in sys.modules
    reports.plot(grown, tmp_path / "run.png")
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_a_plot_needs_a_known_ending(tmp_path):
    with pytest.raises(InputError, match=r"allowed endings: .*png"):
        reports.check_plot(tmp_path / "run.xyz")


def test_a_plot_needs_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    with pytest.raises(InputError, match=r"pip install 'gamlp-admm\[plot\]'"):
        reports.check_plot(tmp_path / "run.png")


def test_plot_of_runs_without_test_nodes(tmp_path: Path) -> None:
    record: dict[str, Any] = {"codec": "int4", "seed": 0, "iteration": 1, "bytes_sent": 5, "test_accuracy": None}
    reports.plot_comparison([record], tmp_path / "empty.pdf")
    assert (tmp_path / "empty.pdf").stat().st_size > 0

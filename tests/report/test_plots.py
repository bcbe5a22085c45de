"""Plots: their files, what they draw, and what they need."""

import sys
from pathlib import Path
from typing import Any

import pytest
from made_runs import codecs, made, seeds

from gamlp_admm import report as reports
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, run
from gamlp_admm.report import plots


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
    report = made()
    for record in (*report["history"], report["best"], report["last"]):
        record["test_accuracy"] = None
    reports.plot(report, tmp_path / "run.pdf")
    reports.plot_comparison(codecs(int4=[report]), tmp_path / "empty.pdf")
    assert (tmp_path / "empty.pdf").stat().st_size > 0


def drawn(monkeypatch: pytest.MonkeyPatch, draw: Any, report: dict[str, Any]) -> Any:
    """Return the figure of a plot, laid out."""
    figures: list[Any] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure))
    draw(report, Path("x.png"))
    figures[0].draw_without_rendering()
    return figures[0]


def test_seeds_are_a_mean_and_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = made(0), made(1, gain=0.04)
    accuracy = drawn(monkeypatch, reports.plot, seeds(one, two)).axes[0]
    line = {line.get_label(): line for line in accuracy.lines}["test"]
    mean = [(a["test_accuracy"] + b["test_accuracy"]) / 2 for a, b in zip(one["history"], two["history"], strict=True)]
    assert list(line.get_ydata()) == pytest.approx(mean)
    assert len(accuracy.collections) == 3
    edge = accuracy.collections[0].get_paths()[0].vertices[:, 1]
    assert edge.min() == pytest.approx(one["history"][0]["test_accuracy"])
    assert edge.max() == pytest.approx(two["history"][-1]["test_accuracy"])
    assert not drawn(monkeypatch, reports.plot, one).axes[0].collections


def test_both_residuals_are_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    report = made()
    axes = drawn(monkeypatch, reports.plot, report).axes[2]
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    records = report["history"][1:]  # the start has none
    assert lines["primal residual"] == pytest.approx([record["primal_residual"] ** 0.5 for record in records])
    assert lines["dual residual"] == pytest.approx([record["dual_residual"] for record in records])
    assert axes.get_yscale() == "log"


def test_legends_and_depths_cover_no_curve(monkeypatch: pytest.MonkeyPatch, grown: dict[str, Any]) -> None:
    comparison = codecs(fp32=[made(0), made(1)], int2=[made(0), made(1)])
    for draw, report in ((reports.plot, grown), (reports.plot_comparison, comparison)):
        figure = drawn(monkeypatch, draw, report)
        boxes = [axes.bbox for axes in figure.axes]
        words = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
        words += [text for axes in figure.axes for text in axes.texts]
        assert words
        for each in words:
            extent = each.get_window_extent()
            assert not any(extent.overlaps(box) for box in boxes), each
            assert figure.bbox.padded(1).count_contains([extent.min, extent.max]) == 2


def test_bytes_are_drawn_without_the_start_that_sends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    by_bytes, by_iterations = drawn(monkeypatch, reports.plot_comparison, codecs(fp32=[made()])).axes
    assert by_bytes.get_xscale() == "log"
    assert (len(by_bytes.lines[0].get_xdata()), len(by_iterations.lines[0].get_xdata())) == (20, 21)
    assert [tick.get_text() for tick in by_bytes.get_xticklabels()] == ["1 kB", "2 kB", "5 kB", "10 kB", "20 kB"]


def test_dots_are_on_the_curves_where_runs_come_near(monkeypatch: pytest.MonkeyPatch) -> None:
    report = codecs(fp32=[made(0), made(1)], int2=[made(0), made(1)])
    report["rows"][0]["bytes_to_99"] = 9500.0
    figure = drawn(monkeypatch, reports.plot_comparison, report)
    (dot,) = (line for line in figure.axes[0].lines if line.get_marker() == "o")
    mean = [made()["history"][k]["test_accuracy"] for k in (9, 10)]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (9500, pytest.approx(sum(mean) / 2))
    assert dot.get_color() == figure.axes[0].lines[0].get_color()
    assert "99 % of the best validation accuracy of fp32" in figure.get_suptitle()
    assert not any(line.get_marker() == "o" for line in figure.axes[1].lines)

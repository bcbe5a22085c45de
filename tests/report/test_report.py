"""Tables, plots, progress and files."""

import io
import sys

import pytest
from rich.console import Console

from gamlp_admm import report as reports
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, run, seeded, summarize
from gamlp_admm.system.files import write_history
from gamlp_admm.training.result import Progress

GROWN = Experiment(dataset="karate", hops=2, operator="sym", hidden=8, layers=5, iterations=4)


@pytest.fixture(scope="module")
def grown():
    return run(GROWN).report


def text(renderable, width=120):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (3.4e9, "3.4 GB")]
)
def test_size(count, expected):
    assert reports.size(count) == expected


def test_the_summary_has_accuracies_cost_and_theorem(grown):
    shown = text(reports.run_table(grown))
    for part in (
        "karate",
        "best on validation",
        "last",
        f"{grown['num_parameters']:,} parameters",
        "rho <= max",
    ):
        assert part in shown
    assert reports.percent(grown["last"]["test_accuracy"]) in shown


@pytest.mark.parametrize(("rho", "relation"), [(1.0, "rho > max"), (0.01, "rho <= max")])
def test_the_theorem_names_the_side(rho, relation):
    report = run(Experiment(dataset="karate", iterations=1, rho=rho, nu=0.01)).report
    assert report["converges"] is (rho == 1.0)
    assert relation in text(reports.run_table(report))


def test_baselines_have_no_theorem():
    report = run(Experiment(dataset="karate", algorithm="adam", iterations=1)).report
    assert "theorem" not in text(reports.run_table(report))


def test_the_table_of_seeds():
    report = summarize([run(each) for each in seeded(GROWN, [1, 2])])
    shown = text(reports.seeds_table(report))
    assert f"{report['summary']['test_accuracy_mean']:.4f} ± {report['summary']['test_accuracy_std']:.4f}" in shown


def test_progress_shows_the_newest_record(grown):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with reports.LiveProgress(console, "karate, seed 0") as live:
        for record in grown["history"]:
            live(Progress(record, 8, [range(2)], list))
        live.live.refresh()
        shown = console.file.getvalue()
    assert "karate, seed 0" in shown
    assert "8/8" in shown
    assert "primal residual" in shown


# plots


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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"algorithm": "dladmm", "rho": 1.1}, "theorem: rho = 1.1: rho > 2 H, so convergence is guaranteed"),
        ({"algorithm": "dladmm", "rho": 0.9}, "theorem: rho = 0.9: rho <= 2 H, so convergence is not guaranteed"),
        ({"algorithm": "mdlam"}, "theorem: any rho, at fixed epsilon: convergence is guaranteed"),
    ],
)
def test_each_algorithm_has_a_theorem_of_its_own(options, says, tmp_path):
    report = run(Experiment(dataset="karate", iterations=3, **options)).report
    assert says in text(reports.run_table(report))
    reports.plot(report, tmp_path / "history.png")  # mDLAM has no dual residual


def test_history_has_one_row_a_record(tmp_path, grown):
    write_history(tmp_path / "history.csv", [grown, grown])
    header, *rows = (tmp_path / "history.csv").read_text().splitlines()
    assert header.split(",") == ["seed", *grown["history"][0]]
    assert len(rows) == 2 * len(grown["history"])

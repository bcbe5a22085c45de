"""Tables of runs, of seeds, and the line of each algorithm's theorem."""

import io

import pytest
from rich.console import Console
from samples import GROWN

from gamlp_admm import report as reports
from gamlp_admm.experiment import Experiment, run, seeded, summarize


def text(renderable, width=120):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (3.4e9, "3.4 GB")]
)
def test_size(count, expected):
    assert reports.size(count) == expected


def test_the_summary_has_accuracies_and_cost(grown):
    shown = text(reports.run_table(grown))
    would = f"would send {reports.size(grown['bytes_sent_total'])} between layers"
    for part in ("karate", "best on validation", "last", f"{grown['num_parameters']:,} parameters, {would}"):
        assert part in shown
    assert reports.percent(grown["last"]["test_accuracy"]) in shown
    assert "theorem" not in shown


def test_the_summary_has_the_figures_of_ogb(grown):
    official = {"metric": "rocauc", "version": "1.3.6", "train": 0.9, "valid": 0.75, "test": None}
    assert "OGB's evaluator: 0.7500 validation, - test (rocauc)" in text(reports.run_table({**grown, "ogb": official}))


def test_the_summary_says_what_was_chosen_and_that_bytes_ran_out(grown):
    chosen = {"chosen": "int2-delta", "why": "the closest, 5 kB expected of 2 kB", "budget": 2000, "ended": None}
    shown = text(reports.run_table({**grown, "codec": chosen}), width=200)
    assert "codec auto: int2-delta (the closest, 5 kB expected of 2 kB)" in shown
    assert "ended" not in shown
    shown = text(reports.run_table({**grown, "codec": {**chosen, "ended": 7}}), width=200)
    assert "; ended after iteration 7: another could exceed 2 kB" in shown


def test_what_processes_sent_is_not_what_layers_would(grown):
    each = grown["processes"][0]
    several = [{**each, "rank": rank, "wire_bytes": {1: 600 * (1 - rank)}} for rank in range(2)]
    shown = text(reports.run_table({**grown, "bytes_sent_total": 2000, "processes": several}))
    assert "sent 600 B between processes (2 kB with a process a layer)" in shown
    assert "would" not in shown


def test_the_verbose_summary_says_where_and_how(grown):
    shown = text(reports.run_table(grown, verbose=True), width=400)
    for line in ("device: cpu", f"units: {grown['units']}", f"solver: {grown['solver']}", "rho <= max"):
        assert line in shown


@pytest.mark.parametrize(("rho", "relation"), [(1.0, "rho > max"), (0.01, "rho <= max")])
def test_the_theorem_names_the_side(rho, relation):
    report = run(Experiment(dataset="karate", iterations=1, rho=rho, nu=0.01)).report
    assert report["converges"] is (rho == 1.0)
    assert relation in text(reports.run_table(report, verbose=True))


def test_baselines_have_no_theorem():
    report = run(Experiment(dataset="karate", algorithm="adam", iterations=1)).report
    assert "theorem" not in text(reports.run_table(report, verbose=True))


def test_the_table_of_seeds():
    report = summarize([run(each) for each in seeded(GROWN, [1, 2])])
    shown = text(reports.seeds_table(report))
    assert f"{report['summary']['test_accuracy_mean']:.4f} ± {report['summary']['test_accuracy_std']:.4f}" in shown


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"algorithm": "dladmm", "rho": 1.1}, "theorem: rho = 1.1: rho > 2 H, so convergence is guaranteed"),
        ({"algorithm": "dladmm", "rho": 0.9}, "theorem: rho = 0.9: rho <= 2 H, so convergence is not guaranteed"),
        (
            {"algorithm": "mdlam", "epsilon_decay": 1.0},
            "theorem: epsilon = 100, fixed, any rho: convergence is guaranteed",
        ),
    ],
)
def test_each_algorithm_has_a_theorem_of_its_own(options, says, tmp_path):
    report = run(Experiment(dataset="karate", iterations=3, **options)).report
    assert says in text(reports.run_table(report, verbose=True))
    reports.plot(report, tmp_path / "history.png")  # mDLAM has no dual residual

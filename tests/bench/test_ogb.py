"""The benchmark of OGB's data sets: its plan, what a job gives, and the forms that results make."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from raw_ogb import make_mag, make_products, make_proteins

from gamlp_admm.bench.jobs import Shelf
from gamlp_admm.bench.ogb import METHODS, Leaderboard, hardware, plan
from gamlp_admm.bench.running import run_jobs
from gamlp_admm.datasets import loading
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import run
from gamlp_admm.report.ogb import form, ogb_markdown


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data root with small graphs in OGB's layout, which are what the descriptions say."""
    makers = {"ogbn-products": make_products, "ogbn-mag": make_mag, "ogbn-proteins": make_proteins}
    made = {name: make(tmp_path / "ogb" / name.replace("-", "_")) for name, make in makers.items()}
    describe = loading.dataset_info
    monkeypatch.setattr(loading, "dataset_info", lambda name: made.get(name) or describe(name))
    monkeypatch.setattr("gamlp_admm.datasets.ogb.cache_folder", lambda: tmp_path / "cache")
    return tmp_path


def test_plan_is_the_protocol() -> None:
    jobs = plan()
    assert [(job.dataset, job.method, job.seed) for job in jobs] == [("ogbn-arxiv", "pdadmm-g", s) for s in range(10)]
    with pytest.raises(InputError, match="unknown data set of OGB 'cora'"):
        plan(["cora"])
    with pytest.raises(InputError, match="unknown method 'gcn'"):
        plan(methods=["gcn"])
    assert len({job.file_name for job in plan(methods=[*METHODS])}) == 10 * len(METHODS)


def test_figures_are_those_of_the_run_and_its_weights(root: Path) -> None:
    (job,) = plan(["ogbn-products"], seeds=[3])
    found = Leaderboard().train(job, {}, str(root), Shelf())
    assert (found["metric"], found["ogb"]) == ("acc", "1.3.6")
    report = run(Leaderboard().experiment(job, str(root))).report
    assert found["val_accuracy"] == pytest.approx(report["best"]["val_accuracy"])
    assert found["test_accuracy"] == pytest.approx(report["best"]["test_accuracy"])
    assert found["num_parameters"] == report["num_parameters"] > 0
    assert found["tuned"].keys() >= {"hidden", "operator"}  # chosen, as there is no recipe
    assert "CPU, 1 thread)" in found["hardware"] == hardware("cpu", 1)


def test_many_labels_are_selected_by_the_area_under_the_curve(root: Path) -> None:
    (job,) = plan(["ogbn-proteins"], ["ridge"], [0])
    report = run(replace(Leaderboard().experiment(job, str(root)), iterations=1)).report
    best, figures = report["best"], report["ogb"]
    assert (figures["metric"], best["metric"]) == ("rocauc", "roc_auc")
    assert figures["valid"] == pytest.approx(best["val_roc_auc"])
    assert figures["test"] == pytest.approx(best["test_roc_auc"])


def test_rows_and_forms(root: Path, tmp_path: Path) -> None:
    board, out = Leaderboard(), tmp_path / "out"
    out.mkdir()
    jobs = plan(["ogbn-mag"], ["ridge"], [0, 1, 2])
    records = [outcome.record for outcome in run_jobs(board, jobs, out, root=str(root))]
    assert all(records)
    again = [outcome.record for outcome in run_jobs(board, jobs, out, root="/no/such/root")]  # read, not run
    assert again == records
    (row,) = board.summarize(records, jobs)["rows"]
    figures = [record["result"]["test_accuracy"] for record in records]
    assert row["test_mean"] == pytest.approx(statistics.fmean(figures))
    assert row["test_std"] == pytest.approx(statistics.stdev(figures))
    environment = {"versions": {"torch": "9"}}
    report = {
        "rows": [row],
        "seeds": [0, 1, 2],
        "command": "c",
        "date": "today",
        "notes": [],
        "environment": environment,
    }
    fields = dict(line.split(":", 1) for line in form(row, report))
    assert fields["Dataset"].strip() == "ogbn-mag"
    shown = f"{row['test_mean']:.4f} ± {row['test_std']:.4f} (acc; 3 seeds: 0, 1, 2; unbiased standard deviation)"
    assert fields["Test performance"].strip() == shown
    assert fields["#Params"].strip() == f"{row['num_parameters']:,}"
    assert fields["OGB version"].strip() == "1.3.6"
    assert all(field.strip() for field in fields.values())
    assert shown in ogb_markdown(report)
    (part,) = board.summarize(records[:1], jobs)["rows"]
    assert (part["seeds"], part["planned"], part["test_std"]) == (1, 3, None)
    assert "1 of 3 seeds" in ogb_markdown(report | {"rows": [part]})

"""Benchmarks: the plan, what is kept and run again, the tables, and the networks to compare with."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.sparse import csr_array
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, SGConv
from torch_geometric.utils import stochastic_blockmodel_graph

from gamlp_admm import propagation
from gamlp_admm.bench import accuracy, peers
from gamlp_admm.bench import graph as graphs
from gamlp_admm.bench import jobs as planned
from gamlp_admm.bench.accuracy import Runner, run_jobs
from gamlp_admm.bench.graph import Graph
from gamlp_admm.bench.jobs import METHODS, Job, plan
from gamlp_admm.bench.summary import summarize
from gamlp_admm.cli.main import commands, main
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import run
from gamlp_admm.report import accuracy_markdown, accuracy_table

KARATE = ["bench", "accuracy", "--datasets", "karate", "--jobs", "1"]


def sbm(classes: int = 3, size: int = 60) -> Data:
    """Return a graph of communities whose features say little by themselves."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        within = torch.full((classes, classes), 0.01).fill_diagonal_(0.15)
        edge_index = stochastic_blockmodel_graph([size] * classes, within)
    y = torch.arange(classes).repeat_interleave(size)
    x = torch.rand(classes * size, 12, generator=generator)
    x[torch.arange(len(y)), y] += 0.3
    x[x < 0.6] = 0
    order = torch.randperm(len(y), generator=generator)
    data = Data(x=x, edge_index=edge_index, y=y)
    for split, rows in zip(("train", "val", "test"), order.split([30, 60, 90]), strict=True):
        data[f"{split}_mask"] = torch.zeros(len(y), dtype=torch.bool).index_fill_(0, rows, True)
    return data


def record(job: Job, test: float, val: float = 0.5) -> dict[str, Any]:
    return {
        "job": dataclasses.asdict(job),
        "result": {"test_accuracy": test, "val_accuracy": val, "seconds": 2.0, "epochs": 1, "settings": {}},
    }


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Job, tuple[Any, ...]]]:
    """Replace training by a quick stand-in; return the list of what it is called with."""
    calls: list[tuple[Job, tuple[Any, ...]]] = []

    def work(self: Runner, job: Job, tried: Any) -> dict[str, Any]:
        calls.append((job, tuple(tried)))
        return {**record(job, 0.5 + job.seed / 100), "result": record(job, 0.5)["result"] | {"settings": tried[-1]}}

    monkeypatch.setattr(Runner, "__call__", work)
    return calls


# the plan


def test_plan_goes_data_set_by_data_set() -> None:
    assert plan(["cora", "karate"], ["gcn", "adam"], [3, 1]) == [
        Job(dataset, method, seed) for dataset in ("cora", "karate") for method in ("gcn", "adam") for seed in (3, 1)
    ]


def test_random_splits_are_for_drawn_splits_only() -> None:
    def split_seeds(splits: str) -> list[tuple[str, int | None]]:
        return [(job.dataset, job.split_seed) for job in plan(["cora", "coauthor-cs"], ["sgc"], [0, 7], splits)]

    usual, drawn = [("coauthor-cs", None)] * 2, [("coauthor-cs", 0), ("coauthor-cs", 7)]
    cora = [("cora", None)] * 2
    assert split_seeds("usual") == cora + usual
    assert split_seeds("random") == cora + drawn
    assert split_seeds("both") == cora + usual + drawn


def test_default_data_sets_have_published_figures() -> None:
    assert planned.default_datasets()[:3] == ["cora", "citeseer", "amazon-photo"]
    assert {"flickr", "ogbn-arxiv", "coauthor-physics"} < {*planned.default_datasets()}
    assert "mnist" not in planned.default_datasets()  # no graph


def test_files_of_jobs_are_apart() -> None:
    jobs = plan(["cora", "coauthor-cs"], [*METHODS], [0, 1], "both")
    assert len({job.file_name for job in jobs}) == len(jobs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["coraa"],), "did you mean 'cora'"),
        ((["mnist"],), "unknown graph data set 'mnist'"),
        ((["cora"], ["sigm"]), "did you mean 'sign'"),
        ((["cora"], ["gcn"], [1, 1]), "seeds '1,1': allowed: different ones"),
        ((["cora", "cora"],), "different ones"),
        ((["cora"], ["gcn"], [0], "some"), "allowed: usual, random, both"),
    ],
)
def test_wrong_plans(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(*arguments)


# running and resuming


def test_what_is_done_is_not_run_again(tmp_path: Path, runs: list[Any]) -> None:
    jobs = plan(["karate"], ["pdadmm-g", "gcn"], [0, 1])
    first = list(run_jobs(jobs, tmp_path))
    assert [job for job, _ in runs] == jobs
    again = list(run_jobs(jobs, tmp_path))
    assert len(runs) == len(jobs)
    assert [o.record for o in again] == [o.record for o in first]
    (tmp_path / jobs[2].file_name).unlink()
    (tmp_path / jobs[1].file_name).write_text("{")  # damaged
    list(run_jobs([*jobs, Job("karate", "pdadmm-g", 5)], tmp_path))
    assert [job for job, _ in runs[len(jobs) :]] == [jobs[1], jobs[2], Job("karate", "pdadmm-g", 5)]


def test_another_version_or_recipe_is_run_again(
    tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = plan(["karate"], ["pdadmm-g"], [0])
    list(run_jobs(jobs, tmp_path))
    monkeypatch.setattr(planned, "version", lambda _: "0.0.0")
    list(run_jobs(jobs, tmp_path))
    assert len(runs) == 2
    as_it_was = planned.experiment
    monkeypatch.setattr(planned, "experiment", lambda job, root: dataclasses.replace(as_it_was(job, root), nu=0.7))
    list(run_jobs(jobs, tmp_path, root="/elsewhere"))
    list(run_jobs(jobs, tmp_path))
    assert len(runs) == 3  # another root makes no difference


def test_settings_are_chosen_with_the_first_seed(tmp_path: Path, runs: list[Any]) -> None:
    tried = peers.grid("gcn", 4)
    list(run_jobs(plan(["karate"], ["gcn"], [4, 2]), tmp_path))
    assert runs == [(Job("karate", "gcn", 4), tried), (Job("karate", "gcn", 2), tried[-1:])]
    list(run_jobs(plan(["karate"], ["gcn"], [4, 2, 3]), tmp_path))
    assert runs[2:] == [(Job("karate", "gcn", 3), tried[-1:])]
    list(run_jobs(plan(["karate"], ["gcn"], [2]), tmp_path))  # that was made with what seed 4 chose
    assert runs[3:] == [(Job("karate", "gcn", 2), tried)]


def test_best_on_validation_is_the_earlier_of_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    results = {1: (0.5, 0.9), 2: (0.7, 0.1), 3: (0.7, 0.8)}

    def train(self: Runner, job: Job, settings: dict[str, int]) -> dict[str, Any]:
        val, test = results[settings["lr"]]
        return {"val_accuracy": val, "test_accuracy": test, "settings": settings}

    monkeypatch.setattr(Runner, "train", train)
    done = Runner(None)(Job("karate", "adam", 0), [{"lr": lr} for lr in results])
    assert done["result"]["settings"] == {"lr": 2}
    assert [each["val_accuracy"] for each in done["tried"]] == [0.5, 0.7, 0.7]


def test_a_failing_job_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Any]) -> None:
    quick = Runner.__call__

    def work(self: Runner, job: Job, tried: Any) -> dict[str, Any]:
        if job.seed == 0:
            raise FloatingPointError("no longer finite")
        return quick(self, job, tried)

    monkeypatch.setattr(Runner, "__call__", work)
    outcomes = {o.job: o for o in run_jobs(plan(["karate"], ["pdadmm-g", "gcn"], [0, 1]), tmp_path)}
    errors = {str(job): o.error for job, o in outcomes.items()}
    assert errors == {
        "karate, pdadmm-g, seed 0": "FloatingPointError: no longer finite",
        "karate, pdadmm-g, seed 1": None,
        "karate, gcn, seed 0": "FloatingPointError: no longer finite",
        "karate, gcn, seed 1": "its settings are chosen with seed 0, which failed",
    }
    assert len(list(tmp_path.iterdir())) == 1


def test_data_that_cannot_be_loaded_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Any]
) -> None:
    quick = Runner.__call__

    def work(self: Runner, job: Job, tried: Any) -> dict[str, Any]:
        if job.dataset == "cora":
            raise InputError("cora: damaged")
        return quick(self, job, tried)

    monkeypatch.setattr(Runner, "__call__", work)
    outcomes = list(run_jobs(plan(["cora", "karate"], ["sgc", "gcn"], [0, 1]), tmp_path))
    assert [(o.job.dataset, o.skipped) for o in outcomes] == [("cora", True)] * 4 + [("karate", False)] * 4
    assert len(runs) == 4


def test_ours_and_adam_are_runs_of_experiment(tmp_path: Path) -> None:
    (outcome,) = run_jobs([Job("karate", "pdadmm-g:10", 1)], tmp_path)
    assert outcome.record is not None
    used = outcome.record["config"]["experiment"]
    assert (used["layers"], used["hidden"], used["grow"], used["seed"]) == (10, 100, [2, 5, 10], 1)
    report = run(planned.experiment(outcome.job, None)).report
    assert outcome.record["result"]["test_accuracy"] == report["best"]["test_accuracy"]
    adam = planned.experiment(Job("karate", "adam", 0), None).resolve()
    assert (adam.algorithm, adam.hidden, adam.hops, adam.iterations) == ("adam", 16, 2, planned.ADAM_ITERATIONS)


def test_data_are_prepared_once_for_all_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, loaded = [], []
    prepare, load = accuracy.prepare, accuracy.load_dataset
    monkeypatch.setattr(accuracy, "prepare", lambda e: prepared.append(e) or prepare(e))
    monkeypatch.setattr(accuracy, "load_dataset", lambda *a, **k: loaded.append(a) or load(*a, **k))
    monkeypatch.setattr(planned, "ADAM", planned.ADAM[:2])
    jobs = plan(["karate"], ["adam", "gcn", "sgc"], [0, 1])
    assert all(outcome.error is None for outcome in run_jobs(jobs, tmp_path))
    assert (len(prepared), len(loaded)) == (1, 1)


# the peers


@pytest.mark.parametrize("method", peers.PEERS)
def test_peers_learn_and_never_see_test_labels(method: str) -> None:
    data = sbm()
    settings = peers.grid(method, 30)[-1]
    told = peers.train(method, Graph(data), settings, seed=0)
    assert told.keys() == {"val_accuracy", "test_accuracy", "epochs", "seconds", "settings"}
    assert told["val_accuracy"] > 0.75  # chance: 1/3
    assert told["test_accuracy"] > 0.75
    changed = data.clone()
    changed.y[changed.test_mask] = (changed.y[changed.test_mask] + 1) % 3
    misled = peers.train(method, Graph(changed), settings, seed=0)
    assert misled["val_accuracy"] == told["val_accuracy"]
    assert misled["test_accuracy"] <= 1 - told["test_accuracy"]


@pytest.mark.parametrize("method", peers.PEERS)
def test_every_setting_of_the_grids_trains(method: str) -> None:
    graph = Graph(sbm())
    for settings in (*peers.grid(method, 30), *peers.grid(method, peers.MANY)):
        short = settings | {"epochs": 3}
        state = torch.random.get_rng_state()
        first = peers.train(method, graph, short, seed=1)
        assert torch.equal(torch.random.get_rng_state(), state)
        again = peers.train(method, graph, short, seed=1)
        assert {**first, "seconds": 0} == {**again, "seconds": 0}


def test_gcn_is_that_of_pyg() -> None:
    data = sbm()
    graph, settings = Graph(data), peers.grid("gcn", peers.MANY)[0] | {"batch_norm": False, "hidden": 5}
    net = peers.GCN(graph, settings).eval()
    x = data.x
    for i, conv in enumerate(net.convs):
        whole = GCNConv(conv.in_channels, conv.out_channels)
        whole.load_state_dict(conv.state_dict())
        x = whole(x, data.edge_index)
        x = x.relu() if i < 2 else x
    for split in ("train", "val", "test"):
        torch.testing.assert_close(net(net.inputs(graph, split, settings)), x[data[f"{split}_mask"]])


def test_gcn_takes_sparse_features_with_their_dropout() -> None:
    data = sbm()
    settings = peers.grid("gcn", 30)[0]
    wide = data.clone()
    wide.x = torch.cat([data.x, torch.zeros(len(data.x), 60)], 1)
    assert Graph(wide).neighbourhood("train", 2, True).x.layout is torch.sparse_csr
    assert Graph(data).neighbourhood("train", 2, True).x.layout is torch.strided
    assert peers.train("gcn", Graph(wide), settings, 0)["val_accuracy"] > 0.75


def test_sgc_is_that_of_pyg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "BLOCK", 5)  # columns in several parts
    data = sbm()
    graph, settings = Graph(data), peers.grid("sgc", 30)[-1]
    net = peers.SGC(graph, settings)
    whole = SGConv(data.num_features, 3, K=2)
    whole.load_state_dict(net.conv.state_dict())
    expected = whole(data.x, data.edge_index)[data.val_mask]
    torch.testing.assert_close(net(net.inputs(graph, "val", settings)), expected)


def test_dropout_keeps_the_mean() -> None:
    x = torch.ones(400, 50)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dense = peers._dropout(x, 0.8, training=True)
        sparse = peers._dropout(
            propagation.to_torch(csr_array(x.numpy()), torch.float32), 0.8, training=True
        ).to_dense()
    for dropped in (dense, sparse):
        torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 5.0]))
        assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert peers._dropout(x, 0.8, training=False) is x


# tables


@pytest.fixture
def report() -> dict[str, Any]:
    jobs = plan(["cora", "coauthor-cs"], ["pdadmm-g", "gcn", "sgc"], [0, 1], "both")
    results = {"pdadmm-g": (0.8, 0.9), "gcn": (0.7, 0.8)}
    done = [record(job, results[job.method][job.seed]) for job in jobs if job.method in results]
    done = [each for each in done if Job(**each["job"]) != Job("cora", "gcn", 1)]
    environment = {"versions": {"torch": "9"}}
    more = {"seeds": (0, 1), "notes": ["a note"], "environment": environment, "command": "c", "date": "today"}
    return summarize(done, jobs) | more


def test_rows_are_of_the_results(report: dict[str, Any]) -> None:
    titles = [(c["dataset"], c["splits"], c["title"]) for c in report["columns"]]
    assert titles == [
        ("cora", "usual", "public split"),
        ("coauthor-cs", "usual", "papers' split"),
        ("coauthor-cs", "random", "random splits"),
    ]
    ours, gcn, *published = report["rows"]
    assert [row["group"] for row in (ours, gcn)] == ["ours", "peers"]
    assert ours["cells"][2]["mean"] == pytest.approx(0.85)
    assert ours["cells"][2]["std"] == pytest.approx(0.1 / 2**0.5)
    assert gcn["cells"][0] == {
        **{"mean": 0.7, "std": None, "seeds": 1, "planned": 2},
        **{"val_mean": 0.5, "seconds": 2.0},
    }
    assert {row["group"] for row in published} == {"published"}
    appnp = next(row for row in published if row["method"] == "APPNP")
    assert appnp["cells"][0]["mean"] == 0.833
    assert appnp["cells"][1:] == [None, None]
    assert all(row["cells"][2] is None for row in published)  # theirs is the usual split


def test_markdown(report: dict[str, Any]) -> None:
    lines = accuracy_markdown(report).splitlines()
    assert (
        lines[0] == "| test accuracy | cora, public split | coauthor-cs, papers' split | coauthor-cs, random splits |"
    )
    assert lines[2] == f"| pdADMM-G, here | {' | '.join(['**0.8500 ± 0.0707**'] * 3)} |"
    assert lines[3] == "| GCN, here | 0.7000 (1 of 2 seeds) | 0.7500 ± 0.0707 | 0.7500 ± 0.0707 |"
    assert "| APPNP, published | 0.833 |  |  |" in lines
    assert any(line.startswith("| pdADMM-G, 100 neurons, published | 0.784 | 0.9") for line in lines)
    assert "- APPNP: APPNP, arXiv 1810.05997 (approximate)" in lines
    assert "Note: a note" in lines
    assert lines[-1] == "`c`, today; torch 9."


def test_table(report: dict[str, Any]) -> None:
    table = accuracy_table(report)
    assert [str(column.header) for column in table.columns][1] == "cora\npublic split"
    assert next(iter(table.columns[1].cells)) == "[bold]0.8500 ± 0.0707[/bold]"
    assert [row.end_section for row in table.rows][:3] == [True, True, False]


# the command


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {kind: tmp_path / f"table.{kind}" for kind in ("json", "markdown")}
    options = ["--methods", "pdadmm-g,sgc", "--seeds", "0,1", "--out", tmp_path / "out"]
    arguments = [*KARATE, *map(str, options), *(f"--{kind}={path}" for kind, path in files.items())]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = json.loads(files["json"].read_text())
    assert report.keys() == {"columns", "rows", "seeds", "jobs", "notes", "environment", "command", "date"}
    assert report["command"].startswith("gamlp-admm bench accuracy --datasets karate")
    assert [(row["method"], row["group"]) for row in report["rows"]] == [("pdADMM-G", "ours"), ("SGC", "peers")]
    assert len(report["jobs"]) == len(list((tmp_path / "out").iterdir())) == 4
    cell = report["rows"][0]["cells"][0]
    mean = sum(job["result"]["test_accuracy"] for job in report["jobs"][:2]) / 2
    assert cell["mean"] == pytest.approx(mean)
    shown = f"{cell['mean']:.4f} ± {cell['std']:.4f}"
    assert shown in out
    assert shown in files["markdown"].read_text()


def test_command_names_every_method() -> None:
    (found,) = (p for p in commands.commands["bench"].commands["accuracy"].params if p.name == "methods")
    assert found.help.startswith(f"Of {', '.join(METHODS)}.")


@pytest.mark.parametrize("args", [["bench"], ["bench", "--help"], ["bench", "accuracy", "--help"]])
def test_help(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 0
    assert "accuracy" in capsys.readouterr().out


def test_help_does_not_import_torch() -> None:
    code = "import sys; from gamlp_admm.cli.main import main; status = main(['bench', 'accuracy', '--help'])"
    check = f"{code}; sys.exit(status or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--datasets", "karat"], "did you mean 'karate'?"),
        (["--methods", "sigm"], "did you mean 'sign'?"),
        (["--seeds", "1,1"], "different ones"),
        (["--seeds", "-1"], "seed -1: allowed: integers from 0 on"),
        (["--splits", "odd"], "allowed: usual, random, both"),
        (["--jobs", "0"], "'--jobs'"),
        (["--out", "/dev/null/folder"], "out /dev/null/folder cannot be written"),
        (["--json", "/no/such/folder/file"], "json /no/such/folder/file cannot be written"),
    ],
)
def test_wrong_input_is_one_line(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*KARATE, "--out", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_absent_data_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str], runs: list[Any]) -> None:
    root = tmp_path / "file"
    root.touch()  # nothing can be downloaded into a file
    options = ["--datasets", "cora,karate", "--methods", "sgc,gcn", "--root", root, "--out", tmp_path, "--jobs", "1"]
    assert main(["bench", "accuracy", *map(str, options), "--markdown", "-"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("gamlp-admm: cora is left out: ")
    assert err.count("left out") == 1
    assert "| test accuracy | karate, usual split |" in out
    assert "Note: cora" in out
    assert main(["bench", "accuracy", *map(str, options), "--datasets", "cora", "--quiet"]) == 2
    assert "no data set can be loaded: cora" in capsys.readouterr().err


def test_a_failure_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise FloatingPointError("no longer\nfinite")

    monkeypatch.setattr(Runner, "__call__", fail)
    arguments = [*KARATE, "--methods", "pdadmm-g", "--seeds", "3", "--out", str(tmp_path), "--quiet"]
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        "gamlp-admm: karate, pdadmm-g, seed 3 failed: FloatingPointError: no longer finite\n"
    )


def test_ctrl_c_keeps_what_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, runs: list[Any]
) -> None:
    quick = Runner.__call__

    def work(self: Runner, job: Job, tried: Any) -> dict[str, Any]:
        if job.seed == 2:
            raise KeyboardInterrupt
        return quick(self, job, tried)

    monkeypatch.setattr(Runner, "__call__", work)
    arguments = [*KARATE, "--methods", "gcn", "--seeds", "0,1,2,3", "--out", str(tmp_path)]
    assert main(arguments) == 1
    message = f"interrupted: 2 of 4 results are in {tmp_path}; the same command goes on from there"
    assert capsys.readouterr().err == f"gamlp-admm: {message}\n"
    monkeypatch.setattr(Runner, "__call__", quick)
    assert main(arguments) == 0
    assert [job.seed for job, _ in runs] == [0, 1, 2, 3]


@pytest.mark.usefixtures("hears_ctrl_c")
def test_processes_and_ctrl_c(tmp_path: Path) -> None:
    """Two workers give the same as this process; a Ctrl-C on the terminal ends them and leaves one line."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    jobs = plan(["karate"], ["sgc", "gcn", "pdadmm-g"], range(40))
    command = [sys.executable, "-m", "gamlp_admm", "bench", "accuracy", "--datasets", "karate", "--jobs", "2"]
    command += ["--methods", "sgc,gcn,pdadmm-g", "--seeds", ",".join(map(str, range(40))), "--out", str(two)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as running:
        deadline = time.monotonic() + 80
        while (not two.exists() or not any(two.iterdir())) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        _, error = running.communicate(timeout=30)  # until all processes that could write there are gone
    assert running.returncode == 1
    assert error.count("\n") == 1
    assert error.startswith("gamlp-admm: interrupted: ")
    kept = {path.name: json.loads(path.read_text()) for path in two.iterdir()}
    assert 0 < len(kept) < len(jobs)
    wanted = [job for job in jobs if job.seed == 0 or job.file_name in kept][: len(kept) + 1]
    for outcome in run_jobs(wanted, one):
        if outcome.job.file_name in kept:
            assert outcome.record is not None
            theirs = kept[outcome.job.file_name]
            for mine in (outcome.record["result"], theirs["result"]):
                mine.pop("seconds")
            assert outcome.record == theirs

"""The examples run, and the benchmark's pages say what its results say."""

import importlib.util
import json
import runpy
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from matplotlib import pyplot

from gamlp_admm import cli
from gamlp_admm.errors import InputWarning

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
BENCHMARKS = sorted(path.parent.name for path in EXAMPLES.glob("benchmarks/*/main.py"))
STARTING = {"communication", "parallel"}  # the benchmarks that start processes, which import their script


@pytest.fixture
def python(tmp_path, monkeypatch, capsys):
    """Return a function that runs a script and returns its standard output; in this process, if it starts none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # no download

    def run(script, *args, apart=False):
        if apart:
            command = [sys.executable, str(script), *map(str, args)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=110)
            assert done.returncode == 0, done.stderr
            return done.stdout
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, args)])
        threads = torch.get_num_threads()
        status = None
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # of the karate club's four training nodes
            try:
                runpy.run_path(str(script), run_name="__main__")
            except SystemExit as end:
                status = end.code
            finally:
                torch.set_num_threads(threads)
        assert not status
        return capsys.readouterr().out

    return run


def test_cora(python):
    printed = python(EXAMPLES / "cora.py", apart=True)  # as a user starts it
    assert "test accuracy 0." in printed  # of the digits where Cora is absent


def test_every_example_is_listed_short_and_tested():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == {"cora.py", "own_graph.py", "deep.py", "optimizers.py", "estimator.py", "tables.py"}
    for name in names:
        assert f"({name})" in listed
        assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 60


def test_cora_goes_on_without_data(python, tmp_path):
    printed = python(EXAMPLES / "cora.py", "--root", tmp_path / "empty")
    assert "place the raw files in" in printed
    assert "digits-knn: test accuracy 0.9" in printed


def test_own_graph_predicts_new_nodes(python):
    correct = float(python(EXAMPLES / "own_graph.py").splitlines()[-1].split()[2])
    assert correct > 0.8


def test_deep_is_within_the_theorem_and_plots(python, tmp_path):
    printed = python(EXAMPLES / "deep.py", "--plot", tmp_path / "history.png")
    assert "within the theorem: True; the objective rose 0 times" in printed
    assert (tmp_path / "history.png").stat().st_size > 0
    pyplot.close("all")


@pytest.mark.parametrize("name", ["badm", "sisa", "sgd", "adam"])
def test_optimizers(name, python):
    printed = python(EXAMPLES / "optimizers.py", "--optimizer", name).splitlines()
    accuracies = {line.split(":")[0]: float(line.split()[-1]) for line in printed}
    assert [title.split(", ")[:2] for title in accuracies] == [[name, each] for each in ("GCN", "GA-MLP", "CNN")]
    assert min(accuracies.values()) > 0.75


@pytest.mark.slow
def test_estimator(python):
    printed = python(EXAMPLES / "estimator.py")
    assert printed.count("test accuracy 0.9") == 2
    assert "in cross-validation" in printed
    assert "GAMLP(" in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_quickly(name, python):
    folder = EXAMPLES / "benchmarks" / name
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert python(folder / "main.py", "--quick", apart=name in STARTING).startswith("| ")
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def imported(name):
    """Import a benchmark."""
    path = EXAMPLES / "benchmarks" / name / "main.py"
    specification = importlib.util.spec_from_file_location(f"{name}_benchmark", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module  # where dataclasses look for it
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("accuracy", "README.md"),
        ("accuracy", "docs/results.md"),
        ("accuracy", "examples/benchmarks/accuracy/README.md"),
        ("cora", "docs/results.md"),
        ("cora", "examples/benchmarks/cora/README.md"),
        ("communication", "docs/communication-results.md"),
        ("communication", "examples/benchmarks/communication/README.md"),
        ("plain", "docs/algorithms.md"),
        ("plain", "examples/benchmarks/plain/README.md"),
        ("optimizers", "docs/results.md"),
        ("optimizers", "examples/benchmarks/optimizers/README.md"),
        ("components", "docs/components.md"),
        ("components", "examples/benchmarks/components/README.md"),
        ("many-labels", "examples/benchmarks/many-labels/README.md"),
        ("few-rows", "examples/benchmarks/few-rows/README.md"),
        ("commands", "examples/benchmarks/commands/README.md"),
        ("start", "docs/start.md"),
        ("start", "examples/benchmarks/start/README.md"),
        ("depth", "docs/depth.md"),
        ("depth", "examples/benchmarks/depth/README.md"),
        ("parallel", "examples/benchmarks/parallel/README.md"),
        ("augment", "docs/augment-results.md"),
        ("scale", "docs/scale.md"),
        ("speed", "docs/speed.md"),
        ("gpu", "docs/gpu.md"),
        ("gpu", "examples/benchmarks/gpu/README.md"),
        ("evaluation", "docs/evaluation.md"),
        ("evaluation", "examples/benchmarks/evaluation/README.md"),
    ],
)
def test_tables_are_those_of_the_results(name, page):
    path = EXAMPLES / "benchmarks" / name / "results.json"
    if not path.exists():
        pytest.skip("not measured yet")
    results = json.loads(path.read_text(encoding="utf-8"))
    text = (ROOT / page).read_text(encoding="utf-8")
    assert f"<!-- {name}: " in text
    assert imported(name).PAGES.fill(text, results) == text


def test_printed_command_repeats_a_run(tmp_path):
    """A command line means the options that it was made from, the tuned ones of each algorithm among them."""
    benchmark = imported("cora")
    plan = benchmark.Plan(quick=True)
    prepared = benchmark.Features()(plan.features["Karate, ppr"])
    for algorithm, extra in (("pdadmm-g", {"nu": 1e-2}), ("adam", {"lr": 1e-2, "weight_decay": 5e-4})):
        row = benchmark.measured({**plan.base("Karate, ppr", 10, algorithm), **extra}, (0, 1), prepared)
        program, *args = shlex.split(row["command"])
        assert program == "gamlp-admm"
        assert cli.main([*args, "--quiet", "--json", str(tmp_path / "report.json")]) == 0
        report = json.loads((tmp_path / "report.json").read_text())
        assert [run["last"] for run in report["runs"]] == [run["last"] for run in row["runs"]]


def test_recorded_commands_say_how_often_they_evaluate():
    page = (EXAMPLES / "benchmarks/cora/README.md").read_text(encoding="utf-8")
    commands = [line for line in page.splitlines() if line.startswith("gamlp-admm train")]
    assert len(commands) > 20
    assert all("--evaluate-every" in line for line in commands)


def test_graphs_of_the_shape_of_large_ones(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES / "benchmarks" / "scale"))
    benchmark = imported("scale")
    graphs, shape = benchmark.graphs, benchmark.QUICK.shape
    monkeypatch.setattr(graphs, "CHUNK", 2**15)
    graphs.make(tmp_path, shape)
    graph = graphs.load(tmp_path)
    (source, target), y = graph.edge_index.long(), graph.y
    assert graph.num_edges == shape.edges
    assert torch.equal(source, target.roll(shape.edges // 2))  # both ways
    same = float((y[source] == y[target]).double().mean())
    clean = (1 - graphs.MISLABELLED) ** 2
    assert same == pytest.approx(
        clean * (0.6 + 0.4 / 10) + (1 - clean) / 10, abs=0.05
    )  # a few nodes have most of the edges
    degrees = torch.bincount(source).sort(descending=True).values
    assert degrees[50] > 8 * degrees[2500]
    assert [int(graph[f"{part}_mask"].sum()) for part in ("train", "val", "test")] == [1000, 500, 3500]


def test_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        imported("cora").main(["--quick", "--parts", "speed"])
    assert "tune, accuracy, time" in capsys.readouterr().err

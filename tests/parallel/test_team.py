"""Several processes: the same bits as one, whatever the split; shards; failures; traces; the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import processes
import pytest
import torch

from gamlp_admm import GAMLP, Backprop
from gamlp_admm.cli import main
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, run
from gamlp_admm.parallel import launch


@pytest.fixture(scope="module")
def serial():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield {case: processes.outcome(*processes.train(*case)) for case in processes.CASES}
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=[2, 3, pytest.param(4, marks=pytest.mark.slow)])
def split(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bits")
    processes.spawn(request.param, folder, processes.bits)
    return [torch.load(folder / f"bits-{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("case", processes.CASES, ids=lambda case: "-".join(map(str, case)))
def test_any_split_over_processes_gives_the_bits_of_one(serial, split, case):
    for outcome in (results[str(case)] for results in split):
        assert outcome["history"] == serial[case]["history"]
        assert outcome["best"] == serial[case]["best"]
        assert torch.equal(outcome["predictions"], serial[case]["predictions"])
        for name, tensor in serial[case]["weights"].items():
            assert torch.equal(outcome["weights"][name], tensor)


@pytest.mark.parametrize(("size", "node_shards", "hidden"), [(2, 2, 8), (4, 2, 8), (2, 2, 4)])
def test_node_shards_equal_the_whole_to_rounding(tmp_path, size, node_shards, hidden):
    # Shards of 31 and 30 rows: with 4 neurons, layers of 30 rows alone would be aligned, and so stacked.
    processes.spawn(size, tmp_path, processes.shards, node_shards, hidden)
    for name in processes.TRAINERS:
        whole = processes.outcome(*processes.train(name, 5, hidden, torch.float64, iterations=4))
        ranks = [torch.load(tmp_path / f"shards-{rank}.pt")[name] for rank in range(size)]
        for part in ranks:
            assert torch.allclose(part["predictions"], whole["predictions"], rtol=1e-7, atol=1e-9)
            for mine, expected in zip(part["history"], whole["history"], strict=True):
                assert mine["objective"] == pytest.approx(expected["objective"], rel=1e-9)
                assert mine["test_accuracy"] == expected["test_accuracy"]
                assert mine["bytes_sent"] == expected["bytes_sent"]
            assert all(torch.equal(part["weights"][key], t) for key, t in ranks[0]["weights"].items())
        stages = size // node_shards
        assert len({tuple(p["layers"]) for p in ranks[0]["processes"]}) == stages


def test_a_run_of_a_group_that_torchrun_did_not_start(tmp_path, monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    processes.spawn(2, tmp_path, processes.experiment)
    first, other = (torch.load(tmp_path / f"experiment-{rank}.pt") for rank in range(2))
    assert (first["first"], other["first"]) == (True, False)
    assert (first["loads"], other["loads"]) == (2, 0)  # once a run
    assert (first["devices"], other["devices"]) == ({"cpu"}, {"meta"})
    alone = run(Experiment(dataset="karate", layers=4, grow="none", iterations=3))
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(first["weights"][name], tensor)
    assert first["report"]["best"] == other["report"]["best"] == alone.report["best"]
    assert first["report"]["environment"]["processes"] == 2
    assert [record["iteration"] for record in first["again"]["history"]] == [1, 2, 3, 4, 5]
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert kept == {"experiment.json", "checkpoint-0-of-2.safetensors", "checkpoint-1-of-2.safetensors"}


def test_balance_trace_and_what_each_process_holds(tmp_path):
    processes.spawn(2, tmp_path, processes.options)
    whole, _ = processes.train("linesearch", 5, 8, grow=None)
    ranks = [torch.load(tmp_path / f"options-{rank}.pt") for rank in range(2)]
    owned = {0: {"layers.0"}, 1: {f"layers.{l}" for l in range(1, 5)}}
    for rank, saved in enumerate(ranks):
        for name, tensor in whole.state_dict().items():
            mine = name.rpartition(".")[0] in owned[rank]
            if mine:
                assert torch.equal(saved["weights"][name], tensor)
    assert [p["layers"] for p in ranks[0]["processes"]] == [[1, 1], [2, 5]]
    # p goes back over the one boundary and q forward, each 61 rows x 8 float32 an iteration
    assert [p["wire_bytes"] for p in ranks[0]["processes"]] == [{0: 5 * 61 * 8 * 4}] * 2
    for rank in range(2):
        events = json.loads((tmp_path / f"rank-{rank}.json").read_text())["traceEvents"]
        kinds = {event.get("cat") for event in events}
        assert {"compute", "send", "wait"} <= kinds
        assert all(event["dur"] >= 0 for event in events if event["ph"] == "X")
        assert {"update p", "update W b z", "update q", "update u"} <= {event["name"] for event in events}


@pytest.mark.parametrize("how", ["dies", "raises", "hangs"])
def test_the_others_stop_and_say_which_process_failed(tmp_path, how):
    processes.spawn(2, tmp_path, processes.failing, how, check=False)
    note = json.loads((tmp_path / "failing-0.json").read_text())
    assert note["message"].startswith("rank 0 (layers 1–")
    assert "lost" in note["message"]
    assert note["seconds"] < 15
    if how == "raises":
        assert json.loads((tmp_path / "failing-1.json").read_text())["message"] == "boom"


def test_a_share_of_the_rows_needs_processes():
    with pytest.raises(InputError, match="node_shards needs a process_group"):
        processes.train("linesearch", 2, 8, node_shards=2)


def test_a_balance_must_fit_the_network():
    with pytest.raises(InputError, match="balance 1,1: allowed: 1 positive numbers that sum to 2"):
        processes.train("linesearch", 2, 8, balance=(1, 1))


def test_backpropagation_runs_in_one_process():
    with pytest.raises(InputError, match="adam runs in one process"):
        Backprop("adam").fit(GAMLP(30, 8, 4, 2), processes.data(), 1, process_group=object())


# --- the command line ---------------------------------------------------------------------------------------

DIGITS = ["train", "--dataset", "digits-knn", "--layers", "5", "--hidden", "16", "--iterations", "4", "--threads", "1"]


def command(*arguments, **options):
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    return subprocess.run(
        [sys.executable, "-m", "gamlp_admm", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        env=environment,
        check=False,
        **options,
    )


def test_processes_and_torchrun_give_the_report_of_one_process(tmp_path):
    one, two, three = (tmp_path / f"{name}.json" for name in ("one", "two", "three"))
    assert main([*DIGITS, "--quiet", "--json", str(one)]) == 0
    done = command(*DIGITS, "--processes", 2, "--json", two)
    assert done.returncode == 0, done.stderr
    assert "layers of each part: 1-" in done.stderr
    assert "rank 1: layers" in done.stdout
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "gamlp_admm"]
    subprocess.run([*run, *DIGITS, "--quiet", "--json", str(three)], check=True, timeout=100, capture_output=True)
    expected, *others = (json.loads(path.read_text()) for path in (one, two, three))
    for other in others:
        for mine, record in zip(other["history"], expected["history"], strict=True):
            assert {**mine, "seconds": 0} == {**record, "seconds": 0}
        assert other["environment"]["processes"] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataset", "digit-knn"], "did you mean 'digits-knn'"),
        (["--node-shards", "3"], "node_shards 3 does not divide"),
        (["--algorithm", "adam"], "adam runs in one process"),
    ],
)
def test_wrong_input_starts_no_process(arguments, says, monkeypatch, capsys):
    monkeypatch.setattr(launch, "start", lambda *_: pytest.fail("started processes"))
    assert main([*DIGITS, "--processes", "2", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_wrong_input_that_the_processes_find_is_one_line_and_status_2(tmp_path):
    done = command(*DIGITS, "--processes", 2, "--root", tmp_path, "--dataset", "pyg:Planetoid:nowhere")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "nowhere" in done.stderr
    assert not done.stdout


def test_a_killed_process_ends_the_run_and_leaves_no_orphan():
    # The data set makes the command lines of this test's processes unlike any other's.
    arguments = [*DIGITS, "--iterations", "1000000", "--evaluate-every", "50", "--seed", str(os.getpid())]
    process = subprocess.Popen(
        [sys.executable, "-m", "gamlp_admm", *arguments, "--processes", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        assert process.stderr is not None
        assert "layers of each part" in process.stderr.readline()  # both are at work
        victim = max(_workers(process.pid))
        os.kill(victim, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "was ended by SIGKILL" in errors
        while _workers(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _workers(process.pid)
    finally:
        process.kill()
        process.wait()
        for pid in _workers(process.pid):
            os.kill(pid, signal.SIGKILL)


def _workers(parent):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if f"GAMLP_ADMM_STARTED={parent}".encode() in file.read().split(b"\0") and int(name) != parent:
                    found.append(int(name))
        except OSError:
            continue
    return found

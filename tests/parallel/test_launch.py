"""Several processes from the command line: the report of one, failures, and no orphans."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from commands import listeners

from gamlp_admm.cli import main
from gamlp_admm.parallel import launch

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_wrong_input_that_the_processes_find_is_one_line_and_status_2(tmp_path):
    done = command(*DIGITS, "--processes", 2, "--root", tmp_path, "--dataset", "pyg:Planetoid:nowhere")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "nowhere" in done.stderr
    assert not done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="reads /proc")
def test_a_killed_process_ends_the_run_and_leaves_no_orphan_and_nothing_listens_beyond_loopback():
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
        assert set(listeners([process.pid, *_workers(process.pid)])) == {"127.0.0.1"}
        victim = max(_workers(process.pid))
        os.kill(victim, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert re.fullmatch(r"gamlp-admm: rank [01] was ended by SIGKILL; the other processes were stopped\n", errors)
        while _workers(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _workers(process.pid)
    finally:
        process.kill()
        process.wait()
        for pid in _workers(process.pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_signal_is_passed_on(tmp_path):
    command = [sys.executable, "-m", "gamlp_admm", *DIGITS, "--iterations", "1000000", "--processes", "2"]
    with subprocess.Popen([*command, "--checkpoint", str(tmp_path)], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert "layers of each part" in running.stderr.readline()
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert re.fullmatch(rf"gamlp-admm: interrupted at iteration \d+: --resume goes on from {tmp_path}\n", errors)
    assert any(tmp_path.glob("*"))


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

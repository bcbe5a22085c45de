"""Files that are checked before training, and Ctrl-C during it."""

import json
import signal
import subprocess
import sys
import time

import pytest
from samples import KARATE

from gamlp_admm.experiment.claim import has_checkpoint


def test_outputs_are_checked_before_training(gamlp, monkeypatch, tmp_path):
    monkeypatch.setattr("gamlp_admm.cli.running.train_all", lambda *_: pytest.fail("trained"))
    assert gamlp(*KARATE, "--json", tmp_path)[0] == 2


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_writes_a_checkpoint_to_resume_from(gamlp, tmp_path):
    args = [*KARATE, "--checkpoint", str(tmp_path), "--checkpoint-every", "1", "--json", "-", "--quiet"]
    command = [sys.executable, "-m", "gamlp_admm", *args]
    with subprocess.Popen([*command, "--iterations", "1000000"], stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not has_checkpoint(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert err.startswith("gamlp-admm: interrupted at iteration ")
    assert err.count("\n") == 1
    reached = int(err.split("iteration ")[1].split(":")[0])
    status, resumed, _ = gamlp(*args, "--iterations", reached + 3, "--resume")
    assert status == 0
    history = json.loads(resumed)["history"]
    assert [record["iteration"] for record in history] == list(range(reached + 4))


def test_what_ignores_ctrl_c_goes_on(tmp_path):
    args = [*KARATE, "--checkpoint", str(tmp_path), "--checkpoint-every", "1", "--iterations", "300", "--quiet"]
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "gamlp_admm", *args]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not has_checkpoint(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")

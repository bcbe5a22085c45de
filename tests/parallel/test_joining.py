"""The processes of a command meet: those that were asked for different runs say so, and so does one that fails."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from commands import free_port, listeners, ranks

from gamlp_admm.parallel import joining
from gamlp_admm.training.loop import Loop

TRAIN = ["train", "--dataset", "karate", "--layers", 4, "--grow", "none", "--hidden", 8, "--quiet", "--iterations", 5]
TRAIN += ["--threads", 1, "--timeout", 100]  # longer than tests wait


def lines(ended):
    return [each.lines for each in ended]


def together(folder, *differing, **how):
    """Run a command whose ranks have these options in addition."""
    with ranks(folder, *([*TRAIN, *more] for more in differing), **how) as run:
        return run.ended()


def test_what_is_each_process_s_own_may_differ(tmp_path):
    own = ["--root", tmp_path, "--trace", tmp_path, "--json", tmp_path / "other.json"]
    ended = together(tmp_path, ["--json", tmp_path / "report.json", "--threads", 2], own)
    assert [(each.status, each.lines) for each in ended] == [(0, []), (0, [])]
    assert (tmp_path / "report.json").exists()
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    ("one", "two", "says"),
    [
        (["--activation", "relu"], ["--activation", "tanh"], "activation (relu in rank 0; tanh in rank 1)"),
        (["--rho", "1"], [], "rho (1.0 in rank 0; 0.01 in rank 1)"),
        ([], ["--seed", "3"], "seed (0 in rank 0; 3 in rank 1)"),
        ([], ["--seeds", "0,1"], "runs (1 in rank 0; 2 in rank 1)"),
        ([], ["--split", "60/20/20"], "split (usual in rank 0; 60/20/20 in rank 1)"),
        (["--node-shards", "2"], [], "node_shards (2 in rank 0; 1 in rank 1)"),
        (["--checkpoint", "a"], [], "checkpoint (given in rank 0; None in rank 1)"),
        (
            [],
            ["--hidden", "9", "--layers", "5"],
            "layers (4 in rank 0; 5 in rank 1), hidden (8 in rank 0; 9 in rank 1)",
        ),
    ],
)
def test_different_options_are_named_by_all(one, two, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = together(tmp_path, one, two)
    assert [each.status for each in ended] == [2, 2]
    assert lines(ended)[0] == lines(ended)[1]
    (line,) = ended[0].lines
    assert line.startswith("gamlp-admm: the processes of the run differ in ")
    assert says in line


@pytest.mark.parametrize(
    ("one", "two", "first", "second"),
    [
        ([], ["--layers", "0"], "rank 1: layers must be a positive integer, not 0", None),
        (["--no-such"], [], "No such option '--no-such'", "rank 0: No such option '--no-such'"),
        (["--json", "/no/such/file"], [], "json /no/such/file cannot", "rank 0: json /no/such/file cannot"),
        (["--operator", "sim"], ["--operator", "sim"], "unknown operator 'sim'", ""),
    ],
)
def test_one_that_cannot_begin_ends_all(one, two, first, second, tmp_path):
    ended = together(tmp_path, one, two)
    assert [each.status for each in ended] == [2, 2]
    for each, says in zip(ended, (first, first if second is None else second), strict=True):
        assert len(each.lines) == bool(says)
        assert says in "".join(each.lines)


@pytest.mark.parametrize(
    ("environments", "says"),
    [
        ([{}, {"WORLD_SIZE": "3"}], "differ in WORLD_SIZE"),
        pytest.param(
            [{}, {"RANK": "2"}],
            "RANK is '2' in the environment; allowed: an integer from 0 to 1",
            marks=pytest.mark.slow,  # the other one waits for it
        ),
        pytest.param(
            [{}, {"MASTER_PORT": "http"}],
            "MASTER_PORT is 'http' in the environment; allowed: an integer from 1 to 65535",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_variables_that_are_no_place_in_the_run(environments, says, tmp_path):
    with ranks(tmp_path, *[[*TRAIN, "--timeout", 3]] * 2, environments=environments) as run:
        ended = run.ended()
    assert ended[1].status == 2
    (line,) = ended[1].lines
    assert says in line


def failing():
    """Let the second process fail in its third iteration."""
    iterate = Loop._iterate

    def fail(self):
        iterate(self)
        if self.team.rank == 1 and self.position.iteration == 3:
            raise MemoryError("no room")

    Loop._iterate = fail  # type: ignore[method-assign]


def test_an_error_of_one_process_is_what_all_say(tmp_path):
    with ranks(tmp_path, TRAIN, TRAIN, before=failing) as run:
        ended = run.ended()
    assert [each.status for each in ended] == [1, 1]
    assert lines(ended) == [["gamlp-admm: rank 1: MemoryError: no room"]] * 2


@pytest.mark.parametrize(("number", "to"), [(signal.SIGTERM, (0, 1)), (signal.SIGHUP, (1,)), (signal.SIGINT, (0,))])
def test_a_signal_to_any_of_them_stops_all_in_order(number, to, tmp_path):
    folder = tmp_path / "kept"
    kept = [*TRAIN, "--checkpoint", folder, "--checkpoint-every", 50, "--evaluate-every", 10**6]
    long = [*kept, "--iterations", 10**6, "--save", "model"]
    with ranks(tmp_path, long, long) as run:
        wait_for(lambda: folder.is_dir() and len(list(folder.glob("*"))) > 2)
        run.signal(number, *to)
        ended = run.ended()
    assert [each.status for each in ended] == [1, 1]
    (line,) = ended[0].lines
    assert line.startswith("gamlp-admm: interrupted at iteration ")
    assert "model has the best weights so far (iteration 0, validation 0." in line
    assert (tmp_path / "model").exists()
    assert line.endswith(f"--resume goes on from {folder}")
    assert not ended[1].lines
    done = int(line.split()[4].rstrip(":"))
    more = [*kept, "--iterations", done + 2, "--resume"]
    with ranks(tmp_path, [*more, "--json", tmp_path / "report.json"], more) as run:
        assert [each.status for each in run.ended()] == [0, 0]
    assert json.loads((tmp_path / "report.json").read_text())["last"]["iteration"] == done + 2


def wait_for(done, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="reads /proc")
def test_the_store_listens_on_loopback_alone(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    meeting = joining.Meeting(1.0)
    joining._met.clear()
    assert meeting.serves
    assert set(listeners([os.getpid()])) == {"127.0.0.1"}

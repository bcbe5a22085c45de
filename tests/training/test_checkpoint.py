"""Checkpoints of runs: exact, one writer, never replaced unasked, and clear about what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fitting import TRAINERS, Raise, network, parameters, same, timeless
from problems import blobs, randn

from gamlp_admm.errors import DamageWarning, InputError
from gamlp_admm.parallel.team import Team
from gamlp_admm.system import durable
from gamlp_admm.training import checkpoint, generations
from gamlp_admm.training.checkpoint import Checkpoint, opened
from gamlp_admm.training.identity import Identity
from gamlp_admm.training.result import Result

TENSORS = {
    "0.a": randn(3, 4, seed=1),
    "1.b": torch.tensor(2.0),
    "all.c": torch.zeros(0, 5),
    "2.d.rows": randn(4, 3, seed=2).float().T,  # not contiguous
    "3.e": torch.tensor([float("nan"), float("inf"), -0.0]),
}
ABOUT: dict[str, Any] = {"position": {"iteration": 3, "seconds": 0.1 + 0.2}, "compressed": False}
NOBODY = Identity({}, {})


def team() -> Team:
    alone = Team()
    alone.plan([1.0] * 4)
    return alone


def kept(directory: Path, resume: bool = False, overwrite: bool = False) -> Any:
    return opened(directory, NOBODY, team(), resume, overwrite)


def write(directory: Path, tensors: dict[str, torch.Tensor]) -> None:
    with kept(directory) as made:
        made.write(tensors, ABOUT, Result([{"iteration": 3}], {"iteration": 1}))


def test_round_trip(tmp_path: Path) -> None:
    write(tmp_path / "new" / "folder", TENSORS)
    result = Result()
    with kept(tmp_path / "new" / "folder", resume=True) as again:
        assert {name: again.saved[name] for name in ABOUT} == ABOUT
        again.recall(result)
        assert (result.history, result.best) == ([{"iteration": 3}], {"iteration": 1})
        with again.state(range(3), torch.device("cpu")) as state:
            assert {*state} == {*TENSORS}
            for name, t in TENSORS.items():
                assert state[name].dtype == t.dtype
                assert torch.equal(state[name].nan_to_num(7.0), t.nan_to_num(7.0))


def test_a_third_generation_that_a_kill_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(tmp_path) as made:
        for number in range(1, 5):
            if number == 4:  # killed when it was there, before the one before the last was removed
                monkeypatch.setattr(generations, "sweep", lambda *where: None)
            made.write(TENSORS, ABOUT, Result([{"iteration": number}]))
    assert generations.numbers(tmp_path) == [4, 3, 2]
    monkeypatch.undo()
    with kept(tmp_path, resume=True) as again:
        assert again.saved["number"] == 4
        assert generations.numbers(tmp_path) == [4, 3]
    assert len([*tmp_path.glob("history-*")]) == 2


def test_shared_memory_is_no_obstacle(tmp_path: Path) -> None:
    t = randn(5, seed=1)
    write(tmp_path, {"0.whole": t, "0.part": t[:2], "0.again": t})
    with kept(tmp_path, resume=True) as again, again.state(range(5), torch.device("cpu")) as state:
        assert torch.equal(state["0.part"], t[:2])
        assert torch.equal(state["0.again"], t)


@pytest.mark.parametrize("rows", [range(3), range(2, 5), range(3, 7), range(7)])
def test_rows_of_other_shards(rows: range, tmp_path: Path) -> None:
    t = randn(7, 2, seed=1)
    with kept(tmp_path) as made:
        made.team.num_shards = 2
        for shard, part in enumerate((t[:3], t[3:])):
            made.team.shard = shard
            files = made._write_own(generations.folder_of(tmp_path, 1), {"0.q.rows": part, "0.W": t})
            assert [*files] == [f"layers-1-4-shard-{shard}.safetensors"]
        made.saved = {"number": 1, "files": ["layers-1-4-shard-1.safetensors", "layers-1-4-shard-0.safetensors"]}
        with made.state(rows, torch.device("cpu")) as state:
            assert torch.equal(state["0.q.rows"], t[rows.start : rows.stop])
            assert torch.equal(state["0.W"], t)


@pytest.mark.parametrize("failing", ["save_file", "sync", "collect", "commit"])
def test_an_interrupted_save_leaves_the_one_before(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, TENSORS)

    def fail(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    place = {"collect": Team, "commit": generations}.get(failing, checkpoint)
    with kept(tmp_path, resume=True) as again, monkeypatch.context() as broken:
        broken.setattr(place, failing, fail)
        with pytest.raises(KeyboardInterrupt):
            again.write(TENSORS, ABOUT, Result())
    with kept(tmp_path, resume=True) as again:
        assert again.saved["number"] == 1
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "generation-00000001", "history-00000001.jsonl"}


def test_a_save_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    for name in ("save_file", "sync"):
        with kept(tmp_path) as made, monkeypatch.context() as broken:
            broken.setattr(checkpoint, name, full)
            with pytest.raises(
                InputError, match=r"layers-1-4.safetensors cannot be written \(No space left on device\)"
            ):
                made.write(TENSORS, ABOUT, Result())
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    monkeypatch.setattr(generations, "sync", full)
    with kept(tmp_path) as made, pytest.raises(InputError, match="cannot be written"):
        made.write(TENSORS, ABOUT, Result())


def test_files_that_the_first_process_does_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(tmp_path) as made:
        monkeypatch.setattr(made, "_write_own", lambda *_: {"layers-5-8.safetensors": "digest"})
        with pytest.raises(InputError, match=f"{tmp_path} is not one for all processes: no layers-5-8.safetensors"):
            made.write({}, ABOUT, Result())


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file", "file/folder"):
        with pytest.raises(InputError, match=r"checkpoint directory .* cannot be written"), kept(tmp_path / name):
            pass


# --- fit ------------------------------------------------------------------------------------------------------


def fit(folder: Path, iterations: int = 6, **options: Any) -> Any:
    model = network()
    return model, TRAINERS["pdadmm-g"].fit(model, blobs(), iterations, checkpoint_dir=folder, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six iterations, kept every second one."""
    folder = tmp_path_factory.mktemp("run")
    fit(folder, checkpoint_every=2)
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def files(folder: Path) -> list[Path]:
    """Return the files of the newest generation."""
    newest = generations.numbers(folder)[0]
    history = generations.manifest_of(folder, newest)["history"]["file"]
    return [*sorted(generations.folder_of(folder, newest).iterdir()), folder / history]


@pytest.mark.parametrize("which", range(3))
def test_a_damaged_file_is_named_and_the_generation_before_it_gives_the_same_bits(which: int, copy: Path) -> None:
    path = files(copy)[which]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    whole = network()
    expected = TRAINERS["pdadmm-g"].fit(whole, blobs(), 9)
    with pytest.warns(DamageWarning, match=f"{path} is damaged: going on .* iteration 4"):
        model, result = fit(copy, 9, resume=True)
    assert timeless(result) == timeless(expected)
    assert same(parameters(model), parameters(whole))
    assert [path.exists() for path in files(copy)] == [True] * 3


def test_a_run_is_replaced_when_that_is_asked_for(copy: Path) -> None:
    with pytest.raises(InputError, match=r"has a run of 6 iterations: resume .* goes on from it, overwrite"):
        fit(copy, 1)
    assert fit(copy, 6, resume=True)[1].last["iteration"] == 6
    fit(copy, 1, overwrite=True)
    assert len(fit(copy, 1, resume=True)[1].history) == 1


def test_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "LAST_MOMENTS", 0.1)
    said = []

    def another(progress: Any) -> None:
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(InputError, match="in use by process") as error:
                fit(tmp_path, **options)
            said.append(str(error.value))

    fit(tmp_path, 2, callbacks=[another])
    assert len(said) == 6
    with checkpoint.held(tmp_path) as lock:  # who has locked it may hand it on
        assert fit(lock, 4, resume=True)[1].last["iteration"] == 4  # type: ignore[arg-type]


def test_a_run_that_ends_badly_lets_go(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, callbacks=[Raise(2)])
    fit(tmp_path)


def test_shards_of_compressed_features(tmp_path: Path) -> None:
    write(tmp_path, TENSORS)
    for compressed, what in ((True, "allowed: node_shards 1, not 2"), (False, "was made with node_shards 1, not 2")):
        with pytest.warns(UserWarning, match=what) if not compressed else pytest.raises(InputError, match=what):
            checkpoint._tell_of_shards(tmp_path, {"shards": 1, "compressed": compressed}, 2)


def test_what_was_kept_before_an_option_was_one(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = generations.manifest_of(copy, generations.numbers(copy)[0])["identity"]
    assert saved["batch_size"] == "None"
    shorter = {name: value for name, value in saved.items() if name not in ("batch_size", "residual")}
    monkeypatch.setattr(Checkpoint, "recall", lambda *_: pytest.fail("accepted"))
    identity = Identity({"batch_size": "None", "residual": False}, {"batch_size": "None", "residual": False})
    identity.check(shorter, copy)
    for name, value in (("batch_size", "40"), ("residual", True)):
        with pytest.raises(InputError, match=f"was made with {name}="):
            Identity({**identity.values, name: value}, identity.assumed).check(shorter, copy)

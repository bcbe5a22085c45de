"""The folder of a checkpoint: generations are whole or not there, damage is seen, nothing is left lying about."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from gamlp_admm.errors import DamageWarning, InputError
from gamlp_admm.system.files import write_text
from gamlp_admm.training import generations
from gamlp_admm.training.generations import History


def records(count: int) -> list[dict[str, Any]]:
    return [{"iteration": k, "loss": 0.1 * k, "score": None, "é": float("inf")} for k in range(count)]


def write(directory: Path, number: int, history: History) -> None:
    """Write a generation of so many iterations, and keep the one before it."""
    folder = generations.folder_of(directory, number)
    folder.mkdir()
    write_text(folder / "layers-1-2.safetensors", f"tensors of {number}" * 9)
    files = {"layers-1-2.safetensors": hashlib.sha256((f"tensors of {number}" * 9).encode()).hexdigest()}
    told = history.write(records(number), number)
    position = {"iteration": number}
    generations.commit(directory, number, {"number": number, "position": position, "files": files, "history": told})
    generations.sweep(directory, (number - 1, number))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Five generations, of which two are left."""
    history = History(tmp_path)
    for number in range(1, 6):
        write(tmp_path, number, history)
    return tmp_path


def contents(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_the_last_two_are_kept_and_share_no_file(run: Path) -> None:
    assert contents(run) == {
        *(
            f"generation-0000000{n}{name}"
            for n in (4, 5)
            for name in ("", "/manifest.jsonl", "/layers-1-2.safetensors")
        ),
        *("history-00000001.jsonl", "history-00000002.jsonl"),
    }
    newest, before = (generations.verified(run, number) for number in generations.numbers(run))
    assert (newest["number"], before["number"]) == (5, 4)
    assert newest["history"]["file"] != before["history"]["file"]
    assert generations.read_history(run, newest) == records(5)
    assert generations.read_history(run, before) == records(4)


def test_history_is_appended_to(tmp_path: Path) -> None:
    history, long = History(tmp_path), records(3000)
    for number, count in enumerate((1000, 2000, 3000), 1):
        told = history.write(long[:count], number)
        text = (tmp_path / told["file"]).read_bytes()
        assert (told["length"], told["sha256"]) == (len(text), hashlib.sha256(text).hexdigest())
    first, second = sorted(tmp_path.iterdir())
    assert (text.count(b"\n"), second.read_bytes().count(b"\n")) == (3000, 2000)
    with first.open("ab") as file:  # a write that was cut short
        file.write(b'{"iterat')
    history.write(long, 4)
    told = history.write([*long, {"iteration": 3000}], 5)
    assert generations.read_history(tmp_path, {"history": told}) == [*long, {"iteration": 3000}]
    assert generations.sha256(first) == told["sha256"]


@pytest.mark.parametrize("file", ["generation-00000005/manifest.jsonl", "generation-00000005/layers-1-2.safetensors",
                                  "history-00000001.jsonl"])  # fmt: skip
@pytest.mark.parametrize("how", ["flip", "cut", "empty", "gone"])
def test_damage_is_named_and_the_generation_before_is_used(run: Path, file: str, how: str) -> None:
    path, others = run / file, generations.numbers(run)
    whole = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "flip":
        for place in range(0, 8 * len(whole), 31):  # whichever bit it is
            flipped = bytearray(whole)
            flipped[place // 8] ^= 1 << place % 8
            path.write_bytes(flipped)
            with pytest.raises(generations.Damaged, match=str(path)):
                generations.verified(run, 5)
    else:
        path.write_bytes(b"" if how == "empty" else whole[:-1])
    if how == "gone" and path.name == generations.MANIFEST:  # as a kill before it was written leaves it
        assert generations.newest_whole(run)["number"] == 4
        return
    with pytest.warns(DamageWarning, match=rf"^{path} .*going on from the generation before it, of iteration 4$"):
        assert generations.newest_whole(run)["number"] == 4
    path = generations.folder_of(run, 4) / "layers-1-2.safetensors"
    path.write_bytes(b"?")
    with pytest.raises(InputError, match=rf"no generation of the checkpoint in {run} is whole: .*{path}") as error:
        generations.newest_whole(run)
    assert "\n" not in str(error.value)
    assert generations.numbers(run) == others


def test_what_kills_leave_is_removed(run: Path) -> None:
    kept = contents(run)
    (run / "generation-00000006").mkdir()
    (run / "generation-00000006" / "layers-1-2.safetensors").write_bytes(b"half")
    (run / "generation-00000006" / f"{'0' * 16}.part").write_bytes(b"half")
    (run / f"{'a' * 16}.part").write_bytes(b"half")
    (run / "history-00000006.jsonl").write_bytes(b"half")
    theirs = {"notes.part", "history-of-mine.jsonl", "generation-x", "lock", "experiment.json"}
    for name in theirs:
        (run / name).touch()
    generations.sweep(run, generations.numbers(run))
    assert contents(run) == kept | theirs


def test_a_run_is_not_replaced_unasked(run: Path) -> None:
    with pytest.raises(InputError, match=rf"^checkpoint directory {run} has a run of 5 iterations: resume .*overwrite"):
        generations.check_vacant(run)
    generations.vacate(run)
    generations.check_vacant(run)
    assert not contents(run)


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "checkpoint-1-of-2.safetensors"])
def test_checkpoints_of_earlier_versions(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"some")
    with pytest.raises(InputError, match=rf"{name} is of an earlier version, whose checkpoints are no longer read"):
        generations.newest_whole(tmp_path)
    with pytest.raises(InputError, match="has a run: "):
        generations.check_vacant(tmp_path)
    generations.vacate(tmp_path)
    assert not contents(tmp_path)


@pytest.mark.parametrize("moment", range(12))
def test_a_generation_is_there_once_it_is_whole(moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The process ends before the moment-th call of the system that matters to what is on the disk.
    history = History(tmp_path)
    for number in (1, 2):
        write(tmp_path, number, history)
    calls = 0

    def dying(call: Any) -> Any:
        def die_or(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > moment:
                raise SystemExit
            return call(*arguments, **options)

        return die_or

    for name in ("fsync", "replace", "unlink", "rmdir", "mkdir"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    try:
        write(tmp_path, 3, history)
        done = True
    except SystemExit:
        done = False
    monkeypatch.undo()
    newest = generations.newest_whole(tmp_path)
    assert newest["number"] in ((3,) if done else (2, 3))
    assert generations.read_history(tmp_path, newest) == records(newest["number"])
    before = [number for number in generations.numbers(tmp_path) if number < newest["number"]]
    assert [generations.verified(tmp_path, number)["number"] for number in before[:1]] == [newest["number"] - 1]

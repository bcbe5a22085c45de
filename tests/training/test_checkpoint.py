"""Checkpoints: exact, atomic, and clear about what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from problems import randn
from safetensors.torch import save_file

from gamlp_admm.errors import InputError
from gamlp_admm.training import checkpoint

TENSORS = {
    "a": randn(3, 4, seed=1),
    "b": torch.tensor(2.0),
    "c": torch.zeros(0, 5),
    "d": randn(4, 3, seed=2).float().T,  # not contiguous
    "e": torch.tensor([float("nan"), float("inf"), -0.0]),
}
HEADER: dict[str, Any] = {"x": [1, 2.5, None, "é"], "y": {"z": 0.1 + 0.2}}


def test_round_trip(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "new" / "folder", TENSORS, HEADER)
    tensors, header = checkpoint.load(tmp_path / "new" / "folder")
    assert header == HEADER
    assert tensors.keys() == TENSORS.keys()
    for name, t in TENSORS.items():
        assert tensors[name].dtype == t.dtype
        assert torch.equal(tensors[name].nan_to_num(7.0), t.nan_to_num(7.0))


def test_shared_memory_is_no_obstacle(tmp_path: Path) -> None:
    t = randn(5, seed=1)
    checkpoint.save(tmp_path, {"whole": t, "part": t[:2], "again": t}, {})
    tensors, _ = checkpoint.load(tmp_path)
    assert torch.equal(tensors["part"], t[:2])
    assert torch.equal(tensors["again"], t)


def test_saving_replaces(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, TENSORS, HEADER)
    checkpoint.save(tmp_path, {"a": torch.ones(2)}, {"second": True})
    tensors, header = checkpoint.load(tmp_path)
    assert header == {"second": True}
    assert list(tensors) == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.file_name()]


@pytest.mark.parametrize("failing", ["save_file", "barrier", "os.replace"])
def test_interrupted_save_leaves_the_previous_one(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, TENSORS, HEADER)

    def fail(*args: Any, **kwargs: Any) -> None:
        if failing == "save_file":
            Path(args[1]).write_bytes(b"half")
        raise KeyboardInterrupt

    if failing == "save_file":
        monkeypatch.setattr(checkpoint, "save_file", fail)
    elif failing == "os.replace":
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, {"a": torch.ones(2)}, {}, barrier=fail if failing == "barrier" else lambda: None)
    assert checkpoint.load(tmp_path)[1] == HEADER
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.file_name()]


def test_files_of_processes(tmp_path: Path) -> None:
    for rank in range(2):
        checkpoint.save(tmp_path, {"a": torch.tensor(float(rank))}, {"rank": rank}, rank, 2)
    for rank in range(2):
        tensors, header = checkpoint.load(tmp_path, rank, 2)
        assert header == {"rank": rank}
        assert tensors["a"] == rank
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        checkpoint.load(tmp_path, 0, 3)
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("folder", ["", "absent"])
def test_missing(folder: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no checkpoint to resume from: .* does not exist"):
        checkpoint.load(tmp_path / folder)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{", b"\xff" * 64])
def test_corrupt(content: bytes, tmp_path: Path) -> None:
    (tmp_path / checkpoint.file_name()).write_bytes(content)
    with pytest.raises(InputError, match="is not a readable checkpoint") as error:
        checkpoint.load(tmp_path)
    assert "\n" not in str(error.value)


def test_truncated(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, TENSORS, HEADER)
    path = tmp_path / checkpoint.file_name()
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="is not a readable checkpoint"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"run": "{"}])
def test_other_safetensors_files(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, str(tmp_path / checkpoint.file_name()), metadata=metadata)
    with pytest.raises(InputError, match="is not a readable checkpoint"):
        checkpoint.load(tmp_path)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"checkpoint directory .*file.* cannot be written"):
        checkpoint.save(tmp_path / "file", TENSORS, HEADER)
    with pytest.raises(InputError, match=r"checkpoint directory .* cannot be written"):
        checkpoint.save(tmp_path / "file" / "folder", TENSORS, HEADER)

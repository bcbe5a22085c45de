"""Where rows lie does not change what is computed with them, and scratch files leave nothing behind."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fitting import network, parameters, same, timeless
from problems import blobs, randn

from gamlp_admm import Anderson, Backprop, DlADMM, PdADMM, PdADMMG, Ridge, load_graph
from gamlp_admm.admm.solving import FitPlan, plan
from gamlp_admm.errors import InputError
from gamlp_admm.propagation import StoredFeatures
from gamlp_admm.training import room as rooms
from gamlp_admm.training.room import Room, gathered
from gamlp_admm.training.session import Stage
from gamlp_admm.training.trainer import Trainer

F32 = torch.float32
LIKE = torch.empty(0)


class Stepping(PdADMMG):
    """pdADMM-G as if a factor did not fit."""

    def plan(self, stage: Stage) -> FitPlan:
        return plan(stage.num_train, stage.shapes[0][1], stage.shapes[0][0], must=True, most_bytes=0)


SOLVERS: dict[str, tuple[Trainer, dict[str, Any]]] = {
    "start": (PdADMMG(nu=0.1), {"init": "ridge"}),
    "weighted start": (PdADMMG(nu=0.1, class_weight="balanced", scale="columns"), {"init": "ridge"}),
    "dual or primal": (PdADMMG(nu=0.1, solver="exact"), {}),
    "conjugate gradients": (Stepping(nu=0.1), {}),
    "backtracking": (PdADMM(rho=0.1, mu=0.01, solver="backtracking"), {}),
    "batches": (PdADMMG(nu=0.1, batch_size=15), {"init": "ridge"}),
    "dladmm l1": (DlADMM(regularizer="l1"), {"num_layers": 2}),
    "anderson": (Anderson(PdADMMG(nu=0.1), 2), {}),
    "ridge": (Ridge(), {"num_layers": 1}),
    "sisa": (Backprop("sisa", batch_size=10), {}),
}


def kept(path: Path, data: SimpleNamespace) -> Any:
    """Store a data set, and load what is stored."""
    nodes = {name: getattr(data, name) for name in ("y", "train_mask", "val_mask", "test_mask")}
    StoredFeatures.save(path, data.x, nodes, {"feature_blocks": [3, data.x.shape[1] - 3]})
    return load_graph(path).data


# 30 rows train: more than columns, and fewer, whose features are compressed.
@pytest.mark.parametrize(
    ("name", "columns"),
    [*((name, 8) for name in SOLVERS), *((name, 40) for name in ("start", "dual or primal", "ridge"))],
)
def test_bits_do_not_depend_on_where_features_lie(
    name: str, columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = blobs()
    data.x = randn(60, columns, dtype=F32) + data.y[:, None]
    data.feature_blocks = (3, columns - 3)
    stored, (trainer, options) = kept(tmp_path / "store", data), SOLVERS[name]
    monkeypatch.setattr(rooms, "ENTRIES", 100)  # a few rows at a time
    monkeypatch.delenv("TMPDIR", raising=False)
    made: list[Path | None] = []
    monkeypatch.setattr(rooms.tempfile, "TemporaryFile", spied(made, rooms.tempfile.TemporaryFile))
    results = []
    for given, room in ((data, {}), (stored, {}), (stored, {"memory": 64})):
        model = network(columns=columns, dtype=F32, **options)
        result = trainer.fit(model, given, iterations=3, seed=0, **room)
        results.append((timeless(result), result.best, parameters(model)))
        assert bool(made) == bool(room)
    assert set(made) == {tmp_path / "store"}
    (history, best, weights), *others = results
    for other in others:
        assert other[:2] == (history, best)
        assert same(other[2], weights)
    assert torch.equal(stored.x, data.x)
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == [
        "nodes.safetensors",
        "store.json",
        "x.safetensors",
    ]


def spied(made: list[Path | None], actual: Any) -> Any:
    def file(dir: Path | None, prefix: str) -> Any:
        made.append(dir)
        return actual(dir=dir, prefix=prefix)

    return file


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64])
def test_rows_are_read_in_chunks(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "ENTRIES", 50)
    x, rows = (10 * randn(40, 6)).to(dtype), torch.randperm(40)[:29]
    for room in (Room(), Room(1)):
        assert torch.equal(gathered(x, rows, LIKE, room), x[rows].float())
    assert gathered(x, rows[:0], LIKE, Room(1)).shape == (0, 6)


def test_numbers_that_are_not_finite_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "ENTRIES", 50)
    x = randn(40, 6)
    x[7, 2], x[30, 0], x[31] = float("nan"), float("inf"), 1e308  # the sum of the last overflows
    with pytest.raises(InputError, match="in 2 of the nodes used, first in row 7"):
        gathered(x, torch.arange(40), LIKE.double(), Room())
    gathered(x, torch.arange(31, 40), LIKE.double(), Room())


def test_scratch_files_are_shared_memory_of_no_name(tmp_path: Path) -> None:
    small, large = (Room(400, tmp_path).empty(rows, 1, LIKE) for rows in (25, 26))
    large.fill_(1)
    assert not list(tmp_path.iterdir())
    lines = Path("/proc/self/maps").read_text().splitlines() if Path("/proc/self/maps").exists() else None
    if lines is not None:
        shared = [line.split()[1][3] == "s" for line in lines if f"{tmp_path}/" in line]
        assert shared == [True]
        del large
        gc.collect()
        assert not any(f"{tmp_path}/" in line for line in Path("/proc/self/maps").read_text().splitlines())
    assert len(small) == 25


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match=r"scratch: a file of 4 kB .*No space left.* allowed: another folder"):
        Room(1, tmp_path).empty(1000, 1, LIKE)


def test_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    assert Room.of(None, None, None) == Room()
    assert Room.of("1.5kB", tmp_path, None) == Room(1500, tmp_path)
    assert Room.of("2 GiB", str(tmp_path), None) == Room(2**31, tmp_path)
    stored = SimpleNamespace(store=SimpleNamespace(path=tmp_path))
    assert Room.of(None, None, stored).folder == tmp_path
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert Room.of(None, None, stored).folder is None
    for wrong in ("much", "-1", 0, 1.5, True, "4 GiBs", ""):
        with pytest.raises(InputError, match="memory must be a number of bytes, such as 4GiB"):
            Room.of(wrong, None, None)
    with pytest.raises(InputError, match="is no folder"):
        Room.of(None, tmp_path / "nowhere", None)

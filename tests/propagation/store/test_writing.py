"""Features made into a directory: the same bytes whatever the blocks, wherever it was killed, never others' work."""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gamlp_admm.errors import DamageWarning, InputError
from gamlp_admm.propagation.store import StoredFeatures, journal, matrix, stored, writing
from gamlp_admm.propagation.store.writing import ColumnWork, PropagatedFeatures, RowWork, make
from gamlp_admm.system import durable

X = torch.arange(30 * 7.0).reshape(30, 7).sin()
ROWS = torch.tensor([4, 2, 29, 7, 11, 0, 13])


def features(dtype: torch.dtype = torch.float32, rows: Tensor | None = ROWS, **other: Any) -> PropagatedFeatures:
    nodes = {"y": torch.arange(30)} if rows is None else {"y": rows * 2, "n_id": rows}
    made_of = {"operator": "sym", "data": {"x": "1", "y": "2"}, **other}
    num_rows = 30 if rows is None else len(rows)
    return PropagatedFeatures(num_rows, 7, 3, dtype, made_of, nodes, {"name": "toy"}, steps=2)


def wanted(dtype: torch.dtype = torch.float32, rows: Tensor | None = ROWS) -> Tensor:
    whole = torch.cat([X + state for state in range(3)], 1).to(dtype)
    return whole if rows is None else whole[rows]


class Working:
    """States of columns, and which of them were asked for."""

    def __init__(self, width: int = 3, rows: Tensor | None = ROWS) -> None:
        self.width, self.rows, self.asked = width, rows, []  # type: ignore[var-annotated]

    def kept(self, columns: slice) -> Iterator[Tensor]:
        self.asked += range(columns.start, columns.stop)
        state = torch.empty_like(X[:, columns])
        for number in range(3):
            yield state.copy_(X[:, columns] + number)

    def __call__(self) -> ColumnWork:
        return ColumnWork(self.kept, self.width, self.rows)


class ByRows:
    """Rows of all columns, and which of them were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self) -> RowWork:
        return RowWork(self.write, [slice(0, 3), slice(3, 5), slice(5, 7)])

    def write(self, rows: slice, out: Tensor) -> None:
        self.asked += range(rows.start, rows.stop)
        for state in range(3):
            out[:, state] = X[ROWS[rows]] + state


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks of a state, and many windows of rows, each noted."""
    monkeypatch.setattr(writing, "CHUNK", 64)
    monkeypatch.setattr(writing, "SYNCED", 1)
    monkeypatch.setattr(matrix, "WINDOW", 400)
    monkeypatch.setattr(durable, "LAST_MOMENTS", 0.0)
    monkeypatch.setattr(writing, "sync", lambda path: None)  # nothing waits for the disk


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("rows", [None, ROWS], ids=["all", "some"])
def test_blocks_leave_no_trace(tmp_path: Path, dtype: torch.dtype, rows: Tensor | None) -> None:
    found = []
    for width in (1, 3, 7):
        store = make(tmp_path / str(width), features(dtype, rows), Working(width, rows))
        assert torch.equal(store.x, wanted(dtype, rows))
        found.append(files(tmp_path / str(width)))
    assert found[0] == found[1] == found[2]
    assert found[0].keys() == {"lock", "nodes.safetensors", "store.json", "x.safetensors"}
    assert not found[0]["lock"]


class Cut:
    """Ends this process, as a kill does, at the n-th of all the steps that leave something behind."""

    def __init__(self, last: int) -> None:
        self.last, self.count = last, 0

    def of(self, function: Callable[..., Any], half: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def cut(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            if self.count == self.last:
                if half is not None:
                    half(*arguments)
                os._exit(9)
            return function(*arguments, **named)

        return cut

    def everywhere(self) -> None:
        write = matrix.write

        def half(path: Path, row: int, column: int, values: Tensor) -> None:
            write(path, row, column, values[: len(values) // 2])

        matrix.write = self.of(write, half)  # type: ignore[assignment]
        matrix.create = self.of(matrix.create, lambda path, *_: path.write_bytes(b"half"))  # type: ignore[assignment]
        writing._bytes = self.of(writing._bytes)  # type: ignore[assignment]
        writing.sync = self.of(writing.sync)  # type: ignore[assignment]
        stored.save_file = self.of(stored.save_file, lambda _, path: path.write_bytes(b"half"))
        os.replace = self.of(os.replace)  # type: ignore[assignment]
        Path.unlink = self.of(Path.unlink)  # type: ignore[method-assign]
        Path.write_text = self.of(Path.write_text, lambda path, *_: path.write_bytes(b"{"))  # type: ignore[method-assign]


def killed(last: int, job: Callable[[], Any]) -> bool:
    """Run a job in a process that ends at a step; return whether it came that far."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that a fork does not take along: none is needed
        child = os.fork()
    if not child:
        try:
            Cut(last).everywhere()
            job()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_killed_at_every_step(tmp_path: Path) -> None:
    make(tmp_path / "whole", features(), Working())
    whole, last, went_on = files(tmp_path / "whole"), 0, 0
    while killed(last := last + 1, lambda: make(tmp_path / str(last), features(), Working(4))):
        folder, working = tmp_path / str(last), Working(width=2)
        if (folder / "store.json").exists():  # then it is complete
            assert torch.equal(StoredFeatures.open(folder).x, wanted())
        make(folder, features(), working)
        assert files(folder) == whole, last
        went_on += len(working.asked) < 7
    assert last > 40
    assert went_on > last / 2  # most of the steps come after the first columns


def test_killed_while_rows_are_made(tmp_path: Path) -> None:
    make(tmp_path / "whole", features(), Working())
    whole, last = files(tmp_path / "whole"), 0
    while killed(last := last + 1, lambda: make(tmp_path / str(last), features(), ByRows())):
        folder, rows = tmp_path / str(last), ByRows()
        if (noted := journal.read(folder) if folder.exists() else None) and noted.rows:
            with pytest.raises(InputError, match="operator=sym, not row"):
                make(folder, features(operator="row"), ByRows())
        make(folder, features(), rows)
        assert files(folder) == whole, last
        assert rows.asked == [*range(noted.rows if noted else 0, 7)] or not rows.asked
    assert last > 20


def test_killed_again_and_again(tmp_path: Path) -> None:
    make(tmp_path / "whole", features(), Working())
    kills = 0
    while killed(20 + kills, lambda: make(tmp_path / "a", features(), Working(1))):
        kills += 1
    assert kills > 5
    assert files(tmp_path / "a") == files(tmp_path / "whole")


def test_killed_while_others_are_replaced(tmp_path: Path) -> None:
    make(tmp_path / "whole", features(), Working())
    for step in range(1, 12):
        make(tmp_path / "a", features(operator="row"), Working(), overwrite=True)
        assert killed(step, lambda: make(tmp_path / "a", features(), Working(), overwrite=True))
        make(tmp_path / "a", features(), Working(), overwrite=True)
        assert files(tmp_path / "a") == files(tmp_path / "whole")


def test_what_is_there_is_read(tmp_path: Path) -> None:
    make(tmp_path, features(), Working())
    again = Working()
    assert torch.equal(make(tmp_path, features(), again).x, wanted())
    assert not again.asked
    make(tmp_path, features(), again, overwrite=True)
    assert again.asked == [*range(7)]


def test_interrupted_it_goes_on(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def interrupted() -> ColumnWork:
        def kept(columns: slice) -> Iterator[Tensor]:
            for count, state in enumerate(Working().kept(columns)):
                if columns.start == 4 and count == 2:
                    raise KeyboardInterrupt
                yield state

        return ColumnWork(kept, 2, ROWS)

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, features(), interrupted, lambda *how_far: told.append(how_far))
    assert "columns-00000004-00000006" not in files(tmp_path)
    rest, reached = Working(), max(told)
    told.clear()
    make(tmp_path, features(), rest, lambda *how_far: told.append(how_far))
    assert rest.asked == [4, 5, 6]
    assert told == sorted(told)
    assert reached[0] * 0.7 < told[0][0] < told[-1][0] == told[-1][1]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"operator": "row"}, "made with operator=sym, not row; allowed: another directory, or overwrite"),
        ({"data": {"x": "1", "y": "3"}}, "features of other data: y differ"),
        ({"alpha": 0.1}, "alpha=None, not 0.1"),
    ],
)
@pytest.mark.parametrize("complete", [False, True])
def test_others_are_not_replaced(tmp_path: Path, other: dict[str, Any], message: str, complete: bool) -> None:
    if complete:
        make(tmp_path / "a", features(), Working())
    else:
        killed(30, lambda: make(tmp_path / "a", features(), Working()))
    before = files(tmp_path / "a")
    with pytest.raises(InputError, match=message):
        make(tmp_path / "a", features(**other), Working())
    after = files(tmp_path / "a")
    assert before.keys() == after.keys()
    make(tmp_path / "a", features(**other), Working(), overwrite=True)
    make(tmp_path / "b", features(**other), Working())
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_what_is_no_features(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holds x\.safetensors"):
        make(tmp_path, features(), Working())
    (tmp_path / "journal.json").write_text("{")
    with pytest.raises(InputError, match="damaged: remove it"):
        make(tmp_path, features(), Working())


def test_columns_that_were_damaged_are_made_again(tmp_path: Path) -> None:
    make(tmp_path / "whole", features(), Working())
    assert killed(30, lambda: make(tmp_path / "a", features(), Working()))
    kept = journal.read(tmp_path / "a")
    assert kept is not None
    file = kept.file(0, 3)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.warns(DamageWarning, match="columns-00000000-00000003 is damaged"):
        make(tmp_path / "a", features(), Working())
    assert files(tmp_path / "a") == files(tmp_path / "whole")


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with durable.Lock(tmp_path, "it"), pytest.raises(InputError, match="is in use by process"):
        make(tmp_path, features(), Working())


@pytest.mark.parametrize("place", ["_bytes", "sync"])
def test_a_full_disk(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls = getattr(writing, place), []

    def full(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == (14 if place == "_bytes" else 2):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(*arguments)

    monkeypatch.setattr(writing, place, full)
    with pytest.raises(InputError, match=r"No space left on device.*; what is finished is kept, and gone on from"):
        make(tmp_path, features(), Working())
    monkeypatch.undo()
    rest = Working()
    assert torch.equal(make(tmp_path, features(), rest).x, wanted())
    assert len(rest.asked) < 7


def test_space_is_looked_at_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(InputError, match=r"1 kB of free space: 1\.18 kB are needed"):
        make(tmp_path, features(), Working())


def test_nothing_at_all(tmp_path: Path) -> None:
    none = PropagatedFeatures(0, 0, 2, torch.float32, {"data": {}})
    assert make(tmp_path / "a", none, Working()).x.shape == (0, 0)
    none, nobody = PropagatedFeatures(0, 7, 3, torch.float32, {"data": {}}), torch.empty(0, dtype=torch.long)
    assert make(tmp_path / "b", none, Working(rows=nobody)).x.shape == (0, 21)

"""Features made in column blocks, into a directory: within a cap of memory, and killed at any moment, not in vain.

A column of all states depends on that column of the features alone. So some columns are propagated at a time, and each
state that is kept goes to a file of these columns, one after the other; when all columns are there, the rows of
``x.safetensors`` are put together from them. Every byte is written twice and read once, in long pieces, however narrow
the columns. Written to its place in the rows at once, each block would touch every page of the file: measured on
200,000 nodes, 32 of 128 columns, four to eight times as slow.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from gamlp_admm.errors import DamageWarning, InputError
from gamlp_admm.propagation.store import matrix
from gamlp_admm.propagation.store.journal import Journal, check_same, clear, is_tidy, opened
from gamlp_admm.propagation.store.stored import FEATURES, StoredFeatures, checksum_of, finish, read_about
from gamlp_admm.system.allocator import give_back_freed_memory
from gamlp_admm.system.durable import Lock, sync
from gamlp_admm.system.files import make_directory
from gamlp_admm.system.words import size

CHUNK = 2**22
"""Bytes of a state that are on their way to its file."""

SYNCED = 2**30
"""Bytes of the features that are put together from one entry of the journal to the next."""

HowFar = Callable[[int, int], None]
"""Told how much is done, and of how much."""


@dataclass(frozen=True)
class PropagatedFeatures:
    """Features that are to be made.

    Attributes:
        num_rows: R.
        columns: F, those of what is propagated.
        states: S, the number of states that are kept.
        dtype: Type of the numbers.
        made_of: What identifies them, JSON values by name; those of ``data`` are digests.
        nodes: What else is kept of these nodes, tensors ``[R, …]`` by name.
        about: What else is said of them, JSON values by name.
        steps: Steps to the last state, of which progress is told.
    """

    num_rows: int
    columns: int
    states: int
    dtype: torch.dtype
    made_of: Mapping[str, Any]
    nodes: Mapping[str, Tensor] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 1

    @property
    def column(self) -> int:
        """Bytes of a column in all its states."""
        return self.num_rows * self.states * self.dtype.itemsize


@dataclass(frozen=True)
class ColumnWork:
    """Features that are made some columns at a time.

    Attributes:
        kept: Yields the states of some columns that are kept, ``[N, b]``, each until the next is asked for. Of a state,
            ``state[rows]`` are rows, by a slice or a tensor of numbers.
        width: Columns that are made at a time.
        rows: ``[R]``, numbers of the rows of a state that are kept; ``None`` for all.
    """

    kept: Callable[[slice], Iterable[Any]]
    width: int
    rows: Tensor | None = None


@dataclass(frozen=True)
class RowWork:
    """Features that are made some rows at a time, all their columns.

    Attributes:
        write: Writes some rows of all states to ``[r, S, F]``.
        parts: The rows that are made at a time, which follow each other.
    """

    write: Callable[[slice, Tensor], None]
    parts: Sequence[slice]


def make(
    path: Path,
    features: PropagatedFeatures,
    prepare: Callable[[], ColumnWork | RowWork],
    progress: HowFar = lambda done, total: None,
    overwrite: bool = False,
) -> StoredFeatures:
    """Make features in a directory, or what is missing of them, and open them.

    Args:
        path: The directory.
        features: What is to be made.
        prepare: Called once, and not at all where all columns are there; whether columns or rows are made depends on
            nothing but the features.
        progress: Called when a state of some columns is there, and when rows are.
        overwrite: Whether they replace others that the directory has.

    Raises:
        InputError: The directory has others, another process writes there, or there is no space.
    """
    if not overwrite and is_tidy(path):
        check_same(path, read_about(path).get("made_of", {}), features.made_of)
        return StoredFeatures.open(path)
    make_directory("out", path)
    with Lock(path, f"the directory {path}"), _told(path):
        journal = opened(path, features.made_of, overwrite)
        if journal is not None:
            _verify(journal)
            _check_space(journal, features)
            _Maker(journal, features, progress).make(prepare)
        clear(path)
    return StoredFeatures.open(path, verify=False)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"{path} cannot be written ({why}); what is finished is kept, and gone on from") from error


def _verify(journal: Journal) -> None:
    """Forget columns that are not what was written: a machine that lost its power may have lost a part of a file."""
    for (low, high), checksum in [*journal.columns.items()]:
        path = journal.file(low, high)
        if not path.is_file() or checksum_of(path) != checksum:
            warnings.warn(f"{path} is damaged, and its columns are made again", DamageWarning, stacklevel=2)
            del journal.columns[low, high]
            journal.rows = 0


def _check_space(journal: Journal, features: PropagatedFeatures) -> None:
    left = sum(high - low for low, high in journal.left(features.columns))
    rows = features.num_rows - journal.rows
    needed = left * features.column + rows * features.columns * features.states * features.dtype.itemsize
    if (free := shutil.disk_usage(journal.folder).free) < needed:
        what = f"{size(features.columns * features.column)} of features, and twice as much while they are made"
        raise InputError(f"{journal.folder} has {size(free)} of free space: {size(needed)} are needed, for {what}")


class _Maker:
    def __init__(self, journal: Journal, features: PropagatedFeatures, progress: HowFar) -> None:
        self.journal, self.features, self.progress = journal, features, progress

    def make(self, prepare: Callable[[], ColumnWork | RowWork]) -> None:
        F = self.features.columns
        ranges = [*self.journal.left(F)]
        self._tell(F - sum(high - low for low, high in ranges))
        work = prepare() if ranges else None
        if isinstance(work, RowWork):
            self._rows(work.parts, work.write)
        else:
            if work is not None:
                self._all_columns(ranges, work)
                give_back_freed_memory()
            step = max(matrix.WINDOW // max(F * self.features.states * self.features.dtype.itemsize, 1), 1)
            R = self.features.num_rows
            self._rows([slice(low, min(low + step, R)) for low in range(0, R, step)], self._put_together)
        about = {**self.features.about, "made_of": self.features.made_of}
        finish(self.journal.folder, self.features.nodes, about)

    def _tell(self, columns: float, rows: int = 0) -> None:
        f = self.features
        done = columns * (f.steps + 1) + (f.columns * f.states * rows / f.num_rows if rows else 0)
        self.progress(int(done), f.columns * (f.steps + 1 + f.states))

    def _all_columns(self, ranges: Iterable[tuple[int, int]], work: ColumnWork) -> None:
        for first, end in ranges:
            for low in range(first, end, work.width):
                high = min(low + work.width, end)
                self._columns(low, high, work.kept(slice(low, high)), work.rows)

    def _columns(self, low: int, high: int, kept: Iterable[Any], wanted: Tensor | None) -> None:
        """Write all states of some columns, ``[S, R, b]``."""
        path, digest, before = self.journal.file(low, high), xxhash.xxh3_128(), self._finished()
        try:
            with path.open("wb") as file:
                done: float = before
                for state in kept:  # not by enumerate, which would hold a state while the next is made
                    for rows in self._chunks(high - low, wanted):
                        content = _bytes(_on_host(state[rows].to(self.features.dtype)))
                        file.write(content)
                        digest.update(content)
                        del content  # which may be a view of the state
                    done += (high - low) / self.features.states
                    self._tell(done)
                    del state
        except BaseException:
            path.unlink(missing_ok=True)  # which gives back its space
            raise
        self.journal.columns[low, high] = digest.hexdigest()
        self.journal.save()

    def _finished(self) -> int:
        return sum(high - low for low, high in self.journal.columns)

    def _chunks(self, width: int, rows: Tensor | None) -> Iterator[slice | Tensor]:
        step = max(CHUNK // (4 * width), 1)
        for low in range(0, self.features.num_rows, step):
            chunk = slice(low, min(low + step, self.features.num_rows))
            yield chunk if rows is None else rows[chunk]

    def _rows(self, parts: Iterable[slice], write: Callable[[slice, Tensor], None]) -> None:
        """Write the rows of the features that are not there yet."""
        f, journal, path = self.features, self.journal, self.journal.folder / FEATURES
        C = f.states * f.columns
        if not journal.rows or not path.exists():
            journal.rows = 0
            path.unlink(missing_ok=True)  # not written over: a reader may have another one open
            matrix.create(path, (f.num_rows, C), f.dtype)
        noted = max(SYNCED // max(C * f.dtype.itemsize, 1), 1)
        for rows in parts:
            if rows.stop > journal.rows:
                made = torch.empty(rows.stop - rows.start, f.states, f.columns, dtype=f.dtype)
                write(rows, made)
                matrix.write(path, rows.start, 0, made.flatten(1))
                self._tell(f.columns, rows.stop)
                if rows.stop - journal.rows >= noted:
                    self._note(path, rows.stop)
        self._note(path, f.num_rows)

    def _note(self, path: Path, rows: int) -> None:
        if rows != self.journal.rows:
            sync(path)
            self.journal.rows = rows
            self.journal.save()

    def _put_together(self, rows: slice, out: Tensor) -> None:
        """Read rows from the files of columns."""
        f = self.features
        for first, end in self.journal.columns:
            part = torch.empty(len(out), end - first, dtype=f.dtype)
            with self.journal.file(first, end).open("rb", buffering=0) as file:
                for state in range(f.states):
                    file.seek((state * f.num_rows + rows.start) * (end - first) * f.dtype.itemsize)
                    if file.readinto(_bytes(part)) != part.nbytes:
                        raise OSError(f"{file.name} was cut off")
                    out[:, state, first:end] = part


def _on_host(values: Tensor) -> Tensor:
    """Return values in this process's memory; from a GPU by way of memory that it can write to directly."""
    if values.is_cuda:
        return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values)
    return values.cpu()


def _bytes(values: Tensor) -> memoryview:
    found: memoryview = values.contiguous().view(torch.uint8).numpy().data
    return found

"""The records of a run, stored by column, so that a long run's history takes little memory."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, overload

from gamlp_admm.training.schedules import Record

KINDS = {float: "d", int: "q"}
"""What columns are arrays of, if all their values are such: 8 bytes a value in place of some 60."""

ABSENT = ...
"""Stands in a column for the value of a record that has no such key."""


class RecordSequence(Sequence[Record]):
    """A sequence of dictionaries that are made when they are read; it is equal to a list of the same."""

    @abstractmethod
    def _record(self, i: int) -> Record:
        """Return a record by its number, from 0."""

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        chosen = range(len(self))[index]
        return self._record(chosen) if isinstance(chosen, int) else [self._record(i) for i in chosen]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecordSequence | list) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]


class Records(RecordSequence):
    """Records by column, with the values that they were given.

    A value is held in 8 bytes where its column has floats only, or integers below 2^63 only, or ``None`` only; any
    others are kept as they are.

    Args:
        records: The first ones.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.columns: dict[str, array[Any] | list[Any]] = {}
        self.number = 0
        for record in records:
            self.append(record)

    def append(self, record: Record) -> None:
        """Add a record at the end."""
        for name in [name for name in record if name not in self.columns]:
            self.columns[name] = [ABSENT] * self.number if self.number else array(KINDS.get(type(record[name]), "d"))
        for name in self.columns:
            self.columns[name] = _with(self.columns[name], record.get(name, ABSENT))
        self.number += 1

    def __len__(self) -> int:
        return self.number

    def _record(self, i: int) -> Record:
        return {name: value for name, column in self.columns.items() if (value := column[i]) is not ABSENT}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.number} evaluations: {', '.join(self.columns)}>"


class Later(RecordSequence):
    """The records from one on, without copying them.

    Args:
        records: All of them, which may grow.
        first: Number of the first one, from 0.
    """

    def __init__(self, records: Sequence[Record], first: int) -> None:
        self.records, self.first = records, first

    def __len__(self) -> int:
        return max(len(self.records) - self.first, 0)

    def _record(self, i: int) -> Record:
        return self.records[self.first + i]


def _with(column: array[Any] | list[Any], value: Any) -> array[Any] | list[Any]:
    """Return a column with one more value: the same, unless it is an array that cannot hold it."""
    if isinstance(column, array) and (column.typecode != KINDS.get(type(value)) or not _fits(value)):
        column = column.tolist()
    column.append(value)
    return column


def _fits(value: float) -> bool:
    return isinstance(value, float) or -(2**63) <= value < 2**63

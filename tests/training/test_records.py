"""Records by column: what is read is what was written, in a fraction of the memory."""

from __future__ import annotations

import json
import math
import pickle
import tracemalloc
from array import array
from typing import Any

import pytest
from fitting import network
from hypothesis import given
from hypothesis import strategies as st
from problems import blobs

from gamlp_admm import PdADMMG, Result
from gamlp_admm.training.records import Later, Records

RECORD: dict[str, Any] = {
    "iteration": 1, "layers": 10, "objective": 1.5, "primal_residual": 0.25, "dual_residual": None, "train_loss": 0.1,
    "train_accuracy": 0.9, "val_accuracy": 0.8, "test_accuracy": None, "seconds": 0.25, "bytes_sent": 123456,
}  # fmt: skip

values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.lists(st.integers())
)
written = st.lists(st.dictionaries(st.sampled_from("abcde"), values), max_size=12)


@given(written)
def test_what_is_read_is_what_was_written(rows: list[dict[str, Any]]) -> None:
    records = Records(rows)
    assert list(records) == rows == records
    kinds = [[(name, type(record[name])) for name in sorted(record)] for record in records]
    assert kinds == [[(name, type(row[name])) for name in sorted(row)] for row in rows]
    assert pickle.loads(pickle.dumps(records)) == records
    assert json.loads(json.dumps(list(records))) == rows


@given(written, st.slices(12), st.integers(-13, 12), st.integers(0, 13))
def test_it_is_a_sequence(rows: list[dict[str, Any]], part: slice, i: int, first: int) -> None:
    for sequence, plain in ((Records(rows), rows), (Later(Records(rows), first), rows[first:])):
        assert len(sequence) == len(plain)
        assert sequence[part] == plain[part]
        if -len(plain) <= i < len(plain):
            assert sequence[i] == plain[i]
        else:
            with pytest.raises(IndexError):
                sequence[i]


def test_numbers_at_the_edge_of_a_column() -> None:
    rows = [{"n": 0, "x": math.inf}, {"n": 2**63 - 1, "x": -0.0}, {"n": 2**63, "x": math.nan}]
    read = list(Records(rows))
    assert [record["n"] for record in read] == [0, 2**63 - 1, 2**63]
    assert math.copysign(1, read[1]["x"]) == -1
    assert math.isnan(read[2]["x"])


def test_a_record_takes_little_memory() -> None:
    def grown(store: Any) -> float:
        tracemalloc.start()
        for i in range(2000):
            store.append(
                dict(RECORD, iteration=i, objective=i / 3, train_loss=i / 7, seconds=i / 9, bytes_sent=10**6 * i)
            )
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return taken / 2000

    columns, dictionaries = grown(Records()), grown([])
    assert columns < 8 * len(RECORD) * 1.25  # arrays grow ahead by an eighth
    assert columns < dictionaries / 5


def test_a_run_keeps_columns_until_its_history_is_read() -> None:
    result = PdADMMG().fit(network(), blobs(), 5)
    assert isinstance(result.records, Records)
    assert isinstance(result.records.columns["objective"], array)
    again: Result = pickle.loads(pickle.dumps(result))
    assert again.seconds == result.seconds > 0
    history = result.history
    assert type(history) is list
    assert history is result.history
    assert history == again.records == again.history


def test_later_records_grow_with_all_of_them() -> None:
    records = Records([RECORD])
    later = Later(records, 1)
    assert list(later) == []
    records.append({"iteration": 2})
    assert later[-1] == {"iteration": 2}

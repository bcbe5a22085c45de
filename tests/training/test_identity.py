"""What a run is: the same in every process, and another where data, seed or settings are others."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fitting import ADMM, TRAINERS, network
from problems import blobs

from gamlp_admm import PdADMMG
from gamlp_admm.errors import InputError
from gamlp_admm.training import identity, schedules
from gamlp_admm.training.identity import described, digest


def changed(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(blobs()), **changes})


DATA = blobs()
MOVED = DATA.train_mask.roll(1)
OTHERS = {
    "data.x": ({"x": DATA.x * 3 + 1}, {}),
    "data.y": ({"y": (DATA.y + 1) % 3}, {}),
    "data.train_mask": ({"train_mask": MOVED}, {}),
    "data.val_mask and data.test_mask": ({"val_mask": DATA.test_mask, "test_mask": DATA.val_mask}, {}),
    "node_weight": ({}, {"node_weight": torch.ones(60) * 2}),
    "seed": ({}, {"seed": 5}),
}


@pytest.mark.filterwarnings("ignore:.*mask")
@pytest.mark.parametrize("what", OTHERS)
def test_other_data_are_refused_by_name(what: str, tmp_path: Path) -> None:
    TRAINERS["pdadmm-g"].fit(network(), blobs(), 2, seed=0, checkpoint_dir=tmp_path)
    changes, options = OTHERS[what]
    if what == "data.val_mask and data.test_mask":
        assert int(DATA.val_mask.sum()) == int(DATA.test_mask.sum())  # so that the numbers of rows are the same
    with pytest.raises(InputError, match=rf"was made with (other values in )?{what}") as error:
        TRAINERS["pdadmm-g"].fit(
            network(), changed(**changes), 4, checkpoint_dir=tmp_path, resume=True, **{"seed": 0, **options}
        )
    assert "\n" not in str(error.value)
    TRAINERS["pdadmm-g"].fit(network(), blobs(), 4, seed=0, checkpoint_dir=tmp_path, resume=True)


def test_functions_are_told_apart_by_what_they_do(tmp_path: Path) -> None:
    def trainer(factor: float) -> PdADMMG:
        return PdADMMG(**ADMM, schedule=lambda records, elapsed: factor)

    trainer(1.0).fit(network(), blobs(), 2, checkpoint_dir=tmp_path)
    trainer(1.0).fit(network(), blobs(), 3, checkpoint_dir=tmp_path, resume=True)
    with pytest.raises(InputError, match="was made with schedule="):
        trainer(2.0).fit(network(), blobs(), 4, checkpoint_dir=tmp_path, resume=True)


RATE = 2


def by_rate(records: Any, elapsed: int) -> float:
    return float(RATE**elapsed)


class Slower:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, records: Any, elapsed: int) -> float:
        return self.rate


def test_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [described(v) for v in (None, 0.1, "unit", "balanced", (1, 2))] == [
        "None",
        "0.1",
        "unit",
        "balanced",
        "(1, 2)",
    ]
    same = [
        (lambda: schedules.every(3, 2.0)),
        (lambda: schedules.stall(3, 2.0)),
        (lambda: Slower(0.5)),
        (lambda: Slower(0.5).__call__),
        (lambda: partial(by_rate, elapsed=3)),
        (lambda: torch.ones(3)),
        (lambda: by_rate),
    ]
    assert all(described(make()) == described(make()) for make in same)
    assert len({described(make()) for make in same}) == len(same)
    used = schedules.every(3, 2.0)
    used([], 100)  # which it remembers
    assert described(used) == described(schedules.every(3, 2.0)) != described(schedules.every(3, 4.0))
    assert described(Slower(0.5)) != described(Slower(0.6))
    assert described(torch.ones(3)) != described(torch.ones(3) * 1.0000001)
    before = described(by_rate)
    monkeypatch.setitem(globals(), "RATE", 3)
    assert described(by_rate) != before


def test_digests_of_rows_are_those_of_their_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    x, rows = torch.randn(40, 3).bfloat16(), torch.randperm(40)[:23]
    wanted = digest(x[rows].float())
    monkeypatch.setattr(identity, "ENTRIES", 10)
    assert digest(x, rows, torch.float32) == wanted == digest(x[rows].float())


def test_digests() -> None:
    x = torch.arange(12.0).view(3, 4)
    assert digest(x) == digest(x.T.contiguous().T) == digest(x.numpy())
    others = [x.double(), x.view(4, 3), x + 1, x.bool(), None, x[:0]]
    assert len({digest(x), *(digest(other) for other in others)}) == 7

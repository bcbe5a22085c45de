"""Any number of processes goes on from the checkpoint of any other number, to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import processes
import pytest
import torch

from gamlp_admm.errors import InputWarning

QUICK = ["coded 0", "coded stale", "coded budget", "anderson dladmm"]
EVERY = [*processes.TRAINERS, *processes.CODED]


def whole(name: str) -> dict[str, Any]:
    return processes.outcome(*processes.train(name, **processes.RESUMED))


def check(outcome: dict[str, Any], expected: dict[str, Any]) -> None:
    assert outcome["history"] == expected["history"]
    assert outcome["best"] == expected["best"]
    assert outcome["weights"].keys() == expected["weights"].keys()
    for name, tensor in expected["weights"].items():
        assert torch.equal(outcome["weights"][name], tensor), name


@pytest.mark.parametrize("names", [QUICK, pytest.param(EVERY, marks=pytest.mark.slow)], ids=["quick", "every"])
def test_other_numbers_of_processes(names: list[str], tmp_path: Path) -> None:
    for name in names:
        processes.stopped(name, tmp_path / "one" / name)
    processes.spawn(3, tmp_path, processes.going_on, names, "one", "three")
    processes.spawn(2, tmp_path, processes.going_on, names, "three", None)
    for name in names:
        expected = whole(name)
        for come_from, size in (("one", 3), ("three", 2)):
            for rank in range(size):
                check(torch.load(tmp_path / f"{come_from}-{size}-{rank}.pt")[name], expected)
        alone = processes.train(name, checkpoint_dir=tmp_path / "three" / name, resume=True, **processes.RESUMED)
        check(processes.outcome(*alone), expected)


@pytest.mark.slow
def test_other_numbers_of_shards_are_said_to_give_other_bits(tmp_path: Path) -> None:
    names = ["linesearch", "anderson mdlam"]
    processes.spawn(4, tmp_path, processes.going_on, names, None, "shards", 2)
    for name in names:
        options = {"checkpoint_dir": tmp_path / "shards" / name, "resume": True, **processes.RESUMED}
        with pytest.warns(InputWarning, match="was made with node_shards 2, not 1: .* the bits are not those of a run"):
            found = processes.outcome(*processes.train(name, **options))
        assert torch.allclose(found["predictions"], whole(name)["predictions"], rtol=1e-3, atol=1e-4)
        assert [r["iteration"] for r in found["history"]] == [*range(1, 9)]

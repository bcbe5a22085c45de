"""What a run returns, and what callbacks see: history, totals, and whether a theorem holds."""

from __future__ import annotations

import json
import math

import pytest
from fitting import TRAINERS, network
from problems import blobs

from gamlp_admm import Backprop, PdADMMG

KEYS = [
    "iteration", "layers", "objective", "primal_residual", "dual_residual", "train_loss", "train_accuracy",
    "val_accuracy", "test_accuracy", "seconds", "bytes_sent",
]  # fmt: skip


@pytest.mark.parametrize("name", TRAINERS)
def test_history(name: str) -> None:
    model, data = network(), blobs()
    result = TRAINERS[name].fit(model, data, iterations=8)
    assert [list(record) for record in result.history] == [KEYS] * 8
    assert [record["iteration"] for record in result.history] == list(range(1, 9))
    assert {record["layers"] for record in result.history} == {3}
    seconds = [record["seconds"] for record in result.history]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    for record in result.history:
        residuals = record["primal_residual"], record["dual_residual"]
        if isinstance(TRAINERS[name], Backprop):
            assert residuals == (None, None)
        else:
            assert min(residuals) >= 0
        assert math.isfinite(record["objective"])
    assert json.loads(json.dumps(result.history)) == result.history
    assert result.seconds == seconds[-1]
    assert result.bytes_sent_total == result.history[-1]["bytes_sent"]


def test_total_iterations_of_progress() -> None:
    totals = []
    TRAINERS["pdadmm-g"].fit(
        network(5), blobs(), 4, grow=(2, 3, 5), callbacks=[lambda p: totals.append(p.total_iterations)]
    )
    assert set(totals) == {12}


def test_whether_the_theorem_holds() -> None:
    assert PdADMMG(rho=1.0, nu=0.2).fit(network(), blobs(), 1).converges is True
    assert PdADMMG(rho=1.0, nu=0.25).fit(network(), blobs(), 1).converges is False
    assert Backprop().fit(network(), blobs(), 1).converges is None

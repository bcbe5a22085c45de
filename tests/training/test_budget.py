"""codec="auto": chosen once a run, kept in checkpoints; a budget of bytes ends training before it is exceeded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fitting import network, parameters, same, timeless
from problems import blobs

from gamlp_admm import PdADMMG
from gamlp_admm.algorithms import pdadmm
from gamlp_admm.codecs.choosing import Traffic

OPTIONS: dict[str, Any] = {"iterations": 6, "grow": (2, 4), "evaluate_every": 2, "seed": 0}


@pytest.mark.parametrize("budget", [1_000, 3_000, 5_000, 7_777, 30_000])
def test_no_more_is_sent_than_the_budget_and_as_much_as_it_allows(budget: int) -> None:
    model = network(4)
    result = PdADMMG(codec="auto", bytes=budget).fit(model, blobs(), **OPTIONS)
    assert result.codec is not None
    assert result.codec["budget"] == budget >= result.bytes_sent_total
    ended = result.codec["ended"]
    assert (ended is None) == (result.last["iteration"] == 12)
    assert result.stopped is None
    whole = PdADMMG(codec=result.codec["chosen"])
    until = network(4)
    told = whole.fit(until, blobs(), **OPTIONS | {"evaluate_every": 1})
    assert timeless(result)[-1] == timeless(told)[result.last["iteration"] - 1]
    if ended is not None:  # the next one could have been too much
        traffic = Traffic([30], [(6, [6]), (6, [6, 6, 6])], torch.float64)
        assert result.bytes_sent_total + whole.most_bytes(traffic, ended + 1, int(ended >= 6)) > budget
        if ended > 6:  # at the final depth the best so far is kept
            assert result.best["val_accuracy"] == max(r["val_accuracy"] for r in result.history if r["layers"] == 4)


def test_without_limits_auto_is_the_recommended_codec() -> None:
    one, other = network(3), network(3)
    result = PdADMMG(codec="auto").fit(one, blobs(), 3, seed=0)
    assert result.codec is not None
    assert result.codec["why"].startswith("recommended")
    plain = PdADMMG(codec=result.codec["chosen"]).fit(other, blobs(), 3, seed=0)
    assert timeless(result) == timeless(plain)
    assert same(parameters(one), parameters(other))
    assert plain.codec is None


def test_what_was_chosen_is_chosen_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, options = PdADMMG(codec="auto", link="1Gbit"), {"checkpoint_dir": tmp_path, "seed": 0}
    monkeypatch.setattr(pdadmm, "coding_seconds", lambda spec, like: 1.0 if spec != "int8-delta" else 0.0)
    first = trainer.fit(network(3), blobs(), 3, **options)
    monkeypatch.setattr(pdadmm, "coding_seconds", lambda spec, like: 1.0 if spec != "int4-delta" else 0.0)
    later = trainer.fit(network(3), blobs(), 6, resume=True, **options)
    assert first.codec is not None
    assert first.codec["chosen"] == "int8-delta"
    assert later.codec == first.codec
    whole = PdADMMG(codec="int8-delta").fit(network(3), blobs(), 6, seed=0)
    assert timeless(later)[-1] == timeless(whole)[-1] | {"dual_residual": timeless(later)[-1]["dual_residual"]}


def test_a_budget_is_kept_by_a_run_that_goes_on(tmp_path: Path) -> None:
    trainer = PdADMMG(codec="auto", bytes=4_000)
    whole = trainer.fit(network(4), blobs(), **OPTIONS)
    stop = {"callbacks": [lambda progress: progress.record["iteration"] >= 8]}
    trainer.fit(network(4), blobs(), checkpoint_dir=tmp_path, **OPTIONS, **stop)
    later = trainer.fit(network(4), blobs(), checkpoint_dir=tmp_path, resume=True, **OPTIONS)
    assert later.codec == whole.codec
    assert later.codec["ended"] is not None
    assert timeless(later) == timeless(whole)
    again = trainer.fit(network(4), blobs(), checkpoint_dir=tmp_path, resume=True, **OPTIONS)
    assert timeless(again) == timeless(whole)


def test_the_theorem_is_that_of_the_codec_chosen() -> None:
    slow, quick = (PdADMMG(codec="auto", link=rate, rho=1.0, nu=0.1) for rate in ("1kbit", 1e15))
    assert slow.fit(network(3), blobs(), 1, seed=0).converges is None
    assert quick.fit(network(3), blobs(), 1, seed=0).converges is True

"""What auto stands for: sizes that are those of runs, plans that fit, links that are weighed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from problems import blobs

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.codecs import choosing
from gamlp_admm.codecs.choosing import CANDIDATES, Traffic, choose, coding_seconds, limits
from gamlp_admm.codecs.plan import Plan
from gamlp_admm.errors import InputError

TRAFFIC = Traffic(rows=[30], stages=[(3, [6]), (3, [6, 6, 6])], dtype=torch.float64)


@pytest.mark.parametrize("spec", ["full", "int8-delta", "int2-delta", "int2-delta/from=5:int8-delta/q+at=2:fp16"])
def test_bytes_are_those_of_a_run(spec: str) -> None:
    model = GAMLP(8, 6, 3, 4, init="kaiming").double()
    result = PdADMMG(codec=spec).fit(model, blobs(), iterations=3, grow=(2, 4), evaluate_every=1, seed=0)
    plan = Plan.of(spec)
    each = [TRAFFIC.most(plan, k, stage=int(k > 3)) for k in range(1, 7)]
    assert [record["bytes_sent"] for record in result.history] == [sum(each[:k]) for k in range(1, 7)]


def test_shards_pack_rows_of_their_own() -> None:
    halves = Traffic(rows=[15, 15], stages=TRAFFIC.stages)
    whole = Traffic(rows=[30], stages=TRAFFIC.stages)
    assert halves.most(Plan.of("int2-delta"), 1, 1) == whole.most(Plan.of("int2-delta"), 1, 1)
    assert halves.most(Plan.of("changed:int2-delta"), 1, 0) == 2 * 2 * (15 * 4 + 2)  # a bit a row, in bytes


def test_a_budget_takes_the_closest_that_fits_as_early_as_it_fits() -> None:
    traffic = Traffic(rows=[100], stages=[(5, [40]), (20, [40] * 3)])
    fine, coarse = (sum(traffic.expected(spec)) for spec in ("int8-delta", "int4-delta"))
    before = 1.0
    for budget in torch.linspace(coarse, fine - 1, 9).int().tolist():
        chosen = choose(traffic, budget)
        assert chosen["expected_bytes"] <= budget
        first, _, start = chosen["chosen"].partition("/from=")
        assert first == "int4-delta"
        start = int(start.removesuffix(":int8-delta")) if start else 26
        earlier = start - 1
        more = traffic.expected("int8-delta")[earlier - 1] - traffic.expected("int4-delta")[earlier - 1]
        assert earlier == 0 or chosen["expected_bytes"] + more > budget
        share = start / 26
        assert share <= before
        before = share
    assert choose(traffic, round(sum(traffic.expected("full"))))["chosen"] == "full"


def test_what_fits_nowhere_is_sent_in_the_fewest_bytes() -> None:
    least = min(CANDIDATES, key=lambda spec: sum(TRAFFIC.expected(spec)))
    most = TRAFFIC.most(Plan.of(least), 1, 0)
    assert choose(TRAFFIC, most)["chosen"] == least
    with pytest.raises(InputError, match=rf"bytes {most - 1} B: allowed: at least {most} B, which one iteration"):
        choose(TRAFFIC, most - 1)


def test_without_limits_the_recommended_codec_is_taken() -> None:
    assert choose(TRAFFIC)["chosen"] == [*CANDIDATES][-1]
    assert choose(TRAFFIC)["budget"] is None


def test_a_slower_link_never_asks_for_more_bytes() -> None:
    seconds = {"full": 0.0, "int8-delta": 2e-9, "int4-delta": 3e-9}
    sent = [choose(TRAFFIC, None, link, lambda spec: seconds.get(spec, 4e-9))["expected_bytes"] for link in RATES]
    assert sent == sorted(sent)
    least, most = (pick(sum(TRAFFIC.expected(spec)) for spec in CANDIDATES) for pick in (min, max))
    assert (sent[0], sent[-1]) == (round(least), round(most))


RATES = (1e3, 1e6, 1e8, 1e9, 3e9, 1e10, 1e11, 1e14)


def test_a_link_chooses_among_what_fits_the_budget() -> None:
    budget = round(sum(TRAFFIC.expected("int4-delta")))
    assert choose(TRAFFIC, budget, 1e14, lambda _: 0.0)["expected_bytes"] <= budget


def test_codecs_whose_packages_are_absent_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "CANDIDATES", {"full": 1.0, "int8-delta": 1.0, "zstd:int2-delta": 0.5})
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    assert choose(TRAFFIC)["chosen"] == "int8-delta"


def test_coding_is_measured() -> None:
    assert coding_seconds("full") == 0
    assert 0 < coding_seconds("int2-delta", repeats=1) < 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bytes": "50MB"}, "bytes 50MB: allowed with codec auto, which heeds it, not with codec full"),
        (
            {"codec": "int4", "link": "1Gbit"},
            "link 1Gbit: allowed with codec auto, which heeds it, not with codec int4",
        ),
        ({"codec": "auto", "bytes": "50 Mbit"}, "bytes must be a number of bytes"),
        ({"codec": "auto", "bytes": 0}, "bytes must be a number of bytes"),
        ({"codec": "auto", "link": "100MB"}, "link must be a number of bits a second, such as 100Mbit"),
        ({"codec": "auto", "link": -1}, "link must be a number of bits a second"),
        ({"codec": "auto", "batch_size": 5}, "batch_size: what batches exchange travels in full, not by codec auto"),
    ],
)
def test_wrong_limits(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PdADMMG(**settings)


@pytest.mark.parametrize(
    ("text", "rate"), [("100Mbit", 1e8), ("2.5 Gbit/s", 2.5e9), ("64kbit", 64e3), ("9bit/s", 9), (1e7, 1e7), (5, 5)]
)
def test_rates(text: Any, rate: float) -> None:
    assert limits("auto", None, text) == (None, rate)

"""Plans: which codec serves when and where."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from coders import made
from problems import randn

from gamlp_admm.codecs import codec
from gamlp_admm.codecs.plan import Codecs, Plan, rules
from gamlp_admm.errors import InputError


def at(plan: Plan, field: str, boundary: int, iteration: int) -> str:
    return str(plan.choice(field, boundary, iteration))


def test_plans_choose_by_field_boundary_and_iteration() -> None:
    plan = Plan.of("int2-delta/from=50:int8-delta/q+at=1-2:fp16")
    assert at(plan, "p", 1, 1) == "int2-delta"
    assert at(plan, "p", 1, 49) == "int2-delta"
    assert at(plan, "p", 1, 50) == "int8-delta"
    assert {at(plan, "q", l, k) for l, k in product((1, 2), (1, 99))} == {"fp16"}
    assert at(plan, "q", 3, 7) == "int2-delta"
    assert not plan.gridded
    assert not plan.full
    assert [rule.start for rule in rules("int2/from=3:int4")] == [1, 3]
    assert at(Plan.of({"p": "int4", "q": "bf16"}), "q", 1, 1) == "bf16"
    assert at(Plan.of({"p": "int4"}), "q", 1, 1) == "full"
    assert at(Plan.of(lambda field, l, k: f"int{8 if k > l else 4}"), "q", 2, 3) == "int8"


def test_plans_know_what_lives_on_a_grid() -> None:
    assert Plan.of("grid:auto").gridded == ("p", "q")
    assert Plan.of("grid:auto", "p").gridded == ("p",)
    assert Plan.of("grid:auto", "p").full == ("q",)
    assert Plan.of("p:grid:0:4:16/p+from=10:grid:0:4:256/q:int8").gridded == ("p",)
    assert Plan.of("fp32").full == ("p", "q")
    for mixed in ("grid:auto/from=5:int8", "grid:auto/at=3:int8", "p:grid:paper/p+at=2-3:fp32"):
        with pytest.raises(InputError, match="lives on a grid everywhere and always, or nowhere"):
            Plan.of(mixed)


def test_a_function_chooses_no_grid() -> None:
    plan = Plan.of(lambda field, boundary, iteration: "grid:0:1:5")
    with pytest.raises(InputError, match="a function chooses no grid"):
        plan.choice("p", 1, 1)


@pytest.mark.parametrize("spec", ["int4/at=3-2:int8", "int4/at=0:int8"])
def test_wrong_boundaries_are_named(spec: str) -> None:
    with pytest.raises(InputError, match="boundaries from 1, the lower one first"):
        Plan.of(spec)


def test_plans_are_told_by_their_text() -> None:
    for spec in ("int4-delta", "int2/q:fp16"):
        assert str(Plan.of(spec)) == spec
    assert str(Plan.of({"p": "int4", "q": [0.0, 1.0]})) == "p:int4/q:grid:0;1"
    assert str(Plan.of(codec("grid:paper"))) == "grid:-1:20:22"
    with pytest.raises(InputError, match="unknown codec 'int5'"):
        Plan.of("int8/from=3:int5")


def test_stacks_are_sent_as_their_layers_are() -> None:
    codecs = Codecs(Plan.of("int4-delta/at=3:fp16"))
    x, before = randn(4, 6, 10, seed=1), randn(4, 6, 10, seed=2)
    sent, none, size = codecs.send("p", range(0, 4), x, before)
    assert none is None
    assert size == codecs.size("p", range(0, 4), x) == 3 * made("int4").size((6, 10)) + 6 * 20
    for s, name in enumerate(("int4-delta", "int4-delta", "fp16", "int4-delta")):
        assert torch.equal(sent[s], made(name).project(x[s], before[s]))
    again, payload, _ = codecs.send("p", range(0, 4), x, before, leaving=0)
    assert torch.equal(again, sent)
    assert payload is not None
    assert torch.equal(made("int4-delta").decode(payload, x[0], before[0]), sent[0])
    assert Codecs().send("p", range(0, 4), x, before)[0] is x

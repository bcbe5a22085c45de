"""Processes that call ``fit`` with different arguments say so, in all of them, and nothing is trained."""

from __future__ import annotations

import json

import processes
import pytest
import torch

from gamlp_admm.errors import InputError, NeighbourError, ProcessInputError, Told
from gamlp_admm.parallel.agreement import differences, own, settle
from gamlp_admm.training.description import quick_digest


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disagreeing")
    processes.spawn(2, folder, processes.disagreeing)
    return [json.loads((folder / f"disagreeing-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("case", processes.DISAGREEING)
def test_what_differs_is_named_in_all_processes(said, case):
    first, second = (each[case] for each in said)
    assert first == second
    assert first.startswith("ProcessInputError: the processes of the run differ in ")
    assert processes.DISAGREEING[case][0] in first


def test_what_is_wrong_in_one_process_is_raised_in_all(said):
    first, second = said
    assert second["wrong"] == "InputError: select 'worst': allowed: best, last"
    assert first["wrong"] == "ProcessInputError: rank 1: select 'worst': allowed: best, last"
    assert first["broken"].startswith("NeighbourError: rank 1: ")
    assert first["broken"].removeprefix("NeighbourError: rank 1: ") in second["broken"]


def test_the_group_can_be_used_after_it(said):
    assert said[0]["then"] == said[1]["then"] == 3


def test_differences_name_the_ranks_of_each_value():
    states = [{"rho": "1", "data": "a"}, {"rho": "1"}, {"rho": "2", "data": "b"}]
    assert differences(states) == ["rho (1 in ranks 0, 1; 2 in rank 2)", "data (a in rank 0; b in rank 2)"]
    assert not differences(states[:2])


def test_cards_are_settled():
    fine = {"states": {"a": "1"}}
    settle([fine, fine])
    with pytest.raises(ProcessInputError, match="rank 1: no such file"):
        settle([fine, {"failed": "no such file", "input": True}])
    with pytest.raises(NeighbourError, match="rank 0: MemoryError"):
        settle([{"failed": "MemoryError", "input": False}, {"states": {"a": "2"}}])
    many = [{"states": dict.fromkeys("abcdefgh", value)} for value in "12"]
    with pytest.raises(ProcessInputError, match="and 2 more; start them all with the same"):
        settle(many)


def test_the_first_one_says_what_several_find():
    error, cards = InputError("wrong"), [{"failed": "wrong", "input": True}] * 2
    assert own(error, cards, 0) is error
    assert isinstance(own(error, cards, 1), Told)
    assert own(error, [{"states": {}}, cards[1]], 1) is error


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.bool])
@pytest.mark.parametrize("rows", [30, 300_000])
def test_a_digest_differs_where_tensors_do(dtype, rows):
    x = torch.rand(rows, 4, generator=torch.Generator().manual_seed(0)) * 3
    x = x > 1 if dtype == torch.bool else x.to(dtype)
    same = quick_digest(x)
    assert quick_digest(x.clone()) == same
    assert quick_digest(x.T.contiguous().T) == same  # however it lies in memory
    other = x.clone()
    other[rows // 3, 2] = 1 - other[rows // 3, 2].to(torch.uint8)
    assert quick_digest(other) != same
    assert quick_digest(x.flip(0)) != same
    assert quick_digest(x[:-1]) != same
    assert quick_digest(x.reshape(4, -1)) != same

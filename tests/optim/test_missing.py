"""Gradients that are not there: no contribution, in one process and over several, and nothing half done."""

from __future__ import annotations

import copy
from typing import Any

import processes
import pytest
import torch
from minibatches import F64, batches, close, closures, network
from torch import Tensor, nn

from gamlp_admm.errors import InputError
from gamlp_admm.optim import BADM, SISA

MAKES: dict[str, Any] = {"badm": BADM, "copies": lambda p, **o: BADM(p, form="copies", **o), "sisa": SISA}
kinds = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)


def parameters(count: int) -> list[nn.Parameter]:
    torch.manual_seed(3)
    return [nn.Parameter(torch.randn(2, dtype=F64)) for _ in range(count)]


def gives(ps: list[nn.Parameter], gradients: list[Tensor | None]) -> Any:
    """A closure of which each parameter has this gradient."""

    def call() -> float:
        for p, g in zip(ps, gradients, strict=True):
            p.grad = None if g is None else g.clone()
        return 1.0

    return call


def contents(optimizer: Any) -> list[Tensor]:
    return [p.detach().clone() for g in optimizer.param_groups for p in g["params"]] + [
        torch.as_tensor(value).clone() for state in optimizer.state_dict()["state"].values() for value in state.values()
    ]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(s, t) for s, t in zip(a, b, strict=True))


class Plain:
    """One parameter's equations, a list of what the sub-batches give in, with the mean over those that give."""

    def __init__(self, name: str, w: Tensor, S: int) -> None:
        self.name, self.w, self.v, self.t = name, w.clone(), torch.zeros_like(w), [0] * S
        self.pi, self.n = torch.zeros(S, *w.shape, dtype=F64), torch.zeros(S, *w.shape, dtype=F64)

    def step(self, given: list[Tensor | None], alphas: list[float]) -> None:
        there = [s for s, g in enumerate(given) if g is not None]
        if not there:
            return
        terms, w = [], self.w
        sigma, rho, beta = 10.0, {"sisa": 1000.0}.get(self.name, 90.0), 0.999
        for s in there:
            g, pi = given[s], self.pi[s]
            curvature: Any = rho
            if self.name == "sisa":
                self.t[s] += 1
                self.n[s] = beta * self.n[s] + (1 - beta) * (g + pi) ** 2
                curvature = rho * ((self.n[s] / (1 - beta ** self.t[s])).sqrt() + 1e-8)
            w_s = w - (g + pi) / (sigma + curvature)
            self.pi[s] = pi + sigma * (w_s - w)
            terms.append(g if self.name == "badm" else w_s + self.pi[s] / sigma)
        mean = sum(alphas[s] * t for s, t in zip(there, terms, strict=True)) / sum(alphas[s] for s in there)
        if self.name == "badm":
            self.w = w - 2 * mean / (rho + sigma) + (sigma - rho) / (sigma * (rho + sigma)) * self.v
            self.v = (rho * self.v + sigma * mean) / (rho + sigma)
        else:
            self.w = mean


# --- in one process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKES)
def test_a_parameter_moves_by_what_is_there(name: str) -> None:
    ps, alphas = parameters(6), [0.5, 0.3, 0.2]
    optimizer, plain = MAKES[name](ps), [Plain(name, p.detach(), 3) for p in ps]
    for _ in range(12):
        there = torch.rand(3, 6) < torch.tensor([1.0, 0.8, 0.5, 0.5, 0.2, 0.0])
        given = [[torch.randn(2, dtype=F64) if yes else None for yes in row] for row in there]
        optimizer.step([gives(ps, row) for row in given], alphas)
        for i, each in enumerate(plain):
            each.step([row[i] for row in given], alphas)
        assert close([p.detach() for p in ps], [each.w for each in plain])
    assert 5 not in optimizer.state_dict()["state"]


@kinds
def test_an_expert_of_one_sub_batch_moves_by_it_alone(make: Any) -> None:
    experts, alone = parameters(3), parameters(3)
    optimizer, others = make(experts), [make([p]) for p in alone]
    for _ in range(5):
        rows = torch.randn(3, 2, dtype=F64)
        optimizer.step([gives(experts, [g if e == s else None for e in range(3)]) for s, g in enumerate(rows)])
        for p, other, g in zip(alone, others, rows, strict=True):
            other.step(gives([p], [g]))
    assert close([p.detach() for p in experts], [p.detach() for p in alone])


def test_both_forms_agree_where_the_same_sub_batches_give() -> None:
    ps, qs = parameters(3), parameters(3)
    pairs = [(ps, MAKES["badm"](ps, weight_decay=0.1)), (qs, MAKES["copies"](qs, weight_decay=0.1))]
    for _ in range(6):
        rows = [[torch.randn(2, dtype=F64) if s <= i else None for i in range(3)] for s in range(3)]
        for each, optimizer in pairs:
            optimizer.step([gives(each, row) for row in rows], [0.5, 0.3, 0.2])
    assert close([p.detach() for p in ps], [q.detach() for q in qs])


@kinds
@pytest.mark.parametrize("lr", [1.0, 0.0])
def test_a_step_before_any_backward_does_nothing(make: Any, lr: float) -> None:
    model = network()
    optimizer = make(model.parameters(), lr=lr, weight_decay=0.1)
    before = contents(optimizer)
    assert optimizer.step() is None
    assert same(contents(optimizer), before)
    assert not optimizer.state_dict()["state"]


@kinds
def test_an_idle_parameter_and_its_state_keep_their_bits(make: Any) -> None:
    ps = parameters(2)
    optimizer = make(ps, weight_decay=0.1)
    ones = torch.ones(2, dtype=F64)

    def alone(p: Tensor) -> list[Tensor]:
        return [t.detach().clone() for t in (p, *optimizer.state[p].values())]

    optimizer.step(gives(ps, [ones, ones]))
    idle, used = alone(ps[1]), ps[0].detach().clone()
    for _ in range(3):
        optimizer.step(gives(ps, [ones, None]))
    assert same(alone(ps[1]), idle)
    assert not torch.equal(ps[0], used)


@kinds
def test_zeros_are_a_gradient(make: Any) -> None:
    (p,) = ps = parameters(1)
    optimizer = make(ps)
    optimizer.step(gives(ps, [torch.ones(2, dtype=F64)]))
    there = p.detach().clone()
    optimizer.zero_grad(set_to_none=True)
    optimizer.step()
    assert torch.equal(p, there)
    p.grad = torch.ones(2, dtype=F64)
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()
    assert not torch.equal(p, there)  # momentum


@kinds
def test_both_ways_of_clearing_gradients_have_the_same_bits(make: Any) -> None:
    weights = []
    for set_to_none in (False, True):
        model = network()
        optimizer = make(model.parameters())
        clear = optimizer.zero_grad
        optimizer.zero_grad = lambda clear=clear, none=set_to_none: clear(set_to_none=none)
        for x, y in batches(3):
            optimizer.step(closures(model, optimizer, x, y, 3))
        weights.append(list(model.parameters()))
    assert same(*weights)


@kinds
def test_frozen_midway_stays_though_its_gradient_is_there(make: Any) -> None:
    (p,) = ps = parameters(1)
    optimizer = make(ps)
    one = torch.ones(2, dtype=F64)
    optimizer.step(gives(ps, [one]))
    before = contents(optimizer)
    p.requires_grad_(False)
    optimizer.step([gives(ps, [one]), gives(ps, [one])])
    assert same(contents(optimizer), before)
    p.requires_grad_(True)
    optimizer.step(gives(ps, [one]))
    assert not torch.equal(p, before[0])


@kinds
def test_a_group_added_between_sub_batches_moves_by_those_after_it(make: Any) -> None:
    (p, q), (r,) = ps, alone = parameters(2), [copy.deepcopy(parameters(2)[1])]
    optimizer, other = make([p]), make([r], lr=0.5)
    one = torch.ones(2, dtype=F64)

    def second() -> float:
        optimizer.add_param_group({"params": [q], "lr": 0.5})
        return gives(ps, [one, one])()

    for closure in (second, gives(ps, [one, one])):
        optimizer.step([gives(ps, [one, None]), closure])
        other.step(gives(alone, [one]))
    assert close([q.detach()], [r.detach()])


@kinds
def test_a_closure_that_fails_leaves_everything(make: Any) -> None:
    ps = parameters(2)
    optimizer = make(ps)
    one = torch.ones(2, dtype=F64)
    optimizer.step([gives(ps, [one, one]), gives(ps, [one, None])])
    before = contents(optimizer)

    def fails() -> float:
        raise RuntimeError("no rows")

    with pytest.raises(RuntimeError, match="no rows"):
        optimizer.step([gives(ps, [one, one]), fails])
    assert same(contents(optimizer), before)


@kinds
def test_a_state_saved_between_sub_batches_is_that_before_the_step(make: Any) -> None:
    data, model = batches(4), network()
    optimizer = make(model.parameters())
    optimizer.step(closures(model, optimizer, *data[0], 2))
    first, second = closures(model, optimizer, *data[1], 2)
    saved: list[Any] = []
    optimizer.step([first, lambda: saved.append(copy.deepcopy((model, optimizer.state_dict()))) or second()])
    other, state = saved[0]
    again = make(other.parameters())
    again.load_state_dict(state)
    again.step(closures(other, again, *data[1], 2))
    assert same(contents(again), contents(optimizer))


# --- what is refused ----------------------------------------------------------------------------------------


@kinds
def test_sparse_gradients_are_refused_with_their_group(make: Any) -> None:
    (p,), table = parameters(1), nn.Embedding(4, 2, sparse=True, dtype=F64)
    optimizer = make([{"params": [p]}, {"params": table.parameters()}])
    p.grad = torch.ones(2, dtype=F64)
    table(torch.tensor([1, 1])).sum().backward()
    before = contents(optimizer)
    with pytest.raises(InputError, match=r"parameter group 1: a sparse gradient \(torch.sparse_coo\): allowed: dense"):
        optimizer.step()
    assert same(contents(optimizer), before)


@kinds
def test_other_types_are_refused_by_name(make: Any) -> None:
    p = nn.Parameter(torch.ones(2).to(torch.float8_e5m2))
    p.grad = torch.ones(2).to(torch.float8_e5m2)
    with pytest.raises(InputError, match=r"parameter group 0: a parameter of torch.float8_e5m2: allowed: "):
        make([p]).step()


# --- over processes -----------------------------------------------------------------------------------------


def test_processes_of_which_some_have_no_gradient(tmp_path: Any) -> None:
    # A process a sub-batch gives what one process with all sub-batches gives; and all call the same collectives.
    processes.spawn(3, tmp_path, processes.missing, timeout=60.0)
    outcomes = [torch.load(tmp_path / f"missing-{rank}.pt") for rank in range(3)]
    for name, make in MAKES.items():
        ps = parameters(6)
        optimizer = make(ps)
        for step in range(5):
            rows = [processes.partial(rank, step) for rank in range(3)]
            optimizer.step([gives(ps, row) for row in rows], [0.5, 0.3, 0.2])
        for outcome in outcomes:
            assert same(outcome[name], outcomes[0][name])
        assert close(outcomes[0][name], [p.detach() for p in ps])
        assert [outcome["all_reduces"][name] for outcome in outcomes] == [4, 4, 4]  # none where nobody has anything


def test_a_gradient_that_is_not_finite_is_left_out_by_its_process_alone(tmp_path: Any) -> None:
    processes.spawn(2, tmp_path, processes.overflow, timeout=60.0)
    first, second = (torch.load(tmp_path / f"overflow-{rank}.pt") for rank in range(2))
    for name, make in MAKES.items():
        p = nn.Parameter(torch.ones(2))
        optimizer = make([p])
        for _ in range(2):
            p.grad = torch.full((2,), 3.0)
            optimizer.step()
        assert same(first[name], second[name])
        assert close(first[name], [p.detach()], 1e-6)
    assert (first["scale"], second["scale"]) == (4.0, 1.0)

"""BADM and SISA: the equations, both forms of BADM, sub-batches, and what torch expects of an optimiser."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap
from itertools import pairwise
from typing import Any

import processes
import pytest
import torch
from torch import Tensor, nn

from gamlp_admm.errors import InputError
from gamlp_admm.optim import BADM, SISA

F64 = torch.float64


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(F64)


def batches(count: int = 6, rows: int = 12) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(rows, 5, dtype=F64), torch.randint(3, (rows,))) for _ in range(count)]


def closures(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor, parts: int) -> list[Any]:
    def closure(x: Tensor, y: Tensor) -> Any:
        def call() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        return call

    return [closure(a, b) for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True)]


def train(make: Any, parts: int, steps: int = 6) -> tuple[list[Tensor], list[float]]:
    model = network()
    optimizer = make(model.parameters())
    losses = [float(optimizer.step(closures(model, optimizer, x, y, parts))) for x, y in batches(steps)]
    return [p.detach().clone() for p in model.parameters()], losses


def close(a: list[Tensor], b: list[Tensor], tolerance: float = 1e-12) -> bool:
    return all(bool((s - t).abs().max() <= tolerance) for s, t in zip(a, b, strict=True))


# --- the equations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["aggregate", "copies"])
def test_badm_is_the_papers_iteration(form: str) -> None:
    sigma, rho, alphas = 3.0, 5.0, [0.5, 0.3, 0.2]
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=F64))
    optimizer = BADM([w], sigma, rho, form=form)
    torch.manual_seed(2)
    plain, pi = w.detach().clone(), torch.zeros(3, 2, dtype=F64)
    for _ in range(5):
        A = torch.randn(3, 2, 2, dtype=F64)

        def loss(s: int, at: Tensor, A: Tensor = A) -> Tensor:
            return (A[s] @ at).square().sum() + at.sin().sum() * s

        def closure(s: int, loss: Any = loss) -> Any:
            def call() -> Tensor:
                optimizer.zero_grad()
                value = loss(s, w)
                value.backward()
                return value

            return call

        optimizer.step([closure(s) for s in range(3)], weights=alphas)
        new = torch.zeros(2, dtype=F64)
        for s in range(3):
            leaf = plain.clone().requires_grad_()
            (g,) = torch.autograd.grad(loss(s, leaf), leaf)
            w_s = plain - (g + pi[s]) / (rho + sigma)
            pi[s] += sigma * (w_s - plain)
            new += alphas[s] * (w_s + pi[s] / sigma)
        plain = new
        assert close([w.detach()], [plain])


def test_sisa_is_the_papers_iteration() -> None:
    sigma, rho, beta, eps, decay = 2.0, 7.0, 0.9, 1e-3, 0.1
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=F64))
    optimizer = SISA([w], sigma, rho, beta=beta, eps=eps, weight_decay=decay)
    plain, pi, n = w.detach().clone(), torch.zeros(2, 2, dtype=F64), torch.zeros(2, 2, dtype=F64)
    for t in range(1, 6):

        def closure(s: int, t: int = t) -> Any:
            def call() -> Tensor:
                optimizer.zero_grad()
                value = ((s + 1) * w.square() + w * t).sum()
                value.backward()
                return value

            return call

        optimizer.step([closure(0), closure(1)])
        copies = []
        for s in range(2):
            g = 2 * (s + 1) * plain + t
            n[s] = beta * n[s] + (1 - beta) * (g + pi[s]) ** 2
            w_s = plain - (g + pi[s]) / (sigma + rho * ((n[s] / (1 - beta**t)).sqrt() + eps))
            pi[s] += sigma * (w_s - plain)
            copies.append(w_s)
        plain = (sigma * torch.stack(copies).mean(0) + pi.mean(0)) / (sigma + decay)
        assert close([w.detach()], [plain])


# --- sub-batches --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [1.0, 10.0, 90.0])
def test_badm_does_not_depend_on_the_number_of_sub_batches(rho: float) -> None:
    whole, losses = train(lambda p: BADM(p, rho=rho, weight_decay=0.01), 1)
    for form in ("aggregate", "copies"):
        for parts in (1, 2, 3, 4):
            split, again = train(lambda p, form=form: BADM(p, rho=rho, weight_decay=0.01, form=form), parts)
            assert close(split, whole)
            assert again == pytest.approx(losses)


def test_sisa_depends_on_the_number_of_sub_batches() -> None:
    assert not close(train(SISA, 1)[0], train(SISA, 3)[0], 1e-6)


def test_badm_with_equal_penalties_is_gradient_descent() -> None:
    ours, _ = train(lambda p: BADM(p, 4.0, 4.0), 2)
    theirs, _ = train_with_sgd(0.25)
    assert close(ours, theirs)


def train_with_sgd(lr: float) -> tuple[list[Tensor], None]:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for x, y in batches():
        closures(model, optimizer, x, y, 1)[0]()
        optimizer.step()
    return [p.detach() for p in model.parameters()], None


def test_gradients_that_are_there_will_do() -> None:
    with_closures, _ = train(BADM, 1)
    model = network()
    optimizer = BADM(model.parameters())
    for x, y in batches():
        closures(model, optimizer, x, y, 1)[0]()
        assert optimizer.step() is None
    assert close([p.detach() for p in model.parameters()], with_closures)


@pytest.mark.parametrize("make", [BADM, lambda p: BADM(p, form="copies"), SISA], ids=["badm", "copies", "sisa"])
def test_processes_with_a_sub_batch_each(make: Any, tmp_path: Any) -> None:
    name = {BADM: "badm", SISA: "sisa"}.get(make, "copies")
    processes.spawn(2, tmp_path, processes.consensus, name)
    first, second = (torch.load(tmp_path / f"consensus-{rank}.pt") for rank in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first["weights"], second["weights"], strict=True))
    assert close(first["weights"], train(make, 2)[0])
    assert first["all_reduces"] == 6  # one a batch


def test_nothing_keeps_a_destroyed_group_alive(tmp_path: Any) -> None:
    # A group whose threads end with the interpreter may abort it: "terminate called without an active exception".
    script = f"""
        import gc, weakref
        import torch, torch.distributed as dist
        from gamlp_admm import GAMLP, PdADMMG
        from gamlp_admm.optim import BADM
        dist.init_process_group("gloo", init_method="file://{tmp_path}/store", rank=0, world_size=1)
        group = weakref.ref(dist.group.WORLD)
        model = GAMLP(3, 4, 2, 2)
        optimizer = BADM(model.parameters(), process_group=group())
        model(torch.ones(5, 3)).sum().backward()
        optimizer.step()
        del optimizer
        gc.collect()
        dist.destroy_process_group()
        assert group() is None
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=100)


# --- an optimiser of torch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [BADM, lambda p: BADM(p, form="copies"), SISA], ids=["badm", "copies", "sisa"])
def test_a_saved_state_goes_on_alike(make: Any) -> None:
    data = batches(8)
    model = network()
    optimizer = make(model.parameters())
    for x, y in data[:4]:
        optimizer.step(closures(model, optimizer, x, y, 2))
    other = copy.deepcopy(model)
    again = make(other.parameters())
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for x, y in data[4:]:
        optimizer.step(closures(model, optimizer, x, y, 2))
        again.step(closures(other, again, x, y, 2))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("kind", [BADM, SISA])
def test_schedulers_and_groups(kind: Any) -> None:
    model = network()
    first, last = model[0], model[2]
    optimizer = kind([{"params": first.parameters(), "lr": 0.5}, {"params": last.parameters()}])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    for x, y in batches(4):
        optimizer.step(closures(model, optimizer, x, y, 1))
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.25]
    assert optimizer.param_groups[0]["sigma"] == 10.0


@pytest.mark.parametrize("kind", [BADM, SISA])
def test_a_smaller_step_moves_less(kind: Any) -> None:
    start = [p.detach() for p in network().parameters()]

    def moved(lr: float) -> float:
        return sum(float((a - b).norm()) for a, b in zip(train(lambda p: kind(p, lr=lr), 2, 1)[0], start, strict=True))

    assert all(a < b for a, b in pairwise([moved(0.01), moved(0.1), moved(1.0)]))


@pytest.mark.parametrize("make", [BADM, SISA])
def test_training_lowers_the_loss(make: Any) -> None:
    model = network()
    optimizer = make(model.parameters())
    ((x, y),) = batches(1)
    losses = [float(optimizer.step(closures(model, optimizer, x, y, 3))) for _ in range(200)]
    assert losses[-1] < 0.5 * losses[0]


def test_parameters_without_gradients_stay() -> None:
    used, frozen, unused = (nn.Parameter(torch.ones(2)) for _ in range(3))
    frozen.requires_grad_(False)
    optimizer = BADM([used, frozen, unused])
    used.square().sum().backward()
    optimizer.step()
    assert torch.equal(frozen, torch.ones(2))
    assert torch.equal(unused, torch.ones(2))
    assert float(used.detach().sum()) < 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: BADM(p, sigma=0.0), "sigma 0.0: allowed: positive"),
        (lambda p: BADM(p, rho=float("nan")), "rho nan: allowed: positive"),
        (lambda p: SISA(p, lr=-1.0), "lr -1.0: allowed: positive"),
        (lambda p: BADM(p, weight_decay=-1.0), "weight_decay -1.0: allowed: 0 or more"),
        (lambda p: SISA(p, beta=1.0), "beta 1.0: allowed: below 1"),
        (lambda p: BADM(p, form="whole"), "unknown form 'whole': allowed: aggregate, copies"),
    ],
)
def test_wrong_options_are_named(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(network().parameters())


def test_wrong_sub_batches_are_named() -> None:
    model = network()
    optimizer = SISA(model.parameters())
    ((x, y),) = batches(1)
    with pytest.raises(InputError, match="one positive number for each of the sub-batches"):
        optimizer.step(closures(model, optimizer, x, y, 2), weights=[1.0])
    optimizer.step(closures(model, optimizer, x, y, 2))
    with pytest.raises(InputError, match="3 sub-batches: allowed: 2"):
        optimizer.step(closures(model, optimizer, x, y, 3))

"""What BADM and SISA share: closures, processes, and what torch expects of an optimiser."""

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
from minibatches import batches, close, closures, network, train
from torch import nn

from gamlp_admm.errors import InputError
from gamlp_admm.optim import BADM, SISA

# --- sub-batches --------------------------------------------------------------------------------------------


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

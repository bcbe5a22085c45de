"""What torch asks of its own optimisers: schedulers, rates of 0, state, types of parameters, scaled gradients."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from minibatches import F64, batches, close, closures, network
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR

from gamlp_admm.errors import InputError
from gamlp_admm.optim import BADM, SISA

MAKES: dict[str, Any] = {"badm": BADM, "copies": lambda p, **o: BADM(p, form="copies", **o), "sisa": SISA}
kinds = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(s, t) for s, t in zip(a, b, strict=True))


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def trained(make: Any, data: Any, parts: int = 2, **options: Any) -> tuple[nn.Module, Any]:
    model = network()
    optimizer = make(model.parameters(), **options)
    for x, y in data:
        optimizer.step(closures(model, optimizer, x, y, parts))
    return model, optimizer


def tensors(optimizer: Any) -> list[Tensor]:
    return [t for state in optimizer.state_dict()["state"].values() for t in state.values()]


def steps(make: Any, p: nn.Parameter, gradients: Any, **options: Any) -> Any:
    optimizer = make([p], **options)
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
    return optimizer


# --- rates --------------------------------------------------------------------------------------------------

SCHEDULERS: dict[str, Any] = {
    "lambda, a warm-up from 0": lambda o: lr_scheduler.LambdaLR(o, lambda t: min(t / 3, 1)),
    "multiplicative": lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 0.5),
    "step": lambda o: lr_scheduler.StepLR(o, 2),
    "multistep": lambda o: lr_scheduler.MultiStepLR(o, [1, 3], 0.0),
    "constant": lambda o: lr_scheduler.ConstantLR(o, 0.25, 2),
    "linear": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, 4),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 1e-40),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, 4),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 3),
    "warm restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.0, 1.0, 2, cycle_momentum=False),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(
        o, 1.0, 9, final_div_factor=math.inf, div_factor=1e9, cycle_momentum=False
    ),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.1, patience=0, eps=0),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.StepLR(o, 2), lr_scheduler.ConstantLR(o, 0.25, 1)]
    ),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LambdaLR(o, lambda t: 0.0), lr_scheduler.ExponentialLR(o, 0.9)], [3]
    ),
    "averaging": lambda o: SWALR(o, 0.0, 3),
}


@pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize("name", SCHEDULERS)
@kinds
def test_every_scheduler_of_torch(make: Any, name: str, tensor: bool) -> None:
    # At a rate of 0 parameters keep their bits; at others they move; and they are those of the rates set by hand.
    model, other = network(), network()
    optimizer = make(model.parameters(), lr=torch.tensor(0.5, dtype=F64) if tensor else 0.5)
    by_hand = make(other.parameters())
    scheduler = SCHEDULERS[name](optimizer)
    for x, y in batches(8):
        before, (group,) = weights(model), optimizer.param_groups
        by_hand.param_groups[0]["lr"] = lr = float(group["lr"])
        loss = optimizer.step(closures(model, optimizer, x, y, 2))
        by_hand.step(closures(other, by_hand, x, y, 2))
        assert same(weights(model), before) or lr > 0
        assert not same(weights(model), before) or lr < 1e-7
        scheduler.step(*([loss] if name == "plateau" else []))
    assert same(weights(model), weights(other))
    assert all(bool(t.isfinite().all()) for t in [*weights(model), *tensors(optimizer)])


@kinds
def test_a_rate_of_0_is_the_limit_of_small_ones(make: Any) -> None:
    data = batches(4)
    none, tiny = (trained(make, data, lr=lr, weight_decay=0.1) for lr in (0.0, 1e-13))
    assert same(weights(none[0]), weights(network()))
    assert close(tensors(none[1]), tensors(tiny[1]), 1e-10)
    assert any(bool(t.any()) for t in tensors(none[1]))


@kinds
def test_training_goes_on_when_the_rate_rises_again(make: Any) -> None:
    # In float32 as in float64: at small rates the rounding of parameters must not come into multipliers.
    lrs = [1.0, 1e-2, 1e-5, 1e-9, 1e-20, 1e-38, 1e-300, 0.0, 1.0, 1.0]
    results = []
    for dtype in (torch.float32, F64):
        model = network().to(dtype)
        optimizer = make(model.parameters())
        for lr, (x, y) in zip(lrs, batches(len(lrs)), strict=True):
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step(closures(model, optimizer, x.to(dtype), y, 2))
        results.append([w.to(F64) for w in weights(model)])
    assert close(*results, 1e-4)


@kinds
def test_a_rate_out_of_range_is_named_at_the_step(make: Any) -> None:
    model, optimizer = trained(make, [])
    for lr in (-0.5, math.nan, torch.tensor(-0.5)):
        optimizer.param_groups[0]["lr"] = lr
        with pytest.raises(InputError, match=r"lr (-0.5|nan|tensor\(-0.5\)): allowed: positive or 0"):
            optimizer.step(closures(model, optimizer, *batches(1)[0], 1))
    assert same(weights(model), weights(network()))


@kinds
def test_groups_are_optimisers_of_their_own(make: Any) -> None:
    settings = [{"lr": 0.0}, {"sigma": 3.0}, {"weight_decay": 0.1, "maximize": True}, {"lr": torch.tensor(0.25)}]
    together, apart = network(), network()
    optimizer = make([{"params": [p], **s} for p, s in zip(together.parameters(), settings, strict=True)])
    others = [make([p], **s) for p, s in zip(apart.parameters(), settings, strict=True)]
    for x, y in batches(4):
        closures(together, optimizer, x, y, 1)[0]()
        optimizer.step()
        apart.zero_grad()
        nn.functional.cross_entropy(apart(x), y).backward()
        for other in others:
            other.step()
    assert same(together.parameters(), apart.parameters())


@kinds
def test_uphill_is_downhill_of_the_negated_loss(make: Any) -> None:
    gradients = torch.randn(5, 3, dtype=F64)
    p, q = (nn.Parameter(torch.ones(3, dtype=F64)) for _ in range(2))
    steps(make, p, gradients, maximize=True, weight_decay=0.1)
    steps(make, q, -gradients, weight_decay=0.1)
    assert torch.equal(p, q)


# --- types --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@kinds
def test_complex_parameters_are_pairs_of_reals(make: Any, dtype: torch.dtype) -> None:
    gradients = torch.randn(5, 3, dtype=dtype)
    p = nn.Parameter(torch.ones(3, dtype=dtype) * 1j)
    q = nn.Parameter(torch.view_as_real(p.detach().clone()))
    steps(make, p, [g.conj() for g in gradients], weight_decay=0.1)  # a lazy one
    steps(make, q, torch.view_as_real(gradients.conj().resolve_conj()), weight_decay=0.1)
    assert torch.equal(torch.view_as_real(p.detach()), q)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@kinds
def test_half_parameters_move_as_float32_and_are_rounded(make: Any, dtype: torch.dtype) -> None:
    # Gradients whose squares are 0 in half precision.
    gradients = torch.randn(5, 3).mul(1e-4).to(dtype)
    p, q = nn.Parameter(torch.linspace(-1e-2, 1e-2, 3, dtype=dtype)), nn.Parameter(torch.zeros(3))
    ours, theirs = make([p], sigma=0.1, rho=0.2), make([q], sigma=0.1, rho=0.2)
    for g in gradients:
        q.data = p.detach().float()
        p.grad, q.grad = g, g.float()
        ours.step()
        theirs.step()
        assert p.dtype == dtype
        assert torch.equal(p, q.to(dtype))
        assert same(tensors(ours), tensors(theirs))
    again = make([p])
    again.load_state_dict(ours.state_dict())
    assert [t.dtype for t in tensors(again)] == [t.dtype for t in tensors(ours)]
    assert same(tensors(again), tensors(ours))


@kinds
def test_a_scaler_skips_steps_that_are_not_finite(make: Any) -> None:
    p, q = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = make([p])
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    for slope in (3.0, math.inf, 2.0):
        optimizer.zero_grad()
        scaler.scale((slope * p).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    steps(make, q, [torch.full((2,), 3.0), torch.full((2,), 2.0)])
    assert torch.equal(p, q)
    assert scaler.get_scale() == 32.0


# --- state --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["copy", "pickle", "weights only"])
@kinds
def test_copies_go_on_with_the_same_bits(make: Any, way: str, tmp_path: Any) -> None:
    data = batches(6)
    model, optimizer = trained(make, data[:3])
    if way == "copy":
        other, again = copy.deepcopy((model, optimizer))
    elif way == "pickle":
        other, again = pickle.loads(pickle.dumps((model, optimizer)))
    else:
        torch.save((model.state_dict(), optimizer.state_dict()), tmp_path / "state.pt")
        parameters, state = torch.load(tmp_path / "state.pt", weights_only=True)
        other, again = trained(make, [])
        other.load_state_dict(parameters)
        again.load_state_dict(state)
    for each, o in ((model, optimizer), (other, again)):
        for x, y in data[3:]:
            o.step(closures(each, o, x, y, 2))
    assert same(model.parameters(), other.parameters())
    assert repr(again) == repr(optimizer)


def checkpoint(model: nn.Module, optimizer: Any) -> dict[str, Any]:
    return {"model": model.state_dict(), "optimizer": get_optimizer_state_dict(model, optimizer)}


@pytest.mark.parametrize("parts", [1, 2])
@kinds
def test_torchs_distributed_checkpoints(make: Any, parts: int, tmp_path: Any) -> None:
    data = batches(6)
    model, optimizer = trained(make, data[:3], parts)
    other, again = trained(make, data[:1] if parts > 1 else [], parts)  # a step gives the state its shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: one process
        dcp.save(checkpoint(model, optimizer), checkpoint_id=tmp_path)
        loaded = checkpoint(other, again)
        dcp.load(loaded, checkpoint_id=tmp_path)
    other.load_state_dict(loaded["model"])
    set_optimizer_state_dict(other, again, loaded["optimizer"])
    for each, o in ((model, optimizer), (other, again)):
        for x, y in data[3:]:
            o.step(closures(each, o, x, y, parts))
    assert same(model.parameters(), other.parameters())


@pytest.mark.parametrize("parts", [1, 3])
@kinds
def test_asking_for_state_before_training_changes_nothing(make: Any, parts: int) -> None:
    data, options = batches(3), {"weight_decay": 0.1, "lr": 0.5}
    straight, _ = trained(make, data, parts, **options)
    model = network()
    optimizer = make(model.parameters(), **options)
    state = get_optimizer_state_dict(model, optimizer)["state"]
    assert set(state) == {name for name, _ in model.named_parameters()}
    for x, y in data:
        optimizer.step(closures(model, optimizer, x, y, parts))
    assert same(model.parameters(), straight.parameters())


def test_the_state_of_another_optimiser_is_refused() -> None:
    model, optimizer = trained(MAKES["copies"], batches(2))
    for other, message in ((BADM(model.parameters()), "pi: allowed: v"), (trained(BADM, batches(1))[1], "pi: allowed")):
        before = tensors(other)
        with pytest.raises(InputError, match=f"state of another optimiser, {message}"):
            other.load_state_dict(optimizer.state_dict())
        assert same(tensors(other), before)


def test_counts_of_before_are_those_of_every_sub_batch() -> None:
    data = batches(5)
    model, optimizer = trained(SISA, data[:3])
    state = copy.deepcopy(optimizer.state_dict())
    for each in state["state"].values():
        each["step"] = 3
    for group in state["param_groups"]:
        del group["maximize"]
    other = copy.deepcopy(model)
    again = SISA(other.parameters())
    again.load_state_dict(state)
    for each, o in ((model, optimizer), (other, again)):
        for x, y in data[3:]:
            o.step(closures(each, o, x, y, 2))
    assert same(model.parameters(), other.parameters())


@kinds
def test_an_optimiser_of_several_processes_is_copied_but_not_pickled(make: Any) -> None:
    group: Any = object()
    optimizer = make([nn.Parameter(torch.ones(2))], process_group=group)
    assert copy.deepcopy(optimizer).process_group is group
    with pytest.raises(InputError, match=r"save its state_dict\(\)"):
        pickle.dumps(optimizer)


@kinds
def test_hooks_and_names(make: Any) -> None:
    model, seen = network(), []
    optimizer = make(model.named_parameters())
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    optimizer.step(closures(model, optimizer, *batches(1)[0], 2))
    assert seen == ["before", "after"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == [name for name, _ in model.named_parameters()]

"""What can be trained, and what a trained model is worth by its own forward pass."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.nn.losses import Risk
from gamlp_admm.training.evaluation import CHUNK, Evaluator
from gamlp_admm.training.growth import shapes
from gamlp_admm.training.metrics import Metric
from gamlp_admm.training.result import Result
from gamlp_admm.training.rows import NodeData, features
from gamlp_admm.training.schedules import Record

NOTICED = 0.01
"""Accuracies that differ by more, and by more than a row, are worth a warning."""

ROWS = 2**16
"""Rows of features that a trained model takes at a time."""


def trainable(model: Any) -> GAMLP:
    """Return a model that can be trained.

    Args:
        model: The network, perhaps compiled by ``torch.compile``.

    Raises:
        InputError: It is no GAMLP, or its layers are not what they were made as: plain linear layers, each with a
            weight and a bias of its own that may change.
    """
    model = getattr(model, "_orig_mod", model)
    if not isinstance(model, GAMLP):
        raise InputError(f"the model is a {type(model).__name__}; allowed: a gamlp_admm.GAMLP")
    sizes = shapes(model.config, model.config["num_layers"])
    layers = dict(model.layers.named_children())
    if len(layers) != len(sizes) or len({id(layer) for layer in layers.values()}) != len(sizes):
        raise InputError(f"the model has {len(layers)} different layers; allowed: {len(sizes)}, as it was made")
    first = layers["0"]
    for (i, layer), size in zip(layers.items(), sizes, strict=True):
        _check_layer(f"layers.{i}", layer, size)
        for name, p in layer.named_parameters():
            own = getattr(first, name)
            if p.dtype != own.dtype or p.device != own.device or not p.is_floating_point():
                raise InputError(
                    f"layers.{i}.{name} is {p.dtype} on {p.device}; allowed: one real dtype and one device"
                )
    return model


def _check_layer(name: str, layer: nn.Module, size: tuple[int, int]) -> None:
    if set(layer._parameters) != {"weight", "bias"} or any(p is None for p in layer._parameters.values()):
        raise InputError(
            f"{name} is parametrised, pruned or has no bias ({', '.join(layer._parameters)}): what training sets would "
            "not be what it computes with; allowed: a plain torch.nn.Linear (remove_parametrizations, prune.remove)"
        )
    if type(layer) is not nn.Linear or layer.weight.shape != size:
        shape = tuple(getattr(layer, "weight").shape)  # noqa: B009 (a module's attributes are not typed)
        raise InputError(f"{name} is a {type(layer).__name__} with weight {shape}; allowed: torch.nn.Linear, {size}")
    for kind, parameter in layer.named_parameters():
        if not parameter.requires_grad:
            raise InputError(
                f"{name}.{kind} is frozen (requires_grad is False), and all layers are trained; "
                "allowed: model.requires_grad_()"
            )


def trained_like(model: GAMLP, device: torch.device | str) -> Tensor:
    """Return an empty tensor of the dtype and device to train with: the model's; float32 for half precision.

    Args:
        model: The model.
        device: Where a model without storage (on ``meta``) is trained.
    """
    weight = model.linears[0].weight
    dtype = weight.dtype if weight.dtype in (torch.float32, torch.float64) else torch.float32
    return torch.empty(0, dtype=dtype, device=device if weight.is_meta else weight.device)


def usual_device() -> AbstractContextManager[Any]:
    """Return a context in which tensors are made on the CPU unless said otherwise, whatever the default device."""
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


@torch.no_grad()
def own_outputs(model: GAMLP, data: Any, rows: Tensor) -> Tensor:
    """Return what a model gives for rows of ``data.x``, ``[N, C]``, by its own forward pass."""
    x, like = features(data), model.linears[0].weight
    made = like.new_empty(len(rows), model.config["out_channels"])
    for part, out in zip(torch.split(rows.to(x.device), CHUNK), torch.split(made, CHUNK), strict=True):
        out.copy_(model(x[part].to(like)))
    return made


@torch.no_grad()
def outputs(model: GAMLP, x: Tensor) -> Tensor:
    """Return what a model gives for all rows of features ``[N, F]``, ``[N, C]``, on its device; by parts of many."""
    like = model.linears[0].weight
    if len(x) <= ROWS:
        made: Tensor = model(x.to(like))
        return made
    made = like.new_empty(len(x), model.config["out_channels"])
    for rows, out in zip(torch.split(x, ROWS), torch.split(made, ROWS), strict=True):
        out.copy_(model(rows.to(like)))
    return made


def confirm(
    model: GAMLP, data: Any, nodes: NodeData, risk: Risk, result: Result, select: str, metric: Metric
) -> tuple[Record, Record]:
    """Let a result say what the returned model is worth by its own forward pass, on features as they are.

    As a rule that is what training saw. It is not where the model's dtype cannot compute it: features far from 0 beside
    their spread, or half precision; nor where a run was stopped before its final depth.

    Args:
        model: The trained model.
        data: What it was trained on.
        nodes: Its rows, whose numbers in ``data`` are ``nodes.rows``.
        risk: The risk.
        result: The result, whose ``best`` or ``last``, whichever the model was selected as, is corrected in place.
        select: ``best`` or ``last``.
        metric: What is measured beside accuracy.

    Returns:
        The best and the last as corrected.
    """
    assert nodes.rows is not None
    told = result.last if select == "last" else result.best
    if not told:  # the run was lost before anything was evaluated
        return result.best, result.last
    evaluator = Evaluator(nodes, risk, model.network, metric)
    z = own_outputs(model, data, nodes.rows).to(nodes.y)
    measured = evaluator.measures(evaluator.sums(z))
    seen = dict(told)
    told.update({name: measured[name] for name in told if name in measured})
    if select == "last" and result.best.get("iteration") == result.last["iteration"]:
        result.best.update({name: measured[name] for name in result.best if name in measured})
    for split, size in zip(("train", "val", "test"), nodes.sizes, strict=True):
        before, after = seen.get(f"{split}_accuracy"), told.get(f"{split}_accuracy")
        if before is not None and after is not None and abs(after - before) > max(NOTICED, 1.5 / size):
            warnings.warn(
                f"the model computes with a {split} accuracy of {after:.4f}, where training saw {before:.4f}: "
                f"{model.linears[0].weight.dtype} does not hold its weights and features well enough, or it was "
                "stopped before its final depth",
                InputWarning,
                stacklevel=3,
            )
            break
    return result.best, result.last

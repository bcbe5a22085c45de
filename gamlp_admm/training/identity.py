"""What a run is, so that no other goes on from its checkpoint: its settings, its network, and digests of its data."""

from __future__ import annotations

import dis
import hashlib
import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.training.options import FitOptions
from gamlp_admm.training.rows import SPLITS, NodeData, features
from gamlp_admm.training.session import Algorithm

ENTRIES = 1 << 22
"""Numbers of a tensor that are looked at at a time."""


@dataclass(frozen=True)
class Identity:
    """What runs that share a checkpoint have in common.

    Attributes:
        values: JSON values by name; those of ``data`` are digests.
        assumed: What stands for a value that a checkpoint does not have, because its option is newer.
    """

    values: Mapping[str, Any]
    assumed: Mapping[str, Any]

    def check(self, saved: Mapping[str, Any], directory: Path) -> None:
        """Check that a run may go on from a checkpoint.

        Args:
            saved: The values that the checkpoint has.
            directory: Where it is.

        Raises:
            InputError: It may not; the message names what differs.
        """
        start = f"the checkpoint in {directory} was made with"
        for name, value in json.loads(json.dumps({**self.values})).items():
            before = saved.get(name, json.loads(json.dumps(self.assumed.get(name, value))))
            if name == "data":
                differ = [part for part, digest in value.items() if before.get(part, digest) != digest]
                masks = [part for part in differ if part.endswith("_mask")]  # with them, the rows used are others
                if differ:
                    raise InputError(f"{start} other values in {' and '.join(masks or differ)}")
            elif before != value:
                raise InputError(f"{start} {name}={before}, not {value}")


def identity_of(
    algorithm: Algorithm, model: GAMLP, like: Tensor, options: FitOptions, data: Mapping[str, Any]
) -> Identity:
    """Return what a call of ``fit`` is.

    Args:
        algorithm: The algorithm.
        model: The network.
        like: Gives the dtype.
        options: What is asked for.
        data: The number of ``rows`` of each split, and the :func:`digests` of the ``data``, in the first process.
    """
    values = {
        "algorithm": algorithm.algorithm,
        **algorithm.settings(),
        **model.config,
        "dtype": str(like.dtype),
        "grow": list(options.stages),
        "seed": None if options.seed is None else int(options.seed),
        "metric": described(options.metric),
        **data,
    }
    network = {name: p.default for name, p in inspect.signature(type(model)).parameters.items() if p.default != p.empty}
    return Identity(values, {**algorithm.assumed(), **network, "metric": "accuracy", "data": {}})


def digests(data: Any, nodes: NodeData) -> dict[str, str]:
    """Return the SHA-256 of each part of a data set that training depends on.

    Args:
        data: Has the masks.
        nodes: The rows that the masks select, all of them.
    """
    parts: dict[str, Any] = {f"data.{split}_mask": getattr(data, f"{split}_mask", None) for split in SPLITS}
    found = {name: digest(value) for name, value in parts.items()} | {"data.y": digest(nodes.y)}
    if nodes.rows is not None:
        found["data.x"] = digest(features(data), nodes.rows, nodes.y.dtype)
    return found | {"node_weight or class_weight": digest(nodes.weight)}


def digest(value: Any, rows: Tensor | None = None, dtype: torch.dtype | None = None) -> str:
    """Return the SHA-256 of a tensor's shape, type and numbers, or of an array's; of ``None`` that of nothing.

    Args:
        value: The tensor.
        rows: Numbers of the rows of it that are meant, ``[n]``; ``None`` for all.
        dtype: The type that is meant; ``None`` for its own.
    """
    result = hashlib.sha256()
    if value is not None:
        tensor = torch.as_tensor(value).detach()
        shape = tuple(tensor.shape) if rows is None else (len(rows), *tensor.shape[1:])
        result.update(f"{shape} {dtype or tensor.dtype}".encode())
        whole = tensor.reshape(-1) if rows is None else rows.to(tensor.device)
        step = ENTRIES if rows is None else max(ENTRIES // max(math.prod(shape[1:]), 1), 1)
        for part in torch.split(whole, step):  # of which a GPU's come here one after the other
            numbers = part if rows is None else tensor[part]
            result.update(numbers.to("cpu", dtype or tensor.dtype).contiguous().view(torch.uint8).numpy().data)
    return result.hexdigest()


def described(value: Any) -> str:
    """Return a setting as text that is the same in every process: of functions what they do, of tensors a digest."""
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {digest(value)[:16]}"
    if isinstance(value, type) or not callable(value):
        return getattr(value, "__qualname__", str(value))
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{name} {hashlib.sha256(repr(_doing(value)).encode()).hexdigest()[:16]}"


def _doing(value: Any, depth: int = 4) -> Any:
    # What a function computes with: its code, its defaults, and what it has from outside, as plain values.
    if isinstance(value, FunctionType) and depth:
        outside, state = inspect.getclosurevars(value), _rebound(value.__code__)
        names = {name: each for name, each in {**outside.globals, **outside.nonlocals}.items() if name not in state}
        more = [value.__defaults__, value.__kwdefaults__, names]
        return [_code(value.__code__), _doing(more, depth - 1)]
    if isinstance(value, partial):
        return _doing([value.func, value.args, value.keywords], depth)
    if isinstance(value, MethodType):
        return [_doing(value.__func__, depth), _doing(value.__self__, depth)]
    if isinstance(value, Mapping):
        return [_doing(each, depth) for each in sorted(value.items(), key=repr)]
    if isinstance(value, set | frozenset):
        return [_doing(each, depth) for each in sorted(value, key=repr)]
    if isinstance(value, list | tuple):
        return [_doing(each, depth) for each in value]
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, Tensor):
        return digest(value)
    if isinstance(value, type) or hasattr(value, "__name__"):
        return value.__name__
    has = getattr(value, "__dict__", {}) if depth else {}
    return [type(value).__qualname__, _doing(has, depth - 1)]


def _rebound(code: CodeType) -> set[str]:
    # Names from outside that a function gives other values as it runs: they are not what it was made with.
    return {step.argval for step in dis.get_instructions(code) if step.opname in ("STORE_DEREF", "STORE_GLOBAL")}


def _code(code: CodeType) -> Any:
    constants = [_code(c) if isinstance(c, CodeType) else _constant(c) for c in code.co_consts]
    return [code.co_code, code.co_names, constants]


def _constant(value: Any) -> str:
    return str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)

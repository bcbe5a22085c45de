"""Greedy growth: a run begins with few layers, and later stages insert layers that pass their input on.

Source: greedy layerwise growth, TNNLS 2022, Section VI.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.errors import InputError, integer, several, unknown
from gamlp_admm.nn.network import Network

GROWTH = (2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Depths that ``grow="auto"`` passes through on the way to the final one."""


def depths(grow: Sequence[int] | str | None, num_layers: int) -> list[int]:
    """Return the depth of each stage.

    Args:
        grow: The depths; ``auto`` for those of :data:`GROWTH` below ``num_layers``, from 5 layers on; ``None`` for
            one stage.
        num_layers: The final depth.

    Raises:
        InputError: ``grow`` does not rise from at least 2 to ``num_layers``.
    """
    if grow == "auto":
        grow = [*(d for d in GROWTH if d < num_layers), num_layers] if num_layers >= 5 else None
    if not grow:
        return [num_layers]
    if isinstance(grow, str):
        raise unknown("grow", grow, ("auto", "depths such as (2, 5, 10)", "None"))
    stages = [integer("a depth of grow", depth) for depth in several("grow", grow, "depths, such as (2, 5)")]
    if stages != sorted(set(stages)) or stages[0] < 2 or stages[-1] != num_layers:
        raise InputError(f"grow {stages} must rise from at least 2 layers to the model's {num_layers}")
    return stages


def shapes(config: dict[str, Any], depth: int) -> list[tuple[int, int]]:
    """Return (n_out, n_in) of each layer of a network of some depth, otherwise as a model's ``config`` has it."""
    widths = [config["in_channels"], *[config["hidden_channels"]] * (depth - 1), config["out_channels"]]
    return list(zip(widths[1:], widths[:-1], strict=True))


def kept(num_layers: int, depth: int) -> list[int]:
    """Return which of ``num_layers`` layers a network of ``depth`` layers has: the first ones, and the last."""
    return [*range(depth - 1), num_layers - 1]


def grown_from(depth: int, before: int) -> list[int | None]:
    """Return, for each layer of a network grown from ``before`` to ``depth`` layers, which layer it was.

    New layers (``None``), which start as :func:`passing`, go in before the last one.
    """
    return [*range(before - 1), *[None] * (depth - before), before - 1]


def passing(network: Network, shape: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return W ``[n_out, n_in]`` and b of a layer that passes its input on: by itself, or by its residual connection.

    Between equal widths it leaves the function of a network unchanged: with residual connections where f(0) = 0,
    without where f is the identity on its own values, as ReLU is.
    """
    W = torch.zeros(shape) if network.residual else torch.eye(*shape)
    return W.to(like), torch.zeros(shape[0]).to(like)

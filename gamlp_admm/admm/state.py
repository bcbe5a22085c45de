"""The state of a layer-parallel run: blocks of consecutive, equally shaped layers, as plain tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor

from gamlp_admm.admm.stacked import Layers, by_slices, products, room
from gamlp_admm.nn.network import Network, Weights
from gamlp_admm.system.records import replace

_NOTHING = torch.empty(0)


@dataclass(frozen=True)
class Block:
    """Layers ``first … first + S − 1`` (counted from 0), which have equal shapes, as one stack.

    What the next iteration needs, and nothing else. The last layer of the network has no ``q`` and ``u``. The
    fields at the bottom are what passed between this block and its neighbours: its copies of what they hold, which are
    ``None`` at the network's ends, and what they hold of it, which is ``None`` where that is the field itself.

    Attributes:
        first: Number of the stack's first layer.
        p: Layer inputs, ``[S, N, n_in]`` (of layer 0: the features, constant).
        W: Weights, ``[S, n_out, n_in]``.
        b: Biases, ``[S, n_out]``.
        z: Pre-activations, ``[S, N, n_out]``.
        M: The product ``p Wᵀ``, kept up to date, ``[S, N, n_out]``.
        q: Layer outputs, ``[S, N, n_out]``.
        u: Multipliers of ``p_{l+1} = q_l``, ``[S, N, n_out]``.
        q_prev: ``q`` of the layer before the stack, ``[1, N, n_in]``.
        u_prev: ``u`` of the layer before the stack, ``[1, N, n_in]``.
        p_next: ``p`` of the layer after the stack, ``[1, N, n_out]``.
        p_sent: What the layers below make of ``p``, after coding, ``[S, N, n_in]``.
        q_sent: What the layers above make of ``q``, after coding, ``[S, N, n_out]``.
    """

    first: int
    p: Tensor
    W: Tensor
    b: Tensor
    z: Tensor
    M: Tensor
    q: Tensor | None = None
    u: Tensor | None = None
    q_prev: Tensor | None = None
    u_prev: Tensor | None = None
    p_next: Tensor | None = None
    p_sent: Tensor | None = None
    q_sent: Tensor | None = None

    @property
    def num_layers(self) -> int:
        """Number S of layers in the stack."""
        return self.W.shape[0]

    @property
    def is_first(self) -> bool:
        """Whether the stack holds the network's first layer, whose ``p`` is the features."""
        return self.first == 0

    @property
    def is_last(self) -> bool:
        """Whether the stack holds the network's last layer, whose ``z`` meets the risk."""
        return self.q is None

    @property
    def between_equals(self) -> bool:
        """Whether the layers are hidden ones whose input comes from a layer, and is as wide as their output."""
        return not self.is_first and not self.is_last and self.W.shape[1] == self.W.shape[2]

    def sent(self, field: str) -> Tensor:
        """Return what the neighbours hold of ``p`` or ``q``: what both ends of a boundary compute with."""
        coded: Tensor | None = getattr(self, f"{field}_sent")
        value: Tensor = getattr(self, field)
        return value if coded is None else coded

    def with_sent(self, field: str, coded: Tensor) -> Block:
        """Return the block after ``p`` or ``q`` was sent."""
        kept: dict[str, Any] = {f"{field}_sent": None if coded is getattr(self, field) else coded}
        return replace(self, **kept)

    def below(self, field: str) -> Layers:
        """Return ``q`` (as sent) or ``u`` of the layer below each layer: a stack moved along S, in parts."""
        first: Tensor = getattr(self, f"{field}_prev")
        if self.num_layers == 1:
            return (first,)
        return first, (self.sent(field) if field == "q" else getattr(self, field))[:-1]

    def above(self, field: str) -> Layers:
        """Return ``p`` (as sent) of the layer above each layer: a stack moved along S, in parts."""
        last: Tensor = getattr(self, f"{field}_next")
        return (last,) if self.num_layers == 1 else (self.sent(field)[1:], last)

    def with_fields(self, tensors: Mapping[str, Tensor]) -> Block:
        """Return the block with some tensors replaced, by field name."""
        return replace(self, **cast("dict[str, Any]", tensors))

    def only(self, names: Collection[str]) -> Block:
        """Return the block with some tensors alone, and of ``p`` and ``q`` what was sent; all others are empty."""
        has = self.__dict__
        kept = {f"{name}_sent" if has.get(f"{name}_sent") is not None else name for name in names}
        return self.with_fields({k: _NOTHING for k, v in has.items() if isinstance(v, Tensor) and k not in kept})

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are not ``None``, by field name."""
        return {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}

    def by_layer(self) -> dict[str, Tensor]:
        """Return the tensors of each layer by :func:`stored_name`, but for the features and what neighbours have."""
        own = {name: t for name, t in self.tensors().items() if name not in COPIES}
        return {
            stored_name(self.first + s, name): t[s]
            for name, t in own.items()
            for s in range(self.num_layers)
            if not (name == "p" and self.is_first)
        }

    def restored(self, tensors: Mapping[str, Tensor]) -> Block:
        """Return the block with the tensors that :meth:`by_layer` gave, of blocks that may have had other layers."""
        layers = range(self.first, self.first + self.num_layers)
        values: dict[str, Tensor] = {}

        def value(name: str, layer: int) -> Tensor:
            plain = name.removesuffix("_sent")  # which stands where what was sent is what is had
            return tensors[stored_name(layer, name if stored_name(layer, name) in tensors else plain)]

        for name in {f.name for f in fields(self)} - {"first"}:
            if name in COPIES and getattr(self, name) is not None:
                field, step = COPIES[name]
                values[name] = value(field, layers[0] - 1 if step < 0 else layers[-1] + 1)[None]
            elif name not in COPIES and any(stored_name(l, name) in tensors for l in layers):
                values[name] = torch.stack([value(name, l) for l in layers])
        return self.with_fields(values)


COPIES = {"q_prev": ("q_sent", -1), "u_prev": ("u", -1), "p_next": ("p_sent", 1)}
"""Fields of a block that are a neighbour's: which, and of the layer below or above."""

WEIGHTS = ("W", "b", "W_before")
"""Fields that have no rows."""


def stored_name(layer: int, field: str) -> str:
    """Return what a checkpoint calls a field of a layer (:mod:`gamlp_admm.training.checkpoint`)."""
    return f"{layer}.{field}" if field in WEIGHTS else f"{layer}.{field}.rows"


STACKED = 1 << 21
"""Entries of a stack's ``p`` or ``z``, at most: what an update makes beside its result is as large as they are."""


def stacks(
    shapes: Sequence[tuple[int, ...]], layers: range, num_rows: int, like: Tensor, most_rows: int = 0
) -> list[range]:
    """Group layers into stacks: runs of equal shape, with the network's first and last layer each on its own.

    Fewer and larger calls pay for small layers; large ones are stacked only as long as all of them together are small.

    On the CPU, layers are stacked only if each would start at a multiple of 64 bytes, as a tensor of its own does: BLAS
    kernels round by the alignment of their operands, and the bits must not depend on which process owns which layers.

    Args:
        shapes: Shape of W of every layer of the network.
        layers: The layers to group.
        num_rows: Training rows N, or a divisor of it that stands for any multiple.
        like: Gives dtype and device.
        most_rows: Training rows that a process has at most, where that is more.

    Returns:
        The layers of each stack, in order.
    """
    groups: list[range] = []
    for l in layers:
        n_out, n_in = shapes[l]
        sizes = (num_rows * n_out, num_rows * n_in, n_out * n_in)
        aligned = like.is_cuda or all(size * like.element_size() % 64 == 0 for size in sizes)
        largest = STACKED // max(max(num_rows, most_rows) * max(n_out, n_in), 1)
        inside = 1 < l < len(shapes) - 1 and shapes[l] == shapes[l - 1]
        if groups and aligned and inside and len(groups[-1]) < largest:
            groups[-1] = range(groups[-1].start, l + 1)
        else:
            groups.append(range(l, l + 1))
    return groups


Land = Callable[[str, int, Tensor], Tensor]
"""From ``p`` or ``q``, a boundary and where a forward pass would put it to where the variable may lie."""


def initial_blocks(
    p: Tensor,
    weights: Weights,
    network: Network,
    groups: Sequence[range],
    num_layers: int,
    land: Land = lambda field, boundary, x: x,
) -> list[Block]:
    """Return the state that a forward pass gives: u = 0, and the constraints hold where variables do not live on grids.

    Args:
        p: Inputs of the first layer of the groups, ``[N, n_in]``: the features, or the outputs of the layer below.
        weights: (W, b) of each layer of the groups.
        network: The network.
        groups: The layers of each stack, from :func:`stacks`.
        num_layers: Number of layers of the network.
        land: Where p and q, which leave the layers by boundaries counted from 0, come to lie.
    """
    result: list[Block] = []
    pairs = iter(weights)
    a = p[None]
    q_prev = None if groups[0][0] == 0 else land("q", groups[0][0] - 1, a)
    u_prev = None if q_prev is None else torch.zeros_like(q_prev)
    for layers in groups:
        W, b = (torch.stack(t) for t in zip(*(next(pairs) for _ in layers), strict=True))
        inputs, images, sums, outputs = [], [], [], []
        for s, l in enumerate(layers):
            inputs.append(a if l == 0 else land("p", l - 1, a))
            images.append(M := products(inputs[-1], W[s : s + 1]))
            sums.append(torch.add(M, b[s], out=room(M.shape, M)))
            a = output(network, sums[-1], a if l > 0 else None)
            outputs.append(land("q", l, a))
        q = None if layers[-1] == num_layers - 1 else _stacked(outputs)
        result.append(
            Block(
                first=layers[0],
                p=_stacked(inputs),
                W=W,
                b=b,
                z=_stacked(sums),
                M=_stacked(images),
                q=q,
                u=None if q is None else torch.zeros_like(q),
                q_prev=q_prev,
                u_prev=u_prev,
                p_next=None if q is None else land("p", layers[-1], a),
            )
        )
        q_prev, u_prev = (None if t is None else t[-1:] for t in (q, result[-1].u))
    return result


def output(network: Network, z: Tensor, a: Tensor | None) -> Tensor:
    """Return :meth:`Network.output` of stacks ``[S, N, n]``, slice by slice."""
    if a is None:
        return by_slices(lambda z, out: network.output(z, None), z)
    return by_slices(lambda z, a, out: network.output(z, a), z, a)


def _stacked(layers: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(layers)) if len(layers) > 1 else layers[0]


def block_weights(state: Sequence[Block]) -> Weights:
    """Return (W, b) of each layer of consecutive blocks."""
    return [(W, b) for block in state for W, b in zip(block.W, block.b, strict=True)]

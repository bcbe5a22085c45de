"""Which codec serves when and where: for each field, boundary between layers, and iteration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.codecs import Cast, Codec, FittedGrid, Grid, codec
from gamlp_admm.errors import InputError

FIELDS = ("p", "q")
CodecChoice = Callable[[str, int, int], Any]
"""From field, boundary (1 lies between layers 1 and 2) and iteration (from 1, over all stages) to a codec."""

FULL = Cast("full")

AUTO = "auto"
"""In place of a plan: training chooses one (:mod:`gamlp_admm.codecs.choosing`)."""


@dataclass(frozen=True)
class CodecRule:
    """A codec and the condition under which it serves; of several rules the last that applies counts.

    Attributes:
        codec: The codec.
        fields: Fields that it serves.
        boundaries: First and last boundary that it serves, from 1.
        start: First iteration that it serves, from 1.
    """

    codec: Codec | FittedGrid
    fields: tuple[str, ...] = FIELDS
    boundaries: tuple[int, float] = (1, float("inf"))
    start: int = 1

    def applies(self, field: str, boundary: int, iteration: int) -> bool:
        """Whether the condition holds."""
        low, high = self.boundaries
        return field in self.fields and low <= boundary <= high and iteration >= self.start


@dataclass(frozen=True)
class Plan:
    """The codecs of a whole run.

    Attributes:
        spec: What the plan was made of.
        choice: Which codec serves.
        gridded: The fields whose codecs are grids: the variables live on them.
        full: The fields that are sent in full everywhere and always.
        untouched: Those of them that are sent as they are, in whatever format.
    """

    spec: Any
    choice: CodecChoice
    gridded: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: Any, quantize: Sequence[str] = FIELDS) -> Plan:
        """Return the plan that ``spec`` describes.

        Args:
            spec: A codec, which serves everywhere; rules as text (:func:`rules`); ``{"p": …, "q": …}``; or a
                :data:`CodecChoice`, a function of field, boundary and iteration, which chooses no grid.
            quantize: Fields that it is for; others travel in full.

        Raises:
            InputError: It cannot be understood, or mixes grids with other codecs of the same field.
        """
        if callable(spec):
            return cls(spec, _checked(spec))
        if isinstance(spec, Mapping) and set(spec) <= set(FIELDS):
            made = [CodecRule(codec(value), (field,)) for field, value in spec.items()]
        elif isinstance(spec, str):
            made = rules("int2-delta" if spec == AUTO else spec)  # any that loses bits and is no grid, as the choice
        else:
            made = [CodecRule(codec(spec))]
        made = [CodecRule(FULL), *made, *(CodecRule(FULL, (field,)) for field in FIELDS if field not in quantize)]

        def choice(field: str, boundary: int, iteration: int) -> Codec | FittedGrid:
            return next(r.codec for r in reversed(made) if r.applies(field, boundary, iteration))

        gridded, full, untouched = [], [], []
        for name in FIELDS:
            # Where and when the choice can change, and so all that it can be.
            places = {1, *(int(b) for r in made for b in (r.boundaries[0], r.boundaries[1] + 1) if b < float("inf"))}
            chosen = {choice(name, l, r.start) for l in places for r in made}
            grids = {isinstance(c, Grid | FittedGrid) for c in chosen}
            if len(grids) > 1:
                raise InputError(f"codec {spec}: {name} lives on a grid everywhere and always, or nowhere")
            if grids == {True}:
                gridded.append(name)
            if chosen <= {FULL, Cast("fp32"), Cast("fp64")}:
                full.append(name)
            if chosen == {FULL}:
                untouched.append(name)
        return cls(spec, choice, tuple(gridded), tuple(full), tuple(untouched))

    def at(self, name: str, boundary: int, iteration: int) -> Codec:
        """Return the codec of a field at a boundary, from 1, in an iteration; it must not be a grid to be fitted."""
        chosen = codec(self.choice(name, boundary, iteration))
        if isinstance(chosen, FittedGrid):
            raise InputError(f"codec {chosen}: its bounds are not known before training")
        return chosen.during(iteration)

    def __str__(self) -> str:
        if isinstance(self.spec, Mapping):
            return "/".join(f"{field}:{codec(value)}" for field, value in self.spec.items())
        if isinstance(self.spec, str):
            return self.spec
        return getattr(self.spec, "__qualname__", None) or str(codec(self.spec))


def _checked(choice: CodecChoice) -> CodecChoice:
    def checked(field: str, boundary: int, iteration: int) -> Codec:
        chosen = codec(choice(field, boundary, iteration))
        if isinstance(chosen, Grid | FittedGrid):
            raise InputError(f"codec {chosen}: a function chooses no grid; rules as text do")
        return chosen

    return checked


def rules(text: str) -> list[CodecRule]:
    """Return the rules that a text lists, ``[CONDITION+…:]CODEC`` each, with ``/`` between them.

    Conditions are ``p`` or ``q``, ``at=A`` or ``at=A-B`` (boundaries, 1 between layers 1 and 2) and ``from=K``
    (iterations, from 1). A later rule overrides an earlier one: ``int2-delta/from=50:int8-delta/q+at=1-2:fp16``.

    Raises:
        InputError: The text cannot be read.
    """
    result = []
    for part in text.split("/"):
        conditions: dict[str, Any] = {}
        head, _, rest = part.partition(":")
        while rest and all(re.fullmatch(r"[pq]|at=\d+(-\d+)?|from=\d+", c) for c in head.split("+")):
            for condition in head.split("+"):
                key, _, value = condition.partition("=")
                if key == "from":
                    conditions["start"] = int(value)
                elif key == "at":
                    low, _, high = value.partition("-")
                    conditions["boundaries"] = (int(low), int(high or low))
                    if not 1 <= int(low) <= int(high or low):
                        raise InputError(f"codec {text}: {condition}: allowed: boundaries from 1, the lower one first")
                else:
                    conditions["fields"] = (key,)
            part = rest
            head, _, rest = part.partition(":")
        result.append(CodecRule(codec(part), **conditions))
    return result


def _empty(shape: Sequence[int], like: Tensor) -> Tensor:
    return like.new_empty(shape)


@dataclass(frozen=True)
class Codecs:
    """The codecs of one network's boundaries in one iteration. Boundary l lies between layers l and l + 1, from 0.

    Attributes:
        plan: The codecs of the run.
        iteration: The iteration, from 1.
        ranges: Root mean squares of the first forward pass's outputs, of their parts below and above 0, by boundary of
            this process's layers.
        empty: Makes the tensors for what becomes of a field, of a shape, and like another tensor.
    """

    plan: Plan = field(default_factory=lambda: Plan.of(FULL))
    iteration: int = 1
    ranges: dict[int, tuple[float, float]] = field(default_factory=dict)
    empty: Callable[[Sequence[int], Tensor], Tensor] = field(default=_empty, repr=False)

    def on_grid(self, name: str) -> bool:
        """Whether the variable ``p`` or ``q`` lives on a grid."""
        return name in self.plan.gridded

    def at(self, name: str, boundary: int) -> Codec:
        """Return the codec of a field at a boundary."""
        chosen = codec(self.plan.choice(name, boundary + 1, self.iteration))
        if isinstance(chosen, FittedGrid):
            return chosen.between(*self.ranges[boundary])
        return chosen.during(self.iteration)

    def observe(
        self, boundary: int, q: Tensor, row_sum: Callable[[Tensor], Tensor], weight: Tensor | None = None
    ) -> None:
        """Note the range of a layer's outputs, where a grid may be fitted to it.

        Args:
            boundary: The boundary above the layer.
            q: The outputs, ``[…, N, n]``.
            row_sum: Sum over the shards of the rows.
            weight: Weights of the rows, ``[N]``, or ``None`` for ones.
        """
        if self.plan.gridded:
            s = q.new_ones(q.shape[-2], dtype=torch.float64) if weight is None else weight.double()
            squares = [(part.double() ** 2 * s[:, None]).sum() for part in (q.clamp(max=0), q.clamp(min=0))]
            weights = s.sum() * (q.numel() // max(len(s), 1))
            below, above, count = row_sum(torch.stack([*squares, weights])).tolist()
            self.ranges[boundary] = ((below / (count or 1)) ** 0.5, (above / (count or 1)) ** 0.5)

    def land(self, name: str, boundaries: range, x: Tensor) -> Tensor:
        """Return where a variable of consecutive layers comes to lie: on its grid if it lives on one, else at ``x``.

        Args:
            name: ``p`` or ``q``.
            boundaries: The boundary of each layer.
            x: The variable, ``[S, N, n]``.
        """
        return self.send(name, boundaries, x, None)[0] if self.on_grid(name) else x

    def size(self, name: str, boundaries: range, like: Tensor) -> int:
        """Return the bytes, at most, that a field of consecutive layers takes on its way, ``like`` ``[S, N, n]``."""
        if name in self.plan.untouched:
            return like.nbytes // max(like.shape[0], 1) * len(boundaries)
        return sum(self.at(name, l).size(like.shape[1:], like.dtype) for l in boundaries)

    def send(
        self, name: str, boundaries: range, x: Tensor, before: Tensor | None, leaving: int | None = None
    ) -> tuple[Tensor, Tensor | None, int]:
        """Return what the other ends of some boundaries make of a field, the payload for one that leaves, and bytes.

        Args:
            name: ``p`` or ``q``.
            boundaries: The boundary of each layer of the stack.
            x: The field, ``[S, N, n]``.
            before: What the other ends make of the last one, ``[S, N, n]``.
            leaving: The boundary for which there must be a payload.

        Returns:
            The field ``[S, N, n]``, the payload or ``None``, and the bytes of the payloads for all boundaries.
        """
        if leaving is None and name in self.plan.untouched:
            return x, None, self.size(name, boundaries, x)
        codecs = [self.at(name, l) for l in boundaries]
        lossless = all(c.lossless(x.dtype) for c in codecs)
        sent, payload, size = x if lossless else self.empty(x.shape, x), None, 0
        if leaving is None and codecs[0].fixed and all(c == codecs[0] for c in codecs):
            return codecs[0].project(x, before, None if lossless else sent), None, self.size(name, boundaries, x)
        for s, (c, l) in enumerate(zip(codecs, boundaries, strict=True)):
            layer, known = x[s], None if before is None else before[s]
            out = None if lossless else sent[s]
            if c.fixed and l != leaving:
                c.project(layer, known, out)
                size += c.size(layer.shape, layer.dtype)
            else:
                coded, _ = c.transmit(layer, known, out)
                payload, size = coded if l == leaving else payload, size + len(coded)
        return sent, payload, size

"""Codecs: how p and q are written as bytes on their way from layer to layer.

A codec is chosen by name:

=======================  ========================================================================================
``full``                 values as they are (the default)
``fp64 fp32 fp16 bf16``  floating-point formats
``int8 int4 int2``       integers times a scale a row; ``int4:64``: a scale a block of 64 entries
``int1 ternary:DEAD``    signs times a scale a row, of all entries or of the large ones
``int4-delta`` …         the same, of differences to what was sent before, so that errors feed back and vanish
``changed:INNER``        the rows that changed, in another codec; ``changed:THRESHOLD:RATE:INNER``
``zstd:INNER``           the payload of another codec, compressed
``lean``                 ``zstd:changed:ternary-delta``
``grid:LOW:HIGH:M``      pdADMM-G-Q: the variable itself lives on M ≤ 65,536 points, and their numbers are sent
``grid:V;V;V``           the same, on any points
``grid:auto:M``          the same, with bounds from the first forward pass of each layer
``grid:paper``           {−1, 0, …, 20}, as in the paper; ``grid:released``: its code's 1,000 points in [−1, 2]
=======================  ========================================================================================

What all of them promise: ``decode(encode(x))`` is ``project(x)``, bit for bit; the payload has the length that ``size``
says beforehand, or with ``changed`` and ``zstd`` at most that; NaN and infinity are errors. Codecs know neither
networks nor layers; :mod:`gamlp_admm.codecs.plan` says which one serves when and where.

Source: quantised communication of pdADMM-G-Q, TNNLS 2022, arXiv 2105.09837, Section V; error feedback as in F. Seide
et al., Interspeech 2014.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from torch import Tensor

from gamlp_admm.codecs.base import Codec, RowCodec
from gamlp_admm.codecs.casts import FORMATS, Cast
from gamlp_admm.codecs.changed import Changed
from gamlp_admm.codecs.grids import FittedGrid, Grid, ListedGrid, UniformGrid
from gamlp_admm.codecs.integers import Delta, Scaled
from gamlp_admm.codecs.signs import Signs
from gamlp_admm.codecs.zstd import Zstd
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.system.lazy import shown

__all__ = [
    "CODECS",
    "Cast",
    "Changed",
    "Codec",
    "Delta",
    "FittedGrid",
    "Grid",
    "ListedGrid",
    "RowCodec",
    "Scaled",
    "Signs",
    "UniformGrid",
    "Zstd",
    "codec",
    "register_codec",
]

__dir__ = shown(__name__)

NAMED_GRIDS = {"paper": UniformGrid(-1.0, 20.0, 22), "released": UniformGrid(-1.0, 2.0, 1000)}
Parse: TypeAlias = Callable[[str], "Codec | FittedGrid"]
"""From what follows a codec's name, after a colon, to the codec; an empty text if nothing does."""


def _cast(name: str, rest: str) -> Cast:
    if rest:
        raise ValueError
    return Cast(name)


def _scaled(bits: int, delta: bool, rest: str) -> Codec:
    block = re.fullmatch(r"([1-9]\d*)?(-delta)?", rest)
    if block is None or (delta and rest):
        raise ValueError
    scaled = Scaled(bits, int(block[1]) if block[1] else None)
    return Delta(scaled) if delta or block[2] else scaled


def _ternary(delta: bool, rest: str) -> Codec:
    number = rest.removesuffix("-delta")
    if delta and rest:
        raise ValueError
    signs = Signs(float(number)) if number else Signs()
    return Delta(signs) if delta or number != rest else signs


def _int1(delta: bool, rest: str) -> Codec:
    if rest:
        raise ValueError
    return Delta(Signs(0)) if delta else Signs(0)


def _changed(rest: str) -> Codec:
    threshold, rest = _leading(rest, Changed.threshold)
    rate, rest = _leading(rest, Changed.rate)
    return Changed(_inner("changed", rest), threshold, rate)


def _leading(text: str, default: float) -> tuple[float, str]:
    # The number that a text begins with, and what follows; no name of a codec begins as a number does.
    if text[:1] not in tuple("0123456789.-"):
        return default, text
    number, _, rest = text.partition(":")
    return float(number), rest


def _zstd(rest: str) -> Codec:
    return Zstd(_inner("zstd", rest))


def _lean(rest: str) -> Codec:
    if rest:
        raise ValueError
    return _zstd("changed:ternary-delta")


def _inner(outer: str, rest: str) -> Codec:
    inner = codec(rest or "int2-delta")
    if isinstance(inner, Grid | FittedGrid):
        raise InputError(f"codec {outer}:{rest}: {outer} takes no grid")
    if outer == "changed" and "changed" in str(inner):
        raise InputError(f"codec {outer}:{rest}: allowed: changed once")
    return inner


def _grid(rest: str) -> Codec | FittedGrid:
    kind, *numbers = rest.split(":") if rest else ["auto"]
    if kind == "auto" and len(numbers) <= 1:
        return FittedGrid(*map(int, numbers))
    if kind in NAMED_GRIDS and not numbers:
        return NAMED_GRIDS[kind]
    if not numbers:
        return ListedGrid([float(value) for value in kind.split(";")])
    high, points = numbers
    return UniformGrid(float(kind), float(high), int(points))


CODECS: dict[str, Parse] = {
    **{name: partial(_cast, name) for name in ("full", *FORMATS)},
    **{f"int{bits}": partial(_scaled, bits, False) for bits in (8, 4, 2)},
    **{f"int{bits}-delta": partial(_scaled, bits, True) for bits in (8, 4, 2)},
    "int1": partial(_int1, False),
    "int1-delta": partial(_int1, True),
    "ternary": partial(_ternary, False),
    "ternary-delta": partial(_ternary, True),
    "changed": _changed,
    "zstd": _zstd,
    "lean": _lean,
    "grid": _grid,
}
"""The codecs by name: how what follows the name is read."""

FORMS = {
    **{name: f"{name}, {name}:BLOCK, {name}-delta, {name}:BLOCK-delta" for name in ("int8", "int4", "int2")},
    "int1": "int1, int1-delta",
    "ternary": "ternary, ternary:DEAD, ternary-delta, ternary:DEAD-delta",
    "changed": "changed:CODEC, changed:THRESHOLD:CODEC, changed:THRESHOLD:RATE:CODEC",
    "grid": "grid:LOW:HIGH:POINTS, grid:V;V;V, grid:auto:POINTS, grid:paper, grid:released",
}
"""What messages say of the forms of a codec's text, where there are more than its name."""


def register_codec(name: str, parse: Parse, form: str = "") -> None:
    """Make a codec known by name, on the command line too.

    Args:
        name: The name; what follows it in a text, after a colon, is handed to ``parse``.
        parse: Returns the codec. A ``ValueError`` says that the text is wrong.
        form: What a message says is allowed then.

    Raises:
        InputError: The name is taken, or has a character that separates rules (:mod:`gamlp_admm.codecs.plan`).

    Example:
        >>> from gamlp_admm.codecs import CODECS, UniformGrid, codec, register_codec
        >>> register_codec("thirds", lambda rest: UniformGrid(-1.0, 1.0, 3))
        >>> codec("thirds").points
        3
        >>> del CODECS["thirds"]
    """
    if name in CODECS:
        raise InputError(f"codec {name!r} is there already")
    if not re.fullmatch(r"[a-z][a-z0-9_-]+", name):
        raise InputError(f"codec {name!r}: allowed: two or more lower-case letters, digits, _ and -, a letter first")
    CODECS[name] = parse
    FORMS[name] = form or name


def codec(spec: Any) -> Codec | FittedGrid:
    """Return the codec that ``spec`` names.

    Args:
        spec: A name (see the module's table), a sorted list or tensor of a grid's points, or a codec.

    Raises:
        InputError: There is no such codec.

    Example:
        >>> import torch
        >>> from gamlp_admm.codecs import codec
        >>> x = torch.randn(5, 100)
        >>> int8 = codec("int8")
        >>> payload = int8.encode(x)
        >>> len(payload) == int8.size(x.shape) < x.nbytes
        True
        >>> torch.equal(int8.decode(payload, like=x), int8.project(x))
        True
    """
    if isinstance(spec, Codec | FittedGrid):
        return spec
    if isinstance(spec, Tensor) or (isinstance(spec, Sequence) and not isinstance(spec, str)):
        return ListedGrid(spec)
    name, _, rest = str(spec).partition(":")
    if name not in CODECS:
        raise unknown("codec", str(spec), [FORMS[known] if known == "grid" else known for known in CODECS])
    try:
        return CODECS[name](rest)
    except InputError:
        raise
    except ValueError:
        raise InputError(f"codec {spec!r}: allowed: {FORMS.get(name, name)}") from None

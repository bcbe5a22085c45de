"""Codecs: how p and q are written as bytes on their way from layer to layer.

A codec is chosen by name:

=====================  =========================================================================================
``full``               values as they are (the default)
``fp64 fp32 fp16 bf16``  floating-point formats
``int8 int4 int2``     integers times a scale a row; ``int4:64``: a scale a block of 64 entries
``int4-delta`` …       the same, of differences to what was sent before, so that errors feed back and vanish
``grid:LOW:HIGH:M``    pdADMM-G-Q: the variable itself lives on M ≤ 65,536 points, and their numbers are sent
``grid:V;V;V``         the same, on any points
``grid:auto:M``        the same, with bounds from the first forward pass of each layer
``grid:paper``         {−1, 0, …, 20}, as in the paper; ``grid:released``: its code's 1,000 points in [−1, 2]
=====================  =========================================================================================

What all of them promise: ``decode(encode(x))`` is ``project(x)``, bit for bit; the payload has the length that ``size``
says beforehand, without a header; NaN and infinity are errors. Codecs know neither networks nor layers;
:mod:`gamlp_admm.codecs.plan` says which one serves when and where.

Source: quantised communication of pdADMM-G-Q, TNNLS 2022, arXiv 2105.09837, Section V; error feedback as in F. Seide
et al., Interspeech 2014.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gamlp_admm.codecs.base import Codec
from gamlp_admm.codecs.casts import FORMATS, Cast
from gamlp_admm.codecs.grids import FittedGrid, Grid, ListedGrid, UniformGrid
from gamlp_admm.codecs.integers import Delta, Scaled
from gamlp_admm.errors import InputError, unknown

__all__ = ["CODECS", "Cast", "Codec", "Delta", "FittedGrid", "Grid", "ListedGrid", "Scaled", "UniformGrid", "codec"]

INTEGERS = ("int8", "int4", "int2")
CODECS = ("full", *FORMATS, *INTEGERS, *(f"{name}-delta" for name in INTEGERS), "grid:LOW:HIGH:POINTS")
NAMED_GRIDS = {"paper": UniformGrid(-1.0, 20.0, 22), "released": UniformGrid(-1.0, 2.0, 1000)}


def codec(spec: Any) -> Codec | FittedGrid:
    """Return the codec that ``spec`` names.

    Args:
        spec: A name (see the module's table), a sorted list or tensor of a grid's points, or a codec.

    Raises:
        InputError: There is no such codec.
    """
    if isinstance(spec, Codec | FittedGrid):
        return spec
    if isinstance(spec, Tensor) or (isinstance(spec, Sequence) and not isinstance(spec, str)):
        return ListedGrid(spec)
    spec = str(spec)
    if spec == "full" or spec in FORMATS:
        return Cast(spec)
    if match := re.fullmatch(r"int([842])(?::([1-9]\d*))?(-delta)?", spec):
        bits, block, delta = match.groups()
        scaled = Scaled(int(bits), int(block) if block else None)
        return Delta(scaled) if delta else scaled
    if spec == "grid" or spec.startswith("grid:"):
        return _grid(spec)
    raise unknown("codec", spec, CODECS)


def _grid(spec: str) -> Codec | FittedGrid:
    kind, *numbers = spec.split(":")[1:] or ["auto"]
    try:
        if kind == "auto" and len(numbers) <= 1:
            return FittedGrid(*map(int, numbers))
        if kind in NAMED_GRIDS and not numbers:
            return NAMED_GRIDS[kind]
        if not numbers:
            return ListedGrid([float(value) for value in kind.split(";")])
        high, points = numbers
        return UniformGrid(float(kind), float(high), int(points))
    except InputError:
        raise
    except ValueError:
        forms = "grid:LOW:HIGH:POINTS, grid:V;V;V, grid:auto:POINTS, grid:paper, grid:released"
        raise InputError(f"codec {spec!r}: allowed: {forms}") from None

"""The notation of what is searched: ranges of numbers, choices, and features such as ``ppr/10/0.05``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gamlp_admm.errors import InputError
from gamlp_admm.experiment.declaration import SEARCHED
from gamlp_admm.experiment.options import Options, declared, names_where
from gamlp_admm.propagation import OPERATORS
from gamlp_admm.transforms.combine_features import CombineFeatures, parse_hops

FEATURES = "features"
RATIOS = {"rho/nu": "rho", "mu/nu": "mu"}
"""Options that may be searched as a multiple of ν."""

JOINT = {FEATURES: ("operator", "hops", "alpha", "t"), **{ratio: (option, "nu") for ratio, option in RATIOS.items()}}
"""Names that stand for several options, which are chosen together."""


def searchable() -> tuple[str, ...]:
    """Return the names of the options that may be searched: those that say how well is trained, not what or where."""
    return names_where(tune=SEARCHED)


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``: evenly, or evenly in the logarithm; ``whole`` ones or two digits of any."""

    low: float
    high: float
    log: bool
    whole: bool


@dataclass(frozen=True)
class Choice:
    """A few values, by their text: the options that each sets."""

    values: Mapping[str, Mapping[str, Any]]


def parse(name: str, text: str) -> Range | Choice:
    """Return what the text of a name means.

    Raises:
        InputError: It is not one of its notation.
    """
    kinds: set[type] = {float} if name in RATIOS else set() if name == FEATURES else {*declared()[name].kinds}
    if name in RATIOS or (":" in text and kinds & {int, float}):
        return _range(name, text, float not in kinds)
    values: dict[str, dict[str, Any]] = {}
    for item in map(str.strip, text.split(",")):
        values[item] = _features(item) if name == FEATURES else {name: _value(name, item, kinds)}
    return Choice(values)


def _range(name: str, text: str, whole: bool) -> Range:
    low, _, rest = text.partition(":")
    high, sign, scale = rest.partition(":")
    number: Callable[[str], float] = int if whole else _finite
    try:
        made = Range(number(low), number(high), scale == "log", whole)
    except ValueError:
        made = None
    if made is None or (sign and not made.log) or not made.low < made.high or (made.log and made.low <= 0):
        kind = "integers" if whole else "numbers"
        raise InputError(
            f"search {name}={text}: allowed: LOW:HIGH or LOW:HIGH:log, {kind}, LOW < HIGH, 0 < LOW for log"
        )
    return made


def _features(text: str) -> dict[str, Any]:
    if text == "none":
        return {"operator": "none"}
    try:
        made = CombineFeatures.parse(text).parts
    except InputError as error:
        raise InputError(f"search features={text}: {error}; or none") from None
    if len(made) > 1 or made[0].normalize_features:
        return {"operator": text}
    return {name: getattr(made[0], name) for name in _names(str(made[0].operator))}


def _names(operator: str) -> tuple[str, ...]:
    """Return the options that the notation of an operator's features gives."""
    parameter = OPERATORS[operator].parameter if operator in OPERATORS else None
    return ("operator", "hops", parameter) if parameter else ("operator", "hops")


def _value(name: str, text: str, kinds: set[type]) -> Any:
    for kind, read in PARSERS.items():
        if kind in kinds and text:
            try:
                return read(text)
            except ValueError:
                continue
    if text == "none":  # as if it were not given
        return None
    allowed = " or ".join(WORDS[kind] for kind in PARSERS if kind in kinds)
    raise InputError(f"search {name}: {text!r} is not allowed; allowed: {allowed}")


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


PARSERS: dict[type, Callable[[str], Any]] = {bool: _flag, int: int, float: _finite, tuple: parse_hops, str: str}
WORDS = {bool: "true, false", int: "integers", float: "numbers", tuple: "sets as 0-4 or 0+2+4", str: "names"}


def features_text(used: Options) -> str:
    """Return the notation of resolved options' features."""
    return "/".join(value_text(value) for name in _names(used.operator) if (value := getattr(used, name)) is not None)


def value_text(value: Any) -> str:
    """Return the notation of a value."""
    if isinstance(value, tuple):
        consecutive = len(value) > 0 and all(b == a + 1 for a, b in pairwise(value))
        return f"{value[0]}-{value[-1]}" if consecutive else "+".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)

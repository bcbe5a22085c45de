"""Every exception of the package, and the checks that all of it shares.

What users see when their input is wrong is one line that names the input and what is allowed.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "ContentError",
    "DamageWarning",
    "Diverged",
    "InputError",
    "InputWarning",
    "Interrupted",
    "NeighbourError",
    "OutputLost",
    "ProcessFailed",
    "ProcessInputError",
]


class InputError(ValueError):
    """The user's input is wrong. The command line prints the message on one line and exits with status 2.

    Example:
        >>> from gamlp_admm import PdADMMG
        >>> PdADMMG(rho=-1)
        Traceback (most recent call last):
        gamlp_admm.errors.InputError: rho must be positive, not -1
    """


class InputWarning(UserWarning):
    """The user's input is usable but probably not what was meant."""


class DamageWarning(UserWarning):
    """A file is not what was written: an older one is used, or it is made anew. ``--quiet`` does not silence it."""


class ContentError(InputError):
    """A value, such as a function's, cannot be told from another one by what it holds, and so nothing kept for it."""


class Told(InputError):
    """The first process's input is wrong, and this one, which does as it does, was told; the first one says so."""


class ProcessInputError(InputError):
    """The processes of a run were started with different input, or that of some is wrong; all of them say so."""


class Interrupted(Exception):
    """Ctrl-C, SIGTERM or SIGHUP; the message says what is left of the work."""


class Diverged(FloatingPointError):
    """The iterates of training are no longer finite numbers; what was best before is kept.

    Attributes:
        result: What ``fit`` would have returned of the iterations before; its model has the best weights of them.
        run: What :func:`gamlp_admm.experiment.run` would have returned, where that was called.

    Example:
        >>> from gamlp_admm.errors import Diverged
        >>> from gamlp_admm.experiment import Experiment, run
        >>> try:
        ...     run(Experiment(dataset="karate", algorithm="sgd", lr=1e8, iterations=9))
        ... except Diverged as error:
        ...     print(error, error.run.report["stopped"])
        iteration 3: the objective is no longer finite; the model has the best weights so far 3
    """

    def __init__(self, message: str, result: Any = None, run: Any = None) -> None:
        super().__init__(message)
        self.result, self.run = result, run


class NeighbourError(RuntimeError):
    """A process that this one exchanges fields with failed or did not answer in time."""


class ProcessFailed(RuntimeError):
    """A process of a run failed; the message is its own line, or says how it ended.

    Attributes:
        status: The exit status that follows.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class OutputLost(RuntimeError):
    """Standard output took not all that was written; no message where its reader has left, who knows."""


OURS = (InputError, Interrupted, Diverged, NeighbourError, ProcessFailed, OutputLost)
"""Errors whose message is all that there is to say."""


def line(error: BaseException) -> str:
    """Return what is said of an error, on one line."""
    text = str(error) if isinstance(error, OURS) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def positive_integer(name: str, value: object) -> int:
    """Return a value as an ``int``, if it is a positive integer: Python's, or one that stands for it, as NumPy's do.

    Args:
        name: What the value is for.
        value: The value.

    Raises:
        InputError: It is anything else, such as a float or a bool.
    """
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number < 1:
        raise InputError(f"{name} must be a positive integer, not {value!r}")
    return number


def number(name: str, value: object) -> float:
    """Return a value as a ``float``, if it is one number: Python's, NumPy's or of a tensor, not a text or a bool.

    Args:
        name: What the value is for.
        value: The value.

    Raises:
        InputError: It is anything else.
    """
    try:
        if isinstance(value, bool | str | bytes):
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} must be a number, not {value!r}") from None


def integer(name: str, value: object) -> int:
    """Return a value as an ``int``, if it is one: Python's, or one that stands for it; arguments as :func:`number`.

    Raises:
        InputError: It is anything else.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{name} must be an integer, not {value!r}") from None


UNITS = {"": 1, "B": 1} | {
    f"{letter}{i}B": (1024 if i else 1000) ** n for n, letter in enumerate("kMGT", 1) for i in ("i", "")
}
"""What sizes are given in."""


def byte_count(name: str, value: object) -> int:
    """Return a number of bytes: an integer, or a text such as ``"4GiB"`` or ``"500 MB"``.

    Args:
        name: What the value is for.
        value: The value.

    Raises:
        InputError: It is anything else, or not positive.
    """
    told = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", value.strip()) if isinstance(value, str) else None
    factor = {unit.lower(): factor for unit, factor in UNITS.items()}.get(told[2].lower()) if told else None
    count = value if told is None else None if factor is None else int(float(told[1]) * factor)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise InputError(f"{name} must be a number of bytes, such as 4GiB or 500MB, not {value!r}")
    return count


def bit_rate(name: str, value: object) -> float:
    """Return a number of bits a second: a number, or a text such as ``"100Mbit"`` or ``"2.5 Gbit/s"``.

    Args:
        name: What the value is for.
        value: The value.

    Raises:
        InputError: It is anything else, or not positive and finite.
    """
    pattern = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)bit(?:/s)?", re.IGNORECASE)
    told = pattern.fullmatch(value.strip()) if isinstance(value, str) else None
    rate = float(told[1]) * 1000 ** " kmgt".index(told[2].lower() or " ") if told else value
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise InputError(f"{name} must be a number of bits a second, such as 100Mbit or 2.5Gbit/s, not {value!r}")
    return float(rate)


def flag(name: str, value: object) -> bool:
    """Return a value as a ``bool``, if it is one: Python's or NumPy's; of a text, "no" would count as yes.

    Raises:
        InputError: It is anything else.
    """
    if type(value).__name__ not in ("bool", "bool_"):
        raise InputError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def several(name: str, value: object, what: str) -> list[Any]:
    """Return the items of a value, if it has some: not of one thing that stands alone, or a text.

    Args:
        name: What the value is for.
        value: The value.
        what: What the items are, as the message says it.

    Raises:
        InputError: It is no collection.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InputError(f"{name} must be a list of {what}, not {value!r}")
    return list(value)


def file_name(name: str, value: object) -> str:
    """Return a path as a text.

    Raises:
        InputError: It is no path.
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name} must be a path, not a {type(value).__name__}")
    return os.fspath(value)


def random_seed(seed: object) -> int | None:
    """Return a seed as an ``int``, or ``None``.

    Raises:
        InputError: It is anything else, or too large for torch.
    """
    if seed is None:
        return None
    try:
        number = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not 0 <= number < 2**64:
        raise InputError(f"seed must be an integer from 0 to 2**64 - 1, or None, not {seed!r}")
    return number


def unknown(kind: str, name: object, allowed: Iterable[str]) -> InputError:
    """Return the error for a name that is not known, with the nearest known name.

    Args:
        kind: What the name stands for, e.g. ``"operator"``.
        name: The name given.
        allowed: The names that are known.

    Returns:
        An :class:`InputError`, to be raised by the caller.
    """
    names = list(allowed)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {name!r}: {hint}allowed: {', '.join(names)}")

"""How an option is declared: what is known of it beside its name and its type, and what values it may have."""

from __future__ import annotations

import operator
import os
import re
from dataclasses import dataclass, field
from importlib import import_module
from numbers import Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from gamlp_admm.errors import InputError, unknown

DATA, FEATURES, NETWORK = "Data", "Features", "Network"
TRAINING, ADMM, PDADMM, PDADMM_G_Q = "Algorithm", "Algorithm (ADMM)", "Algorithm (pdADMM)", "Algorithm (pdADMM-G-Q)"
SWEEPS, MDLAM = "Algorithm (dlADMM and mDLAM)", "Algorithm (mDLAM)"
GRADIENTS, CONSENSUS = "Algorithm (gradients)", "Algorithm (BADM and SISA)"
PROCESSES, OUTPUT = "Processes", "Output"
GROUPS = (
    *(DATA, FEATURES, NETWORK),
    *(TRAINING, ADMM, PDADMM, PDADMM_G_Q, SWEEPS, MDLAM, GRADIENTS, CONSENSUS),
    *(PROCESSES, OUTPUT),
)
"""Sections of help, in their order; those in parentheses hold what only some algorithms take."""

ANY, TUNED = "any algorithm", "the algorithms that recipes are tuned for"
SEARCHED, FIXED, ASIDE = "searched", "fixed", "aside"
SAME, GIVEN, OWN = "the same", "given in all or none", "its own"


@dataclass(frozen=True)
class Option:
    """What an option is, beside its name and its type.

    Attributes:
        help: What it does.
        group: Section of help, one of :data:`GROUPS`.
        default: What stands where neither the user nor a recipe sets it. ``None``: nothing, or what its help says.
        text: What help says of the default, where that is no constant.
        names: Names that it may have: a tuple, or where in this package their table lies, as ``"module:TABLE"``.
        open: Whether its values may be others, which something else checks; ``names`` are then for completion.
        listed: Whether help lists the names, whose table then imports no torch.
        least: Smallest value.
        most: Largest value, of those that are no matter of taste but of a machine.
        setting: Whether it is an argument of the trainer, which then has the default.
        recipe: Who takes it from a data set's recipe: :data:`ANY`, :data:`TUNED` or nobody.
        tune: Whether ``tune`` may search it; what is not searched makes another search of a search (``fixed``), or
            does not matter to what is found (``aside``).
        free: Whether it may change between the runs that share a checkpoint.
        across: What each process of a run must have: the same value (:data:`SAME`), one of its own if the others have
            one, as of a directory on its machine (:data:`GIVEN`), or any (:data:`OWN`).
        metavar: What help calls the value.
        off: The opposite of a flag, as ``"--plain"``.
        former: A name that it had before, which files and command lines may still have.
    """

    help: str
    group: str
    default: Any = None
    text: str | None = None
    names: tuple[str, ...] | str = ()
    open: bool = False
    listed: bool = False
    least: int | None = None
    most: int = 2**63 - 1
    setting: bool = False
    recipe: str | None = None
    tune: str = SEARCHED
    free: bool = False
    across: str = SAME
    metavar: str | None = None
    off: str | None = None
    former: str | None = None

    def default_text(self) -> str | None:
        """Return what help says of the default, ``None`` where there is none."""
        if self.text is not None or self.default is None or (self.default is False and self.off is None):
            return self.text
        text = f"{self.default:g}" if isinstance(self.default, float) else str(self.default)
        if self.off is not None and not self.default:
            text = self.off.removeprefix("--")
        return f"recipe, else {text}" if self.recipe else text

    def allowed(self) -> list[str]:
        """Return :attr:`names`, read where they lie; this may import torch."""
        if isinstance(self.names, str):
            module, _, table = self.names.partition(":")
            found = getattr(import_module(f"gamlp_admm.{module}"), table)
            return list(found() if callable(found) else found)
        return list(self.names)


def option(help: str, group: str, default: Any = None, **more: Any) -> Any:
    """Return the field of an :class:`Option`: ``None`` until resolved where a recipe or the algorithm has a say."""
    made = Option(help, group, default, **more)
    later = made.setting or made.recipe is not None
    return field(default=None if later else default, metadata={"option": made})


def setting(help: str, group: str, text: str, **more: Any) -> Any:
    """Return the field of an :class:`Option` that is an argument of the trainer, which has the default."""
    return option(help, group, text=text, setting=True, **more)


def kinds_of(hint: Any) -> frozenset[type]:
    """Return the types of a hint, without ``None`` and without their own parameters."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return frozenset({get_origin(part) or part for part in parts} - {NoneType})


@dataclass(frozen=True)
class Declared:
    """An option, its name and the types of its values.

    Attributes:
        name: Its name.
        kinds: Types of its values.
        option: The rest.
    """

    name: str
    kinds: frozenset[type]
    option: Option

    def check(self, value: Any) -> Any:
        """Return a value, of a file or of a Python program, in the option's type.

        Raises:
            InputError: It is of another type, too small, or no name that is known.
        """
        checked = self._typed(value)
        least, most = self.option.least, self.option.most
        if isinstance(checked, int) and checked > most and most < 2**63 - 1:
            raise InputError(f"{self.name} must be at most {most}, not {value!r}")
        if least is not None and not isinstance(checked, str | tuple) and not least <= checked <= most:
            limit = "2^63 - 1" if most == 2**63 - 1 else most
            what = "a positive integer" if least == 1 else f"an integer from {least} to {limit}"
            raise InputError(f"{self.name} must be {what}, not {value!r}")
        if self.option.names and not self.option.open and isinstance(checked, str):
            allowed = [*self.option.allowed(), *(["a positive integer"] if int in self.kinds else [])]
            if checked not in allowed[: len(self.option.allowed())]:
                raise unknown(self.name.replace("_", " "), checked, allowed)
        return checked

    def _typed(self, value: Any) -> Any:
        if isinstance(value, bool) or bool in self.kinds:
            if bool in self.kinds and isinstance(value, bool):
                return value
        elif isinstance(value, list | tuple | range):
            if tuple in self.kinds and all(hasattr(v, "__index__") and not isinstance(v, bool) for v in value):
                return tuple(map(operator.index, value))
        elif int in self.kinds and hasattr(value, "__index__"):
            return operator.index(value)
        elif {int, str} <= self.kinds and isinstance(value, str) and INTEGER.fullmatch(value):
            return int(value)  # of a command line, where all are texts
        elif float in self.kinds and isinstance(value, Real):
            return float(value)
        elif str in self.kinds and isinstance(value, str | os.PathLike):
            return os.fspath(value)
        words = " or ".join(word for kind, word in WORDS.items() if kind in self.kinds)
        raise InputError(f"{self.name} must be {words}, not {value!r}")


INTEGER = re.compile(r"[+-]?[0-9]+")

WORDS = {bool: "true or false", int: "an integer", float: "a number", tuple: "a list of integers", str: "a text"}
"""What messages call the types of options."""

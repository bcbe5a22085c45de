"""What users see when their input is wrong: one line that names the input and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The user's input is wrong. The command line prints the message on one line and exits with status 2."""


class InputWarning(UserWarning):
    """The user's input is usable but probably not what was meant."""


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

"""Every option of a training run, declared once: a field of :class:`Options` and the :class:`Option` beside it.

They stand by group in ``data_options``, ``training_options`` and ``process_options``; :class:`Options` has all of them.
The field's type says what values it has when it is used, the option says the rest. Made from them: the command line
with its help and completion, :class:`~gamlp_admm.experiment.Experiment`, files of options, the ``config`` of reports,
what a recipe may set, what identifies a checkpoint, and what ``tune`` may search. Nothing here imports torch, so that
help is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, TypeVar, get_type_hints

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment.data_options import DataOptions
from gamlp_admm.experiment.declaration import ANY, GIVEN, SAME, TUNED, Declared, Option, kinds_of
from gamlp_admm.experiment.process_options import ProcessOptions
from gamlp_admm.experiment.training_options import TrainingOptions

IN_MEMORY = "<memory>"
"""What the option ``data`` says of a graph that lies in no file."""

OF_GRAPHS = ("label", "features", "id", "weight", "split", "split_seed", "split_index")
"""Options that say how a graph of one's own is read."""

Self = TypeVar("Self", bound="Options")


@dataclass(frozen=True, kw_only=True, repr=False)
class Options(ProcessOptions, TrainingOptions, DataOptions):  # the last are the first in help, files and reports
    """The options of a training run."""

    more: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    """Values of options that other packages declared (:func:`register_option`), by name."""

    def __repr__(self) -> str:
        usual = {f.name: (f.default, each.option.default) for f in fields(self) if (each := declared().get(f.name))}
        shown = {name: value for name, value in self.values().items() if value not in usual.get(name, (None,))}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def of(cls: type[Self], values: Mapping[str, Any]) -> Self:
        """Return options with these values, by name; ``None`` and what is missing is as if it were not given.

        Raises:
            InputError: There is no such option.
        """
        values = renamed(values)
        for name in values.keys() - declared().keys():
            raise unknown("option", name, declared())
        given = {name: value for name, value in values.items() if value is not None}
        own: dict[str, Any] = {name: given[name] for name in given.keys() - _REGISTERED.keys()}
        return cls(**own, more=tuple((name, given[name]) for name in _REGISTERED if name in given))

    def changed(self: Self, values: Mapping[str, Any]) -> Self:
        """Return options with other values of some, by name, those of other packages among them."""
        own = {name: value for name, value in values.items() if name not in _REGISTERED}
        more = {**dict(self.more), **{name: value for name, value in values.items() if name in _REGISTERED}}
        return replace(self, **own, more=tuple(more.items()))

    def values(self) -> dict[str, Any]:
        """Return the value of every option, by name."""
        return {name: getattr(self, name) for name in declared()}

    def common(self) -> dict[str, Any]:
        """Return what the processes of a run must have in common, by name."""
        across = {name: each.option.across for name, each in declared().items()}
        given = {name: "given" for name, value in self.values().items() if value is not None}
        same = {name: value for name, value in self.values().items() if across[name] == SAME}
        return same | {name: given.get(name) for name in across if across[name] == GIVEN}

    def __getattr__(self, name: str) -> Any:  # asked only where there is no field of this name
        if name not in _REGISTERED:
            raise AttributeError(f"there is no option {name!r}")
        return dict(self.more).get(name)


_REGISTERED: dict[str, Declared] = {}


def register_option(name: str, kind: Any, option: Option) -> None:
    """Declare an option from outside the package; it is then on the command line, in files, reports and recipes.

    Args:
        name: Its name in Python, with ``_`` between words.
        kind: The type of its values, as ``float`` or ``int | None``.
        option: The rest. With ``setting``, it is handed to the trainers that have a field of this name.

    Raises:
        InputError: There is such an option.

    Example:
        >>> from gamlp_admm.experiment import Option, register_option
        >>> register_option("layers", int, Option("Layers.", "Network"))
        Traceback (most recent call last):
        gamlp_admm.errors.InputError: option 'layers' is there already
    """
    if name in declared():
        raise InputError(f"option {name!r} is there already")
    _REGISTERED[name] = Declared(name, kinds_of(kind), option)


def declared() -> dict[str, Declared]:
    """Return every option by name, those of other packages last."""
    return {**_own(), **_REGISTERED}


@cache
def _own() -> dict[str, Declared]:
    hints = get_type_hints(Options)
    rows = {f.name: f.metadata["option"] for f in fields(Options) if "option" in f.metadata}
    return {name: Declared(name, kinds_of(hints[name]), row) for name, row in rows.items()}


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of options by the names that these have now."""
    now = {each.option.former: name for name, each in declared().items() if each.option.former}
    return {now.get(name, name): value for name, value in values.items()}


def names_where(**attributes: Any) -> tuple[str, ...]:
    """Return the names of the options whose :class:`Option` has these attributes, as ``names_where(free=True)``."""
    return tuple(
        name
        for name, each in declared().items()
        if all(getattr(each.option, key) == value for key, value in attributes.items())
    )


def recipe_names(*takers: str) -> set[str]:
    """Return the names of the options that a recipe may set, of those whose taker is one of some."""
    return {name for taker in takers or (ANY, TUNED) for name in names_where(recipe=taker)}


def described(kind: type[Options]) -> None:
    """Let a class of options say in its docstring what each of them is."""
    attributes = "\n".join(f"    {name}: {each.option.help}" for name, each in declared().items())
    more = "    more: Values of options that other packages declared, by name."
    kind.__doc__ = f"{kind.__doc__}\n\nAttributes:\n{attributes}\n{more}\n"


described(Options)

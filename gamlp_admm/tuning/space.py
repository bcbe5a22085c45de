"""What a search chooses from: options of an experiment, each with its choices or its range."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gamlp_admm.algorithms import trainer_class
from gamlp_admm.datasets import dataset_info
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment import Experiment, Resolved
from gamlp_admm.experiment.recipe import read_table
from gamlp_admm.tuning.notation import (
    FEATURES,
    JOINT,
    RATIOS,
    Choice,
    Range,
    features_text,
    parse,
    searchable,
    value_text,
)


class Space:
    """How options are searched.

    Args:
        searched: Text by name. A name is an option of :class:`gamlp_admm.experiment.Experiment`; ``features``, for
            operator, hops and alpha or t together; or ``rho/nu`` or ``mu/nu``, for multiples of ν. A text is a range of
            numbers, ``low:high`` or ``low:high:log``, or choices, with commas between. Sets of integers, such as hops,
            are written ``0+2+4`` or ``0-4``; features ``ppr/10/0.05``, ``sym/0-4``, ``heat/10/3`` or ``none``.

    Raises:
        InputError: A name is not known, a text does not fit it, or two names set the same option.

    Example:
        >>> from gamlp_admm.tuning import Space
        >>> sorted(Space({"features": "ppr/10,sym/1-2", "nu": "1e-4:1:log", "layers": "2,5"}).texts)
        ['features', 'layers', 'nu']
    """

    def __init__(self, searched: Mapping[str, str]) -> None:
        self.texts: dict[str, str] = {}
        self.dimensions: dict[str, Range | Choice] = {}
        for given, text in searched.items():
            name = given.strip().replace("-", "_")
            if name not in (*JOINT, *searchable()):
                raise unknown("option to search", given, (*JOINT, *searchable()))
            self.texts[name], self.dimensions[name] = text, parse(name, text)
        for joint in JOINT.keys() & self.texts.keys():
            for name in (self.texts.keys() & {*JOINT[joint]}) - {"nu"}:
                raise InputError(f"search {name}: {joint} sets it; search one of them")

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Space:
        """Return the space of texts of the form ``name=choices`` or ``name=range``."""
        pairs = [text.partition("=") for text in texts]
        for name, sign, text in pairs:
            if not (sign and text):
                raise InputError(
                    f"search {name!r}: allowed: NAME=CHOICE,CHOICE,… or NAME=LOW:HIGH or NAME=LOW:HIGH:log"
                )
        return cls({name: text for name, _, text in pairs})

    @classmethod
    def read(cls, path: Path) -> Space:
        """Return the space of a TOML file with a table ``[search]`` of texts by name."""
        table = read_table(path, "space").get("search")
        if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
            raise InputError(f'space {path} needs a table [search] of texts, such as nu = "1e-4:1:log"')
        return cls(table)

    @classmethod
    def default(cls, experiment: Experiment) -> Space:
        """Return what is searched by default: of the following what applies and is not set."""
        used = experiment.resolve()
        joined = used.data is not None or used.dataset.startswith("pyg:") or dataset_info(used.dataset).kind == "graph"
        deep = experiment.grow is None and trainer_class(used.algorithm).depth is None
        now = features_text(used)
        usual = ("ppr/10/0.05", "ppr/10/0.1", "ppr/10/0.2", "sym/2", "sym/4", "sym/1-2", "row/1-2", "heat/10/3")
        texts = {
            FEATURES: ",".join([now, *(text for text in usual if text != now)]) if joined else "",
            "component_power": ",".join(f"{p:g}" for p in sorted({used.component_power, -0.2, 0.0, 0.5, 1.0})),
            "unit_rows": "false,true",
            "layers": ",".join(map(str, sorted({used.layers, 2, 3, 5}))) if deep else "",
            "nu": "1e-3:1:log" if used.nu is not None else "",
            "mu/nu": "0.01:3:log" if used.nu is not None and used.mu is not None else "",
            "rho/nu": "0.1:10:log" if used.nu is not None and used.rho is not None else "",
            "mu": "1e-4:1:log" if used.nu is None and used.mu is not None else "",
            "rho": "1e-4:1:log" if used.nu is None and used.rho is not None else "",
            "lr": "1e-4:1:log" if used.lr is not None else "",
            "weight_decay": "1e-6:0.1:log" if used.weight_decay is not None else "",
        }
        return cls({name: text for name, text in texts.items() if text and not _given(experiment, name)})

    @property
    def names(self) -> set[str]:
        """The options that are searched."""
        return {option for name in self.texts for option in JOINT.get(name, (name,))}

    def options(self, chosen: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
        """Return the options that chosen values stand for, numbers of two digits: as they are run and written.

        Args:
            chosen: A number, or the text of a choice, by name.
            experiment: The options that stay fixed.
        """
        result: dict[str, Any] = {}
        for name, dimension in self.dimensions.items():
            value = chosen[name]
            if isinstance(dimension, Choice):
                result |= dimension.values[value]
            else:
                result[name] = value if dimension.whole else rounded(value)
        ratios = {option: result.pop(ratio) for ratio, option in RATIOS.items() if ratio in result}
        if ratios and "nu" not in result:  # to give ν is to leave the recipe's ρ and μ, so all are given
            used = experiment.resolve()
            result = {"nu": used.nu, **{name: getattr(used, name) for name in RATIOS.values()}, **result}
        return result | {option: rounded(ratio * result["nu"]) for option, ratio in ratios.items()}

    def chosen(self, used: Experiment | Resolved) -> dict[str, Any] | None:
        """Return the values that stand for a resolved experiment's options, ``None`` if they are not in the space."""
        result: dict[str, Any] = {}
        for name, dimension in self.dimensions.items():
            if isinstance(dimension, Choice):
                same = [t for t, sets in dimension.values.items() if all(getattr(used, n) == sets[n] for n in sets)]
                if not same:
                    return None
                result[name] = same[0]
            else:
                value = _number(used, name)
                if value is None or not dimension.low <= value <= dimension.high:
                    return None
                result[name] = value
        return result

    def describe(self, used: Experiment | Resolved) -> dict[str, str]:
        """Return the notation of a resolved experiment's options, by name."""
        return {
            name: features_text(used) if name == FEATURES else value_text(_number(used, name)) for name in self.texts
        }

    def check(self, experiment: Experiment) -> None:
        """Check that every choice, and both ends of every range, are allowed beside the first of the other ones.

        Raises:
            InputError: One is not, or an option is both set and searched.
        """
        for name in self.texts:
            if _given(experiment, name):
                raise InputError(f"{name} is both set and searched; do one of them")
        ends = {name: _ends(dimension) for name, dimension in self.dimensions.items()}
        first = {name: values[0] for name, values in ends.items()}
        for name, values in ends.items():
            for value in values:
                try:
                    experiment.changed(self.options({**first, name: value}, experiment)).resolve()
                except InputError as error:
                    raise InputError(f"search {name}={value}: {error}") from None


def rounded(value: float) -> float:
    """Return a number's first two digits."""
    return float(f"{value:.2g}")


def _number(used: Experiment | Resolved, name: str) -> Any:
    if name in RATIOS:
        option = getattr(used, RATIOS[name])
        return None if option is None or not used.nu else option / used.nu
    return getattr(used, name)


def _given(experiment: Experiment, name: str) -> bool:
    options = (RATIOS[name],) if name in RATIOS else JOINT.get(name, (name,))
    plain = Experiment()
    return any(getattr(experiment, option) != getattr(plain, option) for option in options)


def _ends(dimension: Range | Choice) -> list[Any]:
    if isinstance(dimension, Choice):
        return list(dimension.values)
    return [int(end) if dimension.whole else end for end in (dimension.low, dimension.high)]

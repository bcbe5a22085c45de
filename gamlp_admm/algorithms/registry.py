"""All algorithms, by name: where their trainers stand, what they take, and what they use where nothing is given.

Nothing here imports torch before a trainer is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.system.lazy import load

if TYPE_CHECKING:
    from gamlp_admm.training.trainer import Trainer


@dataclass(frozen=True)
class AlgorithmEntry:
    """An algorithm, as the registry knows it.

    Attributes:
        home: Module and name of its trainer's class, as ``"package.module:Class"``.
        title: What it is, on one line.
        preset: Arguments of the class that make it this algorithm.
        made: The class, where it was registered itself.
    """

    home: str
    title: str = ""
    preset: dict[str, Any] = field(default_factory=dict)
    made: type[Trainer] | None = None


def _entry(home: str, title: str, **preset: Any) -> AlgorithmEntry:
    return AlgorithmEntry(f"gamlp_admm.algorithms.{home}", title, preset)


ALGORITHMS: dict[str, AlgorithmEntry] = {
    "pdadmm-g": _entry("pdadmm:PdADMMG", "all layers at once, on graph-augmented features"),
    "pdadmm-g-q": _entry("pdadmm:PdADMMGQ", "the same, with layer inputs on a grid, so that few bits are sent"),
    "pdadmm": _entry("pdadmm:PdADMM", "all layers at once, on plain features"),
    "dladmm": _entry("dladmm:DlADMM", "ADMM by sweeps backward and forward over the layers"),
    "mdlam": _entry("mdlam:MDLAM", "sweeps with inequalities between layers and Nesterov's extrapolation"),
    "ridge": _entry("ridge:Ridge", "linear ridge regression in closed form, μ chosen on validation"),
    "adam": _entry("backprop:Backprop", "Adam, by backpropagation", optimizer="adam"),
    "sgd": _entry("backprop:Backprop", "gradient descent, by backpropagation", optimizer="sgd"),
    "adagrad": _entry("backprop:Backprop", "AdaGrad, by backpropagation", optimizer="adagrad"),
    "adadelta": _entry("backprop:Backprop", "AdaDelta, by backpropagation", optimizer="adadelta"),
    "badm": _entry("backprop:Backprop", "BADM: ADMM over batches, by backpropagation", optimizer="badm"),
    "sisa": _entry("backprop:Backprop", "SISA: ADMM with second moments, by backpropagation", optimizer="sisa"),
}
"""The algorithms by name, in the order in which they are listed."""


def register_algorithm(
    name: str, trainer: type[Trainer] | str, title: str = "", preset: Mapping[str, Any] | None = None
) -> None:
    """Make an algorithm known by a name, to the command line and everything else that takes names.

    Args:
        name: The name.
        trainer: A class of trainers, or its home, as ``"package.module:Class"``, to be imported when it is used.
        title: What it is, on one line.
        preset: Arguments of the class that make it this algorithm.

    Raises:
        InputError: The name is taken.

    Example:
        >>> from gamlp_admm.algorithms import ALGORITHMS, register_algorithm, trainer
        >>> register_algorithm("quick-sgd", "gamlp_admm.algorithms.backprop:Backprop", preset={"optimizer": "sgd"})
        >>> trainer("quick-sgd", lr=1.0)
        Backprop(optimizer='sgd', lr=1.0)
        >>> del ALGORITHMS["quick-sgd"]
    """
    if name in ALGORITHMS:
        raise InputError(f"algorithm {name!r} is there already")
    made = None if isinstance(trainer, str) else trainer
    home = trainer if isinstance(trainer, str) else f"{trainer.__module__}:{trainer.__qualname__}"
    ALGORITHMS[name] = AlgorithmEntry(home, title, dict(preset or {}), made)


def _find(name: str) -> AlgorithmEntry:
    if name not in ALGORITHMS:
        raise unknown("algorithm", name, ALGORITHMS)
    return ALGORITHMS[name]


def trainer_class(name: str) -> type[Trainer]:
    """Return the class of an algorithm's trainers.

    Raises:
        InputError: The name is not known.

    Example:
        >>> from gamlp_admm.algorithms import trainer_class
        >>> trainer_class("mdlam").__name__
        'MDLAM'
    """
    entry = _find(name)
    return cast("type[Trainer]", load(entry.home)) if entry.made is None else entry.made


def is_admm(name: str) -> bool:
    """Whether an algorithm divides the layers among processes, grows deep networks, and can be accelerated.

    Raises:
        InputError: The name is not known.

    Example:
        >>> from gamlp_admm.algorithms import is_admm
        >>> is_admm("dladmm"), is_admm("adam")
        (True, False)
    """
    return issubclass(trainer_class(name), load("gamlp_admm.algorithms.base:ADMM"))


def taken_by(name: str) -> set[str]:
    """Return the names of the settings that an algorithm takes.

    ``anderson``, which ADMM algorithms take, is the memory of :class:`gamlp_admm.algorithms.Anderson` acceleration.

    Raises:
        InputError: The name is not known.

    Example:
        >>> from gamlp_admm.algorithms import taken_by
        >>> "codec" in taken_by("pdadmm-g"), "codec" in taken_by("adam")
        (True, False)
    """
    preset = _find(name).preset
    taken = trainer_class(name).defaults(preset).keys() - preset.keys()
    return {*taken, "anderson"} if is_admm(name) else set(taken)


def _applicable(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    settings, taken = {k: v for k, v in given.items() if v is not None}, taken_by(name)
    for setting in settings:
        if setting not in taken:
            raise InputError(f"{setting} does not apply to {name}; it takes {', '.join(sorted(taken))}")
    return settings


def defaults(name: str, given: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Return every setting that an algorithm takes, as its trainer uses it.

    Args:
        name: The algorithm.
        given: Settings by name; those that are ``None`` or left out have their defaults, which may depend on others.

    Raises:
        InputError: The algorithm is not known, or takes no such setting.

    Example:
        >>> from gamlp_admm.algorithms import defaults
        >>> used = defaults("pdadmm-g", {"nu": 0.5})
        >>> used["rho"], used["mu"]
        (0.5, 0.05)
    """
    preset, given = _find(name).preset, _applicable(name, given)
    used = trainer_class(name).defaults({**preset, **given})
    if is_admm(name):
        used["anderson"] = given.get("anderson")
    return {setting: value for setting, value in used.items() if setting not in preset}


def trainer(algorithm: str, **settings: Any) -> Trainer:
    """Return the trainer of that name.

    Args:
        algorithm: One of :data:`ALGORITHMS`.
        settings: Its arguments; those that are ``None`` keep their defaults. ``anderson`` is the memory of
            :class:`gamlp_admm.algorithms.Anderson` acceleration around an ADMM trainer.

    Raises:
        InputError: The name is not known, or it has no such argument.

    Example:
        >>> from gamlp_admm.algorithms import trainer
        >>> trainer("pdadmm-g", rho=0.5)
        PdADMMG(rho=0.5, nu=0.5, mu=0.05)
        >>> trainer("sisa").optimizer
        'sisa'
    """
    preset, settings = _find(algorithm).preset, _applicable(algorithm, settings)
    memory = settings.pop("anderson", None)
    plain = trainer_class(algorithm)(**preset, **settings)
    if memory is None:
        return plain
    accelerated: Trainer = load("gamlp_admm.algorithms.anderson:Anderson")(plain, memory)
    return accelerated

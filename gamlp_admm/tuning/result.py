"""What a search gives: its trials, the best of them, and the recipe that holds its options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, Resolved
from gamlp_admm.experiment.options import IN_MEMORY, recipe_names
from gamlp_admm.experiment.resolve import TUNED_FOR
from gamlp_admm.system.words import percent
from gamlp_admm.training.metrics import METRICS
from gamlp_admm.tuning.notation import searchable
from gamlp_admm.tuning.space import Space

SHAPE = ("operator", "hops", "layers", "nu", "mu")
"""What the description of a result always names; of the rest only what is searched or not the default."""


@dataclass(frozen=True)
class Step:
    """How far a search is, for callbacks.

    Attributes:
        phase: ``search``, or ``finals``: the best trials from more seeds.
        done: Trials, or runs of the finals, that are done.
        total: Their number in the end.
        best: Best validation accuracy, or other metric, of a trial so far, or ``None``.
    """

    phase: str
    done: int
    total: int
    best: float | None


StepCallback = Callable[[Step], object]
"""Called after each trial and each run of the finals; the search ends if it returns ``True``."""


@dataclass(repr=False)
class Tuning:
    """What a search gave.

    Attributes:
        dataset: Name of the data set.
        algorithm: The algorithm.
        space: The notation of what was searched, by name.
        seeds: Seeds of each trial.
        final_seeds: Seeds of each finalist.
        trials: A dictionary a trial: ``number``, ``state`` (``complete``, ``failed``, or ``repeated``: an earlier one's
            options), ``standing`` (whether its options are those that stood before), ``options``, ``searched`` (their
            notation), ``val_accuracy`` (mean over seeds, of the weights that are best on validation),
            ``val_accuracy_std``, ``last_val_accuracy`` (of the last weights), ``seconds``, ``error``; and of finalists
            ``final_val_accuracy``, ``final_val_accuracy_std`` and ``final_last_val_accuracy``, else ``None``. With
            another metric these are its figures, the loss with its sign changed: more is better; :meth:`told` calls
            them by its name.
        metric: Name of the metric.
        interrupted: Whether it was ended by Ctrl-C.
    """

    dataset: str
    algorithm: str
    space: dict[str, str]
    seeds: list[int]
    final_seeds: list[int]
    trials: list[dict[str, Any]] = field(default_factory=list)
    metric: str = "accuracy"
    interrupted: bool = False

    def __str__(self) -> str:
        trials = f"{len(self.trials)} trials of {self.algorithm} on {self.dataset}"
        if (best := self.winner) is None:
            return f"{trials}: none is complete"
        options = ", ".join(f"{name}={value!r}" for name, value in self.best.items())
        value = percent(abs(best["val_accuracy"]) if METRICS[self.metric].lower else best["val_accuracy"])
        by = "" if self.metric == "accuracy" else f" {self.metric}"
        return f"{trials}; the best, number {best['number']}: validation{by} {value}\n{options}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'; '.join(str(self).splitlines())}>"

    @property
    def winner(self) -> dict[str, Any] | None:
        """The best trial: of the finalists, if all of them were measured, else of all; ``None`` if all failed.

        Ties go to the better last weights, then to the earlier trial.
        """
        final = [trial for trial in self.trials if trial["final_val_accuracy"] is not None]
        ranked = sorted(final, key=_final_rank) if final else ranking(self.trials)
        return ranked[0] if ranked else None

    @property
    def best(self) -> dict[str, Any]:
        """The options of :attr:`winner`: those of :data:`SHAPE`, those searched, and what is not the default."""
        return dict(self.winner["options"]) if self.winner else {}

    @property
    def recipe(self) -> dict[str, Any]:
        """What of :attr:`best` a recipe holds, as its file has it: sets as lists."""
        kept = {name: value for name, value in self.best.items() if name in recipe_names()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}

    def report(self) -> dict[str, Any]:
        """Return what ``tune --json`` writes."""
        return {"best": self.best, **asdict(self), "trials": self.told()}

    def told(self) -> list[dict[str, Any]]:
        """Return the trials as they are reported: figures by the metric's name, in its own sign."""
        if self.metric == "accuracy":
            return self.trials
        sign = -1 if METRICS[self.metric].lower else 1

        def named(name: str, value: Any) -> tuple[str, Any]:
            if not (name.endswith(("val_accuracy", "val_accuracy_std"))):
                return name, value
            signed = value if value is None or name.endswith("_std") else sign * value
            return name.replace("accuracy", self.metric), signed

        return [dict(named(name, value) for name, value in trial.items()) for trial in self.trials]


def check_recipe(experiment: Experiment, space: Space | None = None) -> None:
    """Check that a recipe can hold what a search gives.

    Raises:
        InputError: The algorithm takes no recipes, or an option has no place in one.

    Example:
        >>> from gamlp_admm.experiment import Experiment
        >>> from gamlp_admm.tuning import check_recipe
        >>> check_recipe(Experiment(dataset="karate", algorithm="adam"))
        Traceback (most recent call last):
        gamlp_admm.errors.InputError: recipes are for pdadmm-g, pdadmm-g-q, pdadmm, not for adam
    """
    if experiment.algorithm not in TUNED_FOR:
        raise InputError(f"recipes are for {', '.join(TUNED_FOR)}, not for {experiment.algorithm}")
    names = space.names if space else set()
    # How often a run is evaluated is no setting of it, though what is best may be found between.
    for name in (settings(experiment.resolve()).keys() | names) - recipe_names() - {"evaluate_every"}:
        raise InputError(f"a recipe cannot hold {name}; allowed: {', '.join(sorted(recipe_names()))}")


def settings(used: Resolved, names: Collection[str] = ()) -> dict[str, Any]:
    """Return the options that make a resolved experiment: of its shape, those named, and what is not the default."""
    shape = {name: value for name in SHAPE if (value := getattr(used, name)) is not None}
    plain = Experiment(data=IN_MEMORY, algorithm=used.algorithm, dtype=used.dtype, **shape).resolve()
    values = {name: getattr(used, name) for name in (*searchable(), "metric")}
    return {
        name: value
        for name, value in values.items()
        if value is not None and (name in shape or name in names or value != getattr(plain, name))
    }


def ranking(trials: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the complete trials, the best first; ties go to the better last weights, then to the earlier trial."""
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return sorted(complete, key=lambda t: (-t["val_accuracy"], -t["last_val_accuracy"], t["number"]))


def _final_rank(trial: dict[str, Any]) -> tuple[float, float, int]:
    return -trial["final_val_accuracy"], -trial["final_last_val_accuracy"], trial["number"]

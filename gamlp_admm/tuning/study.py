"""What is kept of a search, in memory or in a file, and what it does next."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, Resolved
from gamlp_admm.experiment.declaration import FIXED
from gamlp_admm.experiment.options import names_where, renamed
from gamlp_admm.training.identity import digest
from gamlp_admm.training.metrics import METRICS
from gamlp_admm.tuning import journal
from gamlp_admm.tuning.measuring import Measured
from gamlp_admm.tuning.notation import Choice, searchable
from gamlp_admm.tuning.result import Step, ranking, settings
from gamlp_admm.tuning.space import Space

if TYPE_CHECKING:
    import optuna

STUDY = "gamlp-admm tune"

PARTS = ("x", "edge_index", "edge_weight", "y", "train_mask", "val_mask")
"""Of a graph of one's own what a search depends on."""


@dataclass(frozen=True)
class Task:
    """Runs to make.

    Attributes:
        experiment: The options, resolved.
        seeds: Their seeds.
        trial: The trial that asks, where Optuna proposed it.
        finalist: The number of the trial that is measured again.
    """

    experiment: Experiment | Resolved
    seeds: Sequence[int]
    trial: optuna.Trial | None = None
    finalist: int | None = None

    def runs(self) -> tuple[Experiment | Resolved, Sequence[int]]:
        """Return options and seeds."""
        return self.experiment, self.seeds


class Search:
    """A study of Optuna, and what is kept in it: a row a trial, and the runs of the finals."""

    def __init__(
        self,
        experiment: Experiment,
        space: Space | None,
        seeds: Sequence[int],
        sampler_seed: int,
        storage: str | Path | None,
        resplit: bool = False,
        graph: Any = None,
    ) -> None:
        from optuna import distributions

        self.experiment, self.seeds, self.sampler_seed = experiment, seeds, sampler_seed
        self.study = _study(storage)
        self.space = space or Space.default(experiment)
        self.metric = METRICS[experiment.resolve().metric]
        given = {name: getattr(experiment, name, None) for name in (*names_where(tune=FIXED), *searchable())}
        given["metric"] = self.metric.name  # the recipe's may be written since
        about = {part: digest(graph.get(part)) for part in PARTS} if graph is not None else None
        mine = _plain({**given, "seeds": seeds, "resplit": resplit, "search": self.space.texts, "graph": about})
        defaults = {f.name: f.default for f in fields(Experiment)}  # of options that there were not yet
        before = {**_plain(defaults), "metric": "accuracy", **renamed(self.study.user_attrs.get("search", mine))}
        if space is None:  # its default depends on the recipe, which may have been written since
            mine["search"] = before["search"]
            self.space = Space(before["search"])
        for name, value in mine.items():
            if before.get(name) != value:
                if name == "graph" and value and before.get(name):
                    differ = " and ".join(part for part in PARTS if value[part] != before[name][part])
                    raise InputError(f"storage {storage} belongs to a search with other values in {differ}")
                raise InputError(f"storage {storage} belongs to a search with {name}={before.get(name)}, not {value}")
        self.space.check(experiment)
        if "search" not in self.study.user_attrs:
            self.study.set_user_attr("search", mine)
        self.distributions: dict[str, distributions.BaseDistribution] = {}
        for name, dimension in self.space.dimensions.items():
            if isinstance(dimension, Choice):
                self.distributions[name] = distributions.CategoricalDistribution(list(dimension.values))
            elif dimension.whole:
                low, high = int(dimension.low), int(dimension.high)
                self.distributions[name] = distributions.IntDistribution(low, high, log=dimension.log)
            else:
                self.distributions[name] = distributions.FloatDistribution(dimension.low, dimension.high, dimension.log)
        self.running: list[Task] = []
        self.finals_done = self.finals_total = 0

    def rows(self) -> list[dict[str, Any]]:
        """Return what is kept of the trials that are done."""
        done = [trial for trial in self.study.get_trials(deepcopy=False) if "row" in trial.user_attrs]
        return [{"number": trial.number, **_tuples(trial.user_attrs["row"])} for trial in done]

    def standing(self) -> Iterator[Task]:
        """Yield the experiment as it stands, unless that has been measured."""
        if not any(row["standing"] for row in self.rows()):
            yield Task(self.experiment.resolve(), self.seeds)

    def proposed(self, trials: int, timeout: float | None) -> Iterator[Task]:
        """Yield what Optuna proposes, until there are enough trials or the time is over."""
        from optuna.samplers import TPESampler

        start = time.monotonic()
        while timeout is None or time.monotonic() - start < timeout:
            rows = self.rows()
            index = len(rows) + len(self.running)
            if index >= trials:
                return
            # Each trial has a seed of its own, so that a search that is resumed goes on as if it had not ended.
            draw = random.Random(f"{self.sampler_seed} {index}")  # nosec B311  # a seed to repeat, no secret
            self.study.sampler = TPESampler(seed=draw.getrandbits(32))
            trial = self.study.ask(self.distributions)
            options = self.space.options(trial.params, self.experiment)
            try:
                used = _tidy(self.experiment.changed(options).resolve())
            except InputError as error:
                row = _row(self.space, self.experiment.changed(options), Measured([], [], 0.0, str(error)))
                self._tell(trial, {**row, "options": options})
                continue
            same = [row for row in rows if row["state"] == "complete" and row["config"] == _config(used)]
            if same:
                self._tell(trial, {**same[0], "state": "repeated", "standing": False, "seconds": 0.0})
                continue
            task = Task(used, self.seeds, trial)
            self.running.append(task)
            yield task

    def finals(self, finalists: int, seeds: Sequence[int]) -> Iterator[Task]:
        """Yield the runs of the finals that are missing."""
        chosen = self._finalists(finalists)
        missing = [(row, seed) for row in chosen for seed in seeds if self._final(row, seed) is None]
        self.finals_total = len(missing)
        for row, seed in missing:
            yield Task(self.experiment.changed(row["config"]), (seed,), finalist=row["number"])

    def record(self, task: Task, measured: Measured) -> None:
        """Keep what a task gave."""
        if task.finalist is not None:
            self.finals_done += 1
            self.study.set_user_attr(f"final {task.finalist} {task.seeds[0]}", [*measured.best, *measured.last])
            return
        row = _row(self.space, task.experiment, measured)
        row["options"] = settings(task.experiment.resolve(), self.space.names)
        if task.trial is not None:
            self.running.remove(task)
            self._tell(task.trial, row)
        elif measured.wrong_input:
            raise InputError(str(measured.error))
        else:
            self._add({**row, "standing": True})

    def abandon(self) -> None:
        """Give up the trials that are running."""
        from optuna.trial import TrialState

        for task in self.running:
            if task.trial is not None:
                self.study.tell(task.trial, state=TrialState.FAIL)
        self.running = []

    def step(self, trials: int) -> Step:
        """Return how far the search is."""
        rows = self.rows()
        best = max((row["val_accuracy"] for row in rows if row["state"] == "complete"), default=None)
        if best is not None and self.metric.lower:
            best = -best
        if self.finals_total:
            return Step("finals", self.finals_done, self.finals_total, best)
        return Step("search", len(rows), trials, best)

    def results(self, finalists: int, seeds: Sequence[int]) -> list[dict[str, Any]]:
        """Return :attr:`Tuning.trials`; finals count once all of their runs are done."""
        chosen = {row["number"]: [self._final(row, seed) for seed in seeds] for row in self._finalists(finalists)}
        over = all(None not in finals for finals in chosen.values())
        result = []
        for row in self.rows():
            finals = [pair for pair in chosen.get(row["number"], []) if pair] if over else []
            best, last = zip(*finals, strict=True) if finals and len(finals) == len(seeds) else ((), ())
            scores = _scores(best, last)
            del row["config"], row["best"], row["last"]
            result.append({**row, **{f"final_{name}": value for name, value in scores.items()}})
        return result

    def _finalists(self, count: int) -> list[dict[str, Any]]:
        ranked = ranking(self.rows())
        return ranked[:count] + [row for row in ranked[count:] if row["standing"] and count]

    def _final(self, row: dict[str, Any], seed: int) -> tuple[float, ...] | None:
        """Return the accuracies of a finalist from a seed, none if the run failed, ``None`` before it is done."""
        if seed in self.seeds:
            i = list(self.seeds).index(seed)
            return row["best"][i], row["last"][i]
        pair = self.study.user_attrs.get(f"final {row['number']} {seed}")
        return None if pair is None else tuple(pair)

    def _tell(self, trial: optuna.Trial, row: dict[str, Any]) -> None:
        from optuna.trial import TrialState

        trial.set_user_attr("row", _plain({name: value for name, value in row.items() if name != "number"}))
        if row["state"] == "failed":
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, row["val_accuracy"])

    def _add(self, row: dict[str, Any]) -> None:
        """Keep a trial that Optuna did not propose; it learns from it if it could have."""
        from optuna.trial import TrialState, create_trial

        chosen = self.space.chosen(self.experiment.changed(row["config"]))
        known = row["state"] == "complete" and chosen is not None
        made = create_trial(
            state=TrialState.COMPLETE if known else TrialState.FAIL,
            value=row["val_accuracy"] if known else None,
            params=chosen if known else {},
            distributions=self.distributions if known else {},
            user_attrs={"row": _plain(row)},
        )
        self.study.add_trial(made)


def _study(storage: str | Path | None) -> optuna.Study:
    import optuna

    kept = journal.storage(storage)
    try:
        study = optuna.create_study(storage=kept, study_name=STUDY, direction="maximize", load_if_exists=True)
        trials, attributes = study.get_trials(deepcopy=False), study.user_attrs
    except OSError as error:
        raise InputError(f"storage {storage} cannot be written ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"storage {storage} is not a file that tune has written") from None
    journal.check(storage, trials, attributes)
    return study


def _row(space: Space, used: Experiment | Resolved, measured: Measured) -> dict[str, Any]:
    return {
        "state": "complete" if measured.error is None else "failed",
        "standing": False,
        "options": {},
        "searched": space.describe(used),
        **_scores(*((measured.best, measured.last) if measured.error is None else ((), ()))),
        "seconds": measured.seconds,
        "error": measured.error,
        "config": _config(used),
        "best": measured.best,
        "last": measured.last,
    }


def _scores(best: Sequence[float], last: Sequence[float]) -> dict[str, float | None]:
    return {
        "val_accuracy": statistics.fmean(best) if best else None,
        "val_accuracy_std": (statistics.stdev(best) if len(best) > 1 else 0.0) if best else None,
        "last_val_accuracy": statistics.fmean(last) if last else None,
    }


def _config(used: Experiment | Resolved) -> dict[str, Any]:
    return {name: value for name in searchable() if (value := getattr(used, name)) is not None}


def _tidy(used: Resolved) -> Resolved:
    """Return options without the rounding errors of what follows from others, such as ρ = 3 · 0.1."""
    values = {name: getattr(used, name) for name in searchable()}
    tidy: dict[str, Any] = {name: float(f"{v:.10g}") for name, v in values.items() if isinstance(v, float)}
    return used.changed(tidy)


def _plain(value: Any) -> Any:
    """Return what JSON makes of a value."""
    return json.loads(json.dumps(value))


def _tuples(value: Any) -> Any:
    """Return a row with the sets of its options as an experiment has them."""
    sets = {"options", "config"}
    return {
        name: {k: tuple(v) if isinstance(v, list) else v for k, v in each.items()} if name in sets else each
        for name, each in value.items()
    }

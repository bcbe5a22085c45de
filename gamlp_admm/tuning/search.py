"""The search: trials proposed by Optuna, the best of them measured again from more seeds, and what is best then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment
from gamlp_admm.experiment.seeds import checked_seeds
from gamlp_admm.experiment.source import held
from gamlp_admm.tuning.measuring import measure_all, measurers
from gamlp_admm.tuning.result import StepCallback, Tuning
from gamlp_admm.tuning.space import Space
from gamlp_admm.tuning.study import Search, Task


def tune(
    experiment: Experiment,
    space: Space | Mapping[str, str] | None = None,
    trials: int = 50,
    seeds: Sequence[int] = (0,),
    timeout: float | None = None,
    sampler_seed: int = 0,
    storage: str | Path | None = None,
    *,
    finalists: int = 5,
    final_seeds: Sequence[int] = (0, 1, 2, 3, 4),
    resplit: bool = False,
    jobs: int = 1,
    data: Any = None,
    callbacks: Sequence[StepCallback] = (),
) -> Tuning:
    """Search for the options with the highest validation accuracy, or best other metric of the experiment.

    Test nodes are not looked at.

    The first trial is the experiment as it stands. The others are proposed by Optuna's TPE sampler, which maximises
    the mean over ``seeds`` of the validation accuracy of the weights that are best on validation. Then the best of
    them, and the first, are run from ``final_seeds``, and the highest mean wins. With one job, the same arguments give
    the same trials, also if the search is interrupted and resumed in between. Ctrl-C ends it with what is done.

    Args:
        experiment: The options that stay fixed.
        space: What is searched; by default :meth:`Space.default`, or what ``storage`` began with.
        trials: Number of trials, those in ``storage`` included.
        seeds: Seeds of the weights.
        timeout: Seconds after which no further trial begins; finals do.
        sampler_seed: Seed of the sampler.
        storage: A file that keeps the trials (Optuna's journal); a search goes on where the file ends.
        finalists: Number of trials in the finals; 0 for no finals.
        final_seeds: Seeds of the finals.
        resplit: Whether each seed also draws training nodes of its own from training and validation nodes, as many of
            each class as before, and validates on the rest; the mean of both counts. What is best for one small split
            is partly luck; this takes some of it away, and looks at no other labels.
        jobs: Processes that run trials at the same time, each with one thread unless ``experiment`` says otherwise.
        data: A graph of one's own in place of the data set: a path, what :func:`gamlp_admm.datasets.load_graph` takes,
            or what it returned.
        callbacks: Called with a :class:`Step`.

    Raises:
        InputError: An option, the space or the data is wrong, ``storage`` belongs to another search, or Optuna is
            absent.
        RuntimeError: Every trial failed.

    Example:
        >>> from gamlp_admm.experiment import Experiment
        >>> from gamlp_admm.tuning import tune
        >>> result = tune(Experiment(dataset="karate", iterations=3), {"nu": "0.01,1"}, trials=2, finalists=0)
        >>> len(result.trials), result.best["operator"] != ""
        (2, True)
    """
    check_optuna()
    _check_counts(trials, seeds, finalists, final_seeds, jobs)
    if timeout is not None and not timeout > 0:
        raise InputError(f"timeout must be a positive number of seconds, not {timeout}")
    experiment, graph = held(experiment, data)
    used = experiment.resolve()
    if resplit and used.label_operator not in (None, "none"):
        raise InputError("resplit: labels as features belong to the split that they were made for")
    if space is not None:
        space = space if isinstance(space, Space) else Space(space)
        space.check(experiment)
    with _quiet_optuna(), measurers(jobs, graph, resplit) as pool:
        search = Search(experiment, space, seeds, sampler_seed, storage, resplit, graph and graph.data)
        about = (used.dataset, used.algorithm, search.space.texts, list(seeds), list(final_seeds))
        result = Tuning(*about, metric=used.metric)
        phases = (search.standing(), search.proposed(trials, timeout), search.finals(finalists, final_seeds))
        try:
            for task, measured in chain.from_iterable(measure_all(pool, phase, Task.runs) for phase in phases):
                search.record(task, measured)
                step = search.step(trials)
                if True in [callback(step) for callback in callbacks]:
                    break
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            search.abandon()
        result.trials = search.results(finalists, final_seeds)
    if result.winner is None and not result.interrupted:
        raise RuntimeError(f"every trial failed; the first one: {result.trials[0]['error']}")
    return result


def check_optuna() -> None:
    """Check that Optuna is there.

    Raises:
        InputError: It is not.

    Example:
        >>> from gamlp_admm.tuning import check_optuna
        >>> check_optuna()  # an InputError where it is absent
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise InputError("tune needs optuna: pip install 'gamlp-admm[tune]'") from None


def _check_counts(trials: int, seeds: Sequence[int], finalists: int, final_seeds: Sequence[int], jobs: int) -> None:
    for name, count, least in (("trials", trials, 1), ("finalists", finalists, 0), ("jobs", jobs, 1)):
        if count < least:
            raise InputError(f"{name} must be an integer of at least {least}, not {count}")
    for name, several in (("seeds", seeds), ("final_seeds", final_seeds)):
        checked_seeds(name, several)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)

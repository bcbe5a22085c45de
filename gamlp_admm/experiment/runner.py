"""One experiment from end to end: load a data set, augment it, train, evaluate, report.

The command line is a thin layer over this module.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.datasets.ogb_figures import has_ogb, ogb_names, ogb_scores
from gamlp_admm.datasets.stored import stored
from gamlp_admm.datasets.targets import target_kind
from gamlp_admm.errors import Diverged, InputError
from gamlp_admm.experiment import source
from gamlp_admm.experiment.choosing import choose
from gamlp_admm.experiment.claim import claimed
from gamlp_admm.experiment.features import fitted
from gamlp_admm.experiment.outcome import Run, report
from gamlp_admm.experiment.resolve import SUITED, Experiment, Resolved, check_kind
from gamlp_admm.nn import GAMLP, risk
from gamlp_admm.parallel.agreement import agreed
from gamlp_admm.parallel.exchange import device_of
from gamlp_admm.parallel.first import is_first, on_first, size
from gamlp_admm.propagation.store import caching
from gamlp_admm.training.metrics import METRICS
from gamlp_admm.training.models import outputs
from gamlp_admm.training.result import Callback, Result
from gamlp_admm.transforms.correct_and_smooth import accuracy
from gamlp_admm.transforms.correct_and_smooth import chosen as chosen_way
from gamlp_admm.transforms.recipe import Transform, chain, from_recipe


@dataclass(frozen=True)
class Prepared:
    """An augmented data set, which several runs may share.

    Attributes:
        data: PyG ``Data``; ``x`` holds the augmented features. ``None`` in processes other than the first.
        num_features: Columns of ``x``.
        num_classes: Classes of the data set.
        load_seconds: Time of loading.
        augment_seconds: Time of augmenting.
        changes: Options that were chosen with the data (:mod:`gamlp_admm.experiment.choosing`).
        about: What was chosen from.
        choose_seconds: Time of choosing.
        split: Where the masks come from (:class:`gamlp_admm.datasets.LoadedDataset`).
        kind: What its targets are (:func:`gamlp_admm.datasets.targets.target_kind`).
        dataset: Name of the data set.
        features: The transform that makes ``x``, fitted; ``None`` in processes other than the first.
        cached: What came from the cache (:meth:`gamlp_admm.propagation.store.Caching.told`).
    """

    data: Any
    num_features: int
    num_classes: int
    load_seconds: float
    augment_seconds: float = 0.0
    changes: Mapping[str, Any] = field(default_factory=dict)
    about: list[dict[str, Any]] = field(default_factory=list)
    choose_seconds: float = 0.0
    split: str = ""
    kind: str = "classes"
    dataset: str = ""
    features: Transform | None = None
    cached: Mapping[str, Any] = field(default_factory=dict)


def prepare(
    experiment: Experiment | Resolved, process_group: Any = None, data: Any = None, split_only: bool = False
) -> Prepared:
    """Load and augment an experiment's data set, in the first process of ``process_group``.

    Args:
        experiment: The options.
        process_group: The processes that all prepare this experiment together.
        data: A graph of one's own in place of the data set: a path, what :func:`gamlp_admm.datasets.load_graph` takes,
            or what it returned.
        split_only: Whether nodes that are in no part of the split may be left out of what is prepared, where that saves
            memory; :func:`run` needs no others.

    Raises:
        InputError: An option is wrong, or the data set cannot be loaded.

    Example:
        >>> from gamlp_admm.experiment import Experiment, prepare, run
        >>> experiment = Experiment(dataset="karate", operator="sym", hidden=8, iterations=3)
        >>> prepared = prepare(experiment)  # loaded and augmented once, for both runs
        >>> [run(each, prepared=prepared).report["algorithm"] for each in (experiment, experiment.changed({"nu": 0.1}))]
        ['pdadmm-g', 'pdadmm-g']
    """
    experiment, given = source.handed(experiment, data)
    used = _resolved(experiment, process_group)
    augmented: Any = None
    features: Transform | None = None

    def load() -> dict[str, Any]:
        nonlocal augmented, features
        start = time.perf_counter()
        loaded = given or source.load(used)
        middle = time.perf_counter()
        kind = target_kind(loaded.data.y)
        known: dict[str, Any] = {"num_classes": loaded.info.classes, "split": loaded.split, "dataset": used.dataset}
        known["kind"] = kind
        known |= {"load_seconds": middle - start}
        with caching(used.cache, used.dataset) as cached:
            if used.auto == "all":
                made = choose(used.settled(kind), loaded.data, loaded.info.classes, split_only)
                augmented, features, seconds = made.data, made.features, time.perf_counter() - middle
                known |= {"changes": dict(made.changes), "about": made.about, "choose_seconds": seconds}
            else:
                features, augmented = fitted(used, loaded.data, loaded.info.classes, split_only)
                known |= {"augment_seconds": time.perf_counter() - middle}
        if "whole" in augmented:
            del augmented.whole
        if (store := stored(loaded.data)) is not None:
            features = chain(from_recipe(store.recipe or [], loaded.data.x.shape[1]), features)
        return known | {"num_features": augmented.num_features, "cached": cached.told()}

    with _threads(used.threads):
        known = on_first(load, process_group)
        return Prepared(augmented, **known, features=features)


def _resolved(experiment: Experiment | Resolved, process_group: Any) -> Resolved:
    # A group has as many processes as it has, whatever the options say, on what its backend is for; and all of them run
    # the same experiment.
    def resolve() -> Resolved:
        check_kind(experiment)
        if process_group is None:
            return experiment.resolve()
        device = device_of(process_group) if experiment.device == "auto" else experiment.device
        return replace(experiment, processes=size(process_group), device=device).resolve()

    return agreed(resolve, Resolved.common, process_group)


def run(
    experiment: Experiment | Resolved,
    callbacks: Sequence[Callback] = (),
    prepared: Prepared | None = None,
    process_group: Any = None,
    data: Any = None,
) -> Run:
    """Run an experiment from end to end.

    Args:
        experiment: The options.
        callbacks: Called after each evaluated iteration (:class:`gamlp_admm.training.result.Progress`).
        prepared: The data set, from :func:`prepare`; loaded and augmented here if ``None``.
        process_group: The processes that all run this experiment together, whoever started them; their number stands
            for ``experiment.processes``. The first of them loads the data.
        data: A graph of one's own in place of the data set, as :func:`prepare` takes it.

    Returns:
        The trained model and the report; with ``process_group``, the model is whole in the first process only.

    Raises:
        InputError: An option or the data set is wrong.
        Diverged: The iterates are no longer finite (a ``FloatingPointError``); the error has the ``run`` up to then.

    Example:
        >>> from gamlp_admm.experiment import Experiment, run
        >>> done = run(Experiment(dataset="karate", operator="sym", hidden=8, iterations=5))
        >>> done.model.num_layers, done.report["last"]["iteration"]
        (2, 5)
        >>> len(str(done).splitlines())
        3
    """
    experiment, graph = source.handed(experiment, data)
    used = _resolved(experiment, process_group)
    if prepared is not None and prepared.dataset not in ("", used.dataset):
        raise InputError(
            f"prepared is of {prepared.dataset}, the experiment of {used.dataset}; give both the same data"
        )
    with claimed(used, process_group) as place:
        return _run(used, callbacks, prepared or prepare(used, process_group, graph, True), process_group, place)


def _run(used: Resolved, callbacks: Sequence[Callback], prepared: Prepared, process_group: Any, checkpoint: Any) -> Run:
    first = is_first(process_group)
    used = used.settled(prepared.kind)
    if prepared.changes:
        used = used.changed(prepared.changes)
    with _threads(used.threads):
        start = time.perf_counter()
        model = _model(used, prepared, whole=first)
        fit = partial(
            used.trainer.fit,
            model,
            prepared.data,
            used.iterations,
            seed=used.seed,
            grow=used.stages,
            patience=used.patience or None,
            metric=used.metric,
            evaluate_every=used.evaluate_every,
            callbacks=callbacks,
            checkpoint_dir=checkpoint,
            checkpoint_every=used.checkpoint_every,
            resume=used.resume,
            process_group=process_group,
            node_shards=used.node_shards,
            balance=used.balance,
            gather="first",
            timeout=used.timeout,
            trace_dir=used.trace,
            memory=used.memory,
            scratch=used.scratch,
        )
        try:
            return _made(used, model, fit(), prepared, start, first)
        except Diverged as error:
            error.run = _made(used, model, error.result, prepared, start, first)
            raise


def _made(used: Resolved, model: GAMLP, result: Result, prepared: Prepared, start: float, first: bool) -> Run:
    """Return the run that a result is of, which began at a time; its figures are the first process's."""
    smoothed = correct_and_smooth(model, prepared.data, used) if used.correct_and_smooth and first else {}
    official = ogb_figures(model, prepared.data, used) if first else {}
    before = prepared.load_seconds + prepared.augment_seconds + prepared.choose_seconds
    seconds = {"augment": prepared.augment_seconds, "train": result.seconds}
    seconds |= {"choose": prepared.choose_seconds, "total": before + time.perf_counter() - start}
    chosen: dict[str, Any] = {"chosen": prepared.about} if prepared.changes else {}
    chosen |= {"split": prepared.split} if prepared.split else {}
    chosen |= {"augment": dict(prepared.cached)} if prepared.cached else {}
    told = report(used, model, result, seconds, prepared.data) | chosen | smoothed | official
    return Run(used, model, told, result.stopped, prepared.features, _names(prepared.data), prepared.kind)


def _names(data: Any) -> dict[str, list[str]]:
    """Return the names of classes and features, where a graph has them."""
    found = {name: getattr(data, name, None) for name in ("class_names", "feature_names")}
    return {name: [*names] for name, names in found.items() if names is not None}


def _model(used: Resolved, prepared: Prepared, whole: bool) -> GAMLP:
    """Return the network; processes other than the first hold their own layers alone, and no weights here."""
    with torch.device("cpu" if whole else "meta"):
        model = GAMLP(
            in_channels=prepared.num_features,
            hidden_channels=used.hidden,
            out_channels=prepared.num_classes,
            num_layers=used.layers,
            activation=used.activation,
            init=used.init,
            residual=used.residual,
        )
    return model.to(used.device if whole else "meta", used.torch_dtype)


@torch.no_grad()
def correct_and_smooth(model: GAMLP, data: Any, used: Resolved) -> dict[str, Any]:
    """Return what reports say of Correct and Smooth after training: the way chosen on validation, and figures.

    Example:
        >>> from gamlp_admm.experiment import Experiment, correct_and_smooth, prepare, run
        >>> experiment = Experiment(dataset="karate", operator="sym", hidden=8, iterations=5).resolve()
        >>> prepared = prepare(experiment)
        >>> told = correct_and_smooth(run(experiment, prepared=prepared).model, prepared.data, experiment)
        >>> sorted(told["correct_and_smooth"])
        ['chosen', 'test_accuracy', 'val_accuracy']
    """
    metric = METRICS[used.metric]

    def score(probabilities: Tensor, classes: Tensor) -> float:
        value = None if metric.summed else metric.of_probabilities(probabilities, classes)
        return accuracy(probabilities, classes) if value is None else -value if metric.lower else value

    probabilities = risk(used.loss or SUITED["classes"]).probabilities(outputs(model, data.x))
    best = chosen_way(probabilities.to(data.x), data, score=score)
    told: dict[str, Any] = {"chosen": None if best.candidate is None else asdict(best.candidate)}
    for each in dict.fromkeys((METRICS["accuracy"], metric)):
        for split in ("val", "test"):
            nodes = data[f"{split}_mask"] & (data.y >= 0)
            told[f"{split}_{each.name}"] = each.of_probabilities(best.probabilities[nodes], data.y[nodes])
    return {"correct_and_smooth": told}


@torch.no_grad()
def ogb_figures(model: GAMLP, data: Any, used: Resolved) -> dict[str, Any]:
    """Return what reports say of OGB's data sets where ``ogb`` is installed: the figures of its evaluator."""
    if used.data is not None or used.dataset not in ogb_names() or not has_ogb():
        return {}
    return {"ogb": ogb_scores(used.dataset, outputs(model, data.x).cpu(), data)}


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)

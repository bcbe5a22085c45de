"""What an experiment is about, loaded: a graph of one's own where there is one, else a named data set."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from gamlp_admm.datasets import LoadedDataset, load_dataset, load_graph
from gamlp_admm.datasets.stored import stored
from gamlp_admm.errors import InputError
from gamlp_admm.experiment.options import IN_MEMORY, OF_GRAPHS, Options, declared
from gamlp_admm.experiment.resolve import Experiment, Resolved
from gamlp_admm.transforms.propagating import edges_of

O = TypeVar("O", bound=Options)


def load(
    used: Options,
    classes: Sequence[str] | int | None = None,
    features: Sequence[str] | None = None,
    mmap: bool = False,
) -> LoadedDataset:
    """Load the graph that an experiment is about.

    Args:
        used: Its options, resolved.
        classes: The classes of a model that is there, by which labels of a graph of one's own are numbered
            (:func:`gamlp_admm.datasets.load_graph`); labels need not be there then.
        features: Names of the columns of a graph of one's own that such a model takes, in place of ``used.features``.
        mmap: Whether tensors of a ``.pt`` file stay there (:func:`gamlp_admm.datasets.load_graph`).

    Returns:
        The data set, whose ``edge_weight`` is what ``used.weight`` says.

    Raises:
        InputError: It cannot be loaded.
    """
    if used.data is None:
        loaded = load_dataset(  # nosec B615  # ours
            used.dataset, used.root, split=used.split, seed=used.split_seed, split_index=used.split_index
        )
        return replace(loaded, data=weighted(loaded.data, used.weight))
    if used.data == IN_MEMORY:
        raise InputError(f"the graph {used.dataset!r} was in memory; hand it over again, as data=…")
    return _graph(used.data, used, classes, features, mmap)


def _graph(source: Any, used: Options, classes: Any = None, features: Any = None, mmap: bool = False) -> LoadedDataset:
    return load_graph(
        source,
        label=used.label,
        features=features or used.features,
        id=used.id,
        weight=used.weight,
        split=used.split if classes is None or used.split != declared()["split"].option.default else None,
        split_index=used.split_index,
        seed=used.split_seed,
        classes=classes,
        mmap=mmap,
    )


def handed(experiment: O, data: Any) -> tuple[O, LoadedDataset | None]:
    """Return an experiment that is about a graph that a caller hands over, and the graph where it is in memory.

    Args:
        experiment: The options; a data set that they name is not looked at then.
        data: Its graph: a path, which is as good as the option; what :func:`gamlp_admm.datasets.load_graph` takes, read
            as the options say; or what that returned. ``None`` for what the options name.

    Raises:
        InputError: The graph is given twice, or cannot be what the options say.
    """
    if data is None:
        return experiment, None
    if experiment.data not in (None, IN_MEMORY, _place(data)):
        raise InputError(f"data is given twice: as the option, {experiment.data!r}, and as the argument")
    if isinstance(experiment, Resolved) and experiment.data is None:
        raise InputError("the experiment is resolved for a data set; give data to one that is not resolved yet")
    if isinstance(data, str | os.PathLike):
        plain = declared()["dataset"].option.default
        return replace(experiment, data=os.fspath(data), dataset=plain), None
    if isinstance(data, LoadedDataset):
        for name in OF_GRAPHS:
            if (value := getattr(experiment, name)) != declared()[name].option.default:
                raise InputError(f"{name} {value!r} does not apply to a graph that is loaded; give it to load_graph")
        loaded = data
    else:
        loaded = _graph(data, experiment)
    return _in_memory(experiment, loaded), loaded


def held(experiment: Experiment, data: Any) -> tuple[Experiment, LoadedDataset | None]:
    """Return what :func:`handed` does, with a graph that lies in a file loaded, too."""
    experiment, graph = handed(experiment, data)
    if graph is None and experiment.data is not None:
        graph = load(experiment.resolve())
        experiment = _in_memory(experiment, graph)
    return experiment, graph


def _in_memory(experiment: O, graph: LoadedDataset) -> O:
    plain = {name: declared()[name].option.default for name in OF_GRAPHS}
    return replace(experiment, data=_place(graph), dataset=graph.info.name, **plain)


def _place(graph: Any) -> str:
    # What the option data says of a graph that is loaded: of stored features where they are.
    store = stored(graph.data) if isinstance(graph, LoadedDataset) else None
    return IN_MEMORY if store is None else str(store.path.resolve())


def weighted(data: Any, weight: str | None) -> Any:
    """Return a graph whose ``edge_weight`` is the attribute ``weight``, which all that is made of its edges takes.

    Args:
        data: PyG ``Data``.
        weight: Name of the attribute; ``None`` for the graph as it is.

    Raises:
        InputError: It has no such attribute, or not of one weight an edge.
    """
    if weight is None:
        return data
    data = copy.copy(data)
    data.edge_weight = edges_of(data, weight)[1]
    data.edge_attr = None  # of which nothing need be said any more
    return data

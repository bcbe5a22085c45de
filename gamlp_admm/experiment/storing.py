"""Features of an experiment's graph, made into a directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamlp_admm.datasets import LoadedDataset
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import features, source
from gamlp_admm.experiment.resolve import Resolved
from gamlp_admm.propagation import StoredFeatures
from gamlp_admm.propagation.store import caching
from gamlp_admm.propagation.store.plan import MemoryPlan
from gamlp_admm.propagation.store.writing import HowFar
from gamlp_admm.system.words import size
from gamlp_admm.transforms import AugmentFeatures, CombineFeatures
from gamlp_admm.transforms.out_of_core import Storing
from gamlp_admm.transforms.recipe import Transform


def store(
    used: Resolved,
    out: Path | None,
    *,
    rows: str = "all",
    dtype: str = "float32",
    memory: int | None = None,
    overwrite: bool = False,
    progress: HowFar = lambda done, total: None,
    planned: Callable[[MemoryPlan], None] = lambda plan: None,
) -> dict[str, Any]:
    """Make the propagated features of an experiment's graph into a directory, and return what was made.

    Args:
        used: The experiment's options.
        out: The directory; ``None`` for the cache, where runs find them.
        rows: ``"all"``, ``"labelled"`` or a file (:func:`chosen_rows`).
        dtype: Type of the numbers that are kept.
        memory: Bytes that data and work may take; ``None`` for half of what is free.
        overwrite: Whether they replace others.
        progress: Told how much is done, and of how much.
        planned: Told how many columns are made at a time.

    Raises:
        InputError: Something is not allowed, or is there already.
    """
    transform = features.propagation(used, getattr(torch, dtype))
    if out is None and (memory is not None or rows != "all" or overwrite):
        raise InputError("memory, rows and overwrite are for features in a directory, and need out")
    if not isinstance(transform, AugmentFeatures | CombineFeatures):
        raise InputError(f"{used.data} holds stored features: there is nothing to propagate")
    if used.threads is not None:
        torch.set_num_threads(used.threads)
    loaded = source.load(used, mmap=True)
    if out is None:
        return _kept(used, transform, loaded)
    plans: list[MemoryPlan] = []

    def told(plan: MemoryPlan) -> None:
        plans.append(plan)
        planned(plan)

    how = Storing(
        out,
        memory,
        chosen_rows(rows, loaded),
        about(used, loaded),
        overwrite,
        torch.device(used.device),
        progress,
        told,
    )
    made = transform.store(loaded.data, how)
    return _told(made, plans)


def _kept(used: Resolved, transform: Transform, loaded: LoadedDataset) -> dict[str, Any]:
    """Make features in memory, and keep them where runs find them."""
    with caching("all", used.dataset) as cache:
        x = transform(loaded.data).x
    if not cache.keys or cache.cache is None:
        raise InputError(f"features of {size(x.nbytes)} are not kept: allowed: out, a directory")
    places = [str(cache.cache.folder / key) for key in cache.keys]
    rows, columns = x.shape
    text = f"{', '.join(places)}: {rows:,} x {columns:,} {_name(x)}, {size(x.nbytes)}"
    return {"out": places, "shape": [rows, columns], "dtype": _name(x), "bytes": x.nbytes, "text": text, "plan": None}


def about(used: Resolved, loaded: LoadedDataset) -> dict[str, Any]:
    """Return what ``store.json`` says of the graph."""
    names = {"class_names": loaded.class_names, "feature_names": loaded.feature_names}
    known = {name: [*map(str, values)] for name, values in names.items() if values is not None}
    return {"dataset": used.dataset, "split": loaded.split, "num_classes": loaded.info.classes, **known}


def chosen_rows(which: str, loaded: LoadedDataset) -> str | Tensor | None:
    """Return the nodes whose features are kept, as ``AugmentFeatures`` takes them.

    Args:
        which: ``"all"``; ``"labelled"``, the nodes that train, validate or test; or a file: ``.npy``, or text with a
            number or an id a line.
        loaded: The graph.

    Raises:
        InputError: The file cannot be read, or names nodes that are not there.
    """
    if which in ("all", "labelled"):
        return None if which == "all" else which
    try:
        if which.endswith(".npy"):
            return torch.from_numpy(np.load(which, allow_pickle=False))
        lines = Path(which).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"rows {which}: allowed: all, labelled, or a file; it cannot be read ({why})") from None
    except (ValueError, TypeError):
        raise InputError(f"rows {which}: it is no array of numbers, and no text") from None
    numbers = range(loaded.data.num_nodes) if loaded.node_ids is None else loaded.node_ids
    place = {str(name): number for number, name in enumerate(numbers)}
    names = [line.strip() for line in lines if line.strip()]
    if wrong := [name for name in names if name not in place]:
        raise InputError(f"rows {which}: there is no node {wrong[0]!r}")
    return torch.tensor([place[name] for name in names], dtype=torch.long)


def _told(made: StoredFeatures, plans: list[MemoryPlan]) -> dict[str, Any]:
    rows, columns = made.x.shape
    dtype = _name(made.x)
    text = f"{made.path}: {rows:,} x {columns:,} {dtype}, {size(made.x.nbytes)}"
    told = {"out": str(made.path), "shape": [rows, columns], "dtype": dtype, "bytes": made.x.nbytes, "text": text}
    plan = {"columns": plans[0].width, "memory": plans[0].memory, "bytes": dict(plans[0].parts)} if plans else None
    return told | {"feature_blocks": made.about["feature_blocks"], "plan": plan}


def _name(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")

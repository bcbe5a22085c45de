"""Features of several operators made into one directory: what ``CombineFeatures.store`` does.

Each operator's features are made as a directory of their own, ``parts/0``, ``parts/1``, …, within the cap of memory and
not in vain when killed (:mod:`~gamlp_admm.transforms.out_of_core`). When all are there their spreads are measured, in
one pass over each, and the rows of all are put side by side. Then the parts go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.propagation.mapping import let_go
from gamlp_admm.propagation.store import StoredFeatures
from gamlp_admm.propagation.store.journal import PARTS
from gamlp_admm.propagation.store.matrix import WINDOW
from gamlp_admm.propagation.store.writing import PropagatedFeatures, RowWork, make
from gamlp_admm.transforms.out_of_core import Storing, described, store_features
from gamlp_admm.transforms.propagating import PropagatingTransform

Part = tuple[PropagatingTransform, torch.dtype | None, bool]
"""How to propagate, the type of what comes of it, and whether rows are divided by their sums first."""


def store_several(parts: Sequence[Part], data: Data, how: Storing, recipe: Callable[[Tensor], Any]) -> StoredFeatures:
    """Make propagated features of several operators into a directory, or what is missing of them.

    Args:
        parts: The operators; the types of what comes of them are one type.
        data: A graph with ``x`` ``[N, F]`` and edges; its tensors may be memory-mapped.
        how: The directory and the rest; parts have features of all nodes, whatever the rows.
        recipe: Returns what ``store.json`` keeps of the transform, of the spreads of its parts, float64.

    Raises:
        InputError: As :func:`~gamlp_admm.transforms.out_of_core.store_features` raises it.
    """
    each = [described(*_arguments(part, data, how)) for part in parts]
    made, about = _beside(each), {**how.about}
    work = [features.steps + 1 + features.states for features in each]
    total = made.columns * (sum(work) + made.states)

    def stored(i: int) -> StoredFeatures:
        def progress(done: int, _: int) -> None:
            how.progress(made.columns * sum(work[:i]) + done, total)

        its = replace(how, path=how.path / PARTS / str(i), rows=None, about={}, overwrite=False, progress=progress)
        return store_features(*_arguments(parts[i], data, its))

    def prepare() -> RowWork:
        found = [stored(i).x for i in range(len(parts))]
        spreads = torch.tensor([spread(x) for x in found], dtype=torch.float64)
        about["recipe"] = recipe(spreads)
        return _side_by_side(found, spreads, made)

    about["feature_blocks"] = made.about["feature_blocks"]
    whole = replace(made, about=about, steps=sum(work) - 1)
    return make(how.path, whole, prepare, how.progress, how.overwrite)


def _arguments(part: Part, data: Data, how: Storing) -> tuple[PropagatingTransform, Data, Any, bool, Storing]:
    transform, dtype, normalize = part
    return transform, data, dtype, normalize, how


def _beside(parts: Sequence[PropagatedFeatures]) -> PropagatedFeatures:
    """Return what several features are side by side."""
    digests = dict(parts[0].made_of["data"])
    for i, part in enumerate(parts):
        digests[f"operator {i}"] = part.made_of["data"].get("operator")
    names = dict.fromkeys(name for part in parts for name in part.made_of if name not in ("arithmetic", "data"))
    options = {name: [part.made_of.get(name) for part in parts] for name in names}
    blocks = [width for part in parts for width in part.about["feature_blocks"]]
    made_of = {"arithmetic": parts[0].made_of["arithmetic"], **options, "data": digests}
    return replace(parts[0], states=len(blocks), made_of=made_of, about={"feature_blocks": blocks})


def spread(x: Tensor) -> float:
    """Return the root of the mean squared distance of rows ``[N, C]`` from their mean, in one pass over them.

    It is summed in float64, by NumPy: no bit depends on the number of threads.

    Example:
        >>> import torch
        >>> from gamlp_admm.transforms.several_out_of_core import spread
        >>> spread(torch.tensor([[1.0, 1.0], [1.0, 5.0]]))
        2.0
    """
    mean, squares, count = np.zeros(x.shape[1]), 0.0, 0
    for part in torch.split(x, max(WINDOW // (8 * max(x.shape[1], 1)), 1)):
        rows = part.double().numpy()
        let_go(part)
        centre, taken = rows.mean(0), len(rows)
        apart, count = centre - mean, count + taken
        rows = np.square(rows - centre)
        squares += float(rows.sum()) + float(np.square(apart).sum()) * taken * (count - taken) / count
        mean += apart * (taken / count)
    return math.sqrt(squares / max(count, 1))


def _side_by_side(parts: Sequence[Tensor], spreads: Tensor, made: PropagatedFeatures) -> RowWork:
    F, R, wanted = made.columns, made.num_rows, made.nodes.get("n_id")
    step = max(WINDOW // max(F * made.states * made.dtype.itemsize, 1), 1)
    sizes = spreads.to(made.dtype)

    def write(window: slice, out: Tensor) -> None:
        low = 0
        for x, size in zip(parts, torch.where(sizes > 0, sizes, 1), strict=True):
            rows = x[window] if wanted is None else x[wanted[window]]
            high = low + x.shape[1] // F
            torch.div(rows.view(len(out), high - low, F), size, out=out[:, low:high])
            let_go(rows if wanted is None else x)
            low = high

    return RowWork(write, [slice(low, min(low + step, R)) for low in range(0, R, step)])

"""What the benchmark of speed measures: methods, networks and what they are trained on, and how they grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch_geometric.data import Data

from gamlp_admm.bench.graph import Graph
from gamlp_admm.datasets import load_dataset
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.transforms import AugmentFeatures

METHODS = {
    "pdadmm-g": "pdADMM-G",
    "pdadmm-g:linesearch": "pdADMM-G, linesearch",
    "pdadmm-g:exact": "pdADMM-G, exact",
    "pdadmm-g:backtracking": "pdADMM-G, backtracking",
    "pdadmm-g-q": "pdADMM-G-Q",
    "dladmm": "dlADMM",
    "mdlam": "mDLAM",
    "badm": "BADM",
    "sisa": "SISA",
    "adam": "Adam",
    "gcn": "GCN, Adam",
    "published": "pdADMM-G as published",
}
"""What is trained, by name: pdADMM-G by the package's defaults, from the start that knows the labels; the others from
drawn weights, after the colon by one solving rule; Adam on the same network and features; GCN, of as many layers and
neurons, on the graph; and the papers' recipe (:mod:`gamlp_admm.bench.published`)."""

SETTINGS: dict[str, dict[str, Any]] = {"adam": {"lr": 1e-2, "weight_decay": 5e-4}}
"""Settings that are not the algorithm's defaults."""

INITS = {"pdadmm-g": "ridge", "published": "normal"}
"""Where weights start, unless they are drawn from N(0, 2/n_in)."""

FEW = ("pdadmm-g:linesearch", "adam", "published")
"""What is trained where an iteration takes long, and what grows."""

HOPS = 4


@dataclass(frozen=True)
class Case:
    """A network and what it is trained on.

    Attributes:
        layers: L.
        hidden: Neurons n of a hidden layer.
        dataset: Name of a data set, with hops 0 to 4 for features; ``None`` for random rows of n columns, whose class
            is the largest of 10 random linear functions.
        rows: Training rows N, where they are random.
        iterations: Of a turn, in each stage of growth.
        turns: How often each method is trained, from a seed of its own.
        target: Validation accuracy until which time is taken; ``None``: it is not.
        methods: What is trained unless something else is asked for.
        grow: Whether deep networks grow, those of algorithms that do.
    """

    layers: int
    hidden: int
    dataset: str | None = None
    rows: int = 0
    iterations: int = 100
    turns: int = 3
    target: float | None = None
    methods: Sequence[str] = tuple(METHODS)
    grow: bool = True

    def __str__(self) -> str:
        where = self.dataset or f"{self.rows:,} rows"
        return f"{where}, {self.layers} × {self.hidden}"


DEEP = tuple(name for name in METHODS if name != "gcn")
CASES = {
    "karate": Case(2, 16, "karate", iterations=4, turns=1, target=0.5),
    "cora": Case(2, 100, "cora", target=0.74),
    "cora-10": Case(10, 100, "cora", iterations=60, target=0.74, methods=DEEP),
    "large": Case(10, 500, rows=20_000, iterations=4, turns=1, methods=FEW[:2], grow=False),
}
"""What is measured, by name."""

GROWTH = "growth"
DEFAULTS, QUICK = ("cora", "cora-10", "large", GROWTH), ("karate", GROWTH)
"""Problems that are measured unless others are asked for."""

BASE = Case(8, 128, rows=2000, iterations=4, turns=1, methods=FEW, grow=False)
AXES: dict[str, tuple[int, ...]] = {
    "rows": (500, 1000, 2000, 4000, 8000),
    "layers": (4, 8, 16, 32),
    "hidden": (32, 64, 128, 256, 512),
}
"""What grows from :data:`BASE`, the others staying as they are there."""

QUICK_BASE = replace(BASE, layers=3, hidden=16, rows=64)
QUICK_AXES = {"rows": (64, 128), "layers": (3, 6), "hidden": (16, 32)}


@dataclass(frozen=True)
class Source:
    """What a case is trained on.

    Attributes:
        data: Features, targets and splits.
        graph: The data set as GCN takes it, where there is a graph.
    """

    data: Any
    graph: Graph | None = None

    @classmethod
    def of(cls, case: Case, root: str | None = None) -> Source:
        """Load or make it."""
        if case.dataset is not None:
            data = load_dataset(case.dataset, root).data  # nosec B615  # ours
            return cls(AugmentFeatures(HOPS)(data), Graph(data))
        generator, held = torch.Generator().manual_seed(0), 100
        x = torch.randn(case.rows + held, case.hidden, generator=generator)
        data = Data(x=x, y=(x @ torch.randn(case.hidden, 10, generator=generator)).argmax(1))
        place = torch.arange(len(x)) - case.rows
        data.train_mask, data.val_mask, data.test_mask = place < 0, (place >= 0) & (place < 50), place >= 50
        return cls(data)

    @property
    def num_train(self) -> int:
        """Number of training rows N."""
        return int(self.data.train_mask.sum())


def growing_cases(quick: bool = False) -> list[tuple[str, int, Case]]:
    """Return axis, size and case of each point of the study of growth."""
    base, axes = (QUICK_BASE, QUICK_AXES) if quick else (BASE, AXES)
    return [
        (axis, size, replace(base, **cast("dict[str, Any]", {axis: size})))
        for axis, sizes in axes.items()
        for size in sizes
    ]


@dataclass(frozen=True)
class SpeedPlan:
    """What is measured, checked.

    Attributes:
        problems: Of :data:`CASES`, and ``growth``.
        methods: Of :data:`METHODS`; ``None`` for those of each case.
        turns: How often each is trained; ``None`` for what each case has.
        target: Validation accuracy until which time is taken; ``None`` for that of each case.
        quick: Whether growth is of small networks.

    Raises:
        InputError: A name is unknown, or a number is not allowed.
    """

    problems: Sequence[str] = DEFAULTS
    methods: Sequence[str] | None = None
    turns: int | None = None
    target: float | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        known = (*CASES, GROWTH)
        for kind, given, allowed in (("problem", self.problems, known), ("method", self.methods or METHODS, METHODS)):
            for name in given:
                if name not in allowed:
                    raise unknown(kind, name, allowed)
            if not given or len({*given}) < len(given):
                raise InputError(f"{kind}s {','.join(given)!r}: allowed: different ones, at least one")
        if self.target is not None and not 0 < self.target <= 1:
            raise InputError(f"target {self.target}: allowed: above 0, up to 1")
        for name, methods in [*((name, m) for name, _, m in self.cases()), *((GROWTH, m) for *_, m in self.growth())]:
            if not methods:
                raise InputError(f"{name}: gcn needs a graph; allowed: other methods too, or data sets")

    def cases(self) -> list[tuple[str, Case, Sequence[str]]]:
        """Return name, case and methods of what is measured, growth aside."""
        chosen = []
        for name in self.problems:
            if name != GROWTH:
                case = CASES[name]
                case = replace(case, turns=self.turns or case.turns, target=self.target or case.target)
                chosen.append((name, case, self._fitting(case)))
        return chosen

    def growth(self) -> list[tuple[str, int, Case, Sequence[str]]]:
        """Return axis, size, case and methods of the points of the study of growth."""
        points = growing_cases(self.quick) if GROWTH in self.problems else []
        turns = self.turns or BASE.turns
        return [(axis, size, replace(case, turns=turns), self._fitting(case)) for axis, size, case in points]

    def _fitting(self, case: Case) -> Sequence[str]:
        methods = self.methods or case.methods
        return [method for method in methods if method != "gcn" or case.dataset is not None]

    @property
    def size(self) -> int:
        """Number of turns of methods, all in all."""
        cases = sum(case.turns * len(methods) for _, case, methods in self.cases())
        return cases + sum(case.turns * len(methods) for *_, case, methods in self.growth())

"""Module names of release 0.1.0, which still lead to where their contents stand now."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False  # as in gamlp_admm/__init__.py
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

PACKAGE = "gamlp_admm"
FORMER = {
    "activations": "nn.activations",
    "augmentation": "experiment.features",
    "backprop": "algorithms.backprop",
    "balance": "parallel.balance",
    "blocks": "admm.blocks",
    "channel": "parallel.channel",
    "checkpoint": "training.checkpoint",
    "combination": "transforms.combine_features",
    "comparison": "experiment.comparison",
    "components": "transforms.scale_components",
    "console": "cli.console",
    "correction": "transforms.correct_and_smooth",
    "data": "training.rows",
    "engine": "admm.engine",
    "evaluation": "training.evaluation",
    "features": "training.coordinates",
    "history": "training.result",
    "labels": "transforms.augment_labels",
    "launch": "parallel.launch",
    "losses": "nn.losses",
    "memory": "system.allocator",
    "options": "experiment",
    "prediction": "experiment.prediction",
    "problem": "admm.problem",
    "proximal": "admm.proximal",
    "run": "training.loop",
    "schedules": "training.schedules",
    "session": "training.session",
    "stacked": "admm.stacked",
    "state": "admm.state",
    "team": "parallel.team",
    "trace": "parallel.trace",
    "trainers": "algorithms",
    "units": "training.coordinates",
}
"""Where the contents of a module of 0.1.0 stand now."""


class FormerNames:
    """Finds modules by their former names; each is a view of the one that holds its contents now.

    A finder and a loader of :data:`sys.meta_path`, without their base classes: importing those takes 10 ms.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        package, _, name = fullname.rpartition(".")
        known = package == PACKAGE and name in FORMER
        return ModuleSpec(fullname, self) if known else None  # type: ignore[arg-type]  # a loader by its methods

    def create_module(self, spec: ModuleSpec) -> None:
        """See :meth:`importlib.abc.Loader.create_module`."""

    def exec_module(self, module: ModuleType) -> None:
        """See :meth:`importlib.abc.Loader.exec_module`."""
        now = f"{PACKAGE}.{FORMER[module.__name__.rpartition('.')[2]]}"
        warnings.warn(f"{module.__name__} is {now} now", DeprecationWarning, stacklevel=2)
        home = import_module(now)
        module.__dict__["__getattr__"] = lambda name: getattr(home, name)


def keep_former_names() -> None:
    """Let modules be imported by their former names."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(FormerNames())

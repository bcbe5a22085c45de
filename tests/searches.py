"""What tests of searches share: an experiment, a space, and a formula in place of training."""

from __future__ import annotations

from math import log10
from types import SimpleNamespace
from typing import Any

import pytest

from gamlp_admm.experiment import Experiment
from gamlp_admm.tuning import measuring

KARATE = Experiment(dataset="karate", iterations=3, threads=1)
NU_AND_MU = {"nu": "1e-4:1:log", "mu": "1e-4:1:log"}


class Secret(dict):  # type: ignore[type-arg]
    """Accuracies whose test accuracy nobody may read."""

    def __getitem__(self, name: str) -> Any:
        assert "test" not in name
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        assert "test" not in name
        return super().get(name, default)

    items = values = copy = None  # type: ignore[assignment]


def make_up(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """Replace training by a formula that is best at nu = 0.03 and mu = 0.003; return what was run."""
    runs: list[Experiment] = []

    def formula(experiment: Experiment, callbacks: Any, prepared: Any) -> SimpleNamespace:
        runs.append(experiment)
        used = experiment.resolve()
        if used.nu > 0.5:
            raise FloatingPointError("too much")
        score = 0.9 - 0.1 * abs(log10(used.nu / 0.03)) - 0.1 * abs(log10(used.mu / 0.003)) + 0.001 * used.seed
        accuracies = Secret(val_accuracy=score, test_accuracy=float("nan"))
        return SimpleNamespace(report=Secret(best=accuracies, last=accuracies))

    monkeypatch.setattr(measuring, "run", formula)
    return runs

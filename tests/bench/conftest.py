"""What tests of benchmarks share."""

from __future__ import annotations

from typing import Any

import pytest
from benches import quick_runs

from gamlp_admm.bench.jobs import Job


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Job, tuple[Any, ...]]]:
    """Replace training by a quick stand-in; return the list of what it is called with."""
    return quick_runs(monkeypatch)

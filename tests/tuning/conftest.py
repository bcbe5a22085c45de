"""What tests of searches share."""

from __future__ import annotations

import pytest
from searches import make_up

from gamlp_admm.experiment import Experiment


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """Replace training by a formula that is best at nu = 0.03 and mu = 0.003; return what was run."""
    return make_up(monkeypatch)

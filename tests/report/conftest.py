"""What tests of tables and plots share."""

from __future__ import annotations

import pytest
from samples import GROWN

from gamlp_admm.experiment import run


@pytest.fixture(scope="session")
def grown():
    return run(GROWN).report

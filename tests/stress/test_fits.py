"""The short form of ``tests/stress/fits.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fits import call


@pytest.mark.filterwarnings("ignore")
def test_random_calls_of_fit_train_or_say_why_not() -> None:
    outcomes = [call(seed)[1] for seed in range(60)]
    assert outcomes.count("trained") > 20
    assert set(outcomes) <= {"trained", "refused", "diverged"}

"""Module names of release 0.1.0."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from gamlp_admm.system.former import FORMER

NAMES = {
    "trainers": ["trainer", "ALGORITHMS", "PdADMMG", "Anderson"],
    "options": ["Experiment"],
    "comparison": ["compare"],
    "history": ["Result", "Progress"],
    "backprop": ["Backprop"],
    "components": ["ScaleComponents"],
    "labels": ["AugmentLabels"],
    "correction": ["CorrectAndSmooth"],
    "memory": ["keep_freed_memory"],
    "activations": ["ACTIVATIONS"],
    "losses": ["risk"],
}


@pytest.mark.parametrize("former", FORMER)
def test_former_modules_lead_to_where_their_contents_are(former: str) -> None:
    sys.modules.pop(f"gamlp_admm.{former}", None)
    with pytest.warns(DeprecationWarning, match=f"gamlp_admm.{former} is gamlp_admm") as caught:
        module = import_module(f"gamlp_admm.{former}")
    assert len([each for each in caught if former in str(each.message)]) == 1
    home = import_module(f"gamlp_admm.{FORMER[former]}")
    for name in NAMES.get(former, []):
        assert getattr(module, name) is getattr(home, name)
    with pytest.raises(AttributeError):
        _ = module.nothing


def test_the_warning_names_the_line_that_imports() -> None:
    code = "import gamlp_admm\nfrom gamlp_admm.trainers import trainer\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "<string>:2: DeprecationWarning: gamlp_admm.trainers is gamlp_admm.algorithms now" in done.stderr

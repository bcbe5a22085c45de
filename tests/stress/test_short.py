"""The short forms of the stress scripts; docs/stress.md has the tables of the long ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FORMS = {
    "augment.py": ["--kills", "20"],
    "augment_memory.py": ["--nodes", "400000"],
    "kills.py": ["--kills", "12"],
    "damage.py": ["--damages", "15"],
    "long.py": ["--iterations", "2000"],
    "cost.py": ["--rows", "500", "--iterations", "3"],
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")
@pytest.mark.parametrize("script", FORMS)
def test_short_form(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name(script)), *FORMS[script], "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr + done.stdout

"""What the others say when a process fails."""

from __future__ import annotations

import json

import processes
import pytest


@pytest.mark.parametrize("how", ["dies", "raises", pytest.param("hangs", marks=pytest.mark.slow)])
def test_the_others_stop_and_say_which_process_failed(tmp_path, how):
    processes.spawn(2, tmp_path, processes.failing, how, check=False)
    note = json.loads((tmp_path / "failing-0.json").read_text())
    assert note["message"].startswith("rank 0 (layers 1–")
    assert "lost" in note["message"]
    assert note["seconds"] < 15
    if how == "raises":
        assert json.loads((tmp_path / "failing-1.json").read_text())["message"] == "boom"

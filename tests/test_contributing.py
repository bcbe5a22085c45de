"""The contributors' page and the pre-commit configuration say what CI runs and what the house is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from test_architecture import FLOORS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")


def test_pre_commit_runs_what_ci_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert [
        line.removeprefix(".venv/bin/") for line in ci.splitlines() if re.match(r"\.venv/bin/(ruff|mypy)", line)
    ] == (entries)
    assert entries == ["ruff check .", "ruff format --check .", "mypy"]


def test_the_picture_is_the_house() -> None:
    drawn = [line[4:49].split() for line in PAGE.splitlines() if line.startswith("    ")]
    assert drawn == [floor.split() for floor in reversed(FLOORS)]


def test_places_that_are_named_are_there() -> None:
    for name in re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE):
        assert (ROOT / "gamlp_admm" / name).exists() or (ROOT / name).exists(), name

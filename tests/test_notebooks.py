"""The notebooks run, as they stand there, and keep small outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest.mock import patch

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))


def printed(notebook: dict) -> list[str]:
    """Return the text that the cells have printed, by cell."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [
        "".join("".join(out["text"]) for out in cell["outputs"] if out["output_type"] == "stream") for cell in cells
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_small_listed_and_without_errors(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 30_000
    assert f"(notebooks/{path.name})" in (ROOT / "examples/README.md").read_text(encoding="utf-8")
    outputs = [out for cell in json.loads(text)["cells"] for out in cell.get("outputs", ())]
    assert outputs
    assert {out["output_type"] for out in outputs} <= {"stream", "execute_result", "display_data"}
    assert all(out.get("name", "stdout") == "stdout" for out in outputs)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the extra notebooks is not installed")
    pytest.importorskip("ipykernel", reason="the extra notebooks is not installed")
    if "lightning" in path.stem:
        pytest.importorskip("lightning", reason="the extra notebooks is not installed")
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    before = printed(notebook)
    where = {"metadata": {"path": str(tmp_path)}}
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with patch.dict(os.environ, PYTHONPATH=search, OMP_NUM_THREADS="1"):
        nbclient.NotebookClient(notebook, timeout=500, kernel_name="python3", resources=where).execute()
    after = printed(notebook)
    assert [bool(text) for text in after] == [bool(text) for text in before]

"""A matrix in a file: windows written are windows read, by safetensors too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gamlp_admm.errors import InputError
from gamlp_admm.propagation.store import matrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_windows(tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "WINDOW", 4096)  # many
    path, x = tmp_path / "x.safetensors", torch.randn(700, 30).to(dtype)
    matrix.create(path, (700, 30), dtype)
    for column, width in ((0, 7), (7, 23)):
        for low in (0, 300):
            matrix.write(path, low, column, x[low : low + 400, column : column + width])
    assert torch.equal(matrix.mapped(path), x)
    assert torch.equal(load_file(path)["x"], x)
    matrix.write(path, 1, 0, x[:3].float())
    assert torch.equal(matrix.mapped(path)[1:4], x[:3])


def test_what_is_written_to_the_tensor_stays_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    matrix.create(path, (2, 2), torch.float32)
    first, second = matrix.mapped(path), matrix.mapped(path)
    first += 1
    assert second.sum() == 0
    assert path.read_bytes()[-16:] == bytes(16)


def test_none_at_all(tmp_path: Path) -> None:
    matrix.create(tmp_path / "x", (0, 5), torch.float32)
    matrix.write(tmp_path / "x", 0, 0, torch.empty(0, 5))
    assert matrix.mapped(tmp_path / "x").shape == (0, 5)


def test_what_is_no_matrix(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match="cannot be read"):
        matrix.mapped(path)
    for content in (b"", b"hello", (10).to_bytes(8, "little") + b"{}", b"\xff" * 40):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no file of stored features"):
            matrix.mapped(path)
    matrix.create(path, (4, 4), torch.float32)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(InputError, match="cut off"):
        matrix.mapped(path)
    path.write_bytes(whole)
    with pytest.raises(InputError, match="do not fit"):
        matrix.write(path, 3, 0, torch.ones(2, 4))
    with pytest.raises(InputError, match="dtype"):
        matrix.create(path, (4, 4), torch.int64)

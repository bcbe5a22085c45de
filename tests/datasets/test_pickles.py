"""Pickles in raw files name arrays alone, whoever reads them; nothing else is imported or called."""

from __future__ import annotations

import ast
import io
import os
import pickle
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
import torch_geometric.datasets
from raw_files import make_pubmed

from gamlp_admm.datasets import load_dataset, pickles
from gamlp_admm.datasets.loading import read_data
from gamlp_admm.datasets.pyg import EVALUATED
from gamlp_admm.errors import InputError

RAW = "planetoid/PubMed/raw"
REFUSED = "asks for {}, and only arrays are read from pickles"


class Calls:
    """Pickled, it calls a function when it is read."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def trap(tmp_path: Path) -> Any:
    """What makes a folder when it is unpickled, and that folder."""
    return Calls(os.mkdir, str(tmp_path / "sprung")), tmp_path / "sprung"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3),
        np.float32(3),
        np.asfortranarray(np.ones((2, 2), np.int32)),
        np.zeros(0),
        scipy.sparse.csr_matrix(np.eye(3)),
        scipy.sparse.coo_array(np.eye(2)),
        {0: [1, 2], 3: []},
    ],
    ids=lambda value: type(value).__name__,
)
def test_arrays_are_read_as_they_were(value: Any, protocol: int) -> None:
    read = pickles.unpickled(io.BytesIO(pickle.dumps(value, protocol)))
    assert type(read) is type(value)
    if scipy.sparse.issparse(value):
        assert (read != value).nnz == 0
    else:
        np.testing.assert_equal(read, value)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("__builtin__", "eval"),
        ("numpy", "load"),
        ("numpy", "ndarray.tofile"),
        ("numpy.testing._private.utils", "runstring"),
        ("scipy.sparse", "load_npz"),
        ("torch", "load"),
        ("antigravity", "geohash"),
    ],
)
def test_a_name_that_is_no_array_is_neither_imported_nor_called(module: str, name: str) -> None:
    for text in (
        f"c{module}\n{name}\n.".encode(),
        b"\x80\x04\x8c" + _short(module) + b"\x8c" + _short(name) + b"\x93.",
    ):
        with pytest.raises(ValueError, match=REFUSED.format(f"{module}.{name}")):
            pickles.unpickled(io.BytesIO(text))
    assert "antigravity" not in sys.modules


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


@pytest.mark.parametrize("file", ["x", "tx", "allx", "y", "ty", "ally", "graph"])
@pytest.mark.parametrize("name", ["pubmed", "pyg:Planetoid:PubMed"])
def test_a_raw_file_of_planetoid_runs_nothing(name: str, file: str, tmp_path: Path, trap: Any) -> None:
    info = make_pubmed(tmp_path / RAW)
    (tmp_path / RAW / f"ind.pubmed.{file}").write_bytes(pickle.dumps(trap[0]))
    with pytest.raises(InputError, match=REFUSED.format(r"posix.mkdir") + "|" + REFUSED.format("nt.mkdir")):
        read_data(info, tmp_path) if name == "pubmed" else load_dataset(name, tmp_path)
    assert not trap[1].exists()


def test_an_array_of_objects_in_a_raw_file_of_pyg_runs_nothing(tmp_path: Path, trap: Any) -> None:
    folder = tmp_path / "facebookpagepage/raw"
    folder.mkdir(parents=True)
    arrays = {"edges": np.zeros((1, 2), int), "features": np.array([trap[0]], dtype=object), "target": np.zeros(1, int)}
    np.savez(folder / "facebook.npz", **arrays)
    with pytest.raises(InputError, match="only arrays are read from pickles"):
        load_dataset("pyg:FacebookPagePage", tmp_path)
    assert not trap[1].exists()


def test_what_torch_saved_runs_nothing(tmp_path: Path) -> None:
    # PyG reads it again without the restrictions of torch, where these refuse it.
    path, made = tmp_path / "data.pt", tmp_path / "made"
    torch.save(Calls(shutil.copyfile, str(path), str(made)), path)
    asks = pytest.raises(ValueError, match=r"asks for shutil.copyfile")
    with pickles.arrays_only(), pytest.warns(UserWarning, match="Weights only"), asks:
        torch_geometric.io.fs.torch_load(str(path))
    assert not made.exists()


def test_pickles_of_others_are_left_alone() -> None:
    whole = pickle.dumps(threading.Thread)
    found: list[object] = []
    with pickles.arrays_only():
        other = threading.Thread(target=lambda: found.append(pickle.loads(whole)))
        other.start()
        other.join()
        with pytest.raises(ValueError, match=r"asks for threading\.Thread"):
            pickle.loads(whole)
    assert [*found, pickle.loads(whole)] == [threading.Thread] * 2


def test_a_sparse_matrix_that_is_none_is_not_made_dense(tmp_path: Path) -> None:
    info = make_pubmed(tmp_path / RAW)
    path = tmp_path / RAW / "ind.pubmed.allx"
    x = pickle.loads(path.read_bytes())
    x._shape = (10**4, 3)
    path.write_bytes(pickle.dumps(x))
    for read in (lambda: read_data(info, tmp_path), lambda: load_dataset("pyg:Planetoid:PubMed", tmp_path)):
        with pytest.raises(InputError, match=r"index pointer|announces|column index"):
            read()


def test_readers_that_run_what_they_read_are_refused() -> None:
    found = set()
    for path in Path(torch_geometric.datasets.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        if {"eval", "exec"} & {*calls}:
            found |= {n.name for n in tree.body if isinstance(n, ast.ClassDef)} & {*torch_geometric.datasets.__all__}
    assert found <= {*EVALUATED}
    with pytest.raises(InputError, match="runs what stands in its files"):
        load_dataset(f"pyg:{EVALUATED[0]}:email-Enron")

"""Features of several operators in a directory: those in memory; the same bytes whatever the cap, and when killed."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from attributed import graph
from torch_geometric.data import Data

from gamlp_admm import AugmentFeatures
from gamlp_admm.errors import InputError
from gamlp_admm.propagation import StoredFeatures
from gamlp_admm.propagation.store import matrix, plan, writing
from gamlp_admm.system import durable
from gamlp_admm.transforms import CombineFeatures, from_recipe, several_out_of_core
from gamlp_admm.transforms.out_of_core import Storing

TEXT = "ppr/10/0.2+sym/0-2/normalized+row/1"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many windows of rows, and nothing waits for the disk."""
    monkeypatch.setattr(writing, "sync", lambda path: None)
    monkeypatch.setattr(writing, "SYNCED", 1)
    monkeypatch.setattr(durable, "LAST_MOMENTS", 0.0)
    for module in (matrix, several_out_of_core):
        monkeypatch.setattr(module, "WINDOW", 2**12)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def features(dtype: torch.dtype | None = None) -> CombineFeatures:
    return CombineFeatures.parse(TEXT, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_features_are_those_in_memory(tmp_path: Path, dtype: torch.dtype) -> None:
    data = graph()
    wanted, found = features(dtype)(data), []
    for name, cap in (("narrow", plan.SCRATCH + 20_000), ("wide", "1GiB")):
        store = features(dtype).store(data, Storing(tmp_path / name, cap))
        found.append(files(tmp_path / name))
        torch.testing.assert_close(store.x, wanted.x)
        assert store.about["feature_blocks"] == [*wanted.feature_blocks]
    assert found[0] == found[1]
    assert found[0].keys() == {"lock", "nodes.safetensors", "store.json", "x.safetensors"}
    again = from_recipe(store.about["recipe"], store.x.shape[1])(data)  # with the spreads of the store: to the bit
    assert torch.equal(again.x.to(dtype), store.x)


def test_rows_are_divided_by_the_spread_of_all_nodes(tmp_path: Path) -> None:
    data, rows = graph(), torch.tensor([7, 3, 39])
    every = features().store(data, Storing(tmp_path / "all"))
    some = features().store(data, Storing(tmp_path / "some", rows=rows))
    assert torch.equal(some.x, every.x[rows])
    assert torch.equal(some.nodes["n_id"], rows)
    assert some.about["recipe"] == every.about["recipe"]


def test_the_spread_in_one_pass() -> None:
    x = torch.randn(700, 5, generator=torch.Generator().manual_seed(0)) + 1e4
    exact = np.sqrt(x.double().var(0, correction=0).sum().item())
    assert several_out_of_core.spread(x) == pytest.approx(exact, rel=1e-12)
    assert several_out_of_core.spread(torch.ones(3, 2)) == several_out_of_core.spread(torch.ones(1, 2)) == 0


def test_progress_goes_from_nothing_to_all(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    features().store(graph(), Storing(tmp_path, progress=lambda done, total: told.append((done, total))))
    done, totals = zip(*told, strict=True)
    assert len({*totals}) == 1
    assert (done[0], done[-1]) == (0, totals[0])
    assert [*done] == sorted(done)


def killed(last: int, data: Data, how: Storing) -> bool:
    """Make features in a process that ends, as by a kill, when it writes for the n-th time; return whether it did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that a fork does not take along: none is needed
        child = os.fork()
    if not child:
        try:
            count, write, move = 0, writing._bytes, os.replace

            def cut(function):  # type: ignore[no-untyped-def]
                def called(*arguments):  # type: ignore[no-untyped-def]
                    nonlocal count
                    if (count := count + 1) == last:
                        os._exit(9)
                    return function(*arguments)

                return called

            writing._bytes, os.replace = cut(write), cut(move)
            features().store(data, how)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_killed_anywhere_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    data, rows = graph(), torch.arange(0, 40, 3)
    how = Storing(tmp_path / "whole", rows=rows)
    features().store(data, how)
    whole, last, went_on = files(tmp_path / "whole"), 1, 0
    while killed(last, data, replace(how, path=tmp_path / str(last))):
        folder = tmp_path / str(last)
        went_on += (folder / "parts" / "0" / "store.json").exists()
        features().store(data, replace(how, path=folder))
        assert files(folder) == whole, last
        last += 7
    assert went_on > 2
    assert last > 30


def test_work_that_was_begun_is_not_lost_to_another(tmp_path: Path) -> None:
    data = graph()
    assert killed(15, data, Storing(tmp_path))
    for other in (AugmentFeatures(1), CombineFeatures.parse("ppr/10/0.3+sym/0-2/normalized+row/1")):
        with pytest.raises(InputError, match=r"has features made with .*; allowed: another directory, or overwrite"):
            other.store(data, Storing(tmp_path))
    AugmentFeatures(1).store(data, Storing(tmp_path, overwrite=True))
    assert files(tmp_path).keys() == {"lock", "nodes.safetensors", "store.json", "x.safetensors"}
    with pytest.raises(InputError, match="made with operator=sym, not"):
        CombineFeatures.parse("sym/1").store(data, Storing(tmp_path))


def test_what_does_not_apply_to_parts(tmp_path: Path) -> None:
    for part in (AugmentFeatures(1, rows="labelled"), AugmentFeatures(1, out=tmp_path / "part")):
        with pytest.raises(InputError, match="rows, out and metapaths of a part do not apply"):
            CombineFeatures([part]).store(graph(), Storing(tmp_path / "a"))
    parts = [AugmentFeatures(1), AugmentFeatures(1, dtype=torch.float64)]
    with pytest.raises(InputError, match=r"need one dtype, not None, torch\.float64"):
        CombineFeatures(parts).store(graph(), Storing(tmp_path / "a"))
    of_matrix = CombineFeatures([AugmentFeatures(1, torch.eye(40).to_sparse())])
    assert of_matrix.store(graph(), Storing(tmp_path / "b")).about["recipe"] is None
    assert StoredFeatures.open(tmp_path / "b").recipe is None

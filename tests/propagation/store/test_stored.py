"""Features in a directory: what is kept is what is read, and damage is noticed."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from gamlp_admm.errors import InputError
from gamlp_admm.propagation.store import StoredFeatures


def saved(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.randn(10, 6), torch.arange(10)
    StoredFeatures.save(path, x, {"y": y}, {"feature_blocks": [3, 3]})
    return x, y


def test_saved_and_opened(tmp_path: Path) -> None:
    x, y = saved(tmp_path / "a")
    store = StoredFeatures.open(tmp_path / "a")
    assert torch.equal(store.x, x)
    assert torch.equal(store.nodes["y"], y)
    assert store.about["feature_blocks"] == [3, 3]
    assert torch.equal(store[4]["x"], x[4])
    batches = list(DataLoader(store, batch_size=3, shuffle=True, collate_fn=store.collate))
    order = torch.cat([batch["y"] for batch in batches])
    assert sorted(order.tolist()) == y.tolist()
    assert torch.equal(torch.cat([batch["x"] for batch in batches]), x[order])


@pytest.mark.parametrize("name", ["x.safetensors", "nodes.safetensors"])
def test_damage_is_noticed(tmp_path: Path, name: str) -> None:
    saved(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is damaged"):
        StoredFeatures.open(tmp_path)
    StoredFeatures.open(tmp_path, verify=False)


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no stored features"):
        StoredFeatures.open(tmp_path)
    for text in ("{", "[]", '{"format": 9, "checksums": {}}'):
        (tmp_path / "store.json").write_text(text)
        with pytest.raises(InputError, match=r"store\.json"):
            StoredFeatures.open(tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_a_split(tmp_path: Path, workers: int) -> None:
    x, y = torch.randn(40, 6).bfloat16(), torch.arange(40)
    StoredFeatures.save(tmp_path, x, {"y": y, "train_mask": y % 3 > 0}, {})
    store = StoredFeatures.open(tmp_path)
    torch.manual_seed(0)
    batches = list(store.loader("train", 5, shuffle=True, num_workers=workers))
    order = torch.cat([batch["y"] for batch in batches])
    assert sorted(order.tolist()) == y[y % 3 > 0].tolist()
    assert order.tolist() != sorted(order.tolist())
    assert torch.equal(torch.cat([batch["x"] for batch in batches]), x[order])
    assert {len(batch["x"]) for batch in batches} == {5, 1}
    assert len(list(store.loader(batch_size=40))) == 1
    with pytest.raises(InputError, match=r"unknown split .* 'val': .*allowed: train"):
        store.loader("val")


def test_what_travels_is_the_path(tmp_path: Path) -> None:
    x, _ = saved(tmp_path)
    packed = pickle.dumps(StoredFeatures.open(tmp_path))
    assert len(packed) < 1000
    assert torch.equal(pickle.loads(packed).x, x)
    assert repr(StoredFeatures.open(tmp_path)) == f"<StoredFeatures {tmp_path}: 10 x 6 float32>"

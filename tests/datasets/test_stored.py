"""Stored features as a data set: what was stored, on the disk; what they cannot be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gamlp_admm import AugmentFeatures, load_dataset, load_graph
from gamlp_admm.datasets.stored import from_store, store_at, stored
from gamlp_admm.errors import InputError
from gamlp_admm.propagation import StoredFeatures

MASKS = ("train_mask", "val_mask", "test_mask")


def kept(path: Path, rows: torch.Tensor | None = None, dtype: torch.dtype = torch.float32, **about: Any) -> Any:
    """Store features of karate, of all nodes or of some."""
    transform = AugmentFeatures(2)
    data = transform(load_dataset("karate").data)
    nodes = {name: data[name] for name in ("y", *MASKS)}
    if rows is not None:
        nodes = {name: tensor[rows] for name, tensor in nodes.items()} | {"n_id": rows}
    x = (data.x if rows is None else data.x[rows]).to(dtype)
    StoredFeatures.save(path, x, nodes, {"recipe": transform.recipe(), "feature_blocks": [34, 34, 34]} | about)
    return data


def test_what_is_stored_is_what_is_loaded(tmp_path: Path) -> None:
    data = kept(tmp_path / "club", class_names=["a", "b", "c", "d"], feature_names=[f"f{i}" for i in range(34)])
    loaded = load_graph(tmp_path / "club")
    assert torch.equal(loaded.data.x, data.x)
    assert all(torch.equal(loaded.data[name], data[name]) for name in ("y", *MASKS))
    assert loaded.data.feature_blocks == (34, 34, 34)
    assert (loaded.class_names, loaded.feature_names) == (["a", "b", "c", "d"], [f"f{i}" for i in range(34)])
    assert (loaded.info.name, loaded.info.edges, loaded.info.classes) == ("club", 0, 4)
    assert stored(loaded.data).path == tmp_path / "club"
    drawn = load_graph(str(tmp_path / "club"), split="per-class:1:2", seed=3)
    assert int(drawn.data.train_mask.sum()) == 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_features_of_some_nodes_in_16_bits_stay_so(tmp_path: Path, dtype: torch.dtype) -> None:
    rows = torch.tensor([1, 4, 33, 0, 20])
    data = kept(tmp_path, rows, dtype)
    loaded = load_graph(tmp_path, classes=4).data
    assert loaded.x.dtype == dtype
    assert torch.equal(loaded.x, data.x[rows].to(dtype))
    assert torch.equal(loaded.n_id, rows)


def test_what_was_changed_is_no_longer_what_is_stored(tmp_path: Path) -> None:
    kept(tmp_path)
    data = from_store(tmp_path)
    data.x = data.x.clone()
    assert stored(data) is None
    data = from_store(tmp_path)
    data.x[0] = 0
    assert stored(data) is None
    data = load_dataset("karate").data
    assert stored(data) is None
    data.store = torch.arange(34)  # an attribute of one's own
    assert stored(data) is None
    assert load_graph(data).info.features == 34
    assert torch.equal(from_store(tmp_path).x[0], AugmentFeatures(2)(load_dataset("karate").data).x[0])


@pytest.mark.parametrize(
    "given", [{"label": "y"}, {"features": "degree"}, {"features": torch.ones(34, 2)}, {"id": "n"}]
)
def test_what_says_how_a_graph_is_read_says_nothing_here(tmp_path: Path, given: dict[str, Any]) -> None:
    kept(tmp_path)
    with pytest.raises(InputError, match=f"{next(iter(given))} .* does not apply to .*, which holds stored features"):
        load_graph(tmp_path, **given)


def test_what_does_not_fit_together(tmp_path: Path) -> None:
    x = torch.randn(5, 3)
    StoredFeatures.save(tmp_path / "short", x, {"y": torch.arange(4)}, {})
    with pytest.raises(InputError, match="4 rows of y, and 5 of features"):
        load_graph(tmp_path / "short")
    StoredFeatures.save(tmp_path / "bare", x, {"n_id": torch.arange(5)}, {})
    with pytest.raises(InputError, match="no labels"):
        load_graph(tmp_path / "bare")
    assert store_at(tmp_path) is None
    assert store_at(x) is None
    (tmp_path / "bare" / "x.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="is damaged"):
        load_graph(tmp_path / "bare")

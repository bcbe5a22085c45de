"""Loading: the counts are checked; and real data sets where ``$GAMLP_ADMM_DATA`` has them."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
import torch
from raw_files import make_pubmed
from torch_geometric.utils import is_undirected

from gamlp_admm.datasets import dataset_info, load_dataset, raw
from gamlp_admm.datasets.loading import read_data
from gamlp_admm.errors import InputError


def test_counts_of_the_real_set_are_not_those_of_a_made_up_one(root):
    make_pubmed(root / "planetoid/PubMed/raw")
    with pytest.raises(InputError, match=r"pubmed: expected 19,717 nodes, 88,648 edges, .*; found 1,615 nodes"):
        load_dataset("pubmed", root)


@pytest.mark.parametrize("count", ["nodes", "edges", "features", "classes"])
def test_counts_are_checked(count):
    info = dataset_info("karate")
    wrong = dataclasses.replace(info, **{count: 12_345})
    with pytest.raises(InputError, match=rf"karate: expected 12,345 {count}; found {getattr(info, count)}"):
        read_data(wrong, Path())


def real_root(name):
    """Return the root with the raw files of a data set, or skip the test."""
    root = os.environ.get("GAMLP_ADMM_DATA")
    if not root:
        pytest.skip("GAMLP_ADMM_DATA is not set")
    if not raw.is_present(dataset_info(name), Path(root)):
        pytest.skip(f"GAMLP_ADMM_DATA has no raw files of {name}")
    return Path(root)


@pytest.mark.parametrize("name", ["cora", "citeseer", "amazon-photo", "amazon-computers", "coauthor-cs"])
def test_real_data_sets_are_as_described(name):
    root = real_root(name)
    data = load_dataset(name, root).data  # counts are checked inside
    assert data.x.dtype == torch.float32
    assert data.y.dtype == data.edge_index.dtype == torch.long
    assert is_undirected(data.edge_index)
    assert data.validate()
    masks = torch.stack([data.train_mask, data.val_mask, data.test_mask])
    assert masks.dtype == torch.bool
    assert masks.sum(0).max() == 1
    per_class = data.y[data.train_mask].bincount()
    assert (per_class == 20).all()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_images_are_as_described(name):
    data = load_dataset(name, real_root(name)).data  # counts are checked inside
    assert data.x.dtype == torch.float32
    assert (data.x.min(), data.x.max()) == (0, 1)
    assert data.y.dtype == data.edge_index.dtype == torch.long
    assert data.train_mask[:55_000].all()
    assert data.val_mask[55_000:60_000].all()
    assert data.test_mask[60_000:].all()
    assert data.y[60_000:].bincount(minlength=10).min() > 800


def test_real_digits_are_those_of_mnist():
    data = load_dataset("mnist", real_root("mnist")).data
    assert data.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.y[60_000:60_010].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert data.x[:60_000].mean(dtype=torch.double).item() == pytest.approx(0.1307, abs=5e-5)  # as is well known


@pytest.mark.slow  # half a minute
def test_real_digits_are_joined_to_their_nearest():
    data = load_dataset("mnist-knn", real_root("mnist-knn")).data  # counts are checked inside
    assert is_undirected(data.edge_index)
    one, other = data.edge_index
    assert (one != other).all()
    assert (data.y[one] == data.y[other]).double().mean().item() == pytest.approx(0.9401, abs=5e-5)
    pixels = data.x.double().mul(255).round()
    for node in (0, 31_234, 69_999):
        distances = (pixels - pixels[node]).square().sum(1)
        nearest = distances.argsort(stable=True)[1:11]
        assert set(nearest.tolist()) <= set(other[one == node].tolist())


def test_raw_folder_is_left_as_it_was():
    root = real_root("cora")

    def snapshot():
        return {path: path.stat().st_mtime_ns for path in (root / "planetoid").rglob("*")}

    before = snapshot()
    load_dataset("cora", root)
    load_dataset("pyg:Planetoid:Cora", root)
    assert snapshot() == before


def test_a_fixed_split_ignores_the_seed():
    root = real_root("cora")
    one, two = (load_dataset("cora", root, seed=seed).data for seed in (1, 2))
    assert torch.equal(one.test_mask, two.test_mask)
    assert one.train_mask[:140].all()
    assert one.train_mask.sum() == 140


def test_another_split_can_be_asked_for():
    root = real_root("cora")
    data = load_dataset("cora", root, split="per-class", seed=3).data
    assert [int(data[f"{part}_mask"].sum()) for part in ("train", "val", "test")] == [140, 1000, 1000]
    assert not data.train_mask[:140].all()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cora", "ind.cora.tx"),
        ("cora", "ind.cora.test.index"),
        ("amazon-photo", "amazon_electronics_photo.npz"),
        ("mnist", "t10k-labels-idx1-ubyte.gz"),
    ],
)
@pytest.mark.parametrize("damage", ["truncated", "scribbled", "empty"])
def test_a_damaged_file_is_named(name, file, damage, tmp_path):
    root = real_root(name)
    folder = dataset_info(name).raw.folder
    shutil.copytree(root / folder, tmp_path / folder, copy_function=shutil.copyfile)
    (tmp_path / folder).chmod(0o755)
    path = tmp_path / folder / file
    content = path.read_bytes()
    damages = {"truncated": content[: len(content) // 3], "scribbled": b"\x00<html>", "empty": b""}
    path.write_bytes(damages[damage])
    with pytest.raises(InputError) as caught:
        load_dataset(name, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    # a short list of numbers is still a list: what is wrong shows only when the counts are checked
    assert (folder if file.endswith(".index") else str(path)) in message

"""Descriptions, bundled data sets, and real ones where ``$GAMLP_ADMM_DATA`` has them."""

import dataclasses
import os
import shutil
import socket
from pathlib import Path

import pytest
import torch
from torch_geometric.utils import contains_self_loops, is_undirected

from gamlp_admm.datasets import dataset_info, dataset_names, default_root, list_datasets, load_dataset, raw
from gamlp_admm.datasets.info import PACKAGE, catalogue_folder, in_checkout
from gamlp_admm.datasets.loading import read_data
from gamlp_admm.datasets.readers import READERS
from gamlp_admm.datasets.splits import RULES
from gamlp_admm.errors import InputError

NAMES = [
    "amazon-computers",
    "amazon-photo",
    "citeseer",
    "coauthor-cs",
    "coauthor-physics",
    "cora",
    "digits",
    "digits-knn",
    "fashion-mnist",
    "flickr",
    "karate",
    "mnist",
    "ogbn-arxiv",
    "pubmed",
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("a test opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def real_root(name):
    """Return the root with the raw files of a data set, or skip the test."""
    root = os.environ.get("GAMLP_ADMM_DATA")
    if not root:
        pytest.skip("GAMLP_ADMM_DATA is not set")
    if not raw.is_present(dataset_info(name), Path(root)):
        pytest.skip(f"GAMLP_ADMM_DATA has no raw files of {name}")
    return Path(root)


# descriptions


def test_every_data_set_has_a_description():
    assert dataset_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_description_is_complete(name):
    info = dataset_info(name)
    assert info.name == name
    assert info.kind in ("graph", "plain")
    assert info.loader in READERS
    assert info.split in RULES
    assert all((info.title, info.licence, info.origin, info.url.startswith("https://")))
    assert min(info.nodes, info.features, info.classes, info.train, info.val, info.test) > 0
    assert (info.edges > 0) == (info.kind == "graph")
    assert info.train + info.val + info.test <= info.nodes
    assert (info.recipe["operator"] == "none") == (info.kind == "plain")
    assert all(0 < row.accuracy < 1 and row.method and row.source for row in info.published)
    assert (info.raw is None) == (info.download_bytes == 0)
    if info.raw is not None:
        assert len(info.raw.urls) in (1, len(info.raw.files))
        assert info.published


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match=r"unknown data set 'corra': did you mean 'cora'\? allowed: amazon"):
        load_dataset("corra")


def test_descriptions_are_found_in_a_checkout_and_in_a_wheel(tmp_path):
    package = tmp_path / "gamlp_admm"
    package.mkdir()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "pyproject.toml").touch()
    assert catalogue_folder(package) == tmp_path / "datasets"
    assert in_checkout(package)
    (package / "_datasets").mkdir()  # beside it lies another distribution's package named "datasets"
    assert catalogue_folder(package) == package / "_datasets"
    assert not in_checkout(package)


def test_default_root(monkeypatch, tmp_path):
    monkeypatch.setenv("GAMLP_ADMM_DATA", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("GAMLP_ADMM_DATA")
    checkout = PACKAGE.parent / "datasets" / ".cache"
    assert default_root() == (checkout if in_checkout() else raw.cache_folder() / "datasets")
    monkeypatch.setattr(raw, "in_checkout", lambda: False)
    assert default_root() == raw.cache_folder() / "datasets"


def test_listing_tells_what_is_present(tmp_path):
    info = dataset_info("pubmed")
    before = {row.name: row for row in list_datasets(tmp_path)}
    assert list(before) == NAMES
    assert {name for name, row in before.items() if row.present} == {"digits", "digits-knn", "karate"}
    (tmp_path / info.raw.folder).mkdir(parents=True)
    for file in info.raw.files:
        (tmp_path / info.raw.folder / file).touch()
    row = next(row for row in list_datasets(tmp_path) if row.name == "pubmed")
    assert row == dataclasses.replace(before["pubmed"], present=True)
    assert (row.nodes, row.edges, row.features, row.classes) == (19_717, 88_648, 500, 3)


# bundled data sets


def test_karate_keeps_its_training_nodes():
    data = load_dataset("karate").data
    assert data.train_mask.sum() == 4
    assert data.y[data.train_mask].unique().numel() == 4
    assert torch.equal(data.train_mask, load_dataset("karate", seed=1).data.train_mask)
    assert not torch.equal(data.test_mask, load_dataset("karate", seed=1).data.test_mask)


def test_digits_are_plain():
    loaded = load_dataset("digits")
    assert loaded.info.kind == "plain"
    assert loaded.data.edge_index.shape == (2, 0)
    assert loaded.data.edge_index.dtype == torch.long
    assert loaded.data.x.dtype == torch.float32
    assert (loaded.data.x.min(), loaded.data.x.max()) == (0, 1)


def test_digits_knn_graph():
    data = load_dataset("digits-knn").data
    assert is_undirected(data.edge_index)
    assert not contains_self_loops(data.edge_index)
    assert data.edge_index.unique(dim=1).shape == data.edge_index.shape
    assert torch.equal(data.edge_index, load_dataset("digits-knn").data.edge_index)
    node = 7  # its 10 nearest, by brute force, are among its neighbours
    distance = (data.x - data.x[node]).double().square().sum(1)
    distance[node] = torch.inf
    nearest = distance.argsort(stable=True)[:10]
    assert set(nearest.tolist()) <= set(data.edge_index[1, data.edge_index[0] == node].tolist())


def test_splits_of_digits_are_stratified():
    data = load_dataset("digits-knn").data
    for mask, share in ((data.train_mask, 0.6), (data.val_mask, 0.2), (data.test_mask, 0.2)):
        counts = data.y[mask].bincount() / data.y.bincount()
        assert (counts - share).abs().max() < 0.01
    assert (data.train_mask ^ data.val_mask ^ data.test_mask).all()


# real data sets


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


@pytest.mark.parametrize("count", ["nodes", "edges", "features", "classes"])
def test_counts_are_checked(count):
    info = dataset_info("karate")
    wrong = dataclasses.replace(info, **{count: 12_345})
    with pytest.raises(InputError, match=rf"karate: expected 12,345 {count}; found {getattr(info, count)}"):
        read_data(wrong, Path())


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

"""Downloading, and the readers on made-up raw files in the exact layout of the originals."""

import dataclasses
import gzip
import json
import pickle
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
import torch_geometric.datasets

from gamlp_admm.datasets import dataset_info, load_dataset, raw
from gamlp_admm.datasets.info import RawFiles
from gamlp_admm.datasets.loading import read_data, split_data
from gamlp_admm.errors import InputError


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    folder = tmp_path / "user-cache"
    monkeypatch.setattr("gamlp_admm.datasets.ogb.cache_folder", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def write_csv(path, rows, fmt):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        np.savetxt(file, np.asarray(rows), fmt=fmt, delimiter=",")


def make_arxiv(folder, nodes=60):
    """Write a small directed graph as OGB lays out ogbn-arxiv, and return its description and its arrays."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(nodes, 8)).round(6)
    edges = rng.integers(nodes, size=(200, 2))
    y = np.arange(nodes) % 4
    order = rng.permutation(nodes)
    write_csv(folder / "raw/node-feat.csv.gz", x, "%.6f")
    write_csv(folder / "raw/edge.csv.gz", edges, "%d")
    write_csv(folder / "raw/node-label.csv.gz", y, "%d")
    write_csv(folder / "raw/node_year.csv.gz", y + 2000, "%d")
    write_csv(folder / "raw/num-node-list.csv.gz", [nodes], "%d")
    write_csv(folder / "raw/num-edge-list.csv.gz", [len(edges)], "%d")
    for name, part in (("train", order[:30]), ("valid", order[30:40]), ("test", order[40:])):
        write_csv(folder / f"split/time/{name}.csv.gz", part, "%d")
    (folder / "mapping").mkdir()
    (folder / "RELEASE_v1.txt").touch()
    info = dataset_info("ogbn-arxiv")
    counts = {"nodes": nodes, "edges": 200, "features": 8, "classes": 4, "train": 30, "val": 10, "test": 20}
    return dataclasses.replace(info, **counts), x, edges, y, order


# OGB


def test_ogb_layout_is_read_without_a_network(root, own_cache):
    info, x, edges, y, order = make_arxiv(root / "ogb/ogbn_arxiv")
    data = split_data(read_data(info, root), info, None, None)
    assert torch.equal(data.x, torch.tensor(x, dtype=torch.float32))
    assert torch.equal(data.edge_index, torch.tensor(edges).T)
    assert torch.equal(data.y, torch.tensor(y))
    assert set(torch.where(data.train_mask)[0].tolist()) == set(order[:30].tolist())
    assert set(torch.where(data.test_mask)[0].tolist()) == set(order[40:].tolist())
    assert [path.suffix for path in (own_cache / "ogb").iterdir()] == [".safetensors"]


def test_ogb_cache_follows_the_raw_files(root, own_cache, monkeypatch):
    info, x, *_ = make_arxiv(root / "ogb/ogbn_arxiv")
    first = read_data(info, root)
    with monkeypatch.context() as patch:
        patch.setattr(np, "loadtxt", lambda *_a, **_k: pytest.fail("the cache was not used"))
        again = read_data(info, root)
    assert set(first.to_dict()) == {"x", "edge_index", "y", "train_mask", "val_mask", "test_mask"}
    assert all(torch.equal(first[key], again[key]) for key in first.to_dict())
    write_csv(root / "ogb/ogbn_arxiv/raw/node-feat.csv.gz", 2 * x, "%.6f")
    assert torch.allclose(read_data(info, root).x, 2 * first.x)
    for cached in (own_cache / "ogb").iterdir():
        cached.write_bytes(b"half a file")
    assert torch.allclose(read_data(info, root).x, 2 * first.x)


def test_ogb_needs_no_writable_cache(root, own_cache):
    info, *_ = make_arxiv(root / "ogb/ogbn_arxiv")
    own_cache.write_text("a file, so that no folder can be made here")
    assert read_data(info, root).num_nodes == 60


def test_ogb_package_is_not_imported():
    code = "import sys, gamlp_admm.datasets; assert not {'ogb', 'outdated'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("file", ["raw/edge.csv.gz", "raw/node-feat.csv.gz", "split/time/valid.csv.gz"])
@pytest.mark.parametrize(
    "content",
    [b"<html>", gzip.compress(b"1,2\nthree,4\n"), gzip.compress(b"1\n" * 999)[:-9], gzip.compress(b"")],
    ids=["page", "words", "truncated", "empty"],
)
def test_damaged_ogb_file_is_named(root, file, content):
    info, *_ = make_arxiv(root / "ogb/ogbn_arxiv")
    path = root / "ogb/ogbn_arxiv" / file
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_data(info, root)
    assert str(caught.value).startswith(f"ogbn-arxiv: cannot read {path} (")


def test_ogb_files_that_do_not_fit_each_other(root):
    info, _, edges, y, _ = make_arxiv(root / "ogb/ogbn_arxiv")
    write_csv(root / "ogb/ogbn_arxiv/raw/node-label.csv.gz", y[:50], "%d")
    with pytest.raises(InputError, match=r"ogbn-arxiv: expected 60 nodes; found 50 nodes; are the files in ogb"):
        read_data(info, root)
    write_csv(root / "ogb/ogbn_arxiv/raw/node-label.csv.gz", y, "%d")
    write_csv(root / "ogb/ogbn_arxiv/raw/edge.csv.gz", edges + 30, "%d")
    with pytest.raises(InputError, match=r"ogbn-arxiv: 'edge_index' contains larger indices"):
        read_data(info, root)


def test_split_beyond_the_nodes_names_its_file(root):
    info, *_ = make_arxiv(root / "ogb/ogbn_arxiv")
    write_csv(root / "ogb/ogbn_arxiv/split/time/test.csv.gz", [60], "%d")
    with pytest.raises(InputError, match=r"cannot read .*test\.csv\.gz"):
        read_data(info, root)


# Flickr and Planetoid


def make_flickr(folder):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    adjacency = scipy.sparse.random(40, 40, density=0.1, format="csr", random_state=0)
    adjacency = adjacency + adjacency.T
    csr = {key: getattr(adjacency, key) for key in ("data", "indices", "indptr", "shape")}
    np.savez(folder / "adj_full.npz", **csr)
    np.save(folder / "feats.npy", rng.normal(size=(40, 5)))
    (folder / "class_map.json").write_text(json.dumps({str(node): node % 7 for node in range(39, -1, -1)}))
    order = rng.permutation(40).tolist()
    (folder / "role.json").write_text(json.dumps({"tr": order[:20], "va": order[20:30], "te": order[30:]}))
    counts = {"nodes": 40, "edges": adjacency.nnz, "features": 5, "train": 20, "val": 10, "test": 10}
    return dataclasses.replace(dataset_info("flickr"), **counts)


def test_flickr_is_read_as_pyg_reads_it(root):
    info = make_flickr(root / "flickr/raw")
    ours = split_data(read_data(info, root), info, None, None)
    theirs = torch_geometric.datasets.Flickr(str(root / "flickr"))[0]
    for key in ("x", "edge_index", "y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(ours[key], theirs[key])


@pytest.mark.parametrize("file", ["adj_full.npz", "feats.npy", "class_map.json", "role.json"])
def test_damaged_flickr_file_is_named(root, file):
    info = make_flickr(root / "flickr/raw")
    path = root / "flickr/raw" / file
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match=f"flickr: cannot read .*{file}"):
        read_data(info, root)


def make_pubmed(folder):
    """Write a small graph in the eight Planetoid files: 15 training, 600 other and 1,000 test nodes."""
    folder.mkdir(parents=True)
    x = scipy.sparse.random(1615, 20, density=0.3, format="csr", random_state=0, dtype=np.float32)
    y = np.eye(3, dtype=np.int32)[np.arange(1615) % 3]
    graph = {node: [(node + 1) % 1615, (node - 1) % 1615] for node in range(1615)}
    parts = {"x": x[:15], "allx": x[:615], "tx": x[615:], "y": y[:15], "ally": y[:615], "ty": y[615:]}
    for name, part in {**parts, "graph": graph}.items():
        (folder / f"ind.pubmed.{name}").write_bytes(pickle.dumps(part))
    order = np.random.default_rng(0).permutation(np.arange(615, 1615))
    np.savetxt(folder / "ind.pubmed.test.index", order, fmt="%d")
    counts = {"nodes": 1615, "edges": 3230, "features": 20, "train": 15}
    return dataclasses.replace(dataset_info("pubmed"), **counts)


def test_planetoid_is_read_as_pyg_reads_it(root):
    info = make_pubmed(root / "planetoid/PubMed/raw")
    ours = split_data(read_data(info, root), info, None, None)
    theirs = torch_geometric.datasets.Planetoid(str(root / "planetoid"), "PubMed")[0]
    for key in ("x", "edge_index", "y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(ours[key], theirs[key])


def test_counts_of_the_real_set_are_not_those_of_a_made_up_one(root):
    make_pubmed(root / "planetoid/PubMed/raw")
    with pytest.raises(InputError, match=r"pubmed: expected 19,717 nodes, 88,648 edges, .*; found 1,615 nodes"):
        load_dataset("pubmed", root)


def test_files_that_do_not_belong_together(root):
    info = make_pubmed(root / "planetoid/PubMed/raw")
    (root / "planetoid/PubMed/raw/ind.pubmed.test.index").write_text("615\n9999\n")
    with pytest.raises(InputError, match=r"pubmed: the raw files in .*PubMed/raw do not belong together"):
        read_data(info, root)


# idx images


def write_idx(path, array):
    """Write bytes as an idx file: two zeros, type 8, the number of dimensions, their sizes, the elements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def make_mnist(folder, train=36, test=10):
    """Write small images in the four idx files, and return their description, all pixels and all labels."""
    rng = np.random.default_rng(0)
    x = rng.integers(256, size=(train + test, 3, 2))
    y = np.arange(train + test)[::-1] % 10
    for part, rows in (("train", slice(train)), ("t10k", slice(train, None))):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", x[rows])
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", y[rows])
    counts = {"nodes": train + test, "features": 6, "train": train - train // 12, "val": train // 12, "test": test}
    return dataclasses.replace(dataset_info("mnist"), **counts), x, y


@pytest.mark.parametrize(("train", "test"), [(36, 10), (41, 1), (11, 5)])
def test_idx_images_are_read(root, train, test):
    info, x, y = make_mnist(root / "mnist/raw", train, test)
    data = split_data(read_data(info, root), info, None, None)
    assert data.x.dtype == torch.float32
    assert torch.equal(data.x, torch.tensor(x.reshape(-1, 6) / 255, dtype=torch.float32))
    assert torch.equal(data.y, torch.tensor(y.copy()))
    assert data.edge_index.shape == (2, 0)
    assert data.edge_index.dtype == torch.long
    parts = ["train"] * (train - train // 12) + ["val"] * (train // 12) + ["test"] * test
    for part in ("train", "val", "test"):
        assert data[f"{part}_mask"].tolist() == [of == part for of in parts]


IDX_FILES = dataset_info("mnist").raw.files


@pytest.mark.parametrize("file", IDX_FILES)
@pytest.mark.parametrize("damage", ["page", "empty", "truncated", "scribbled", "not idx", "header", "short", "long"])
def test_damaged_idx_file_is_named(root, file, damage):
    info, *_ = make_mnist(root / "mnist/raw")
    path = root / "mnist/raw" / file
    whole = path.read_bytes()
    content = gzip.decompress(whole)
    damages = {
        "page": b"<html>",
        "empty": gzip.compress(b""),
        "truncated": whole[:-9],
        "scribbled": whole[:-8] + b"\x00" * 8,  # the checksum tells
        "not idx": gzip.compress(b"\x00\x00\x0d" + content[3:]),  # 13: the elements are floats
        "header": gzip.compress(content[:6]),
        "short": gzip.compress(content[:-1]),
        "long": gzip.compress(content + b"\x00"),
    }
    path.write_bytes(damages[damage])
    with pytest.raises(InputError) as caught:
        read_data(info, root)
    message = str(caught.value)
    assert message.startswith(f"mnist: cannot read {path} (")
    assert message.count("cannot read") == 1
    assert "\n" not in message


def test_idx_file_says_what_is_wrong(root):
    info, x, _ = make_mnist(root / "mnist/raw")
    path = root / "mnist/raw/train-images-idx3-ubyte.gz"
    write_idx(path, x[:36].reshape(36, 6))
    with pytest.raises(InputError, match=r"it starts with b'.*x02', not with the magic number b'.*x03'\); put a good"):
        read_data(info, root)
    write_idx(path, x[:0])
    with pytest.raises(InputError, match=r"train-images.*its header announces 0 x 3 x 2 bytes, but 0 follow"):
        read_data(info, root)


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_images_and_labels_must_be_as_many(root, part):
    info, _, y = make_mnist(root / "mnist/raw")
    write_idx(root / f"mnist/raw/{part}-labels-idx1-ubyte.gz", y[:7])
    message = rf"cannot read .*{part}-labels-.*7 labels for the (36|10) images of {part}-images-idx3-ubyte\.gz\)"
    with pytest.raises(InputError, match=message):
        read_data(info, root)


def test_training_and_test_images_must_be_as_large(root):
    info, x, _ = make_mnist(root / "mnist/raw")
    write_idx(root / "mnist/raw/t10k-images-idx3-ubyte.gz", x[36:].reshape(10, 2, 3))
    with pytest.raises(InputError, match=r"cannot read .*t10k-images-.*its images have 2 x 3 pixels, not 3 x 2"):
        read_data(info, root)


# downloading


def test_no_network_says_what_to_place_where(root):
    with pytest.raises(InputError) as caught:
        load_dataset("cora", root)
    message = str(caught.value)
    assert message.startswith("cora: cannot download it (URLError: ")
    assert f"place the raw files in {root / 'planetoid/Cora/raw'}: ind.cora.x, ind.cora.tx, " in message
    assert "\n" not in message
    assert list(root.rglob("*")) == []  # nothing half-done is left


def test_a_root_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cora: cannot download to .*file/root \(.*place the raw files in"):
        load_dataset("cora", tmp_path / "file" / "root")


def downloadable(info, source):
    """Describe the raw files as to be had from a folder of this machine."""
    urls = tuple((source / info.raw.folder / file).as_uri() for file in info.raw.files)
    return dataclasses.replace(info, raw=RawFiles(info.raw.folder, info.raw.files, urls))


def test_missing_files_are_downloaded(root, tmp_path):
    info = downloadable(make_flickr(tmp_path / "source/flickr/raw"), tmp_path / "source")
    (root / "flickr/raw").mkdir(parents=True)
    kept = root / "flickr/raw/role.json"
    kept.write_bytes((tmp_path / "source/flickr/raw/role.json").read_bytes())
    before = kept.stat().st_mtime_ns
    assert read_data(info, root).num_nodes == 40
    assert kept.stat().st_mtime_ns == before
    assert {path.name for path in root.rglob("*") if path.is_file()} == set(info.raw.files)
    assert [path.name for path in root.iterdir()] == ["flickr"]


def test_an_archive_is_downloaded_whole(root, tmp_path):
    info, *_ = make_arxiv(tmp_path / "arxiv")
    archive = tmp_path / "arxiv.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in (tmp_path / "arxiv").rglob("*"):
            zipped.write(path, path.relative_to(tmp_path))
    info = dataclasses.replace(info, raw=dataclasses.replace(info.raw, urls=(archive.as_uri(),)))
    assert read_data(info, root).num_nodes == 60
    assert (root / "ogb/ogbn_arxiv/RELEASE_v1.txt").is_file()  # OGB's own reader looks for it
    assert [path.name for path in root.iterdir()] == ["ogb"]


@pytest.mark.parametrize("content", ["not an archive", None])
def test_a_useless_archive_is_refused(root, tmp_path, content):
    info, *_ = make_arxiv(tmp_path / "arxiv")
    archive = tmp_path / "arxiv.zip"
    if content is None:
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("arxiv/raw/edge.csv.gz", b"")
    else:
        archive.write_text(content)
    info = dataclasses.replace(info, raw=dataclasses.replace(info.raw, urls=(archive.as_uri(),)))
    with pytest.raises(InputError, match=r"ogbn-arxiv: cannot download it \(.*place the raw files in"):
        read_data(info, root)
    assert list(root.iterdir()) == []


def test_a_connection_that_ends_early_leaves_nothing(root, tmp_path, monkeypatch):
    info = downloadable(make_flickr(tmp_path / "source/flickr/raw"), tmp_path / "source")
    monkeypatch.setattr(raw.shutil, "copyfileobj", lambda source, target: target.write(source.read(9)))
    with pytest.raises(InputError, match=r"flickr: cannot download it .*ended after 9 of"):
        read_data(info, root)
    assert list(root.iterdir()) == []


# any data set of PyG


def test_pyg_class_by_name(root):
    make_pubmed(root / "planetoid/PubMed/raw")
    (root / "planetoid/PubMed/processed").mkdir()
    (root / "planetoid/PubMed/processed/data.pt").write_bytes(b"half-written by an interrupted run of PyG")
    before = sorted(root.rglob("*"))
    loaded = load_dataset("pyg:Planetoid:PubMed", root)
    assert sorted(root.rglob("*")) == before
    assert (loaded.info.nodes, loaded.info.classes, loaded.info.split) == (1615, 3, "public")
    assert loaded.data.test_mask.sum() == 1000


def test_pyg_class_without_files(capsys):
    loaded = load_dataset("pyg:KarateClub")
    assert (loaded.info.nodes, loaded.info.split) == (34, "public-train")
    assert capsys.readouterr() == ("", "")


def test_pyg_download_is_moved_into_place(root, tmp_path, monkeypatch):
    make_flickr(tmp_path / "source")

    def download(self):
        for path in (tmp_path / "source").iterdir():
            Path(self.raw_dir, path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(torch_geometric.datasets.Flickr, "download", download)
    assert load_dataset("pyg:Flickr", root).info.nodes == 40
    monkeypatch.delattr(torch_geometric.datasets.Flickr, "download")
    assert load_dataset("pyg:Flickr", root).info.nodes == 40
    assert [path.name for path in root.iterdir()] == ["flickr"]
    assert {path.name for path in (root / "flickr").iterdir()} == {"raw"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pyg:Planetiod:Cora", "unknown PyG data set class 'Planetiod': did you mean 'Planetoid'"),
        ("pyg:Actor:cora", "Actor takes no name; allowed: pyg:Actor"),
        ("pyg:Amazon:Shoes", r"PyG cannot load it from .*amazon \(AssertionError"),
        ("pyg:Amazon", r"PyG cannot load it from .*amazon \(TypeError"),
        ("pyg:WikiCS", r"cannot download it \(.*place the raw files in .*wikics: raw/data.json"),
        ("pyg:FakeHeteroDataset", "not one graph with node features"),
    ],
)
def test_pyg_refusals(spec, message, root):
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(spec, root)
    assert "\n" not in str(caught.value)

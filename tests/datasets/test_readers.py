"""The readers on made-up raw files in the exact layout of the originals, and the bundled data sets."""

import gzip

import pytest
import torch
import torch_geometric.datasets
from raw_files import make_flickr, make_mnist, make_pubmed, write_idx
from torch_geometric.utils import contains_self_loops, is_undirected

from gamlp_admm.datasets import dataset_info, load_dataset
from gamlp_admm.datasets.loading import read_data, split_data
from gamlp_admm.errors import InputError

# Flickr and Planetoid


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


def test_planetoid_is_read_as_pyg_reads_it(root):
    info = make_pubmed(root / "planetoid/PubMed/raw")
    ours = split_data(read_data(info, root), info, None, None)
    theirs = torch_geometric.datasets.Planetoid(str(root / "planetoid"), "PubMed")[0]
    for key in ("x", "edge_index", "y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(ours[key], theirs[key])


def test_files_that_do_not_belong_together(root):
    info = make_pubmed(root / "planetoid/PubMed/raw")
    (root / "planetoid/PubMed/raw/ind.pubmed.test.index").write_text("615\n9999\n")
    with pytest.raises(InputError, match=r"pubmed: the raw files in .*PubMed/raw do not belong together"):
        read_data(info, root)


# idx images


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


def test_digits_are_those_of_scikit_learn(monkeypatch):
    read = load_dataset("digits").data
    monkeypatch.setattr("gamlp_admm.datasets.readers.find_spec", lambda _: None)  # its file is not where it was
    asked = load_dataset("digits").data
    assert torch.equal(read.x, asked.x)
    assert torch.equal(read.y, asked.y)


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

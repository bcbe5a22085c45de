"""OGB's larger data sets: what our readers give is what OGB's own give, on small sets in the exact layout."""

import shutil
import sys
import zipfile

import numpy as np
import pytest
import torch
from raw_ogb import KINDS, NODES, RELATIONS, make_mag, make_papers, make_products, make_proteins
from torch import Tensor

from gamlp_admm.datasets import load_hetero, ogb_binary, ogb_evaluator, raw
from gamlp_admm.datasets.loading import read_data, split_data
from gamlp_admm.datasets.ogb_mag import read_hetero
from gamlp_admm.errors import InputError


def loaded(info, root):
    return split_data(read_data(info, root), info, None, None)


def theirs(folder, **options):
    """Return what OGB's reader of raw files makes of them."""
    ogb_evaluator("ogbn-arxiv")  # imports the package without a network
    from ogb.io.read_graph_raw import read_csv_graph_raw

    return read_csv_graph_raw(str(folder / "raw"), **options)[0]


def ids(folder, part):
    return set(np.loadtxt(folder / f"{part}.csv.gz", dtype=int).tolist())


def test_products_are_those_of_ogb(root):
    info, folder = make_products(root / "ogb/ogbn_products"), root / "ogb/ogbn_products"
    data, same = loaded(info, root), theirs(folder, add_inverse_edge=True)
    assert torch.equal(data.edge_index, torch.from_numpy(same["edge_index"]))
    assert torch.equal(data.x, torch.from_numpy(same["node_feat"]))
    assert set(data.val_mask.nonzero().flatten().tolist()) == ids(folder / "split/sales_ranking", "valid")


@pytest.mark.parametrize("species", ["species", "node_species"])
def test_proteins_have_the_means_of_their_edges_and_many_labels(root, species):
    folder = root / "ogb/ogbn_proteins"
    info = make_proteins(folder, species)
    data = loaded(info, root)
    same = theirs(folder, add_inverse_edge=True, additional_node_files=["node_species"])
    assert torch.equal(data.edge_index, torch.from_numpy(same["edge_index"]))
    for node in range(NODES):
        at = same["edge_feat"][same["edge_index"][0] == node]
        mean = at.mean(0) if len(at) else np.zeros(8)
        assert np.allclose(data.x[node], mean, atol=1e-6), node
    assert torch.equal(data.node_species, torch.from_numpy(same["node_species"]))
    labels = np.loadtxt(folder / "raw/node-label.csv.gz", delimiter=",")
    assert data.y.dtype == torch.float32
    assert np.array_equal(data.y, labels)
    assert set(data.train_mask.nonzero().flatten().tolist()) == ids(folder / "split/species", "train")


def test_papers_of_mag(root):
    folder = root / "ogb/ogbn_mag"
    info = make_mag(folder)
    data, whole = loaded(info, root), read_hetero(info, root)
    ogb_evaluator("ogbn-mag")
    from ogb.io.read_graph_raw import read_csv_heterograph_raw, read_node_label_hetero, read_nodesplitidx_split_hetero

    (same,) = read_csv_heterograph_raw(str(folder / "raw"), additional_node_files=["node_year"])
    assert {kind: whole[kind].num_nodes for kind in whole.node_types} == KINDS == same["num_nodes_dict"]
    assert {*whole.edge_types} == {*RELATIONS} == {*same["edge_index_dict"]}
    for relation, edges in same["edge_index_dict"].items():
        assert torch.equal(whole[relation].edge_index, torch.from_numpy(edges)), relation
    assert torch.equal(data.edge_index, whole["paper", "cites", "paper"].edge_index)
    labels = torch.tensor(read_node_label_hetero(str(folder / "raw"))["paper"].flatten())
    parts = dict(zip(("train", "val", "test"), read_nodesplitidx_split_hetero(str(folder / "split/time")), strict=True))
    for graph in (data, whole["paper"]):
        assert torch.equal(graph.x, torch.from_numpy(same["node_feat_dict"]["paper"]))
        assert torch.equal(graph.y, labels)
        for part, nodes in parts.items():
            assert {*graph[f"{part}_mask"].nonzero().flatten().tolist()} == {*nodes["paper"].tolist()}
    assert torch.equal(read_hetero(info, root)["paper"].x, data.x)  # from the cache
    with pytest.raises(InputError, match=r"unknown heterogeneous data set 'ogbn-arxiv'.*ogbn-mag"):
        load_hetero("ogbn-arxiv")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_papers100m_stays_on_the_disk(root, own_cache, save):
    folder = root / "ogb/ogbn_papers100M"
    info = make_papers(folder, save)
    data = loaded(info, root)
    ogb_evaluator("ogbn-papers100M")
    from ogb.io.read_graph_raw import read_binary_graph_raw

    (same,) = read_binary_graph_raw(str(folder / "raw"))
    assert torch.equal(data.x, torch.from_numpy(same["node_feat"]))
    assert torch.equal(data.edge_index, torch.from_numpy(same["edge_index"]))
    assert torch.equal(data.y[:NODES], torch.arange(NODES) % 4)
    assert (data.y[NODES:] == -1).all()
    assert int(data.train_mask.sum()) == 30
    unpacked = sorted(own_cache.rglob("*.npy"))
    assert len(unpacked) == (0 if save is np.savez else 2)
    before = [path.stat().st_mtime_ns for path in unpacked]
    again = loaded(info, root)
    assert torch.equal(again.x, data.x)
    assert [path.stat().st_mtime_ns for path in unpacked] == before  # once


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_papers100m_is_mapped(root):
    make_papers(root / "ogb/ogbn_papers100M", np.savez)
    x = ogb_binary.mapped(root / "ogb/ogbn_papers100M/raw/data.npz", "node_feat")
    address = x.data_ptr()
    with open("/proc/self/maps") as file:
        spans = [line.split() for line in file]
    (place,) = [row for row in spans if int(row[0].split("-")[0], 16) <= address < int(row[0].split("-")[1], 16)]
    assert place[-1].endswith("data.npz")
    assert isinstance(x, Tensor)


def test_no_room_to_unpack(root, monkeypatch):
    info = make_papers(root / "ogb/ogbn_papers100M")
    usage = shutil.disk_usage(root)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"no room to unpack .*data\.npz into .*needed.*XDG_CACHE_HOME"):
        read_data(info, root)


def test_no_room_to_download(root, monkeypatch):
    usage = shutil.disk_usage(root.parent)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(raw, "_fetch", lambda *_: pytest.fail("it downloads"))
    with pytest.raises(InputError, match=r"ogbn-products: cannot download it \(OSError: it takes 3\.0 GB.*1\.0 GB"):
        read_data(make_products(root.parent / "elsewhere"), root)


@pytest.mark.parametrize("name", ["products", "proteins", "mag", "papers100M-bin"])
def test_archives_are_unpacked_into_their_folders(name, root, tmp_path, monkeypatch):
    make = {"products": make_products, "proteins": make_proteins, "mag": make_mag, "papers100M-bin": make_papers}[name]
    info = make(tmp_path / "source" / name)

    def fetch(url, path, known):
        assert url == f"https://snap.stanford.edu/ogb/data/nodeproppred/{name}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in (tmp_path / "source").rglob("*"):
                archive.write(file, file.relative_to(tmp_path / "source"))

    monkeypatch.setattr(raw, "_fetch", fetch)
    monkeypatch.setattr(raw, "_check_room", lambda *_: None)
    assert loaded(info, root).num_nodes == info.nodes
    assert {path.name for path in root.iterdir()} == {"ogb"}


@pytest.mark.parametrize("content", [b"<html>", b"PK\x05\x06" + bytes(18)], ids=["page", "empty archive"])
def test_damaged_binary_file_is_named(root, content):
    info = make_papers(root / "ogb/ogbn_papers100M", np.savez)
    path = root / "ogb/ogbn_papers100M/raw/data.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .*data\.npz \("):
        read_data(info, root)


def test_objects_are_not_loaded(root):
    info = make_papers(root / "ogb/ogbn_papers100M", np.savez)
    np.savez(root / "ogb/ogbn_papers100M/raw/data.npz", node_feat=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="it holds objects"):
        read_data(info, root)

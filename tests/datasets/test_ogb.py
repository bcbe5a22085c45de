"""OGB's files: read without its package or a network, kept in a cache, damaged."""

import gzip

import numpy as np
import pytest
import torch
from raw_files import make_arxiv, write_csv

from gamlp_admm.datasets.loading import read_data, split_data
from gamlp_admm.errors import InputError


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

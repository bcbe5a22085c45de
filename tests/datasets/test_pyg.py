"""Any data set of PyG, by the name of its class."""

import urllib.request
from pathlib import Path

import pytest
import torch_geometric.datasets
from raw_files import make_flickr, make_pubmed
from torch_geometric.data import download

from gamlp_admm.datasets import load_dataset
from gamlp_admm.errors import InputError


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


def test_pyg_downloads_over_tls_with_certificates_that_are_checked(root, monkeypatch):
    asked = []

    def urlopen(url, timeout, context=None):
        asked.append((url, context))
        raise OSError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    for name in ("pyg:WikiCS", "pyg:NELL"):  # NELL's address is http
        with pytest.raises(InputError, match="no network in tests"):
            load_dataset(name, root)
    assert all(url.startswith("https://") and context is None for url, context in asked)  # None: certificates count
    assert len(asked) == 2
    assert download.urllib is urllib


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

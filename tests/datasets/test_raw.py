"""Raw files: where they lie, and how they are downloaded."""

import dataclasses
import zipfile

import pytest
from raw_files import make_arxiv, make_flickr

from gamlp_admm.datasets import default_root, load_dataset, raw
from gamlp_admm.datasets.info import PACKAGE, RawFiles, in_checkout
from gamlp_admm.datasets.loading import read_data
from gamlp_admm.errors import InputError


def test_default_root(monkeypatch, tmp_path):
    monkeypatch.setenv("GAMLP_ADMM_DATA", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("GAMLP_ADMM_DATA")
    checkout = PACKAGE.parent / "datasets" / ".cache"
    assert default_root() == (checkout if in_checkout() else raw.cache_folder() / "datasets")
    monkeypatch.setattr(raw, "in_checkout", lambda: False)
    assert default_root() == raw.cache_folder() / "datasets"


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

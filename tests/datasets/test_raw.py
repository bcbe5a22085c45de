"""Raw files: where they lie, and how they are downloaded."""

import dataclasses
import gzip
import hashlib
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pooch
import pytest
import scipy.sparse
from raw_files import NAMES, make_arxiv, make_flickr

from gamlp_admm.datasets import dataset_info, default_root, load_dataset, raw
from gamlp_admm.datasets.info import PACKAGE, RawFiles, in_checkout
from gamlp_admm.datasets.loading import read_data
from gamlp_admm.datasets.raw import missing_files
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
    assert message.startswith("cora: cannot download it (ConnectionError: ")
    assert f"place the raw files in {root / 'planetoid/Cora/raw'}: ind.cora.x, ind.cora.tx, " in message
    assert "\n" not in message
    assert list(root.rglob("*")) == []  # nothing half-done is left


def test_a_root_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cora: cannot download to .*file/root \(.*place the raw files in"):
        load_dataset("cora", tmp_path / "file" / "root")


SITE = "https://made.up"


@pytest.fixture(autouse=True)
def site(monkeypatch):
    """Let downloads from a site that does not exist come from the files of this machine."""

    class Downloader:
        def __init__(self, timeout):
            assert timeout > 0
            self.usual = usual(timeout=timeout)

        def __call__(self, url, output_file, pooch):
            if not url.startswith(SITE):
                return self.usual(url, output_file, pooch)
            return Path(output_file).write_bytes(Path(url.removeprefix(SITE)).read_bytes())

    usual = pooch.HTTPDownloader
    monkeypatch.setattr(pooch, "HTTPDownloader", Downloader)


def downloadable(info, source, hashes=()):
    """Describe the raw files as to be had from a folder of this machine."""
    urls = tuple(f"{SITE}{source / info.raw.folder / file}" for file in info.raw.files)
    return dataclasses.replace(info, raw=RawFiles(info.raw.folder, info.raw.files, urls, hashes))


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
    info = dataclasses.replace(info, raw=dataclasses.replace(info.raw, urls=(f"{SITE}{archive}",)))
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
    info = dataclasses.replace(info, raw=dataclasses.replace(info.raw, urls=(f"{SITE}{archive}",)))
    with pytest.raises(InputError, match=r"ogbn-arxiv: cannot download it \(.*place the raw files in"):
        read_data(info, root)
    assert list(root.iterdir()) == []


def sha256(path):
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_download_is_compared_with_its_checksum(root, tmp_path, capfd):
    folder = tmp_path / "source/flickr/raw"
    info = make_flickr(folder)
    hashes = [sha256(folder / file) for file in info.raw.files]
    assert read_data(downloadable(info, tmp_path / "source", (*hashes[:3], "")), root).num_nodes == 40
    assert capfd.readouterr() == ("", "")
    shutil.rmtree(root)
    (folder / "role.json").write_bytes((folder / "role.json").read_bytes() + b" ")
    with pytest.raises(
        InputError, match=r"flickr: cannot download it \(ValueError: SHA256 hash of downloaded file .rol"
    ):
        read_data(downloadable(info, tmp_path / "source", tuple(hashes)), root)
    assert list(root.iterdir()) == []


def test_descriptions_have_checksums_of_the_right_kind():
    described = [info for info in map(dataset_info, NAMES) if info.raw is not None]
    assert sum(bool(info.raw.hashes) for info in described) >= 5
    for info in described:
        assert all(url.startswith("https://") for url in info.raw.urls)
        assert len(info.raw.hashes) in (0, len(info.raw.urls))
        for known in info.raw.hashes:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", known), info.name


@pytest.mark.parametrize("name", ["cora", "citeseer", "mnist"])
def test_checksums_are_those_of_files_that_are_at_hand(name):
    info, root = dataset_info(name), Path(os.environ.get("GAMLP_ADMM_DATA", "absent"))
    if missing_files(info.raw, root):
        pytest.skip("the raw files are not here")
    files = dict(zip(info.raw.files, info.raw.hashes, strict=True))
    wrong = [file for file, known in files.items() if sha256(root / info.raw.folder / file) != known]
    assert wrong in ([], ["train-images-idx3-ubyte.gz"])  # which may have been compressed anew


def test_a_download_needs_tls(root, tmp_path):
    info = make_flickr(tmp_path / "source/flickr/raw")
    urls = tuple(f"http://made.up/{file}" for file in info.raw.files)
    info = dataclasses.replace(info, raw=RawFiles(info.raw.folder, info.raw.files, urls))
    with pytest.raises(InputError, match=r"flickr: cannot download it \(ValueError: http://made.up/.* is not https\)"):
        read_data(info, root)


# Sizes that files announce


def test_an_archive_that_unpacks_to_something_enormous_is_not_read(root, monkeypatch):
    info = make_flickr(root / "flickr/raw")
    bomb = root / "flickr/raw/adj_full.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("data.npy", "w") as member:
        for _ in range(20):
            member.write(bytes(2**20))
    monkeypatch.setattr(raw, "MOST_UNPACKED", 2**20)
    with pytest.raises(InputError, match=r"flickr: cannot read .*adj_full.npz \(ValueError: it would unpack to 20,971"):
        read_data(info, root)


def test_a_table_that_unpacks_to_something_enormous_is_not_read(root, monkeypatch):
    info, *_ = make_arxiv(root / "ogb/ogbn_arxiv")
    path = root / "ogb/ogbn_arxiv/raw/node-feat.csv.gz"
    monkeypatch.setattr(raw, "MOST_UNPACKED", 2**20)
    for rows in (b"0,0\n" * 2**20, b"0" * 2**22):
        path.write_bytes(gzip.compress(rows))
        with pytest.raises(InputError, match=r"cannot read .*node-feat.csv.gz \(ValueError: it unpacks to more than"):
            read_data(info, root)


def test_features_that_only_a_header_has_are_not_made(root):
    info = make_flickr(root / "flickr/raw")
    feats = root / "flickr/raw/feats.npy"
    whole = feats.read_bytes()
    feats.write_bytes(whole.replace(b"'shape': (40, 5), }       ", b"'shape': (40000000, 50), }"))
    with pytest.raises(InputError, match=r"flickr: cannot read .*feats\.npy"):
        read_data(info, root)
    np.save(feats, np.zeros((4000, 5)))
    with pytest.raises(InputError, match="announces 20,000 features, where the data set has 200"):
        read_data(info, root)


def test_a_sparse_matrix_that_announces_more_than_it_has_is_not_made_dense(root):
    info = dataclasses.replace(dataset_info("amazon-photo"), nodes=3, features=4)
    path = root / "amazon/Photo/raw/amazon_electronics_photo.npz"
    path.parent.mkdir(parents=True)
    A = scipy.sparse.csr_matrix(np.eye(3, 4, dtype=np.float32))
    parts = {f"{of}_{key}": getattr(A, key) for of in ("attr", "adj") for key in ("data", "indices", "indptr")}
    np.savez(path, **parts, attr_shape=np.array([3, 10**12]), adj_shape=np.array([3, 3]), labels=np.arange(3))
    with pytest.raises(InputError, match="announces 3,000,000,000,000 features, where the data set has 12"):
        read_data(info, root)

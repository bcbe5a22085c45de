"""What is listed of kept features, and what is removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from gamlp_admm.cli import cached, main
from gamlp_admm.errors import InputError
from gamlp_admm.propagation.store import FeatureCache, key_of


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FeatureCache:
    monkeypatch.setenv("GAMLP_ADMM_CACHE", str(tmp_path / "cache"))
    return FeatureCache(tmp_path / "cache")


def test_listing_and_pruning(cache: FeatureCache, capsys: pytest.CaptureFixture[str]) -> None:
    assert cached.listed() == f"0 kept in {cache.folder}, 0 B of 10.7 GB"
    names = [key_of(name) for name in ("cora", "pubmed")]
    for age, key in enumerate(names):
        cache.keep(key, torch.zeros(2708, 10), {"dataset": ("cora", None)[age], "transform": "AugmentFeatures(hops=4)"})
        os.utime(cache.folder / key, (1_000_000 - age, 1_000_000 - age))
    assert cached.listed().startswith("2 kept in ")
    table = capsys.readouterr().out.splitlines()
    rows = [line for line in table if "float32" in line]
    assert [row.split()[1] for row in rows] == [name[:12] for name in names]
    assert all(word in rows[0] for word in ("cora", "AugmentFeatures(hops=4)", "2,708 x 10", "109 kB", "1970-01-1"))
    assert cached.pruned("150kB") == f"1 removed, 109 kB; 109 kB left in {cache.folder}"
    assert [entry.key for entry in cache.entries()] == names[:1]
    with pytest.raises(InputError, match="prune must be a number of bytes, such as 4GiB or 500MB, not 'some'"):
        cached.pruned("some")
    assert cached.pruned("all").startswith("1 removed, 109 kB; 0 B left")


def test_options_of_augment(cache: FeatureCache, capsys: pytest.CaptureFixture[str]) -> None:
    cache.keep(key_of("cora"), torch.zeros(3, 2), {"dataset": "cora"})
    assert main(["augment", "--list"]) == 0
    assert "cora" in capsys.readouterr().out
    assert main(["augment", "--prune", "all", "--list"]) == 0
    removed, listed = capsys.readouterr().out.splitlines()
    assert removed.startswith("1 removed")
    assert listed.startswith("0 kept")
    for words in (["--prune", "some"], ["--list", "--out", "here"]):
        assert main(["augment", *words]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1

"""The cache: what is found is what was kept; damage, other processes, full disks and limits break nothing."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gamlp_admm.errors import DamageWarning, InputError, InputWarning
from gamlp_admm.propagation.store import FeatureCache, cache, caching, key_of, matrix, stored
from gamlp_admm.propagation.store.cache import Caching, current

KEY, OTHER, THIRD = (key_of(name) for name in ("first", "second", "third"))


@pytest.fixture
def own(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


def features(rows: int = 20) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(rows))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_what_is_found_is_what_was_kept(own: FeatureCache, dtype: torch.dtype) -> None:
    x = features().to(dtype)
    assert own.find(KEY) is None
    own.keep(KEY, x, {"dataset": "twenty nodes"})
    found = own.find(KEY)
    assert found is not None
    assert torch.equal(found, x)
    assert (found.dtype, found.stride()) == (x.dtype, x.stride())
    found.zero_()  # which is ours alone
    assert torch.equal(own.find(KEY), x)  # type: ignore[arg-type]
    (entry,) = own.entries()
    assert (entry.key, entry.about["dataset"], entry.about["shape"]) == (KEY, "twenty nodes", [20, 5])
    assert entry.size > x.nbytes
    assert left(own.folder) == [KEY]


def test_a_damaged_entry_is_made_anew(own: FeatureCache) -> None:
    own.keep(KEY, features(), {})
    file = own.folder / KEY / "x.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.warns(DamageWarning, match=r"kept features are made anew: .*x\.safetensors is damaged"):
        assert own.find(KEY) is None
    assert left(own.folder) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert own.find(KEY) is None  # said once
        own.keep(KEY, features(), {})
    assert torch.equal(own.find(KEY), features())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x.safetensors", "nodes.safetensors", "store.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_what_is_cut_off_or_gone_is_made_anew(own: FeatureCache, name: str, damage: str) -> None:
    own.keep(KEY, features(), {})
    file = own.folder / KEY / name
    file.write_bytes(file.read_bytes()[:-9]) if damage == "cut" else file.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)
        assert own.find(KEY) is None
    own.keep(KEY, features(), {})
    assert torch.equal(own.find(KEY), features())  # type: ignore[arg-type]


def test_the_least_recently_used_go(own: FeatureCache) -> None:
    for age, (key, rows) in enumerate([(KEY, 1000), (OTHER, 1000), (THIRD, 1000)]):
        own.keep(key, features(rows), {})
        os.utime(own.folder / key, (1000 + age, 1000 + age))
    assert [entry.key for entry in own.entries()] == [THIRD, OTHER, KEY]
    assert own.find(KEY) is not None  # used now
    size = own.entries()[0].size
    assert [entry.key for entry in own.prune(2 * size)] == [OTHER]
    assert left(own.folder) == sorted([KEY, THIRD])
    small = FeatureCache(own.folder, limit=2 * size)
    mapped = small.find(THIRD)
    os.utime(own.folder / THIRD, (1000, 1000))
    small.keep(OTHER, features(1000), {})
    small.prune()
    assert left(own.folder) == sorted([KEY, OTHER])
    assert torch.equal(mapped, features(1000))  # type: ignore[arg-type]  # which its reader still has
    small.keep(THIRD, features(3000), {})  # larger than all that may be kept
    assert left(own.folder) == sorted([KEY, OTHER])
    assert len(own.prune(0)) == 2
    assert own.entries() == []


def test_a_full_disk_is_a_warning(own: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: Any) -> None:
        path.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(matrix, "write", full)
    use = Caching(own)
    with pytest.warns(InputWarning, match=r"the cache .* cannot be written \(No space left on device\)"):
        assert torch.equal(asked(use), features())
    assert left(own.folder) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever may write anywhere")
def test_a_cache_that_may_only_be_read_is_read(own: FeatureCache) -> None:
    own.keep(KEY, features(), {})
    own.folder.chmod(0o500)
    try:
        assert torch.equal(own.find(KEY), features())  # type: ignore[arg-type]
        with pytest.warns(InputWarning, match="cannot be written"):
            asked(Caching(own))
    finally:
        own.folder.chmod(0o700)


def test_a_cache_that_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    use = Caching(FeatureCache(tmp_path / "file/cache"))
    with pytest.warns(InputWarning, match=r"cannot be written \(Not a directory\): \$GAMLP_ADMM_CACHE names another"):
        assert torch.equal(asked(use), features())
    assert (use.found, use.made) == (0, 1)


def asked(use: Caching, work: int = 1, made: list[int] | None = None) -> Tensor:
    def make() -> Tensor:
        if made is not None:
            made.append(1)
        return features()

    return use(make, lambda: "of this", work, features().nbytes, lambda: {})


def test_what_is_little_work_or_large_is_not_kept(own: FeatureCache) -> None:
    made: list[int] = []
    for use, work in (
        (Caching(own, least=100), 99),
        (Caching(FeatureCache(own.folder, 10)), 100),
        (Caching(None), 100),
    ):
        asked(use, work, made)
        assert (use.made, use.keys) == (1, [])
    assert len(made) == 3
    assert not own.folder.exists()
    asked(Caching(own, least=100), 100, made)
    again = Caching(own, least=100)
    asked(again, 100, made)
    assert len(made) == 4
    assert again.told() == {"cached": True, "found": 1, "made": 0, "keys": [entry.key for entry in own.entries()]}


def test_errors_of_what_makes_features_pass_through(own: FeatureCache) -> None:
    def fails() -> Tensor:
        raise OSError("the graph cannot be read")

    with pytest.raises(OSError, match="the graph cannot be read"):
        Caching(own)(fails, lambda: 1, 1, 1, lambda: {})
    assert left(own.folder) == []


def _make(folder: str, ready: Any, results: Any, kill: bool) -> None:
    """Make the features, slowly, as soon as all are there; or die over it."""
    made: list[int] = []

    def make() -> Tensor:
        made.append(1)
        if kill:
            part = Path(folder, f"{key_of(cache.arithmetic(), 'of this')}-0{cache.PART}")
            part.mkdir()
            (part / "x.safetensors").write_bytes(b"half of it")
            os._exit(9)
        time.sleep(0.3)  # so that the others find it under way
        return features()

    ready.wait(20)
    x = Caching(FeatureCache(Path(folder)))(make, lambda: "of this", 1, 1, lambda: {})
    results.put((len(made), torch.equal(x, features())))


def processes(folder: Path, count: int, kill: bool = False) -> list[Any]:
    context = multiprocessing.get_context("fork")
    ready, results = context.Barrier(count), context.Queue()
    started = [context.Process(target=_make, args=(str(folder), ready, results, kill)) for _ in range(count)]
    try:
        for process in started:
            process.start()
        told = [] if kill else [results.get(timeout=60) for _ in started]
        for process in started:
            process.join(60)
        return told
    finally:
        for process in started:
            process.kill()


@pytest.mark.skipif(os.name == "nt", reason="fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_several_processes_at_once_make_them_once(own: FeatureCache) -> None:
    own.folder.mkdir()
    told = processes(own.folder, 3)
    assert sorted(told) == [(0, True), (0, True), (1, True)]
    assert len(left(own.folder)) == len(own.entries()) == 1


@pytest.mark.skipif(os.name == "nt", reason="fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_what_a_killed_process_leaves_is_taken_away(own: FeatureCache) -> None:
    own.folder.mkdir()
    processes(own.folder, 1, kill=True)
    assert [name.rpartition(".")[2] for name in left(own.folder)] == ["part", "lock"]
    assert torch.equal(asked(Caching(own)), features())
    assert len(left(own.folder)) == len(own.entries()) == 1


def test_whoever_waits_too_long_makes_them_itself(own: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PATIENCE", 0.0)
    with own.making(KEY) as first, own.making(KEY) as second:
        assert (first, second) == (True, False)
    assert left(own.folder) == []


def test_where_and_how_large_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert FeatureCache.default() == FeatureCache(Path(os.environ["GAMLP_ADMM_CACHE"]), 10 * 2**30)
    monkeypatch.setenv("GAMLP_ADMM_CACHE", str(tmp_path))
    monkeypatch.setenv("GAMLP_ADMM_CACHE_SIZE", "1.5 GB")
    assert FeatureCache.default() == FeatureCache(tmp_path, 1_500_000_000)
    monkeypatch.delenv("GAMLP_ADMM_CACHE")
    assert FeatureCache.default().folder.parts[-2:] == ("gamlp-admm", "features")
    monkeypatch.setenv("GAMLP_ADMM_CACHE_SIZE", "much")
    with pytest.raises(InputError, match=r"\$GAMLP_ADMM_CACHE_SIZE must be a number of bytes, such as 4GiB.*'much'"):
        FeatureCache.default()
    with caching("none") as use:  # which asks for no cache
        assert use.cache is None


def test_caching_ends_with_its_block() -> None:
    with (
        pytest.raises(InputError, match=r"unknown cache 'al': did you mean 'all'\? allowed: auto, all, none"),
        caching("al"),
    ):
        pass
    assert current() is None
    with caching() as outer:
        with caching("none") as inner:
            assert current() is inner
        assert current() is outer
    assert current() is None


def test_entries_are_told_from_what_else_is_there(own: FeatureCache) -> None:
    own.keep(KEY, features(), {})
    (own.folder / "notes.txt").write_text("mine")
    (own.folder / OTHER).mkdir()
    (own.folder / OTHER / stored.ABOUT).write_text("{")
    assert {entry.key: dict(entry.about).get("shape") for entry in own.entries()} == {KEY: [20, 5], OTHER: None}
    own.prune(0)
    assert left(own.folder) == ["notes.txt"]

"""``gamlp-admm augment``: what it makes, what it says, and what it does not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from examples.tables import write
from gamlp_admm import AugmentFeatures, load_dataset
from gamlp_admm.propagation import StoredFeatures

Command = Callable[..., tuple[int, str, str]]
KARATE = ("augment", "--dataset", "karate", "--out", "made", "--operator", "sym", "--hops", "2")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, and nothing waits for the disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gamlp_admm.propagation.store.writing.sync", lambda path: None)


def test_all_nodes(gamlp: Command) -> None:
    status, out, err = gamlp(*KARATE, "--verbose", "--memory", "1GiB", "--json", "made.json")
    assert status == 0
    assert out == "made: 34 x 102 float32, 13.9 kB\n"
    assert err.startswith("34 columns at a time: data 1MiB, graph 1MiB, columns 1MiB, scratch 48MiB; ")
    store = StoredFeatures.open("made")
    assert torch.equal(store.x, AugmentFeatures(2, "sym")(load_dataset("karate").data).x)
    assert store.nodes.keys() == {"y", "train_mask", "val_mask", "test_mask"}
    told = json.loads(Path("made.json").read_text())
    assert (told["shape"], told["dtype"], told["feature_blocks"]) == ([34, 102], "float32", [34, 34, 34])
    assert told["plan"]["columns"] == 34
    assert store.about["dataset"] == "karate"
    assert store.about["recipe"]["operator"] == "sym"
    assert gamlp(*KARATE, "--quiet") == (0, "", "")  # what is there is read
    assert json.loads(gamlp(*KARATE, "--json", "-")[1])["plan"] is None


def test_labelled_rows_in_half_the_bytes(gamlp: Command) -> None:
    options = ("--split", "per-class:3:3", "--rows", "labelled", "--dtype", "bfloat16", "--quiet")
    assert gamlp(*KARATE, *options)[0] == 0
    store = StoredFeatures.open("made")
    loaded = load_dataset("karate", split="per-class:3:3")
    rows = (loaded.data.train_mask | loaded.data.val_mask | loaded.data.test_mask).nonzero().flatten()
    assert store.nodes["n_id"].tolist() == rows.tolist()
    assert torch.equal(store.x, AugmentFeatures(2, dtype=torch.bfloat16)(loaded.data).x[rows])
    assert store.about["split"] == loaded.split


def test_rows_of_a_file(gamlp: Command) -> None:
    Path("rows.txt").write_text("3\n 1\n\n20\n")
    np.save("rows.npy", np.array([3, 1, 20]))
    for name in ("rows.txt", "rows.npy"):
        assert gamlp(*KARATE, "--rows", name, "--overwrite", "--quiet")[0] == 0
        assert StoredFeatures.open("made").nodes["n_id"].tolist() == [3, 1, 20]
    write(Path("graph"), 60, known=50)
    Path("ids.txt").write_text("item 7\nitem 0\n")
    own = ("augment", "--data", "graph", "--label", "kind", "--id", "name", "--weight", "times", "--out", "own")
    status, _, err = gamlp(*own, "--rows", "ids.txt", "--quiet")
    store = StoredFeatures.open("own")
    assert (status, err) == (0, "")
    assert store.nodes["n_id"].tolist() == [7, 0]
    assert store.about["class_names"]
    for content, said in (("3\n99\n", "there is no node '99'"), (b"\xff\xfe\xff", "no array of numbers, and no text")):
        Path("rows.txt").write_bytes(content.encode() if isinstance(content, str) else content)
        status, _, err = gamlp(*KARATE, "--rows", "rows.txt", "--overwrite")
        assert status == 2
        assert said in err
    np.save("rows.npy", np.array([3.5]))
    assert "rows is a tensor torch.float64" in gamlp(*KARATE, "--rows", "rows.npy", "--overwrite")[2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--memory", "1MiB"), "memory 1MiB is too small: allowed: 49MiB or more"),
        (("--memory", "lots"), "memory must be a number of bytes, such as 4GiB or 500MB, not 'lots'"),
        (("--rows", "nowhere.txt"), "rows nowhere.txt: allowed: all, labelled, or a file; it cannot be read"),
        (("--operator", "ppr/10+sym/1", "--hops", "2"), "hops does not apply to operator ppr/10+sym/1"),
        (("--dtype", "int8"), "'int8' is not one of"),
        (("--out", "/dev/null/x"), "out /dev/null/x cannot be written"),
        (("--quiet", "--verbose"), "quiet and verbose exclude each other"),
        (("--data", "nowhere.pt"), "dataset 'karate' and data 'nowhere.pt' exclude each other"),
    ],
)
def test_one_line_of_what_is_wrong(gamlp: Command, options: tuple[str, ...], said: str) -> None:
    status, out, err = gamlp(*KARATE, *options)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_more_that_is_wrong(gamlp: Command) -> None:
    assert "are for features in a directory, and need out" in gamlp("augment", "--memory", "1GiB")[2]
    assert gamlp(*KARATE, "--quiet")[0] == 0
    assert "made holds stored features: there is nothing to propagate" in gamlp("augment", "--data", "made")[2]
    status, _, err = gamlp(*KARATE, "--operator", "row")
    assert status == 2
    assert "made has features made with operator=sym, not row; allowed: another directory, or overwrite" in err


def test_without_a_directory_runs_find_them(gamlp: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMLP_ADMM_CACHE", str(tmp_path / "cache"))
    features = ("--dataset", "karate", "--operator", "ppr/10+sym/1")
    status, out, _ = gamlp("augment", *features)
    places = out.partition(": ")[0].split(", ")
    assert status == 0
    assert [Path(place).parent.name for place in places] == ["cache", "cache"]
    train = ("--iterations", "2", "--quiet", "--cache", "all", "--json", "run.json")
    assert gamlp("train", *features, *train)[0] == 0
    assert {*map(str, (tmp_path / "cache").iterdir())} == {*places}
    monkeypatch.setenv("GAMLP_ADMM_CACHE_SIZE", "1kB")
    assert "features of 13.9 kB are not kept: allowed: out" in gamlp(*KARATE[:3], *KARATE[5:])[2]


def test_interrupted(gamlp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any, columns: slice) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gamlp_admm.propagation.FeaturesFirst.states", interrupted)
        status, out, err = gamlp(*KARATE)
    assert (status, out) == (1, "")
    assert err == "gamlp-admm: interrupted at 0%; the same command goes on from what made has\n"
    assert gamlp(*KARATE)[0] == 0

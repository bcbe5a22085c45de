"""Masks that come with a data set are kept, whichever there are; what is missing is drawn from nodes that are free."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import pytest
import torch
import torch_geometric.datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.datasets import load_dataset
from gamlp_admm.datasets.splits import RULES, default_rule, draw_split, told_split
from gamlp_admm.datasets.targets import known_labels
from gamlp_admm.errors import InputError, InputWarning

PARTS = ("train", "val", "test")
N, CLASSES = 60, 3


def among(nodes: range) -> Tensor:
    return torch.isin(torch.arange(N), torch.tensor(nodes))


CAME = {"train": among(range(20)), "val": among(range(20, 28)), "test": among(range(28, 40))}
Y = torch.arange(N) % CLASSES
UNKNOWN = among(range(57, 60))

# Masks that are there; the rule; sizes of training, validation and test; the last three of 60 nodes have no class.
TABLE = [
    ((), "per-class", (27, 15, 15)),
    (("train",), "public-train", (20, 12, 25)),
    (("val",), "public-val", (37, 8, 12)),
    (("test",), "public-test", (34, 11, 12)),
    (("train", "val"), "public-train-val", (20, 8, 29)),
    (("train", "test"), "public-train-test", (20, 25, 12)),
    (("val", "test"), "public-val-test", (37, 8, 12)),
    (("train", "val", "test"), "public", (20, 8, 12)),
]


def some(parts: tuple[str, ...], y: Tensor | None = None, **masks: Any) -> Data:
    y = torch.where(UNKNOWN, -1, Y) if y is None else y
    return Data(y=y, **({f"{part}_mask": CAME[part] for part in parts} | masks))


def pyg_class(monkeypatch: pytest.MonkeyPatch, data: Data, classes: int | None = None) -> None:
    """Let PyG have a class ``Own`` of one graph, which may state its number of classes."""

    class Own(torch_geometric.data.InMemoryDataset):
        def __init__(self) -> None:
            super().__init__()
            index = torch.arange(len(data.y))
            graph = data.clone()
            graph.x, graph.edge_index = torch.ones(len(index), 2), torch.stack([index, index.roll(1)])
            self.data, self.slices = self.collate([graph])

    if classes is not None:
        Own.num_classes = property(lambda _: classes)
    monkeypatch.setattr(torch_geometric.datasets, "Own", Own, raising=False)
    monkeypatch.setattr(torch_geometric.datasets, "__all__", [*torch_geometric.datasets.__all__, "Own"])


@pytest.mark.parametrize(("parts", "rule", "sizes"), TABLE)
@pytest.mark.parametrize("form", ["absent", "empty", "unknown"])
def test_every_combination(monkeypatch, parts: tuple[str, ...], rule: str, sizes: tuple[int, ...], form: str) -> None:
    masks = {} if form == "absent" else {f"{p}_mask": UNKNOWN & (form == "unknown") for p in PARTS if p not in parts}
    pyg_class(monkeypatch, some(parts, **masks))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load_dataset("pyg:Own")
        again = load_dataset("pyg:Own")
    ours = [str(w.message) for w in caught if issubclass(w.category, InputWarning)]
    why = {"empty": "has no node", "unknown": "has 3 nodes, of none of which the class is known"}.get(form)
    assert ours == 2 * [f"{part}_mask {why}; it counts as absent" for part in PARTS if f"{part}_mask" in masks]
    found = {part: loaded.data[f"{part}_mask"] for part in PARTS}
    assert tuple(int(mask.sum()) for mask in found.values()) == sizes
    assert (loaded.info.split, loaded.info.train, loaded.info.val, loaded.info.test) == (rule, *sizes)
    assert torch.stack(list(found.values())).sum(0).max() == 1
    assert not any((mask & UNKNOWN).any() for mask in found.values())
    assert all(torch.equal(found[part], CAME[part]) for part in parts)
    assert all(torch.equal(found[part], again.data[f"{part}_mask"]) for part in PARTS)
    assert loaded.split.startswith(f"{rule}: ")
    for part, word in zip(PARTS, ("training", "validation", "test"), strict=True):
        assert not parts or (f"{word} nodes drawn with seed 100 from labelled nodes" in loaded.split) == (
            part not in parts
        )


def test_validation_comes_from_training_nodes_where_none_is_unused() -> None:
    data = some(("train", "test"), torch.where(CAME["train"] | CAME["test"], Y, -1))
    masks, text = told_split(default_rule(data), data)
    assert torch.equal(masks.train | masks.val, CAME["train"])
    assert torch.equal(masks.test, CAME["test"])
    assert data.y[masks.val].bincount().tolist() == [1, 1, 1]
    came, drawn = text.split("; ")
    assert came == "train_mask and test_mask as they came with the data"
    assert drawn == "3 validation nodes drawn with seed 100 from training nodes"


@pytest.mark.parametrize(("train", "val"), [(1, 0), (2, 1), (3, 1), (9, 3), (20, 3)])
def test_few_training_nodes_keep_one(train: int, val: int) -> None:
    data = Data(y=Y, train_mask=among(range(train)), test_mask=~among(range(train)))
    if val:
        masks = draw_split("public-train-test", data)
    else:
        with pytest.warns(InputWarning, match="no node with a known class is left for the val_mask"):
            masks = draw_split("public-train-test", data)
    assert (int(masks.train.sum()), int(masks.val.sum())) == (train - val, val)


def test_no_node_to_train_or_test() -> None:
    rest = ~CAME["val"]
    with pytest.raises(InputError, match="no node with a known class is left to train beside val and test"):
        draw_split("public-val-test", Data(y=Y, val_mask=CAME["val"], test_mask=rest))
    with pytest.raises(InputError, match="no node with a known class is left to train beside train, val and test"):
        draw_split("public", some(PARTS, train_mask=torch.zeros(N)))
    assert not draw_split("public", some(PARTS, val_mask=torch.zeros(N))).val.any()
    with pytest.warns(InputWarning, match="no node with a known class is left for the test_mask"):
        masks = draw_split("public-train-val", Data(y=Y, val_mask=CAME["val"], train_mask=rest))
    assert not masks.test.any()


def cannot_train(rule: str, data: Data, known: Tensor) -> bool:
    if "public" not in rule or ("train_mask" in data and (data.train_mask & known).any()):
        return False
    there = [data[f"{part}_mask"] for part in PARTS if f"{part}_mask" in data and (data[f"{part}_mask"] & known).any()]
    return bool(there) and rule != "public" and not (known & ~torch.stack(there).any(0)).any()


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.data())
def test_any_masks_and_labels(draw: st.DataObject) -> None:
    size = draw.draw(st.integers(12, 40))
    values = draw.draw(st.lists(st.sampled_from([0, 1, 2, 3, 9, -1, -7, math.nan]), min_size=size, max_size=size))
    y = torch.tensor(values)
    known = (y >= 0) & (y < 3)
    part = torch.tensor(draw.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)))
    there = draw.draw(st.sets(st.sampled_from(range(3))))
    masks = {f"{PARTS[i]}_mask": part == i for i in there}
    data, seed = Data(y=y, **masks), draw.draw(st.integers(0, 5))
    before = {key: value.clone() for key, value in data.to_dict().items()}
    rule = default_rule(data, seed, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if cannot_train(rule, data, known):
            with pytest.raises(InputError, match="is left to train"):
                draw_split(rule, data, seed, 3)
            return
        found = draw_split(rule, data, seed, 3)
    assert all(
        torch.equal(torch.nan_to_num(data[key].float()), torch.nan_to_num(before[key].float())) for key in before
    )
    assert torch.stack(found).sum(0).max() <= 1
    assert not (torch.stack(found).any(0) & ~known).any()
    for i in there:
        kept = (part == i) & known
        if not kept.any():
            continue
        name, lost = PARTS[i], int(((part == i) & ~known).sum())
        if name == "train":
            assert torch.equal(found.train | (found.val & kept), kept)
        else:
            assert torch.equal(getattr(found, name), kept)
        message = f"{name}_mask has {lost:,} nodes whose class is not known; they are left out"
        assert (message in [str(warning.message) for warning in caught]) == (lost > 0)


@pytest.mark.parametrize("seed", range(6))
def test_of_several_splits_the_seed_takes_one(seed: int) -> None:
    columns = torch.stack([CAME["train"].roll(step) for step in range(3)], 1)
    data = Data(y=Y, train_mask=columns, test_mask=CAME["test"])
    masks, text = told_split(default_rule(data, seed), data, seed)
    assert torch.equal(masks.train, columns[:, seed % 3])
    assert f"as they came with the data (split {seed % 3} of 3); " in text
    data.val_mask = columns[:, :2]
    with pytest.raises(InputError, match=r"^the masks have 2 and 3 splits; allowed: one number$"):
        draw_split("public", data, seed)


def test_a_split_whose_column_is_empty_counts_as_absent() -> None:
    columns = torch.stack([CAME["val"], torch.zeros(N, dtype=torch.bool)], 1)
    data = some(("train", "test"), val_mask=columns)
    assert default_rule(data, 0) == "public"
    assert default_rule(data, 1) == "public-train-test"


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(PARTS, 2)))
def test_overlapping_masks_are_one_error(monkeypatch, a: str, b: str) -> None:
    data = some(PARTS)
    data[f"{b}_mask"] = data[f"{b}_mask"] | (data[f"{a}_mask"] & among(range(0, N, 5)))
    shared = int((data[f"{a}_mask"] & data[f"{b}_mask"]).sum())
    pyg_class(monkeypatch, data)
    with pytest.raises(
        InputError, match=f"^pyg:Own: {a}_mask and {b}_mask of the data share {shared} nodes; allowed: "
    ) as e:
        load_dataset("pyg:Own")
    assert "\n" not in str(e.value)
    assert load_dataset("pyg:Own", split="60/20/20").data.train_mask.sum() == 35


@pytest.mark.parametrize(
    ("mask", "given_as"),
    [
        (torch.arange(5), r"torch.int64 \[5\]"),
        (torch.arange(N), r"torch.int64 \[60\]"),
        (torch.ones(N, 2, 2), r"torch.float32 \[60, 2, 2\]"),
        (torch.ones(N, 0), r"torch.float32 \[60, 0\]"),
        ([True] * N, "list"),
    ],
)
def test_what_is_no_mask_is_refused(mask: Any, given_as: str) -> None:
    with pytest.raises(
        InputError, match=rf"^val_mask must be a bool tensor \[60\], or \[60, splits\], got {given_as}$"
    ):
        default_rule(some(("train",), val_mask=mask))


def test_masks_of_zeros_and_ones() -> None:
    data = Data(y=Y, train_mask=CAME["train"].long(), test_mask=CAME["test"].to(torch.uint8))
    masks = draw_split("public-train-test", data)
    assert torch.equal(masks.train, CAME["train"])
    assert torch.equal(masks.test, CAME["test"])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float32, torch.float64])
def test_known_labels(dtype: torch.dtype) -> None:
    labels = torch.tensor([[0], [2], [1], [200]], dtype=dtype)
    assert known_labels(labels, 3).tolist() == [0, 2, 1, -1]
    assert known_labels(labels).tolist() == [0, 2, 1, 200]
    assert known_labels(labels).dtype == torch.int64


def test_labels_of_fractions_are_refused() -> None:
    odd = torch.tensor([math.nan, -math.inf, math.inf, -0.5, 2.0])
    assert known_labels(odd).tolist() == [-1, -1, -1, -1, 2]
    with pytest.raises(InputError, match=r"^data.y has fractions; allowed: one class a node"):
        known_labels(torch.tensor([0.0, 0.5]))


@pytest.mark.parametrize("rule", [*RULES, "60/20/20"])
def test_no_rule_draws_a_node_without_a_class(rule: str) -> None:
    y = torch.where(UNKNOWN, torch.nan, Y.double())
    y[40], y[41], y[42] = 3, -2, math.inf
    masks = draw_split(rule, some(PARTS, y), 3, CLASSES)
    assert not (torch.stack(masks).any(0) & (known_labels(y, CLASSES) < 0)).any()


@pytest.mark.parametrize("stated", [None, 3, 5])
@pytest.mark.parametrize("real", [False, True])
def test_classes_are_those_that_the_data_set_states(monkeypatch, stated: int | None, real: bool) -> None:
    y = torch.where(UNKNOWN, 3, Y)
    y = torch.where(among(range(50, 52)), torch.nan, y.double()) if real else torch.where(among(range(50, 52)), -1, y)
    pyg_class(monkeypatch, some(("train", "test"), y, train_mask=CAME["train"] | UNKNOWN), stated)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load_dataset("pyg:Own")
    ours = [w for w in caught if issubclass(w.category, InputWarning)]
    lost = ["train_mask has 3 nodes whose class is not known; they are left out"] if stated == 3 else []
    assert [str(warning.message) for warning in ours] == lost
    assert all(warning.filename == __file__ for warning in ours)
    assert loaded.info.classes == (stated or 4)
    expected = torch.where(UNKNOWN, -1 if stated == 3 else 3, Y)
    expected[50:52] = -1
    assert torch.equal(loaded.data.y, expected)


def test_no_known_class_at_all(monkeypatch) -> None:
    pyg_class(monkeypatch, Data(y=torch.full((N,), -1)))
    with pytest.raises(InputError, match=r"^pyg:Own: no node has a known class$"):
        load_dataset("pyg:Own")


def test_one_of_several_splits_is_chosen_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [torch.stack([CAME[part].roll(k) for k in range(3)], 1) for part in ("train", "val")]
    data = some((), y=Y.clone(), train_mask=columns[0], val_mask=columns[1], test_mask=CAME["test"].roll(3))
    pyg_class(monkeypatch, data)
    loaded = load_dataset("pyg:Own", split_index=2)
    assert torch.equal(loaded.data.train_mask, CAME["train"].roll(2))
    assert torch.equal(loaded.data.val_mask, CAME["val"].roll(2))
    with pytest.raises(InputError, match="split_index 3: the graph has the splits 0 to 2"):
        load_dataset("pyg:Own", split_index=3)

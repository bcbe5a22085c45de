"""Split rules on made-up labels, and on those of a bundled data set."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import RandomNodeSplit

from gamlp_admm.datasets import load_dataset
from gamlp_admm.datasets.splits import DEFAULT_SEED, RULES, default_rule, draw_split
from gamlp_admm.errors import InputError


@pytest.fixture
def data():
    return Data(y=torch.arange(6000).remainder(7).flip(0).contiguous())


@pytest.mark.parametrize("rule", ["per-class", "stratified", "48/32/20"])
def test_random_splits_keep_their_promises(rule, data):
    state = torch.random.get_rng_state()
    masks = draw_split(rule, data, seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.stack(masks).sum(0).max() == 1
    assert all(map(torch.equal, masks, draw_split(rule, data, seed=5)))
    assert not any(map(torch.equal, masks, draw_split(rule, data, seed=6)))
    default = 0 if "/" in rule else DEFAULT_SEED
    assert all(map(torch.equal, draw_split(rule, data), draw_split(rule, data, seed=default)))


def test_per_class_repeats_the_released_draws(data):
    """Seeded anew before every draw, with the global generator, as the released code does it."""
    masks = draw_split("per-class", data)
    train = torch.zeros(6000, dtype=torch.bool)
    with torch.random.fork_rng(devices=[]):
        for label in range(7):
            members = torch.where(data.y == label)[0]
            torch.manual_seed(100)
            train[members[torch.randperm(len(members))][:20]] = True
        rest = torch.where(~train)[0]
        torch.manual_seed(100)
        rest = rest[torch.randperm(len(rest))]
    assert torch.equal(masks.train, train)
    assert (data.y[masks.train].bincount() == 20).all()
    assert set(torch.where(masks.test)[0].tolist()) == set(rest[:1000].tolist())
    assert set(torch.where(masks.val)[0].tolist()) == set(rest[1000:2000].tolist())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shares", [(60, 20, 20), (50, 25, 25), (1, 29, 70)])
def test_shares_repeat_the_draws_of_pyg(shares, seed):
    train, val, test = shares
    data = load_dataset("digits-knn", split=f"{train}/{val}/{test}", seed=seed).data
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        theirs = RandomNodeSplit(num_val=val / 100, num_test=test / 100)(data.clone())
    for part in ("train_mask", "val_mask", "test_mask"):
        assert torch.equal(data[part], theirs[part])


def test_shares_are_of_the_nodes_with_labels():
    data = Data(y=torch.tensor([-1, 0, 1, -1] * 25))
    masks = draw_split("60/20/20", data, seed=1)
    assert [int(mask.sum()) for mask in masks] == [30, 10, 10]
    assert torch.equal(torch.stack(masks).sum(0) == 1, data.y >= 0)


@pytest.mark.parametrize("split", ["60/20", "60/20/10", "60/40/0", "0.6/0.2/0.2", "60/-20/60", "60/20/20/", "a/b/c"])
def test_wrong_shares_are_one_line(split, data):
    with pytest.raises(InputError, match=r"^split '.*': allowed: usual; .* 60/20/20; or .* per-class:20:30$"):
        draw_split(split, data)


def test_nodes_a_class():
    labels = torch.tensor([0] * 10 + [1] * 30 + [-1] * 5)
    masks = draw_split("per-class:4:6", Data(y=labels), seed=1)
    counts = [[int((mask & (labels == label)).sum()) for mask in masks] for label in (0, 1)]
    assert counts == [[4, 3, 3], [4, 6, 20]]
    assert torch.equal(torch.stack(masks).sum(0) == 1, labels >= 0)
    assert not torch.equal(masks.train, draw_split("per-class:4:6", Data(y=labels), seed=2).train)


def test_per_class_scales_down():
    masks = draw_split("per-class", Data(y=torch.tensor([0] * 10 + [1] * 30 + [-1] * 5)))
    assert [int(mask.sum()) for mask in masks] == [20, 10, 10]
    assert not torch.stack(masks)[:, 40:].any()  # nodes without a label are in no part


def test_bundled_masks_are_kept_and_seed_picks_a_column():
    columns = torch.eye(4, dtype=torch.bool)
    data = Data(y=torch.zeros(4).long(), train_mask=columns, val_mask=columns.roll(1, 0), test_mask=columns[0])
    assert default_rule(data) == "public"
    masks = draw_split("public", data, seed=6)
    assert masks.train.tolist() == [False, False, True, False]
    assert masks.val.tolist() == [False, False, False, True]
    assert masks.test.tolist() == columns[0].tolist()


def test_default_rule_completes_what_is_there():
    labels = torch.arange(30).remainder(3)
    assert default_rule(Data(y=labels)) == "per-class"
    data = Data(y=labels, train_mask=torch.arange(30) < 6)
    assert default_rule(data) == "public-train"
    masks = draw_split("public-train", data)
    assert torch.equal(masks.train, data.train_mask)
    assert [int(mask.sum()) for mask in masks] == [6, 8, 16]
    assert torch.stack(masks).sum(0).tolist() == [1] * 30


def test_what_cannot_be_split_is_refused(data):
    with pytest.raises(InputError, match="unknown split 'strat': did you mean 'stratified'"):
        draw_split("strat", data)
    with pytest.raises(InputError, match="the data come without a train_mask"):
        draw_split("public", data)
    kept = {"train", "val", "test", "train-val", "train-test", "val-test"}
    assert set(RULES) == {"public", *(f"public-{parts}" for parts in kept), "per-class", "stratified"}


def test_splits_of_digits_are_stratified():
    data = load_dataset("digits-knn").data
    for mask, share in ((data.train_mask, 0.6), (data.val_mask, 0.2), (data.test_mask, 0.2)):
        counts = data.y[mask].bincount() / data.y.bincount()
        assert (counts - share).abs().max() < 0.01
    assert (data.train_mask ^ data.val_mask ^ data.test_mask).all()

"""Rules that divide a data set's nodes into training, validation and test nodes.

A rule maps the data and a seed to three masks. Random draws come from a generator of their own, so the global
random state is neither read nor changed; on the CPU ``torch.randperm`` draws the same from it as from the
global generator after ``torch.manual_seed``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.errors import InputError, unknown

DEFAULT_SEED = 100
USUAL = "usual"
ALLOWED = f"{USUAL}, or per cents of training, validation and test nodes, positive integers whose sum is 100: 60/20/20"


class Masks(NamedTuple):
    """Which nodes train, validate and test: three disjoint boolean tensors of shape [N]."""

    train: Tensor
    val: Tensor
    test: Tensor


def draw_split(rule: str, data: Data, seed: int | None = None) -> Masks:
    """Divide the nodes of a data set.

    Args:
        rule: Name of the rule, a key of :data:`RULES`; or shares in per cent (:func:`shares`).
        data: Data with ``y`` of shape [N]; a negative label means that the label is not known.
        seed: Seed of the random draws; None for :data:`DEFAULT_SEED`, of shares 0.

    Returns:
        The three masks.

    Raises:
        InputError: If there is no such rule, or the data do not have the masks that it needs.
    """
    if "/" in rule:
        return by_shares(shares(rule), data, 0 if seed is None else seed)
    if rule not in RULES:
        raise unknown("split", rule, RULES)
    return RULES[rule](data, DEFAULT_SEED if seed is None else seed)


def default_rule(data: Data) -> str:
    """Return the rule that uses as much of the split that came with the data as there is."""
    if all(f"{part}_mask" in data for part in Masks._fields):
        return "public"
    return "public-train" if "train_mask" in data else "per-class"


def public(data: Data, seed: int) -> Masks:
    """Keep the masks that came with the data; of several splits (masks [N, S]) take number ``seed % S``."""
    return Masks(*(_bundled(data, part, seed) for part in Masks._fields))


def public_train(data: Data, seed: int) -> Masks:
    """Keep the training nodes that came with the data; a third of the rest validates, two thirds test."""
    train = _bundled(data, "train", seed)
    rest = _permuted((~train & (data.y >= 0)).nonzero().view(-1), seed)
    val, test = rest[: len(rest) // 3], rest[len(rest) // 3 :]
    return Masks(train, _mask(val, len(train)), _mask(test, len(train)))


def per_class(data: Data, seed: int) -> Masks:
    """Draw 20 training nodes a class, then 1,000 test nodes, then 1,000 validation nodes.

    With the default seed these are the draws of the papers' released code, node for node: for each class in
    turn the generator is seeded, the class's nodes are permuted and the first 20 taken; then it is seeded
    once more, the remaining nodes are permuted, the first 1,000 test and the next 1,000 validate.

    In data too small for this a class gives at most half of its nodes to training, and what remains is
    halved.

    Source:
        The split of pdADMM-G's code for Amazon and Coauthor; Shchur et al., "Pitfalls of Graph Neural Network
        Evaluation", 2018, use the same 20 a class.
    """
    labels: Tensor = data.y
    train = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(int(labels.max()) + 1):
        nodes = _permuted((labels == label).nonzero().view(-1), seed)
        train[nodes[: min(20, len(nodes) // 2)]] = True
    rest = _permuted((~train & (labels >= 0)).nonzero().view(-1), seed)
    size = min(1000, len(rest) // 2)
    return Masks(train, _mask(rest[size : 2 * size], len(train)), _mask(rest[:size], len(train)))


def stratified(data: Data, seed: int) -> Masks:
    """Draw 20 % of each class for test and 20 % for validation; the other 60 % train."""
    labels: Tensor = data.y
    masks = Masks(*(torch.zeros(len(labels), dtype=torch.bool) for _ in Masks._fields))
    for label in range(int(labels.max()) + 1):
        nodes = _permuted((labels == label).nonzero().view(-1), seed)
        fifth = round(len(nodes) / 5)
        masks.test[nodes[:fifth]] = True
        masks.val[nodes[fifth : 2 * fifth]] = True
        masks.train[nodes[2 * fifth :]] = True
    return masks


def shares(text: str) -> tuple[int, int, int]:
    """Return the per cents of training, validation and test nodes that a text gives, as ``60/20/20``.

    Raises:
        InputError: It does not.
    """
    parts = text.split("/")
    if len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts):
        train, val, test = map(int, parts)
        if min(train, val, test) > 0 and train + val + test == 100:
            return train, val, test
    raise InputError(f"split {text!r}: allowed: {ALLOWED}")


def by_shares(percents: tuple[int, int, int], data: Data, seed: int) -> Masks:
    """Draw validation, then test nodes among those that have a label; the others of these train.

    The draw is that of :class:`torch_geometric.transforms.RandomNodeSplit` after ``torch.manual_seed(seed)``, on data
    whose nodes all have a label bit for bit. Papers on graph networks call 60/20/20 the usual random split.
    """
    labelled = (data.y >= 0).nonzero().view(-1)
    nodes, (_, *rest) = _permuted(labelled, seed), percents
    val, test = (round(len(nodes) * (percent / 100)) for percent in rest)
    parts = nodes[val + test :], nodes[:val], nodes[val : val + test]
    return Masks(*(_mask(part, len(data.y)) for part in parts))


RULES: dict[str, Callable[[Data, int], Masks]] = {
    "public": public,
    "public-train": public_train,
    "per-class": per_class,
    "stratified": stratified,
}


def _bundled(data: Data, part: str, seed: int) -> Tensor:
    if f"{part}_mask" not in data:
        raise InputError(f"the data come without a {part}_mask; allowed splits: per-class, stratified")
    mask: Tensor = data[f"{part}_mask"]
    return (mask if mask.dim() == 1 else mask[:, seed % mask.size(1)]).bool()


def _permuted(nodes: Tensor, seed: int) -> Tensor:
    return nodes[torch.randperm(len(nodes), generator=torch.Generator().manual_seed(seed))]


def _mask(nodes: Tensor, size: int) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[nodes] = True
    return mask

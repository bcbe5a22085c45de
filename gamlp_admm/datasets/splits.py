"""Rules that divide a data set's nodes into training, validation and test nodes.

A rule maps the data and a seed to three masks, and says in words where they come from. Random draws come from a
generator of their own, so the global random state is neither read nor changed; on the CPU ``torch.randperm`` draws
the same from it as from the global generator after ``torch.manual_seed``.

Masks that come with the data are kept, and what is missing is drawn; what :func:`default_rule` chooses:

=====================  ==================================================================================
masks that came        the others
=====================  ==================================================================================
all three              none (``public``)
train, test            validation: up to 1,000 of the unused nodes; where these are less than a fifth of
                       the training nodes, a fifth of each class of the training nodes instead
train, val             test: all unused nodes
val, test              training: all unused nodes
train                  validation: a third of the unused nodes; test: the others
val                    test: a quarter of the unused nodes; training: the others
test                   validation: a quarter of the unused nodes; training: the others
none                   all three, by ``per-class``
=====================  ==================================================================================

A node is unused if its class is known and none of the masks that came has it. A class is not known where the label is
negative, NaN, or not less than the data set's number of classes: such nodes are never drawn, and they are taken out of
masks that came, with a warning. A mask that then has no node counts as one that did not come; a rule that is given by
name keeps it, empty. Where nothing would be drawn for validation, it takes a fifth of each class of the training nodes.
The test nodes of a mask never go elsewhere.
"""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.datasets.targets import has_many_labels, known_labels, known_rows
from gamlp_admm.errors import InputError, InputWarning, unknown

DEFAULT_SEED = 100
USUAL = "usual"
ALLOWED = (
    f"{USUAL}; per cents of training, validation and test nodes, positive integers whose sum is 100: 60/20/20; "
    "or training and validation nodes a class: per-class:20:30"
)
COUNTS = "per-class"
CAME = ("masks", "column")
"""What says that the split of a graph of one's own comes with it; ``column:fold`` also which column has it."""
WORDS = {"train": "training", "val": "validation", "test": "test"}


class Masks(NamedTuple):
    """Which nodes train, validate and test: three disjoint boolean tensors of shape [N]."""

    train: Tensor
    val: Tensor
    test: Tensor


class Split(NamedTuple):
    """Three masks, and a sentence that says where they come from."""

    masks: Masks
    text: str


def draw_split(rule: str, data: Data, seed: int | None = None, classes: int | None = None) -> Masks:
    """Divide the nodes of a data set.

    Args:
        rule: Name of the rule, a key of :data:`RULES`; or shares in per cent (:func:`shares`).
        data: Data with ``y`` of shape [N], as :func:`known_labels` takes it, and the masks that the rule keeps: [N], or
            [N, S] for S splits, of which number ``seed % S`` is taken.
        seed: Seed of the random draws; None for :data:`DEFAULT_SEED`, of shares 0.
        classes: Number of classes; labels from there on are not known. None if all are less.

    Returns:
        The three masks.

    Raises:
        InputError: If there is no such rule, the data do not have the masks that it keeps, these are not masks, they
            overlap, or no node is left to train.
    """
    return told_split(rule, data, seed, classes).masks


def told_split(rule: str, data: Data, seed: int | None = None, classes: int | None = None) -> Split:
    """Divide the nodes, and say where each part comes from; as :func:`draw_split`."""
    if not isinstance(rule, str):
        raise InputError(f"split must be a rule, such as '60/20/20', not {rule!r}")
    data = _classed(data, classes)
    if "/" in rule:
        return by_shares(shares(rule), data, 0 if seed is None else seed)
    if rule.startswith(f"{COUNTS}:"):
        return by_counts(counts(rule), data, 0 if seed is None else seed)
    if rule not in RULES:
        raise unknown("split", rule, RULES)
    return RULES[rule](data, DEFAULT_SEED if seed is None else seed)


def choose_split(data: Data, index: int | None) -> None:
    """Leave one of several splits ``[N, S]`` that came with the data in its masks.

    Args:
        data: The data, whose masks are set.
        index: Which one; ``None`` leaves them all.

    Raises:
        InputError: There is none of this number.
    """
    if index is None:
        return
    index = operator.index(index)
    masks = {part: mask for part in Masks._fields if isinstance(mask := data.get(f"{part}_mask"), Tensor)}
    several = {mask.size(1) for mask in masks.values() if mask.dim() == 2}
    if not several:
        raise InputError(f"split_index {index}: the data come with {'one split' if masks else 'no split'}, not several")
    if not 0 <= index < min(several):
        raise InputError(f"split_index {index}: the graph has the splits 0 to {min(several) - 1}")
    data.update({f"{part}_mask": mask[:, index] for part, mask in masks.items() if mask.dim() == 2})


def default_rule(data: Data, seed: int | None = None, classes: int | None = None) -> str:
    """Return the rule that keeps all masks that came with the data and have a node whose class is known.

    Arguments and errors are those of :func:`draw_split`.
    """
    data = _classed(data, classes)
    seed = DEFAULT_SEED if seed is None else seed
    there = [part for part in Masks._fields if _came(data, part) and (_column(data, part, seed) & (data.y >= 0)).any()]
    return _name(there) if there else "per-class"


def warn_of_empty(data: Data, seed: int | None = None) -> None:
    """Warn of each mask that came but has no node whose class is known: it counts as one that did not."""
    data, seed = _classed(data), DEFAULT_SEED if seed is None else seed
    for part in filter(partial(_came, data), Masks._fields):
        mask = _column(data, part, seed)
        if not (mask & (data.y >= 0)).any():
            count = int(mask.sum())
            why = f"has {count:,} nodes, of none of which the class is known" if count else "has no node"
            warnings.warn(f"{part}_mask {why}; it counts as absent", InputWarning, stacklevel=4)


def _classed(data: Data, classes: int | None = None) -> Data:
    """Return data whose ``y`` is what splits need of its labels: ``[N]``, -1 where nothing is known of a node."""
    data = copy.copy(data)
    data.y = known_rows(data.y, classes) if has_many_labels(data.y) else known_labels(data.y, classes)
    return data


def completed(kept: Sequence[str], data: Data, seed: int) -> Split:
    """Keep the masks ``kept`` that came with the data, and draw the others from the unused nodes.

    What is drawn is in the table above. Other masks that came are not looked at.
    """
    masks = _kept(kept, data, seed)
    came = f"{_listed([f'{part}_mask' for part in masks])} as {'they' if len(masks) > 1 else 'it'} came with the data"
    came += "".join(f" (split {seed % count} of {count})" for count in _split_counts(kept, data))
    missing = [part for part in ("val", "test", "train") if part not in masks]
    unused = (data.y >= 0) & ~torch.stack(list(masks.values())).any(0)
    nodes = _permuted(unused.nonzero().view(-1), seed)
    first, size = missing[0] if missing else "", len(nodes)
    if len(missing) == 2:
        size //= 3 if "train" in masks else 4
    elif first == "val":
        size = min(1000, size) if 5 * size >= int(masks["train"].sum()) else 0
    drawn = dict(zip(missing, (nodes[:size], nodes[size:]), strict=False))
    masks |= {part: _mask(found, len(data.y)) for part, found in drawn.items()}
    source = dict.fromkeys(missing, "labelled nodes of no mask")
    if not masks["train"].any():
        raise InputError(f"no node with a known class is left to train beside {_listed(list(kept))}")
    if "val" in missing and not masks["val"].any():
        masks["val"] = _fifth(data.y, masks["train"], seed)
        masks["train"] = masks["train"] & ~masks["val"]
        source["val"] = "training nodes"
    for part in missing:
        if not masks[part].any():
            warnings.warn(f"no node with a known class is left for the {part}_mask", InputWarning, stacklevel=5)
    told = [
        f"{int(masks[part].sum()):,} {WORDS[part]} nodes drawn with seed {seed} from {source[part]}" for part in missing
    ]
    return Split(Masks(**masks), "; ".join([came, *told]))


def per_class(data: Data, seed: int) -> Split:
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
    for label in _classes(labels):
        nodes = _permuted((labels == label).nonzero().view(-1), seed)
        train[nodes[: min(20, len(nodes) // 2)]] = True
    rest = _permuted((~train & (labels >= 0)).nonzero().view(-1), seed)
    size = min(1000, len(rest) // 2)
    masks = Masks(train, _mask(rest[size : 2 * size], len(train)), _mask(rest[:size], len(train)))
    return Split(masks, f"up to 20 training nodes a class, then test and validation nodes, drawn with seed {seed}")


def stratified(data: Data, seed: int) -> Split:
    """Draw 20 % of each class for test and 20 % for validation; the other 60 % train."""
    labels: Tensor = data.y
    masks = Masks(*(torch.zeros(len(labels), dtype=torch.bool) for _ in Masks._fields))
    for label in _classes(labels):
        nodes = _permuted((labels == label).nonzero().view(-1), seed)
        fifth = round(len(nodes) / 5)
        masks.test[nodes[:fifth]] = True
        masks.val[nodes[fifth : 2 * fifth]] = True
        masks.train[nodes[2 * fifth :]] = True
    return Split(masks, f"of each class 60 % train, 20 % validate, 20 % test, drawn with seed {seed}")


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


def by_shares(percents: tuple[int, int, int], data: Data, seed: int) -> Split:
    """Draw validation, then test nodes among those that have a label; the others of these train.

    The draw is that of :class:`torch_geometric.transforms.RandomNodeSplit` after ``torch.manual_seed(seed)``, on data
    whose nodes all have a label bit for bit. Papers on graph networks call 60/20/20 the usual random split.
    """
    labelled = (data.y >= 0).nonzero().view(-1)
    nodes, (_, *rest) = _permuted(labelled, seed), percents
    val, test = (round(len(nodes) * (percent / 100)) for percent in rest)
    parts = nodes[val + test :], nodes[:val], nodes[val : val + test]
    text = "{} % train, {} % validate, {} % test".format(*percents)
    masks = Masks(*(_mask(part, len(data.y)) for part in parts))
    return Split(masks, f"of the nodes with a label {text}, drawn with seed {seed}")


def check_rule(text: str) -> None:
    """Check a text that draws a split at random.

    Raises:
        InputError: It is neither shares nor numbers of nodes a class.
    """
    if text.startswith(f"{COUNTS}:"):
        counts(text)
    else:
        shares(text)


def counts(text: str) -> tuple[int, int]:
    """Return the numbers of training and validation nodes a class that a text gives, as ``per-class:20:30``.

    Raises:
        InputError: It does not.
    """
    parts = text.split(":")[1:]
    if len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts) and int(parts[0]) > 0:
        return int(parts[0]), int(parts[1])
    raise InputError(f"split {text!r}: allowed: {ALLOWED}")


def by_counts(numbers: tuple[int, int], data: Data, seed: int) -> Split:
    """Draw as many training, then validation nodes of each class; all others with a label test.

    A class with fewer nodes gives half of what it has to training, and half of the rest to validation.
    """
    masks = Masks(*(torch.zeros(len(data.y), dtype=torch.bool) for _ in Masks._fields))
    for label in _classes(data.y):
        nodes = _permuted((data.y == label).nonzero().view(-1), seed)
        train = min(numbers[0], (len(nodes) + 1) // 2)
        val = min(numbers[1], (len(nodes) - train) // 2)
        masks.train[nodes[:train]] = True
        masks.val[nodes[train : train + val]] = True
        masks.test[nodes[train + val :]] = True
    text = f"up to {numbers[0]} training and {numbers[1]} validation nodes a class, the others test"
    return Split(masks, f"{text}, drawn with seed {seed}")


def _name(kept: Sequence[str]) -> str:
    """Return the name of the rule that keeps some masks."""
    return "public" if len(kept) == len(Masks._fields) else "-".join(["public", *kept])


RULES: dict[str, Callable[[Data, int], Split]] = {
    **{_name(kept): partial(completed, kept) for count in (3, 2, 1) for kept in combinations(Masks._fields, count)},
    "per-class": per_class,
    "stratified": stratified,
}
"""The rules by name; ``public`` keeps all three masks, ``public-train-test`` those two, and so on."""


def _came(data: Data, part: str) -> bool:
    return f"{part}_mask" in data


def _column(data: Data, part: str, seed: int) -> Tensor:
    """Return a mask that came with the data, bool [N]; of several splits number ``seed % S``."""
    mask, N = data[f"{part}_mask"], data.y.numel()
    fits = isinstance(mask, Tensor) and mask.dim() in (1, 2) and len(mask) == N and (mask.dim() == 1 or mask.size(1))
    if not fits or not (mask.dtype == torch.bool or ((mask == 0) | (mask == 1)).all()):
        given = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"{part}_mask must be a bool tensor [{N}], or [{N}, splits], got {given}")
    found: Tensor = (mask if mask.dim() == 1 else mask[:, seed % mask.size(1)]).bool()
    return found


def _kept(kept: Sequence[str], data: Data, seed: int) -> dict[str, Tensor]:
    """Return the masks that a rule keeps, checked, without the nodes whose class is not known."""
    for part in kept:
        if not _came(data, part):
            rule = default_rule(data, seed)
            raise InputError(f"the data come without a {part}_mask; allowed splits: {rule}, stratified, 60/20/20")
    masks = {part: _column(data, part, seed) for part in kept}
    columns = _split_counts(kept, data)
    if len(columns) > 1:
        raise InputError(
            f"the masks have {_listed([str(count) for count in sorted(columns)])} splits; allowed: one number"
        )
    for a, b in combinations(kept, 2):
        if shared := int((masks[a] & masks[b]).sum()):
            raise InputError(
                f"{a}_mask and {b}_mask of the data share {shared:,} nodes; allowed: masks without overlap"
            )
    for part, mask in masks.items():
        if lost := int((mask & (data.y < 0)).sum()):
            message = f"{part}_mask has {lost:,} nodes whose class is not known; they are left out"
            warnings.warn(message, InputWarning, stacklevel=6)
        masks[part] = mask & (data.y >= 0)
    return masks


def _split_counts(kept: Sequence[str], data: Data) -> set[int]:
    """Return the numbers S of splits of masks [N, S] that came with the data, where there are several."""
    return {data[f"{part}_mask"].size(1) for part in kept if data[f"{part}_mask"].dim() == 2} - {1}


def _fifth(labels: Tensor, train: Tensor, seed: int) -> Tensor:
    """Return the mask of a fifth of the training nodes of each class; at least one node if there are two."""
    taken = torch.zeros_like(train)
    members = [_permuted((train & (labels == label)).nonzero().view(-1), seed) for label in _classes(labels)]
    for nodes in members:
        taken[nodes[: round(len(nodes) / 5)]] = True
    if not taken.any() and int(train.sum()) > 1:
        taken[max(members, key=len)[:1]] = True
    return taken


def _classes(labels: Tensor) -> range:
    return range(int(labels.max()) + 1)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _permuted(nodes: Tensor, seed: int) -> Tensor:
    return nodes[torch.randperm(len(nodes), generator=torch.Generator().manual_seed(seed))]


def _mask(nodes: Tensor, size: int) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[nodes] = True
    return mask

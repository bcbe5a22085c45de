"""From a PyG ``Data`` (or anything with its attributes) to checked training data."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.nn.losses import Risk, one_hot_rows
from gamlp_admm.training.room import IN_MEMORY, Room, gathered

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class NodeData:
    """Checked features and targets of the nodes of the three splits: training rows first, then validation, then test.

    Attributes:
        x: Features, ``[N, F]``; ``None`` where they are not read, as in a process that does not own the first layer.
        y: Targets in the risk's form, ``[N, C]``.
        sizes: Number of rows of each split.
        weight: Weights of the training rows, all positive, or ``None`` for ones.
        blocks: Numbers of columns of the blocks that ``x`` is made of, such as hops; empty where that is not known.
        val_weight: Weights of the validation rows in the score that selects, those of their classes where classes have
            weights; or ``None`` for ones.
        total_weight: Weights of the training rows over all shards, summed: their number where they have none.
        rows: Numbers of the rows in the data, in the process that has the data, or ``None``.
        kind: What the targets were: ``classes``, one a node; ``labels``, several a node; or real ``values``.
        room: Where matrices of as many rows come to lie.
    """

    x: Tensor | None
    y: Tensor
    sizes: tuple[int, ...]
    weight: Tensor | None
    blocks: tuple[int, ...] = ()
    val_weight: Tensor | None = None
    total_weight: float = 0.0
    rows: Tensor | None = None
    kind: str = "classes"
    room: Room = IN_MEMORY

    def __post_init__(self) -> None:
        if not self.total_weight:
            total = self.num_train if self.weight is None else self.weight.double().sum()
            object.__setattr__(self, "total_weight", float(total))

    @property
    def num_train(self) -> int:
        """Number of training rows."""
        return self.sizes[0]

    def shards(self, parts: int) -> list[NodeData]:
        """Divide the rows of each split into ``parts`` nearly equal contiguous parts."""
        if parts == 1:
            return [self]
        pieces: list[list[Tensor]] = [[] for _ in range(parts)]
        for rows in torch.split(torch.arange(len(self.y), device=self.y.device), list(self.sizes)):
            for piece, part in zip(pieces, rows.tensor_split(parts), strict=True):
                piece.append(part)
        return [
            replace(
                self,
                x=None if self.x is None else self.x[torch.cat(piece)],
                y=self.y[torch.cat(piece)],
                sizes=tuple(map(len, piece)),
                weight=None if self.weight is None else self.weight[piece[0]],
                val_weight=None if self.val_weight is None else self.val_weight[piece[1] - self.sizes[0]],
                rows=None if self.rows is None else self.rows[torch.cat(piece).to(self.rows.device)],
            )
            for piece in pieces
        ]


def node_data(
    data: Any,
    num_features: int,
    num_classes: int,
    risk: Risk,
    like: Tensor,
    node_weight: Tensor | None = None,
    class_weight: Tensor | str | None = None,
    val_weight: Tensor | None = None,
    room: Room = IN_MEMORY,
    read: bool = True,
) -> NodeData:
    """Check a data set and bring it to a model's device and dtype. Training nodes of weight 0 are left out.

    Args:
        data: Has ``x`` ``[N, F]``, ``y`` (classes ``[N]``, labels or targets ``[N, C]``) and boolean ``train_mask``;
            ``val_mask`` and ``test_mask`` are optional.
        num_features: Columns that the model takes.
        num_classes: Columns that the model gives.
        risk: Decides the form of the targets.
        like: A tensor of the device and dtype to bring the data to.
        node_weight: Weight of each node, ``[N]``, or ``None`` for ones: a training node of weight 2 counts as two.
        class_weight: Weight of each class, ``[C]``, by which those of its nodes are multiplied; ``"balanced"`` for
            N/(C · count), a node counted as often as it weighs; or ``None`` for ones.
        val_weight: How often each node counts, ``[N]``, where validation nodes are scored to select by; ``None`` for
            the weight of its class.
        room: Where the rows come to lie.
        read: Whether features are read and checked; else ``x`` is ``None``.

    Raises:
        InputError: The data does not fit the model, has NaN or infinite features, labels outside the classes,
            or no training node that weighs anything.
    """
    x, y = features(data), _tensor(data, "y")
    if x.ndim != 2 or x.shape[1] != num_features:
        raise InputError(f"data.x has shape {tuple(x.shape)}; the model takes [N, {num_features}]")
    y = _targets(y, len(x), num_classes, risk)
    rows = {split: _rows(data, split, len(x)) for split in SPLITS}
    if not len(rows["train"]):
        raise InputError("data.train_mask selects no node; training needs at least one")
    _check_labels(y, rows, torch.cat(list(rows.values())), num_classes, risk)
    _warn_overlaps(rows, len(x))
    weight = _node_weights("node_weight", node_weight, rows["train"], len(x))
    scored = _node_weights("val_weight", val_weight, rows["val"], len(x))
    by_class = _class_weights(class_weight, y, rows["train"], weight, num_classes)
    if by_class is not None:
        weight = by_class[y.cpu()[rows["train"]]] * (1 if weight is None else weight)
        scored = by_class[y.cpu()[rows["val"]]] if scored is None else scored
    rows["train"], weight = _that_weigh(rows["train"], weight, like)
    used = torch.cat(list(rows.values()))
    return NodeData(
        x=gathered(x, used, like, room) if read else None,
        y=(target := risk.target(y.cpu()[used], num_classes, like.dtype)).to(like.device),
        sizes=tuple(len(r) for r in rows.values()),
        weight=weight,
        blocks=feature_blocks(data),
        val_weight=None if scored is None else scored.to(like),
        rows=used,
        kind=_kind(y, target, risk),
        room=room,
    )


def features(data: Any) -> Tensor:
    """Return ``data.x``, dense; it may be sparse, or an array.

    Raises:
        InputError: There is none, or its numbers are not real.
    """
    x = _tensor(data, "x")
    x = x if x.layout == torch.strided else x.to_dense()
    if x.is_complex():
        raise InputError(f"data.x has dtype {x.dtype}; allowed: real numbers")
    return x


def feature_blocks(data: Any) -> tuple[int, ...]:
    """Return the widths of the blocks that the columns of ``data.x`` are made of, as transforms note them.

    Empty where nothing is noted, or where it does not fit ``x``, which has been changed since.
    """
    blocks = getattr(data, "feature_blocks", None)
    if not isinstance(blocks, tuple | list) or not all(isinstance(n, int) and n > 0 for n in blocks):
        return ()
    return tuple(blocks) if sum(blocks) == data.x.shape[1] else ()


def _tensor(data: Any, name: str) -> Tensor:
    # An attribute as a tensor: also an array, NumPy's or SciPy's, and what else makes itself dense.
    value = getattr(data, name, None)
    if value is None:
        if not (data is None or hasattr(data, "x")):
            allowed = "a PyG Data, such as load_dataset(…).data, or anything with x, y and train_mask"
            raise InputError(f"data is a {type(data).__name__}; allowed: {allowed}")
        raise InputError(f"data.{name} is missing; data needs x, y and train_mask")
    if not isinstance(value, Tensor) and hasattr(value, "todense"):
        value = value.toarray() if hasattr(value, "toarray") else value.to_dense()
    if not isinstance(value, Tensor):
        if not hasattr(value, "__array__"):
            raise InputError(f"data.{name} is a {type(value).__name__}; allowed: a tensor, sparse or not, or an array")
        try:
            value = torch.as_tensor(value.__array__())
        except (TypeError, ValueError) as error:
            raise InputError(f"data.{name} is no array of numbers ({error}); allowed: a tensor or an array") from None
    return value


def _rows(data: Any, split: str, num_nodes: int) -> Tensor:
    if getattr(data, f"{split}_mask", None) is None and split != "train":
        return torch.empty(0, dtype=torch.long)
    mask = _tensor(data, f"{split}_mask")
    if mask.dtype != torch.bool or mask.shape != (num_nodes,):
        raise InputError(
            f"data.{split}_mask has dtype {mask.dtype} and shape {tuple(mask.shape)}; allowed: bool [{num_nodes}]"
        )
    return mask.cpu().nonzero()[:, 0]


def _targets(y: Tensor, num_nodes: int, num_classes: int, risk: Risk) -> Tensor:
    # Classes [N] (int64), or a matrix [N, C].
    if y.ndim not in (1, 2) or len(y) != num_nodes:
        raise InputError(
            f"data.y has shape {tuple(y.shape)} for {num_nodes} nodes; allowed: one row a node, [N] or [N, C]"
        )
    if risk.matrix is not None and num_classes == 1:
        y = y.reshape(num_nodes, -1)
    elif y.ndim == 2 and y.shape[1] == 1 and not y.is_floating_point():
        y = y[:, 0]
    if y.ndim == 1 and not y.is_floating_point():
        return y.long()
    if risk.matrix is None:
        kind = "real values" if y.ndim == 1 else f"{y.shape[1]} columns"
        raise InputError(f"data.y has {kind}; {risk.name} takes one class a node, integers [N]")
    width = y.shape[1] if y.ndim == 2 else 1
    if width != num_classes:
        raise InputError(f"data.y has {width} columns; the model gives {num_classes}")
    return y


def _check_labels(y: Tensor, rows: dict[str, Tensor], used: Tensor, num_classes: int, risk: Risk) -> None:
    y = y.cpu()
    if y.ndim == 2:
        _check_matrix(y[used].double(), used, risk)
        return
    wrong = (y[used] < 0) | (y[used] >= num_classes)
    if wrong.any():
        node = int(used[wrong][0])
        raise InputError(f"data.y has label {int(y[node])} at node {node}; allowed: 0 to {num_classes - 1}")
    absent = sorted(set(range(num_classes)) - set(y[rows["train"]].tolist()))
    if absent:
        warnings.warn(
            f"no training node has class {', '.join(map(str, absent))}; the model cannot learn it",
            InputWarning,
            stacklevel=4,
        )


def _check_matrix(values: Tensor, used: Tensor, risk: Risk) -> None:
    if risk.matrix != "labels":
        if not torch.isfinite(values).all():
            raise InputError("data.y has NaN or infinite values; allowed: finite")
        return
    unknown = values.isnan()
    if not (unknown | (values >= 0) & (values <= 1)).all():
        raise InputError(f"data.y has values outside 0 to 1, which {risk.name} does not allow; NaN is for unknown")
    if unknown.all(1).any():
        node = int(used[unknown.all(1)][0])
        raise InputError(f"data.y has no known label at node {node}; allowed: masks of nodes with at least one")


def _kind(y: Tensor, target: Tensor, risk: Risk) -> str:
    if y.ndim == 1 or (risk.matrix == "values" and bool(one_hot_rows(target).all())):
        return "classes"
    return "labels" if risk.matrix == "labels" else "values"


def _warn_overlaps(rows: dict[str, Tensor], num_nodes: int) -> None:
    member = {split: torch.zeros(num_nodes, dtype=torch.bool).index_fill_(0, r, True) for split, r in rows.items()}
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = int((member[a] & member[b]).sum())
        if shared:
            warnings.warn(f"{a}_mask and {b}_mask share {shared} nodes", InputWarning, stacklevel=4)


def _class_weights(
    class_weight: Tensor | str | None, y: Tensor, train: Tensor, weight: Tensor | None, num_classes: int
) -> Tensor | None:
    # Weight of each class, [C], float64.
    if class_weight is None:
        return None
    if y.ndim != 1:
        raise InputError("class_weight needs one class a node; data.y has several labels or real targets")
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise InputError(f"class_weight {class_weight!r} is unknown; allowed: 'balanced', a tensor or None")
        counts = torch.bincount(y.cpu()[train], weight, num_classes).double()
        class_weight = float(counts.sum()) / (num_classes * torch.where(counts > 0, counts, 1))
    if not _are_weights(class_weight, num_classes):
        raise InputError(f"class_weight must be a tensor of {num_classes} finite non-negative numbers, one a class")
    return class_weight.cpu().double()


def _node_weights(name: str, weight: Tensor | None, rows: Tensor, num_nodes: int) -> Tensor | None:
    # Of some nodes, float64.
    if weight is None:
        return None
    if not _are_weights(weight, num_nodes):
        raise InputError(f"{name} must be a tensor of {num_nodes} finite non-negative numbers, one a node")
    return weight.cpu().double()[rows]


def _that_weigh(train: Tensor, weight: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor | None]:
    # The training nodes whose weight is not 0, and their weights; None where all are 1.
    if weight is None:
        return train, None
    made = weight.to(like)
    if not torch.isfinite(made).all():
        raise InputError(f"weights of up to {float(weight.max()):g} are too large for {like.dtype}")
    rows = made.cpu() > 0
    if not rows.any():
        raise InputError("all training nodes have weight 0; training needs at least one that weighs something")
    made = made[rows.to(made.device)]
    return train[rows], None if bool((made == 1).all()) else made


def _are_weights(weight: object, count: int) -> bool:
    return (
        isinstance(weight, Tensor) and weight.shape == (count,) and bool((torch.isfinite(weight) & (weight >= 0)).all())
    )

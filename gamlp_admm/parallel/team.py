"""The processes of a run, as one of them sees it: which layers and which rows are its own, and what all share.

P processes form a grid of parts × shards: a part owns contiguous layers, a shard some of the
rows. :class:`Team` is the run in one process; :class:`ProcessTeam` has the same methods over torch.distributed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before a group is made: its default arguments would keep the group alive
from torch import Tensor

from gamlp_admm.errors import InputError, NeighbourError
from gamlp_admm.nn.network import Weights
from gamlp_admm.parallel.agreement import agreed
from gamlp_admm.parallel.balance import explicit, partition
from gamlp_admm.parallel.channel import LocalChannel, Neighbour, ProcessChannel, cause
from gamlp_admm.parallel.exchange import broadcast, device_of, gathered
from gamlp_admm.parallel.first import on_first
from gamlp_admm.parallel.trace import Trace

Pair = tuple[Tensor, Tensor]
T = TypeVar("T")


class Team:
    """A run in one process, which owns all layers and all rows.

    Attributes:
        rank: This process's number within the run.
        size: Number P of processes.
        part: Which part of the layers this process owns, from 0.
        shard: Which part of the rows this process owns, from 0.
        num_parts: Number of parts of the layers.
        num_shards: Number R of parts of the rows.
        layers: The layers that this process owns at the current depth.
        parts: The layers of every part at the current depth.
        trace: Collects this process's spans.
        device: Where this process computes by default.
    """

    device = "cpu"
    rank = part = shard = 0
    size = num_parts = num_shards = 1

    def __init__(self, trace: Trace | None = None) -> None:
        self.trace = Trace() if trace is None else trace
        self.parts: list[range] = []

    @property
    def layers(self) -> range:
        """See :class:`Team`."""
        return self.parts[self.part]

    @property
    def owns_last(self) -> bool:
        """Whether this process owns the network's last layer."""
        return bool(self.layers) and self.layers[-1] == self.parts[0].start - 1 + sum(map(len, self.parts))

    def plan(self, costs: Sequence[float]) -> None:
        """Divide layers of the given costs among the parts."""
        self.parts = [range(len(costs))]

    def channel(self) -> LocalChannel:
        """Return the channel for the current layers."""
        return LocalChannel(self.trace)

    def row_sum(self, x: Tensor) -> Tensor:
        """Return the sum of ``x`` over the shards of the rows."""
        return x

    def total(self, x: Tensor) -> Tensor:
        """Return the sum of ``x`` over all processes."""
        return x

    def maximum(self, x: float) -> float:
        """Return the largest ``x`` of all processes."""
        return x

    def everywhere(self, action: Callable[[], T]) -> T:
        """Run ``action``, which exchanges nothing, in every process; return its result here.

        Raises:
            InputError: It raised it in some process; then all do.
            NeighbourError: It raised something else in another process.
        """
        return action()

    def of_first(self, action: Callable[[], T]) -> T:
        """Run ``action`` in the first process; return its result in all of them.

        Raises:
            InputError: It raised it; then all do.
            NeighbourError: It raised something else in the first process.
        """
        return action()

    def from_first(self, value: Any) -> Any:
        """Return the first process's ``value``, of a kind that :mod:`gamlp_admm.parallel.exchange` can send."""
        return value

    def collect(self, value: Any) -> list[Any]:
        """Return every process's ``value``, by rank."""
        return [value]

    def rows_from_first(
        self, shards: Sequence[Tensor] | None, shape: tuple[int, ...], like: Tensor, everyone: bool
    ) -> Tensor | None:
        """Hand rows that the first process holds to those that need them.

        Args:
            shards: The rows of each shard, in the first process; ``None`` elsewhere.
            shape: Shape of this process's shard.
            like: Gives dtype and device.
            everyone: Whether all parts need them, or the first part alone.

        Returns:
            This process's shard, or ``None`` where it is not needed.
        """
        assert shards is not None
        return shards[0]

    def move(
        self, weights: Weights, before: list[range], sources: Sequence[int | None], new: Callable[[int], Pair]
    ) -> Weights:
        """Return the weights of this process's layers after layers were inserted and the plan was renewed.

        Args:
            weights: (W, b) of the layers that this process owned.
            before: The layers of every part before.
            sources: For each layer now, the layer before that it was, or ``None`` for a new one.
            new: Makes (W, b) of a layer, in its shape.
        """
        return [new(layer) if (source := sources[layer]) is None else weights[source] for layer in self.layers]

    def whole(self, weights: Weights, shapes: Sequence[tuple[int, int]]) -> Weights | None:
        """Return (W, b) of all layers in the owner of the first, ``None`` elsewhere.

        Args:
            weights: (W, b) of the layers that this process owns.
            shapes: Shape of W of every layer.
        """
        return weights

    def share_layer(self, layer: int, pair: Pair) -> None:
        """Overwrite ``pair`` in every process by what the owner of ``layer`` holds."""

    def barrier(self) -> None:
        """Wait for all processes."""


FIELDS = ("p", "q", "a")  # a: activations of forward passes


Groups = tuple[dist.ProcessGroup, dict[str, dist.ProcessGroup], dist.ProcessGroup]
_GROUPS: WeakKeyDictionary[dist.ProcessGroup, dict[tuple[int, float], Groups]] = WeakKeyDictionary()
# Made once for each of the caller's groups: making one again after it was destroyed finds the old one's keys.


def forget_groups() -> None:
    """Forget the groups that were made, before those that they were made for are destroyed."""
    _GROUPS.clear()


class ProcessTeam(Team):
    """A run in several processes of a torch.distributed group, which stays the caller's own.

    Args:
        group: The processes of the run.
        num_shards: Number R of parts of the rows.
        balance: Number of layers of each part; ``None`` divides by cost.
        timeout: Seconds after which a wait for another process gives up.
        trace: Collects this process's spans.

    Raises:
        InputError: The number of processes is not a multiple of ``num_shards``, or ``group`` none of its.
    """

    def __init__(
        self,
        group: dist.ProcessGroup,
        num_shards: int = 1,
        balance: Sequence[int] | None = None,
        timeout: float = 300.0,
        trace: Trace | None = None,
    ) -> None:
        super().__init__(trace)
        if not isinstance(group, dist.ProcessGroup):
            raise InputError("process_group must be a torch.distributed group that this process belongs to")
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        if self.size % num_shards:
            raise InputError(f"node_shards {num_shards} does not divide the number of processes, {self.size}")
        self.balance, self.timeout = balance, timeout
        self.num_parts, self.num_shards = self.size // num_shards, num_shards
        self.part, self.shard = divmod(self.rank, num_shards)
        self._ranks = dist.get_process_group_ranks(group)
        made = _GROUPS.setdefault(group, {})
        if (num_shards, timeout) not in made:
            made[num_shards, timeout] = self._groups()
        self._all, self._fields, self._shards = made[num_shards, timeout]
        self.device = device_of(self._all)

    def _groups(self) -> Groups:
        limit, R = timedelta(seconds=self.timeout), self.num_shards

        def subgroup(ranks: list[int]) -> dist.ProcessGroup:
            # Local synchronisation: processes outside the run need not take part.
            made = dist.new_group([self._ranks[r] for r in ranks], timeout=limit, use_local_synchronization=True)
            assert isinstance(made, dist.ProcessGroup)
            return made

        everyone = subgroup(list(range(self.size)))
        fields = {field: subgroup(list(range(self.size))) for field in FIELDS}
        shards = subgroup([self.part * R + r for r in range(R)])
        return everyone, fields, shards

    def _name(self, rank: int) -> str:
        layers = self.parts[rank // self.num_shards] if self.parts else range(0)
        owned = f"layers {layers[0] + 1}–{layers[-1] + 1}" if layers else "no layers"
        return f"rank {rank} ({owned})"

    @property
    def name(self) -> str:
        """How messages call this process, with its layers counted from 1."""
        return self._name(self.rank)

    def plan(self, costs: Sequence[float]) -> None:
        """See :meth:`Team.plan`."""
        fits = self.balance is not None and sum(self.balance) == len(costs)
        if self.balance is not None and fits:
            self.parts = explicit(self.balance, len(costs), self.num_parts)
        else:
            self.parts = partition(costs, self.num_parts)

    def channel(self) -> LocalChannel:
        """See :meth:`Team.channel`."""
        if not self.layers:
            return LocalChannel(self.trace)

        def neighbour(part: int) -> Neighbour | None:
            if not (0 <= part < self.num_parts and self.parts[part]):
                return None
            rank = part * self.num_shards + self.shard
            return Neighbour(self._ranks[rank], self._name(rank))

        return ProcessChannel(
            self.name,
            self.layers,
            neighbour(self.part - 1),
            neighbour(self.part + 1),
            self._fields,
            self.timeout,
            self.trace,
        )

    def _collective(self, what: str, call: Callable[[], Any]) -> None:
        with self.trace.span(f"wait: {what}", "wait"):
            try:
                call()
            except RuntimeError as error:
                raise NeighbourError(f"{self.name} lost another process while {what}: {cause(error)}") from error

    def row_sum(self, x: Tensor) -> Tensor:
        """See :meth:`Team.row_sum`."""
        if self.num_shards > 1:
            x = x.contiguous()
            self._collective("summing over node shards", lambda: dist.all_reduce(x, group=self._shards))
        return x

    def total(self, x: Tensor) -> Tensor:
        """See :meth:`Team.total`."""
        self._collective("summing measures", lambda: dist.all_reduce(x, group=self._all))
        return x

    def maximum(self, x: float) -> float:
        """See :meth:`Team.maximum`."""
        value = torch.tensor([x], dtype=torch.float64, device=self.device)
        self._collective("comparing times", lambda: dist.all_reduce(value, dist.ReduceOp.MAX, group=self._all))
        return float(value)

    def everywhere(self, action: Callable[[], T]) -> T:
        """See :meth:`Team.everywhere`."""
        return agreed(action, lambda _: {}, self._all)

    def of_first(self, action: Callable[[], T]) -> T:
        """See :meth:`Team.of_first`."""
        return on_first(action, self._all)

    def from_first(self, value: Any) -> Any:
        """See :meth:`Team.from_first`."""
        box: list[Any] = []
        self._collective("reading options", lambda: box.append(broadcast(value, self._all)))
        return box[0]

    def collect(self, value: Any) -> list[Any]:
        """See :meth:`Team.collect`."""
        values: list[Any] = []
        self._collective("collecting summaries", lambda: values.extend(gathered(value, self._all)))
        return values

    def rows_from_first(
        self, shards: Sequence[Tensor] | None, shape: tuple[int, ...], like: Tensor, everyone: bool
    ) -> Tensor | None:
        """See :meth:`Team.rows_from_first`."""
        receivers = range(1, self.size if everyone else self.num_shards)
        if self.rank == 0:
            assert shards is not None
            for rank in receivers:
                self._send(shards[rank % self.num_shards], rank, "sending rows")
            return shards[0]
        return self._receive(shape, like, 0, "receiving rows") if self.rank in receivers else None

    def _send(self, tensor: Tensor, rank: int, what: str) -> None:
        tensor = tensor.contiguous()
        self._collective(what, lambda: dist.send(tensor, self._ranks[rank], group=self._all))

    def _receive(self, shape: tuple[int, ...], like: Tensor, rank: int, what: str) -> Tensor:
        tensor = torch.empty(shape, dtype=like.dtype, device=like.device)
        self._collective(what, lambda: dist.recv(tensor, self._ranks[rank], group=self._all))
        return tensor

    def _owner(self, layer: int, parts: list[range]) -> int:
        return next(part for part, layers in enumerate(parts) if layer in layers)

    def move(
        self, weights: Weights, before: list[range], sources: Sequence[int | None], new: Callable[[int], Pair]
    ) -> Weights:
        """See :meth:`Team.move`."""
        result: Weights = []
        for layer, source in enumerate(sources):
            here = layer in self.layers
            if source is None:
                if here:
                    result.append(new(layer))
                continue
            old, now = self._owner(source, before), self._owner(layer, self.parts)
            if old == self.part:
                pair = weights[source - before[old].start]
                if here:
                    result.append(pair)
                else:
                    for t in pair:
                        self._send(t, now * self.num_shards + self.shard, "moving a layer")
            elif here:
                rank = old * self.num_shards + self.shard
                W, b = (self._receive(tuple(t.shape), t, rank, "moving a layer") for t in new(layer))
                result.append((W, b))
        return result

    def whole(self, weights: Weights, shapes: Sequence[tuple[int, int]]) -> Weights | None:
        """See :meth:`Team.whole`."""
        first, result = self._owner(0, self.parts), list(weights)
        if self.part != first:
            if weights:
                flat = torch.cat([t.flatten() for pair in weights for t in pair])
                self._send(flat, first * self.num_shards + self.shard, "sending weights")
            return None
        for part, layers in enumerate(self.parts):
            if part != first and layers:
                sizes = [size for l in layers for size in (math.prod(shapes[l]), shapes[l][0])]
                rank = part * self.num_shards + self.shard
                flat = self._receive((sum(sizes),), weights[0][0], rank, "receiving weights")
                tensors = torch.split(flat, sizes)
                pairs = zip(layers, tensors[::2], tensors[1::2], strict=True)
                result += [(W.view(shapes[l]), b) for l, W, b in pairs]
        return result

    def share_layer(self, layer: int, pair: Pair) -> None:
        """See :meth:`Team.share_layer`."""
        owner = self._ranks[self._owner(layer, self.parts) * self.num_shards]
        for t in pair:
            self._collective("gathering the model", lambda t=t: dist.broadcast(t, owner, group=self._all))  # type: ignore[misc]

    def barrier(self) -> None:
        """See :meth:`Team.barrier`."""
        self._collective("waiting for all", lambda: dist.barrier(group=self._all))

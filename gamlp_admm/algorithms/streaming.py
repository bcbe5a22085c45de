"""Training in batches of rows: ADMM's updates on one batch after the other, with what earlier ones left behind.

A batch starts from a forward pass, with its multipliers at zero, and goes through the algorithm's updates; W and b make
steps that are held back by the memory of earlier batches (:mod:`gamlp_admm.admm.memory`). An iteration is a pass over
all rows, in an order of its own. The state is that of a batch, so its memory does not grow with the number of rows.

Processes divide the layers, and shards the rows of every batch, as without batches; the bits are those of one process.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.admm.engine import Phase, iterate
from gamlp_admm.admm.memory import Accumulated, Memory, Stream
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.solving import FitPlan
from gamlp_admm.admm.state import Block, block_weights, stacks
from gamlp_admm.algorithms.base import ADMM
from gamlp_admm.algorithms.exchanging import ExchangingSession, forward_blocks
from gamlp_admm.errors import InputError, integer
from gamlp_admm.nn.network import Weights
from gamlp_admm.parallel.channel import LocalChannel
from gamlp_admm.parallel.team import Pair
from gamlp_admm.training.evaluation import CHUNK
from gamlp_admm.training.session import Stage

FIRST_ROWS = 8_192
"""Rows whose inputs the first batches know of, at most."""

FIRST_DAMPING, LEAST_DAMPING = 1.0, 0.125
"""λ of the first pass, and its least value (:mod:`gamlp_admm.admm.memory`)."""

UNDONE = 10.0
"""A pass whose risk is so many times that of the one before is undone."""

STORED = ("W", "b", "mean_W", "mean_b", "directions", "values", "mean", "control")
"""What a checkpoint keeps of a layer."""


def _towards(old: Pair, new: Pair, share: float) -> Pair:
    return old[0].lerp(new[0], share), old[1].lerp(new[1], share)


class StreamedSession(ExchangingSession):
    """An algorithm at work on one batch after the other.

    What it shows after a pass is the mean of the weights after each of its batches (Polyak, Juditsky, SIAM J. Control
    and Optimization 1992); it goes on from the last ones. Steps become longer from pass to pass, and shorter when the
    risk of the rows, as they come by, is not smaller than in the pass before; where it is much larger, the pass is
    undone.

    Args:
        trainer: The algorithm: what a batch goes through.
        problem: What it minimises over all rows, with the penalties of the start.
        stage: The rows, the weights to start from, and the processes.
        channel: Carries fields between blocks.
        batch: Rows of a batch over all shards, at most.
    """

    def __init__(self, trainer: Streamed, problem: Problem, stage: Stage, channel: LocalChannel, batch: int) -> None:
        super().__init__(channel)
        self.trainer, self.start_problem, self.stage = trainer, problem, stage
        self.newest = self.mean = stage.weights
        self.damping, self.risk = FIRST_DAMPING, math.inf
        team = stage.team
        rows_of = dict(team.collect((team.shard, stage.data.num_train)))
        self.first_row = sum(rows_of[shard] for shard in range(team.shard))
        self.num_batches = math.ceil(stage.num_train / batch)
        # Batches differ in size: any number of rows must leave the layers aligned.
        groups = stacks(stage.shapes, team.layers, 1, stage.data.y) if team.layers else []
        self.groups = groups if trainer.stackable else [range(l, l + 1) for l in team.layers]
        self.phases = trainer.batch_phases(len(stage.shapes))
        # No batch has come by yet: some rows, evenly spaced, are looked at first.
        owned = zip(team.layers, stage.weights, strict=True)
        self.memories = {l: Memory.blank(W.shape[1], W) for l, (W, _) in owned}
        every = max(-(-stage.num_train // FIRST_ROWS), 1)
        for _ in range(2):
            sums = self._sums()
            for rows in self._chunks(every):
                self._see(self._opened(rows), sums, self._weight(rows))
            self._remember(sums, self._total(every))
        channel.finish()
        channel.reset_counts()

    def batches(self, iteration: int) -> list[tuple[Tensor, int]]:
        """Return each batch of a pass: its rows that this shard has, in the shard's numbers, and how many all have."""
        order = torch.randperm(self.stage.num_train, generator=torch.Generator().manual_seed(iteration))
        low, high = self.first_row, self.first_row + self.stage.data.num_train
        batches = order.tensor_split(self.num_batches)
        return [(self._on_device(rows[(rows >= low) & (rows < high)] - low), len(rows)) for rows in batches]

    def iterate(self, iteration: int, factor: float) -> None:
        """See :meth:`Session.iterate`."""
        device = self.start_problem.y.device
        sums, risk, before = self._sums(), torch.zeros(1, dtype=torch.float64, device=device), self.mean
        for count, (rows, num_rows) in enumerate(self.batches(iteration) if self.memories else (), 1):
            problem = self._problem(rows, num_rows, factor)
            state = [self.trainer.enter(block) for block in self._opened(rows)]
            self._see(state, sums, problem.weight)
            if state[-1].is_last:
                risk += problem.risk.value(state[-1].z[0], problem.y, problem.weight)
            self.newest = block_weights(iterate(state, self.phases, problem, self.channel))
            pairs = zip(self.mean, self.newest, strict=True)
            self.mean = self.newest if count == 1 else [_towards(old, new, 1 / count) for old, new in pairs]
        total = float(self.stage.team.total(risk))
        self.damping = max(self.damping / 2, LEAST_DAMPING) if total < self.risk else self.damping * 2
        if total > UNDONE * self.risk or not math.isfinite(total):
            self.damping *= 2
            self.newest = self.mean = before
            return
        self.risk = total
        self._remember(sums, self.start_problem.total)

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        return self.mean

    def layer_terms(self) -> Tensor:
        """See :meth:`Session.layer_terms`: those of a forward pass of all rows, at which all constraints hold."""
        channel, start = self.channel, self.start_problem
        counted = channel.bytes_sent, dict(channel.wire_bytes)
        terms = self.trainer.terms([], [], start)
        for i, rows in enumerate(self._chunks(1)):
            state = [self.trainer.enter(block) for block in self._opened(rows, self.mean)]
            problem = replace(self._problem(rows, len(rows), 1.0), counts_weights=start.counts_weights and not i)
            part = self.trainer.terms(state, state, problem)
            terms = terms + part if i else part
        channel.finish()
        channel.bytes_sent, channel.wire_bytes = counted
        return terms

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        made: dict[str, Tensor] = {}
        for (l, memory), newest, mean in zip(self.memories.items(), self.newest, self.mean, strict=True):
            control = torch.tensor([self.damping, self.risk], dtype=torch.float64)
            kept = zip(STORED, (*newest, *mean, *memory.tensors(), control), strict=True)
            made |= {f"{l}.{name}": tensor for name, tensor in kept}
        return made

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        self.newest, self.mean = [], []
        for l in self.memories:
            W, b, mean_W, mean_b, *memory, control = (tensors[f"{l}.{name}"] for name in STORED)
            self.newest.append((W, b))
            self.mean.append((mean_W, mean_b))
            self.memories[l] = Memory(*memory)
            self.damping, self.risk = control.tolist()

    def _on_device(self, rows: Tensor) -> Tensor:
        return rows.to(self.start_problem.y.device)

    def _chunks(self, every: int) -> Sequence[Tensor]:
        # What this shard has of every so manieth row of all, in chunks; none where no layer is owned.
        rows = torch.arange(-self.first_row % every, self.stage.data.num_train, every)
        return torch.split(self._on_device(rows), CHUNK) if self.memories else ()

    def _opened(self, rows: Tensor, weights: Weights | None = None) -> list[Block]:
        # A forward pass of some rows of this shard, by the newest weights or others; what is sent of it counts.
        stage, like = self.stage, self.stage.data.y
        p = None if stage.features is None else stage.features.train[rows]
        inside = [stage.shapes[l][0] for l in stage.team.layers if l + 1 < len(stage.shapes)]
        self.channel.bytes_sent += len(rows) * sum(inside) * like.element_size()
        used = self.newest if weights is None else weights
        return forward_blocks(stage, used, self.groups, self.channel, p, len(rows))

    def _weight(self, rows: Tensor) -> Tensor | None:
        return None if self.start_problem.weight is None else self.start_problem.weight[rows]

    def _total(self, every: int) -> float:
        # What every so manieth row weighs, over all shards.
        if self.start_problem.weight is None:
            return len(range(0, self.stage.num_train, every))
        parts = [self.start_problem.weight[rows].double().sum() for rows in self._chunks(every)]
        total = self.start_problem.row_sum(sum(parts, self.start_problem.y.new_zeros((), dtype=torch.float64)))
        return float(total)

    def _problem(self, rows: Tensor, num_rows: int, factor: float) -> Problem:
        start = self.start_problem
        return replace(
            start,
            y=start.y[rows],
            weight=self._weight(rows),
            rho=start.rho * factor,
            nu=start.nu * factor,
            stream=Stream(self.memories, self.damping, start.total),
            total=num_rows * (start.total / self.stage.num_train),
        )

    def _sums(self) -> dict[int, Accumulated]:
        return {l: Accumulated(memory) for l, memory in self.memories.items()}

    @staticmethod
    def _see(state: Sequence[Block], sums: dict[int, Accumulated], weight: Tensor | None) -> None:
        for block in state:
            for s in range(block.num_layers):
                sums[block.first + s].add(block.p[s], weight)

    def _remember(self, sums: dict[int, Accumulated], total: float) -> None:
        self.memories = {l: added.memory(total, self.start_problem.row_sum) for l, added in sums.items()}


@dataclass(frozen=True, kw_only=True, repr=False)
class Streamed(ADMM):
    """What the ADMM trainers share whose rows can come in batches.

    Attributes:
        batch_size: Rows of a batch, at most; an iteration is then a pass over all rows. ``None``: an iteration sees all
            rows at once.
    """

    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and integer("batch_size", self.batch_size) < 1:
            raise InputError(f"batch_size must be positive, not {self.batch_size}")
        super().__post_init__()

    @property
    def compressible(self) -> bool:
        """See :attr:`Algorithm.compressible`: what batches leave behind depends on the coordinates."""
        return self.batch_size is None and super().compressible

    @abstractmethod
    def batch_phases(self, num_layers: int) -> Sequence[Phase]:
        """Return what a batch goes through: states first, then W and b of all layers."""

    def plan(self, stage: Stage) -> FitPlan | None:
        """See :meth:`ADMM.plan`; of batches nothing is solved."""
        return super().plan(stage) if self.batch_size is None else None

    def start(self, stage: Stage) -> Any:
        """See :meth:`Algorithm.start`; of batches a :class:`StreamedSession`."""
        if self.batch_size is None:
            return super().start(stage)
        return StreamedSession(self, self.whole_problem(stage), stage, stage.team.channel(), self.batch_size)

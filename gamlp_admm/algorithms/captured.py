"""Iterations as CUDA graphs: captured once, then replayed, so that the host sends a GPU one command an iteration.

A small network's iteration is some hundred kernels of microseconds, which a host cannot send as fast as they run. What
is captured reads the state from tensors that stay, and writes the next one into others that stay: before a replay the
latter are copied into the former. It is captured anew when what an iteration computes has changed: its penalties, or
the codecs.

Where layers are large, kernels are long, and what is copied costs more than the host's commands: there iterations are
sent as ever. :class:`CompiledSession` replays them, too, with fewer and longer kernels.

Nothing in an iteration may wait for the GPU (``tests/algorithms/test_unattended.py``), or leave the process.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamlp_admm.admm.engine import iterate
from gamlp_admm.admm.fusing import fusing
from gamlp_admm.admm.matmul import FULL
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.stacked import all_rows_here
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms.base import RENEWED, ADMMSession, Variables
from gamlp_admm.codecs import Codec
from gamlp_admm.codecs.plan import FIELDS
from gamlp_admm.errors import InputWarning
from gamlp_admm.nn.network import Weights
from gamlp_admm.parallel.channel import LocalChannel

EAGER = 2
"""Iterations of a kind before one is captured: they make what is made once, as factors and workspaces."""

Replay = Callable[[], None]


def record(run: Callable[[], list[Block]]) -> tuple[Replay, list[Block]]:
    """Capture what ``run`` computes on a GPU; return what computes it again, into the blocks that are returned, too."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = run()
    return graph.replay, made


def capturable(problem: Problem, channel: LocalChannel) -> bool:
    """Whether iterations can be captured: they are computed on a GPU, by one process, and invert no matrices."""
    alone = type(channel) is LocalChannel and problem.row_sum is all_rows_here
    return problem.y.is_cuda and alone and problem.rule.name != "exact"


SMALL = 2**24
"""Entries of the layers' outputs up to which iterations are replayed: an H100 then waits for the host's commands."""


class CapturedSession(ADMMSession):
    """A session whose iterations are replayed where that pays and they can be captured; arguments as its parent's.

    A trainer has it as its ``session``. What it hands out then are copies, because a replay overwrites the state.
    """

    replay: Replay | None = None
    kind: object = None
    count = sent = 0
    inputs: list[Block]
    largest: float = SMALL
    """Entries of the layers' outputs up to which iterations are replayed."""

    def iterate(self, iteration: int, factor: float) -> None:
        """See :meth:`Session.iterate`."""
        if not capturable(self.start_problem, self.channel) or self._entries() > self.largest:
            super().iterate(iteration, factor)
            return
        problem = self.problem_at(iteration, factor)
        if (kind := self._kind(problem)) != self.kind:
            self.kind, self.count, self.replay = kind, 0, None
        self.count += 1
        if self.count <= EAGER or not all(codec.fixed for codec in kind[-1]):
            super().iterate(iteration, factor)
            return
        self.problem = problem
        if self.replay is None:
            try:
                self._capture(problem)
            except RuntimeError as error:  # what cannot be captured may depend on torch's version, and the GPU's
                warnings.warn(f"iterations are not replayed: {str(error).splitlines()[0]}", InputWarning, stacklevel=2)
                self.largest = -1
                super().iterate(iteration, factor)
                return
        else:
            for before, now in zip(self.inputs, self.state, strict=True):
                _copy(now, before)
        assert self.replay is not None
        self.replay()
        self.channel.bytes_sent += self.sent
        compared = self.trainer.compared
        self.previous = [block if compared is None else block.only(compared) for block in self.inputs]
        if problem.rule.matmul is not FULL and iteration % RENEWED == 0:
            for block in self.state:
                torch.bmm(block.p, block.W.mT, out=block.M)

    def _entries(self) -> int:
        return sum(block.z.numel() for block in self.state)

    def _kind(self, problem: Problem) -> tuple[float, float, list[Codec]]:
        # What an iteration computes, as far as it changes from one to another.
        inside = range(self.state[0].first, self.state[-1].first + self.state[-1].num_layers - 1)
        codecs = [problem.codecs.at(field, boundary) for field in FIELDS for boundary in inside]
        return problem.rho, problem.nu, codecs

    def _capture(self, problem: Problem) -> None:
        # The features stay where they are; all else has a place of its own.
        self.inputs = [
            block.with_fields({name: t.clone() for name, t in block.tensors().items() if not _constant(block, name)})
            for block in self.state
        ]
        before = self.channel.bytes_sent
        try:
            self.replay, self.state = record(lambda: iterate(self.inputs, self.trainer.phases, problem, self.channel))
            self.sent = self.channel.bytes_sent - before
        finally:
            self.channel.bytes_sent = before

    def variables(self) -> Variables:
        """See :meth:`ADMMSession.variables`."""
        made = super().variables()
        return made if self.replay is None else {key: t.clone() for key, t in made.items()}

    def assign(self, variables: Variables) -> None:
        """See :meth:`ADMMSession.assign`."""
        super().assign(variables)
        self.kind = self.replay = None

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        made = super().weights()
        return made if self.replay is None else [(W.clone(), b.clone()) for W, b in made]

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        super().restore(tensors)
        self.kind = self.replay = None


class CompiledSession(CapturedSession):
    """A session whose element-wise updates are compiled, too, into one kernel each; layers of any size are replayed.

    The compiler takes half a minute at first. A third of the time of large layers is saved then.

    Example:
        >>> from dataclasses import dataclass
        >>> from gamlp_admm import GAMLP, PdADMMG, load_dataset
        >>> from gamlp_admm.algorithms.captured import CompiledSession
        >>> @dataclass(frozen=True, kw_only=True, repr=False)
        ... class Compiled(PdADMMG):
        ...     session = CompiledSession  # on the CPU, and in several processes, iterations are computed as ever
        >>> data = load_dataset("karate").data
        >>> model = GAMLP(data.num_features, hidden_channels=16, out_channels=4, num_layers=2)
        >>> len(Compiled().fit(model, data, iterations=3, seed=0, evaluate_every=1).history) >= 3
        True
    """

    largest = math.inf
    backend: ClassVar[Any] = "inductor"
    """Of ``torch.compile``."""

    def iterate(self, iteration: int, factor: float) -> None:
        """See :meth:`Session.iterate`."""
        if not capturable(self.start_problem, self.channel):
            super().iterate(iteration, factor)
            return
        with fusing(self.backend):
            super().iterate(iteration, factor)


def _constant(block: Block, name: str) -> bool:
    return name == "p" and block.is_first


def _copy(source: Block, target: Block) -> None:
    # What was sent stands where it differs from what is had: the same fields, since the codecs are the same.
    into = target.tensors()
    for name, t in source.tensors().items():
        if not _constant(source, name) and into[name] is not t:
            into[name].copy_(t)

"""Iterations as CUDA graphs: captured once, then replayed, so that the host sends a GPU one command an iteration.

A small network's iteration is some hundred kernels of microseconds, which a host cannot send as fast as they run. What
is captured reads the state from tensors that stay, and writes the next one into others that stay: before a replay the
latter are copied into the former. It is captured anew when what an iteration computes has changed: its penalties, or
the codecs.

Nothing in an iteration may wait for the GPU (``tests/algorithms/test_unattended.py``), or leave the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gamlp_admm.admm.engine import iterate
from gamlp_admm.admm.matmul import FULL
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.stacked import all_rows_here
from gamlp_admm.admm.state import Block
from gamlp_admm.algorithms.base import RENEWED, ADMMSession, Variables
from gamlp_admm.codecs import Codec
from gamlp_admm.codecs.plan import FIELDS
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
    """Whether iterations can be captured: they are computed on a GPU, by one process."""
    return problem.y.is_cuda and type(channel) is LocalChannel and problem.row_sum is all_rows_here


class CapturedSession(ADMMSession):
    """A session whose iterations are replayed where they can be captured; arguments as :class:`ADMMSession`.

    A trainer has it as its ``session``. What it hands out are copies, because a replay overwrites the state.

    Example:
        >>> from dataclasses import dataclass
        >>> from gamlp_admm import GAMLP, PdADMMG, load_dataset
        >>> from gamlp_admm.algorithms.captured import CapturedSession
        >>> @dataclass(frozen=True, kw_only=True, repr=False)
        ... class CapturedPdADMMG(PdADMMG):
        ...     session = CapturedSession
        >>> data = load_dataset("karate").data
        >>> model = GAMLP(data.num_features, hidden_channels=16, out_channels=4, num_layers=2)
        >>> len(CapturedPdADMMG().fit(model, data, iterations=3, seed=0, evaluate_every=1).history) >= 3
        True
    """

    replay: Replay | None = None
    kind: object = None
    count = sent = 0
    inputs: list[Block]

    def iterate(self, iteration: int, factor: float) -> None:
        """See :meth:`Session.iterate`."""
        problem = self.problem_at(iteration, factor)
        if (kind := self._kind(problem)) != self.kind:
            self.kind, self.count, self.replay = kind, 0, None
        self.count += 1
        fixed = all(codec.fixed for codec in kind[-1])
        if self.count <= EAGER or not fixed or not capturable(problem, self.channel):
            super().iterate(iteration, factor)
            return
        self.problem = problem
        if self.replay is None:
            self._capture(problem)
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
        self.replay, self.state = record(lambda: iterate(self.inputs, self.trainer.phases, problem, self.channel))
        self.sent, self.channel.bytes_sent = self.channel.bytes_sent - before, before

    def variables(self) -> Variables:
        """See :meth:`ADMMSession.variables`."""
        return {key: t.clone() for key, t in super().variables().items()}

    def assign(self, variables: Variables) -> None:
        """See :meth:`ADMMSession.assign`."""
        super().assign(variables)
        self.kind = None

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        return [(W.clone(), b.clone()) for W, b in super().weights()]

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        super().restore(tensors)
        self.kind = None


def _constant(block: Block, name: str) -> bool:
    return name == "p" and block.is_first


def _copy(source: Block, target: Block) -> None:
    # What was sent stands where it differs from what is had: the same fields, since the codecs are the same.
    into = target.tensors()
    for name, t in source.tensors().items():
        if not _constant(source, name) and into[name] is not t:
            into[name].copy_(t)

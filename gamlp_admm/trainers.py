"""The trainers: ADMM algorithms assembled from their phases; and all of them by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamlp_admm.activations import Activation
from gamlp_admm.algorithms import pdadmm
from gamlp_admm.backprop import OPTIMIZERS, Backprop
from gamlp_admm.blocks import RULES, Gram, Rule, all_rows_here
from gamlp_admm.channel import LocalChannel
from gamlp_admm.codecs.plan import Codecs, Plan
from gamlp_admm.engine import iterate
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.nn import Weights
from gamlp_admm.problem import Problem
from gamlp_admm.schedules import Schedule, schedule
from gamlp_admm.session import Session, Task
from gamlp_admm.state import Block, block_weights, initial_blocks, stacks
from gamlp_admm.training import Trainer


class ADMMSession(Session):
    """pdADMM-G at work: the blocks that this process owns, and the channel between them and to other processes."""

    def __init__(self, problem: Problem, state: list[Block], channel: LocalChannel) -> None:
        self.start_problem = self.problem = problem
        self.state = self.previous = state
        self.channel = channel

    @property
    def bytes_sent(self) -> int:
        """See :attr:`Session.bytes_sent`."""
        return self.channel.bytes_sent

    @bytes_sent.setter
    def bytes_sent(self, value: int) -> None:
        self.channel.bytes_sent = value

    def wire_bytes(self) -> dict[int, int]:
        """See :meth:`Session.wire_bytes`."""
        return self.channel.wire_bytes

    def iterate(self, iteration: int, scale: float) -> None:
        """See :meth:`Session.iterate`."""
        start = self.start_problem
        codecs = replace(start.codecs, iteration=iteration)
        self.problem = replace(start, rho=start.rho * scale, nu=start.nu * scale, codecs=codecs)
        self.previous = self.state
        self.state = iterate(self.state, pdadmm.PHASES, self.problem, self.channel)

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        return block_weights(self.state)

    def layer_terms(self) -> Tensor:
        """See :meth:`Session.layer_terms`."""
        return pdadmm.layer_terms(self.previous, self.state, self.problem)

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        ranges = self.start_problem.codecs.ranges
        return {f"{block.first}.{name}": t for block in self.state for name, t in block.tensors().items()} | {
            f"range.{l}": torch.tensor(ends, dtype=torch.float64) for l, ends in ranges.items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        named: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            place, name = key.split(".")
            named.setdefault(place, {})[name] = tensor
        for l, ends in named.pop("range", {}).items():
            below, above = ends.tolist()
            self.start_problem.codecs.ranges[int(l)] = (below, above)
        self.state = [block.with_fields(named[str(block.first)]) for block in self.state]


@dataclass(frozen=True)
class PdADMM(Trainer):
    """pdADMM: all layers of an MLP updated at once, without backpropagation.

    Source: Wang, Chai, Cheng, Zhao, ICDM 2020, arXiv 2009.02868.

    Args:
        rho: Penalty ρ > 0 of ``p_{l+1} = q_l``.
        nu: Penalty ν > 0 of ``z = p Wᵀ + b`` and ``q = f(z)``.
        mu: Weight decay μ ≥ 0.
        solver: How the quadratic p and W blocks are solved: ``linesearch``, ``backtracking`` or ``exact``.
        tau: First step denominator that ``backtracking`` tries.
        schedule: How ρ and ν change: ``constant``, ``every:ITERATIONS:FACTOR:LIMIT``,
            ``stall:PATIENCE:FACTOR:LIMIT``, or a callable (:mod:`gamlp_admm.schedules`).
        codec: How p and q are sent from layer to layer: a codec (:mod:`gamlp_admm.codecs`) by name, such as
            ``int2-delta``, or several, by field, boundary and iteration (:mod:`gamlp_admm.codecs.plan`). With a grid,
            p and q live on it (pdADMM-G-Q).
        loss: Risk of the last layer.
        class_weight: Weight of each class in the risk, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: A penalty is not positive, or a name is not known.
    """

    rho: float = 1e-2
    nu: float = 1e-2
    mu: float = 1e-2
    solver: str = "linesearch"
    tau: float = 20.0
    schedule: str | Schedule = "constant"
    codec: Any = "full"

    compressible: ClassVar[bool] = True
    distributable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("rho", "nu", "tau"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} must be positive, not {getattr(self, name)}")
        if not (math.isfinite(self.mu) and self.mu >= 0):
            raise InputError(f"mu must not be negative, not {self.mu}")
        if self.solver not in RULES:
            raise unknown("solver", self.solver, RULES)
        schedule(self.schedule)
        self.codec_plan()

    def codec_plan(self) -> Plan:
        """Return which codec serves when and where."""
        return Plan.of(self.codec)

    def settings(self) -> dict[str, str]:
        """See :meth:`Trainer.settings`."""
        return {**super().settings(), "codec": str(self.codec_plan())}

    @property
    def algorithm(self) -> str:
        """The algorithm's name on the command line."""
        return "pdadmm"

    def penalty_schedule(self) -> Schedule:
        """See :meth:`Trainer.penalty_schedule`."""
        return schedule(self.schedule)

    def converges(self, f: Activation) -> bool | None:
        """Whether ρ and ν satisfy Theorem 1 of TNNLS 2022 (:func:`gamlp_admm.algorithms.pdadmm.converges`).

        It holds where p lives on a grid, too. Of q on a grid, and of codecs that lose bits, it says nothing: ``None``.
        """
        plan = self.codec_plan()
        covered = "q" in plan.full and "p" in (*plan.full, *plan.gridded)
        return pdadmm.converges(self.rho, self.nu, f.lipschitz) if covered else None

    def start(self, task: Task) -> ADMMSession:
        """See :meth:`Trainer.start`."""
        team, channel = task.team, task.team.channel()
        gram = None
        if self.solver == "exact" and task.features is not None:
            gram = Gram.of(task.features.train[None], team.row_sum)
        problem = Problem(
            y=task.data.y[: task.data.num_train],
            risk=task.risk,
            f=task.f,
            rho=self.rho,
            nu=self.nu,
            mu=self.mu,
            rule=Rule(self.solver, self.tau),
            weight=task.data.weight,
            gram=gram,
            num_rows=task.num_train,
            row_sum=team.row_sum if team.num_shards > 1 else all_rows_here,
            codecs=Codecs(self.codec_plan()),
            counts_weights=team.shard == 0,
        )
        return ADMMSession(problem, self._state(task, channel, problem.codecs), channel)

    def _state(self, task: Task, channel: LocalChannel, codecs: Codecs) -> list[Block]:
        # A forward pass through the processes, each starting when the one before it has finished.
        layers = task.team.layers
        if not layers:
            return []
        if task.features is not None:
            p = task.features.train
        else:
            like = task.data.y.new_empty(1).expand(1, task.data.num_train, task.weights[0][0].shape[1])
            channel.expect("a", layers[0] - 1, like)
            p = channel.receive("a", layers[0] - 1)[0]
        # Shards must stack alike, because they sum stacks: any number of rows must leave the layers aligned.
        rows = task.data.num_train if task.team.num_shards == 1 else 1
        groups = stacks(task.shapes, layers, rows, task.data.y)

        def land(field: str, boundary: int, x: Tensor) -> Tensor:
            if boundary not in codecs.ranges:
                codecs.observe(boundary, x, task.team.row_sum)
            return codecs.land(field, range(boundary, boundary + 1), x)

        state = initial_blocks(p, task.weights, task.f, groups, len(task.shapes), land)
        if state[-1].q is not None:
            channel.send("a", layers[-1], task.f(state[-1].z[-1:]))
        channel.finish()
        channel.reset_counts()
        return state


@dataclass(frozen=True)
class PdADMMG(PdADMM):
    """pdADMM-G: pdADMM on graph-augmented features (:class:`gamlp_admm.transforms.AugmentFeatures`).

    Source: Wang, Li, Chai, Wang, Cheng, Zhao, TNNLS 2022, arXiv 2105.09837. Arguments as :class:`PdADMM`.
    """

    @property
    def algorithm(self) -> str:
        """The algorithm's name on the command line."""
        return "pdadmm-g"


@dataclass(frozen=True)
class PdADMMGQ(PdADMMG):
    """pdADMM-G-Q: pdADMM-G whose layer inputs p live on a finite grid Δ, so that few bits say all of them.

    Source: Wang, Li, Chai, Wang, Cheng, Zhao, TNNLS 2022, arXiv 2105.09837, Algorithm 2. Arguments as :class:`PdADMM`,
    and:

    Args:
        codec: The grid, or a plan of grids: ``grid:auto:256`` has bounds from the first forward pass of each layer.
        quantize: Which variables live on it: ``p`` (the paper), ``q`` (the released code) or ``pq``. The others travel
            in full.

    Raises:
        InputError: As for :class:`PdADMM`; or the codec is no grid.
    """

    codec: Any = "grid:auto:256"
    quantize: str = field(default="p", kw_only=True)

    @property
    def algorithm(self) -> str:
        """The algorithm's name on the command line."""
        return "pdadmm-g-q"

    def codec_plan(self) -> Plan:
        """See :meth:`PdADMM.codec_plan`."""
        if self.quantize not in QUANTIZED:
            raise unknown("quantize", self.quantize, QUANTIZED)
        if callable(self.codec):
            raise InputError("pdadmm-g-q takes grids, such as grid:auto:256, and no function")
        plan = Plan.of(self.codec, self.quantize)
        if plan.gridded != tuple(self.quantize):
            raise InputError(f"codec {plan}: pdadmm-g-q takes grids, such as grid:auto:256")
        return plan


QUANTIZED = ("p", "q", "pq")
ALGORITHMS = ("pdadmm-g", "pdadmm-g-q", "pdadmm", *OPTIMIZERS)


def trainer(algorithm: str, **settings: Any) -> Trainer:
    """Return the trainer of that name.

    Args:
        algorithm: One of ``pdadmm-g``, ``pdadmm-g-q``, ``pdadmm``, ``adam``, ``sgd``, ``adagrad``, ``adadelta``.
        settings: Its arguments; those that are ``None`` keep their defaults.

    Raises:
        InputError: The name is not known, or it has no such argument.
    """
    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    kind = {"pdadmm-g": PdADMMG, "pdadmm-g-q": PdADMMGQ, "pdadmm": PdADMM}.get(algorithm, Backprop)
    settings = {k: v for k, v in settings.items() if v is not None}
    allowed = {f.name for f in fields(kind)} - {"optimizer"}
    for name in settings:
        if name not in allowed:
            raise InputError(f"{name} does not apply to {algorithm}; it takes {', '.join(sorted(allowed))}")
    return Backprop(algorithm, **settings) if kind is Backprop else kind(**settings)

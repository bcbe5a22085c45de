"""What the ADMM trainers share: blocks of layers made by a forward pass, and a session that iterates phases on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamlp_admm.admm.blocks import RULES, Rule
from gamlp_admm.admm.engine import Phase, advance, iterate
from gamlp_admm.admm.matmul import FULL, check_available, matmul
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.solving import FitPlan, plan, shared_equations
from gamlp_admm.admm.stacked import RowSum, all_rows_here, empty, products
from gamlp_admm.admm.state import Block, block_weights, stacks
from gamlp_admm.algorithms.exchanging import ExchangingSession, forward_blocks
from gamlp_admm.algorithms.start import ridge_start
from gamlp_admm.codecs.plan import Codecs
from gamlp_admm.errors import InputError, number, unknown
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.nn.network import Weights
from gamlp_admm.parallel.channel import LocalChannel
from gamlp_admm.parallel.team import Team
from gamlp_admm.system.buffers import BufferPool
from gamlp_admm.system.records import replace
from gamlp_admm.training.models import trained_like
from gamlp_admm.training.schedules import Schedule, schedule
from gamlp_admm.training.session import Opening, Stage
from gamlp_admm.training.trainer import Trainer

Variables = dict[tuple[int, str], Tensor]
"""Tensors by the first layer and the field of their block."""

FIELDS = ("p", "W", "b", "z", "q", "u", "q_prev", "u_prev", "p_next")
"""What an iteration maps to its next value; the first layer's ``p`` is constant, and M follows."""

RENEWED = 10
"""Iterations after which M = P Wᵀ is multiplied anew where steps are rounded, whose errors add up in it."""

LayerTerms = Callable[[Sequence[Block], Sequence[Block], Problem], Tensor]
"""From the blocks before and after an iteration to what the objective and the residuals are made of, by layer."""


class ADMMSession(ExchangingSession):
    """An algorithm at work: the blocks that this process owns, and the channel between them and to other processes.

    Args:
        trainer: The algorithm: its phases, and what it measures.
        problem: What it minimises, with the penalties of the start.
        state: The blocks.
        channel: Carries fields between blocks.
        pool: Where large tensors lie.
    """

    def __init__(
        self,
        trainer: ADMM,
        problem: Problem,
        state: list[Block],
        channel: LocalChannel,
        pool: BufferPool | None = None,
    ) -> None:
        super().__init__(channel)
        self.trainer = trainer
        self.start_problem = self.problem = problem
        self.state, self.previous = state, list(state)
        self.pool = BufferPool() if pool is None else pool

    def problem_at(self, iteration: int, factor: float) -> Problem:
        """Return what an iteration minimises; arguments as :meth:`Session.iterate`."""
        start = self.start_problem
        codecs = replace(start.codecs, iteration=iteration)
        return replace(start, rho=start.rho * factor, nu=start.nu * factor, codecs=codecs)

    def iterate(self, iteration: int, factor: float) -> None:
        """See :meth:`Session.iterate`."""
        self.problem = self.problem_at(iteration, factor)
        compared = self.trainer.compared
        self.previous = [block if compared is None else block.only(compared) for block in self.state]
        with self.pool:
            advance(self.state, self.trainer.phases, self.problem, self.channel)
            if self.problem.rule.matmul is not FULL and iteration % RENEWED == 0:
                self.state = [replace(block, M=products(block.p, block.W)) for block in self.state]

    def variables(self) -> Variables:
        """Return the variables."""
        return {
            (block.first, name): t
            for block in self.state
            for name in FIELDS
            if (t := getattr(block, name)) is not None and not (name == "p" and block.is_first)
        }

    def assign(self, variables: Variables) -> None:
        """Go on from other values of the variables; what follows from them is computed anew."""
        state = []
        with self.pool:
            for block in self.state:
                block = block.with_fields({name: t for (first, name), t in variables.items() if first == block.first})
                state.append(replace(block, M=products(block.p, block.W)))
            self.state = iterate(state, self.trainer.settle, self.problem, self.channel)

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        return block_weights(self.state)

    def layer_terms(self) -> Tensor:
        """See :meth:`Session.layer_terms`."""
        with self.pool:
            return self.trainer.terms(self.previous, self.state, self.problem)

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        ranges = self.start_problem.codecs.ranges
        return {name: t for block in self.state for name, t in block.by_layer().items()} | {
            f"{l}.range": torch.tensor(ends, dtype=torch.float64) for l, ends in ranges.items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        ranges = self.start_problem.codecs.ranges
        for l in ranges:
            below, above = tensors[f"{l}.range"].tolist()
            ranges[l] = (below, above)
        self.state = [block.restored(tensors) for block in self.state]


LEAST, MOST = 1e-12, 1e12
"""Between which penalties are: beyond, their quotients and squares leave what float32 holds."""


def check_positive(**numbers: float | None) -> None:
    """Check that numbers, by name, are positive and neither vanish nor overflow in training; ``None`` passes.

    Raises:
        InputError: One is not.
    """
    for name, value in numbers.items():
        if value is None:
            continue
        if not number(name, value) > 0:
            raise InputError(f"{name} must be positive, not {value}")
        if not LEAST <= value <= MOST:
            raise InputError(f"{name} {value}: allowed: from {LEAST:g} to {MOST:g}")


def changes(schedule: str | Schedule, iterations: int) -> int:
    """Return how many values ρ and ν will have at most in so many iterations, as far as a schedule says."""
    name, *numbers = schedule.split(":") if isinstance(schedule, str) else ["", "1"]
    if name == "constant":
        return 1
    return 1 + iterations // int(numbers[0] if numbers else 10)


def row_sum(team: Team) -> RowSum:
    """Return the sum over the shards of the rows."""
    return team.row_sum if team.num_shards > 1 else all_rows_here


@dataclass(frozen=True, kw_only=True, repr=False)
class ADMM(Trainer):
    """What the ADMM trainers share.

    Attributes:
        rho: Penalty ρ > 0.
        mu: Weight μ ≥ 0 of the regulariser.
        solver: How the quadratic blocks are solved: ``auto``, ``linesearch``, ``exact`` or ``backtracking``.
        tau: First step denominator that ``backtracking`` tries.
        matmul: How precisely the products of steps are taken (:mod:`gamlp_admm.admm.matmul`): ``fp32``, ``tf32`` or
            ``bf16``, on hardware that has fast ones.
        schedule: How the penalties change: ``constant``, ``every:ITERATIONS:FACTOR:LIMIT``,
            ``stall:PATIENCE:FACTOR:LIMIT``, or a callable (:mod:`gamlp_admm.training.schedules`).
    """

    rho: float | None = None
    mu: float | None = None
    scale: str = "auto"
    solver: str = "auto"
    tau: float = 20.0
    matmul: str = FULL.name
    schedule: str | Schedule = "constant"

    distributable = True
    grows = True

    @property
    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """An iteration."""

    settle: ClassVar[Sequence[Phase]] = ()
    """Phases that make consistent what follows from variables changed from outside."""

    session: ClassVar[type[ADMMSession]] = ADMMSession
    problem_type: ClassVar[type[Problem]] = Problem

    stackable: ClassVar[bool] = False
    """Whether consecutive layers of equal shape may be updated as one stack."""

    def __post_init__(self) -> None:
        check_positive(rho=self.rho, tau=self.tau)
        if self.mu is not None and not 0 <= number("mu", self.mu) <= MOST:
            raise InputError(f"mu must not be negative, and at most {MOST:g}, not {self.mu}")
        if self.solver not in RULES:
            raise unknown("solver", self.solver, RULES)
        if matmul(self.matmul) is not FULL and self.solver == "exact":
            steps = ", ".join(rule for rule in RULES if rule != "exact")
            raise InputError(f"matmul {self.matmul!r} is for steps, and solver 'exact' makes none; allowed: {steps}")
        schedule(self.schedule)
        super().__post_init__()

    def _check(self, model: GAMLP, process_group: Any) -> None:
        super()._check(model, process_group)
        if not model.linears[0].weight.is_meta:  # whose device is known later
            check_available(self.matmul, trained_like(model, "cpu"))

    @property
    def compressible(self) -> bool:
        """See :attr:`Algorithm.compressible`."""
        return True

    @property
    def changing(self) -> str | None:
        """How the penalties change, of which no theorem says anything, as a phrase; ``None`` where they do not."""
        return None if self.schedule == "constant" else f"penalties change ({self.schedule}), so"

    def opening(self, stage: Stage, seed: int) -> Opening:
        """See :meth:`Algorithm.opening`."""
        return ridge_start(stage, seed)

    @property
    def reads_records(self) -> bool:
        """See :attr:`Algorithm.reads_records`: schedules of one's own do, as far as is known, and ``stall``."""
        return not isinstance(self.schedule, str) or self.schedule.partition(":")[0] == "stall"

    def penalty_schedule(self) -> Schedule:
        """See :meth:`Algorithm.penalty_schedule`."""
        return schedule(self.schedule)

    compared: ClassVar[tuple[str, ...] | None] = None
    """What the terms read of the blocks before an iteration, the only thing that is kept of them; ``None`` for all."""

    @staticmethod
    @abstractmethod
    def terms(before: Sequence[Block], after: Sequence[Block], problem: Problem, /) -> Tensor:
        """Return what the objective and the residuals are made of."""

    def enter(self, block: Block) -> Block:
        """Return a block of the forward pass as the algorithm has it."""
        return block

    def codecs(self) -> Codecs:
        """Return how fields are sent from layer to layer."""
        return Codecs()

    def problem(self, **shared: Any) -> Problem:
        """Return what is minimised. Algorithms add their penalties, and what they alone have.

        Args:
            shared: What all algorithms take alike, by the name of the field.
        """
        return self.problem_type(**shared)

    def start(self, stage: Stage) -> ADMMSession:
        """See :meth:`Algorithm.start`."""
        channel, problem, pool = stage.team.channel(), self.whole_problem(stage), BufferPool()
        with pool:
            state = [self.enter(block) for block in self._state(stage, channel, problem.codecs)]
        session, chosen = self.session(self, problem, state, channel, pool), self.plan(stage)
        session.solver = None if chosen is None else str(chosen)
        return session

    def whole_problem(self, stage: Stage) -> Problem:
        """Return what is minimised over all rows of this shard."""
        check_available(self.matmul, stage.data.y)
        return self.problem(
            y=stage.data.y[: stage.data.num_train],
            risk=stage.risk,
            network=stage.network,
            rule=Rule(self.solver, self.tau, matmul(self.matmul)),
            weight=stage.data.weight,
            **self.first_layer(stage),
            total=stage.data.total_weight,
            row_sum=row_sum(stage.team),
            codecs=replace(self.codecs(), empty=empty),
            counts_weights=stage.team.shard == 0,
        )

    def plan(self, stage: Stage) -> FitPlan | None:
        """Return how the first layer's W is solved, where it is owned and the solving rule may have it solved."""
        if stage.features is None or self.solver not in ("auto", "exact"):
            return None
        return plan(
            stage.num_train,
            stage.features.train.shape[1],
            stage.shapes[0][0],
            stage.iterations,
            sharded=stage.team.num_shards > 1,
            ratios=changes(self.schedule, stage.iterations),
            must=self.solver == "exact",
        )

    def first_layer(self, stage: Stage) -> dict[str, Any]:
        """Return what the first layer's W is solved with, as fields of the problem; nothing if it is not."""
        chosen, features, team = self.plan(stage), stage.features, stage.team
        if chosen is None or features is None or chosen.kind == "linesearch":
            return {}
        return {"normal": shared_equations(features, chosen, features.train, row_sum(team), stage.data.weight)}

    def _state(self, stage: Stage, channel: LocalChannel, codecs: Codecs) -> list[Block]:
        # A forward pass through the processes, each starting when the one before it has finished.
        layers = stage.team.layers
        if not layers:
            return []
        # Shards must stack alike, because they sum stacks: any number of rows must leave the layers aligned.
        rows = stage.data.num_train if stage.team.num_shards == 1 else 1
        most = -(-stage.num_train // stage.team.num_shards)
        parts = [layers]
        if any(phase.order == "ends first" for phase in self.phases):  # the outermost layers are to be ready first
            parts = [layers[:1], layers[1:-1], layers[1:][-1:]]
        groups = [group for part in parts for group in stacks(stage.shapes, part, rows, stage.data.y, most)]
        if not self.stackable:
            groups = [range(l, l + 1) for l in layers]

        def land(field: str, boundary: int, x: Tensor) -> Tensor:
            if boundary not in codecs.ranges:
                codecs.observe(boundary, x, stage.team.row_sum, stage.data.weight)
            return codecs.land(field, range(boundary, boundary + 1), x)

        p = None if stage.features is None else stage.features.train
        state = forward_blocks(stage, stage.weights, groups, channel, p, stage.data.num_train, land)
        channel.finish()
        channel.reset_counts()
        return state

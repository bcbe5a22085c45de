"""Which way to solve a layer whose inputs never change: by counted operations, before anything is computed."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from gamlp_admm.admm.normal import COLUMN_BLOCKS, KEPT, Dual, NormalEquations, Primal
from gamlp_admm.admm.nystrom import RANK, STEPS, Iterative
from gamlp_admm.admm.stacked import RowSum, all_rows_here

WORTH = 4.0
"""How many times as much as line searches it may cost to solve a block.

On the features of Coauthor CS, one update of the cheapest kind leaves as much of the block's objective as 25 line
searches; but a run moves its targets all the time.
"""

FACTOR_WORTH = 2.0
"""How many times as much as conjugate gradients a factor may cost: its solutions are exact, whatever the spectrum."""

EXACT_STEPS = 5
"""Steps of conjugate gradients in an iteration, where blocks must be solved and a factor does not fit."""

DOUBLE = 2.0
"""What an operation in float64 costs, of one in float32."""

MOST_BYTES = 8 << 30
"""Memory for what is held beside the rows, at most."""


@dataclass(frozen=True)
class FitPlan:
    """How the fits of rows are solved.

    Attributes:
        kind: ``primal`` or ``dual``, which factor a matrix of the columns or rows, ``iterative``, or ``linesearch``.
        setup: Operations, in float32, before the first fit.
        update: Operations of an iteration.
        step: Operations of an iteration of ``linesearch``.
        iterations: Iterations that were asked.
        memory: Bytes beside the rows, at most.
        why: The reason, in a few words.
        steps: Steps of an iteration of conjugate gradients.
    """

    kind: str
    setup: float
    update: float
    step: float
    iterations: int
    memory: int
    why: str
    steps: int = STEPS

    @property
    def total(self) -> float:
        """Operations of all iterations."""
        return self.setup + self.iterations * self.update

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.why} ({self.setup:.1e} operations, then {self.update:.1e} an iteration; "
            f"linesearch {self.step:.1e}; {self.memory / 1e9:.2g} GB)"
        )

    def equations(self, P: Tensor, weight: Tensor | None = None, row_sum: RowSum = all_rows_here) -> NormalEquations:
        """Return the normal equations of rows ``P`` ``[N, n]``, which make what they need when they first need it.

        Raises:
            ValueError: The plan is not to solve.
        """
        if self.kind == "iterative":
            return Iterative(P, weight, row_sum, steps=self.steps)
        if self.kind == "linesearch":
            raise ValueError("linesearch needs no normal equations")
        return Primal(P, weight, row_sum) if self.kind == "primal" else Dual(P, weight, row_sum)


_SHARED: MutableMapping[object, dict[tuple[str, int], NormalEquations]] = WeakIdKeyDictionary()


def shared_equations(
    owner: object, way: FitPlan, P: Tensor, row_sum: RowSum = all_rows_here, weight: Tensor | None = None
) -> NormalEquations:
    """Return the normal equations of rows, the same whoever asks as long as their owner lives: all share the factors.

    Stages of growth are such, whose features stay while networks become deeper.

    Args:
        owner: Holds the rows, and does not change them or their weights.
        way: How they are solved.
        P: The rows, ``[N, n]``.
        row_sum: Sum over the shards of the rows.
        weight: Weights of the rows, ``[N]``, or ``None`` for ones.
    """
    made = _SHARED.setdefault(owner, {})
    key = way.kind, way.steps
    if key not in made:
        made[key] = way.equations(P, weight, row_sum)
    return made[key]


def factored(kind: str, N: int, n: int, k: int, iterations: int, ratios: int) -> FitPlan:
    """Return what a factor costs: half of a Gram matrix, a Cholesky factor and, to multiply by, its inverse.

    Args:
        kind: ``primal`` or ``dual``.
        N: Rows.
        n: Columns.
        k: Targets.
        iterations: Iterations.
        ratios: How many ridges c there will be, each with a factor.
    """
    m, other = (n, N) if kind == "primal" else (N, n)
    half = (1 + 1 / COLUMN_BLOCKS) / 2
    setup = DOUBLE * (2 * half * other * m**2 + ratios * m**3)
    update = 4 * N * n * k + DOUBLE * 2 * m**2 * k
    why = f"{n:,} columns of {N:,} rows"
    return FitPlan(kind, setup, update, 4 * N * n * k, iterations, 8 * (2 + KEPT) * m**2, why)


def iterative(N: int, n: int, k: int, iterations: int, steps: int) -> FitPlan:
    """Return what conjugate gradients cost; arguments as :func:`factored`, and the steps of an iteration."""
    rank = min(RANK, n)
    setup = 4 * N * n * rank + DOUBLE * 8 * n * rank**2
    update = steps * (4 * N * n * k + 4 * n * rank * k)
    why = f"a factor for {n:,} columns of {N:,} rows costs more, or does not fit"
    memory = 4 * n * (rank + 4 * k) + 8 * N * k
    return FitPlan("iterative", setup, update, 4 * N * n * k, iterations, memory, why, steps)


def plan(
    num_rows: int,
    num_columns: int,
    num_targets: int,
    iterations: int = 200,
    *,
    sharded: bool = False,
    ratios: int = 1,
    must: bool = False,
    most_bytes: int = MOST_BYTES,
) -> FitPlan:
    """Return how to solve a layer, or ``linesearch`` where that does not pay.

    Args:
        num_rows: Rows over all shards, N.
        num_columns: Columns, n.
        num_targets: Neurons, k.
        iterations: Iterations that will share the setup.
        sharded: Whether the rows are divided, so that no process can multiply them with each other.
        ratios: How many ratios c of weight decay and penalty there will be.
        must: Whether to solve, whether it pays or not: by a factor if it fits.
        most_bytes: Memory for what is held beside the rows.
    """
    N, n, k = max(num_rows, 1), max(num_columns, 1), max(num_targets, 1)
    factor = factored("primal" if sharded or n <= N else "dual", N, n, k, iterations, ratios)
    other = iterative(N, n, k, iterations, EXACT_STEPS if must else STEPS)
    fits = factor.memory <= most_bytes
    if must:
        return factor if fits else other
    best = factor if fits and factor.total <= FACTOR_WORTH * other.total else other
    times = best.total / max(best.step * iterations, 1)
    if times <= WORTH:
        return best
    why = f"{best.kind} would cost {times:.1f} times as much in {iterations} iterations"
    return FitPlan("linesearch", 0.0, best.step, best.step, iterations, 0, why)

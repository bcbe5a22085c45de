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
"""Line searches that a solved block is taken to be worth, where it has to pay.

On the features of Coauthor CS, one update of the slowest kind leaves what 100 line searches leave of the block's
objective; but a run moves its targets all the time.
"""

DOUBLE = 2.0
"""What an operation in float64 costs, of one in float32."""

MOST_BYTES = 8 << 30
"""Memory for what is held beside the rows, at most."""

KINDS: dict[str, type[NormalEquations]] = {"primal": Primal, "dual": Dual, "iterative": Iterative}


_SHARED: MutableMapping[object, dict[str, NormalEquations]] = WeakIdKeyDictionary()


def shared_equations(owner: object, kind: str, P: Tensor, row_sum: RowSum = all_rows_here) -> NormalEquations:
    """Return the normal equations of rows, the same whoever asks as long as their owner lives: all share the factors.

    Stages of growth are such, whose features stay while networks become deeper.

    Args:
        owner: Holds the rows, and does not change them.
        kind: A key of :data:`KINDS`.
        P: The rows, ``[N, n]``.
        row_sum: Sum over the shards of the rows.
    """
    return _SHARED.setdefault(owner, {}).setdefault(kind, KINDS[kind](P, None, row_sum))


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
        why: The reason, as a sentence.
    """

    kind: str
    setup: float
    update: float
    step: float
    iterations: int
    memory: int
    why: str

    @property
    def total(self) -> float:
        """Operations of all iterations."""
        return self.setup + self.iterations * self.update

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.why} ({self.setup:.1e} operations, then {self.update:.1e} an iteration; "
            f"linesearch {self.step:.1e}; {self.memory / 1e9:.2g} GB)"
        )


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


def iterative(N: int, n: int, k: int, iterations: int) -> FitPlan:
    """Return what conjugate gradients cost; arguments as :func:`factored`."""
    rank = min(RANK, n)
    setup = 4 * N * n * rank + DOUBLE * 8 * n * rank**2
    update = STEPS * (4 * N * n * k + 4 * n * rank * k)
    why = f"a factor for {n:,} columns of {N:,} rows costs more, or does not fit"
    memory = 4 * n * (rank + 4 * k) + 8 * N * k
    return FitPlan("iterative", setup, update, 4 * N * n * k, iterations, memory, why)


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
    """Return the cheapest way to solve a layer, or ``linesearch`` where that does not pay.

    Args:
        num_rows: Rows over all shards, N.
        num_columns: Columns, n.
        num_targets: Neurons, k.
        iterations: Iterations that will share the setup.
        sharded: Whether the rows are divided, so that no process can multiply them with each other.
        ratios: How many ratios c of weight decay and penalty there will be.
        must: Whether to solve, whether it pays or not.
        most_bytes: Memory for what is held beside the rows.
    """
    N, n, k = max(num_rows, 1), max(num_columns, 1), max(num_targets, 1)
    ways = [factored("primal" if sharded or n <= N else "dual", N, n, k, iterations, ratios)]
    ways = [way for way in ways if way.memory <= most_bytes] + [iterative(N, n, k, iterations)]
    best = min(ways, key=lambda way: way.total)
    allowed = WORTH * best.step * iterations
    if must or best.total <= allowed:
        return best
    why = (
        f"{best.kind} costs {best.total / max(best.step * iterations, 1):.1f} times as much in {iterations} iterations"
    )
    return FitPlan("linesearch", 0.0, best.step, best.step, iterations, 0, why)

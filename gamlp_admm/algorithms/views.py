"""Linear models on all columns of the features and on each of their blocks, from which a start is made.

Each is a ridge regression of the targets (:mod:`gamlp_admm.admm.linear`) with a c of its own: the best of
:data:`GRID`, on validation rows and, where leverages are sharp, on training rows that are left out. Where a Gram matrix
would cost too much, there is one model of all columns, which minimises the risk by steps against a majoriser made of
few directions.

A column of large deviation σ is easier to lean on than one of small: dropping inputs at random, whose penalty on w is
:math:`σ^2 w^2` to second order (Wager, Wang, Liang, NeurIPS 2013), says that it should cost more; a ridge says that all
cost alike. The models lie between, with a penalty of :math:`σ w^2`: each column is divided by the root of its
deviation, up to a common unit. Ridge regression of the columns as they are is beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.admm.linear import Centred, RidgePath, completed, extrapolated, gram
from gamlp_admm.admm.stacked import weighed
from gamlp_admm.admm.thin import RANK, Sketch, ThinRows
from gamlp_admm.nn.losses import Risk
from gamlp_admm.training.rows import NodeData

GRID = tuple(10 ** (k / 2) for k in range(-6, 5))
"""Ridges c that are tried, where 1 is as much as the features of one row."""

POWER = 0.5
"""Columns are divided by this power of their deviation; what that does: examples/benchmarks/start."""

FIRST = GRID.index(10**-0.5)
"""Where the search of :data:`GRID` begins, where each c costs a factor."""

SKETCHED_STEPS = 40
SKETCHED_DECAYS = (0.1, 0.03, 0.01)
"""Weight decays of the sketched view, each from where the one before ended."""


@dataclass
class View:
    """A linear model on some of the columns.

    Attributes:
        low: First of the columns.
        high: Column after the last.
        W: Weights, ``[C, high − low]``.
        b: Biases, ``[C]``.
        fitted: Scores of the training rows, ``[N, C]``.
        honest: The same, of each row as if it had been left out, ``[N, C]``; ``fitted`` where that is not known.
        val: Scores of the validation rows, ``[N_val, C]``.
        score: Validation score.
        c: The ridge.
        rank: Score of training rows as if left out and of validation rows together, by which views are chosen.
        sketched: Whether it was not solved but sketched.
        balanced: Whether columns are divided by the root of their deviation.
    """

    low: int
    high: int
    W: Tensor
    b: Tensor
    fitted: Tensor
    honest: Tensor
    val: Tensor
    score: float
    c: float
    rank: float
    sketched: bool = False
    balanced: bool = False

    @property
    def about(self) -> dict[str, Any]:
        """What the report says of it."""
        names = ("c", "score", "sketched", "balanced")
        return {"columns": [self.low, self.high]} | {name: getattr(self, name) for name in names}


@dataclass
class StartRows:
    """What a start is made from, in one process: its shard of the rows.

    Attributes:
        data: The rows; features in the solver's units.
        risk: The risk.
        num_train: Training rows over all shards.
        team: Sums over the shards.
    """

    data: NodeData
    risk: Risk
    num_train: int
    team: Any
    num_val: int = field(init=False)

    def __post_init__(self) -> None:
        N, n = self.data.sizes[:2]
        assert self.data.x is not None
        self.x, self.x_val = self.data.x[:N], self.data.x[N : N + n]
        self.y, self.y_val = self.data.y[:N], self.data.y[N : N + n]
        self.weight = self.data.weight
        self.num_val = int(self.team.row_sum(torch.tensor([float(n)], device=self.y.device)))
        self.sharded = self.team.num_shards > 1

    def rows(self, numbers: Tensor) -> Tensor:
        """Return training rows ``[k, d]`` by their numbers over all shards."""
        team, N = self.team, len(self.x)
        sizes = torch.zeros(team.num_shards, dtype=torch.float64, device=self.x.device)
        sizes[team.shard] = N
        own = numbers.to(self.x.device) - int(team.row_sum(sizes)[: team.shard].sum())
        here = (own >= 0) & (own < N)
        found: Tensor = team.row_sum(self.x[own.clamp(0, N - 1)] * here[:, None])
        return found

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over the training rows of all shards, by their weights, of an ``x`` ``[N, n]``; ``[n]``."""
        sums: Tensor = self.team.row_sum(weighed(x, self.weight).sum(0))
        return sums / self.data.total_weight

    def total(self, x: Tensor) -> Tensor:
        """Return the sum of all entries of an ``x`` ``[N, n]``, those of a row as often as it weighs; a scalar."""
        sums: Tensor = self.team.row_sum(weighed(x, self.weight).sum())
        return sums

    def score(self, val: Tensor, honest: Tensor) -> float:
        """Return how good scores of the validation rows are; of the training rows where there are none."""
        if not self.num_val:
            return self.risk.score(self.team.row_sum(self.risk.score_sums(honest, self.y)))
        return self.risk.score(self.team.row_sum(self.risk.score_sums(val, self.y_val, self.data.val_weight)))

    def score_of_all(self, val: Tensor, honest: Tensor) -> float:
        """Return how good scores of training rows as if left out, and of validation rows, are together."""
        weight, val_weight = self.weight, self.data.val_weight
        if weight is None or val_weight is None:
            weight = val_weight = None
        sums = self.risk.score_sums(honest, self.y, weight)
        if len(val):
            sums = sums + self.risk.score_sums(val, self.y_val, val_weight)
        return self.risk.score(self.team.row_sum(sums))

    def error(self, score: float) -> float:
        """Return the standard error of a share of validation rows."""
        share = min(max(score, 0.0), 1.0)
        return float((share * (1 - share) / max(self.num_val, 1)) ** 0.5)


def _factor_pays(num_rows: int, num_columns: int, num_targets: int) -> bool:
    # Operations of a Gram matrix with a few factors, against those of the sketched steps, whose thin products are
    # bound by memory: each of their operations takes several times as long.
    side = min(num_rows, num_columns)
    factor = num_rows * num_columns * side + 2 * side**3
    thin = num_rows * num_columns * (4 * RANK + 4 * 2 * SKETCHED_STEPS * num_targets)
    return factor <= 2.5 * thin


def views(rows: StartRows) -> list[View]:
    """Return the linear models: that on all columns first, that on all columns as they are last."""
    d, blocks = rows.x.shape[1], rows.data.blocks
    T = completed(rows.risk.regressed(rows.y), rows.weight, rows.team.row_sum)
    if not _factor_pays(rows.num_train, d, T.shape[1]):
        return [_sketched(rows, T)]
    row_sum, empty = rows.team.row_sum, rows.data.room.empty
    centred = Centred.of(rows.x, T, rows.weight, row_sum, empty)
    ends = [sum(blocks[: i + 1]) for i in range(len(blocks))]
    ranges = list(zip([0, *ends[:-1]], ends, strict=True)) if len(blocks) > 1 else []
    wide = len(rows.x) < d and not rows.sharded
    factors = _balance(row_sum(torch.square(centred.A, out=empty(len(rows.x), d, rows.x)).sum(0)))
    H = row_sum(gram(centred.A, wide))
    plain = _ridge(rows, centred, (0, d), T, H, FIRST)
    centred = centred.scaled_(factors)
    if not wide:
        whole = H * factors * factors[:, None]  # that of the scaled columns
        parts = [whole[low:high, low:high] for low, high in ranges]
    else:
        parts = [gram(centred.A[:, low:high], True) for low, high in ranges if high - low > len(rows.x)]
        whole = sum(parts[1:], parts[0]) if parts and len(parts) == len(ranges) else gram(centred.A, True)
    result = [_ridge(rows, centred, (0, d), T, whole, GRID.index(plain.c), factors)]
    given = iter(parts)
    for low, high in ranges:
        H_part = next(given) if not wide or high - low > len(rows.x) else None
        nearby = GRID.index(result[-1].c)
        columns, own = centred.columns(low, high), factors[low:high]
        result.append(_ridge(rows, columns, (low, high), T, H_part, nearby, own))
    return [*result, plain]


def _balance(squares: Tensor) -> Tensor:
    # What columns of such sums of squares are multiplied by: 1/√σ, in a unit in which their sum stays the same.
    factors = torch.where(squares > 0, squares.sqrt() ** -POWER, 1)
    total = (squares * factors.square()).sum()
    return factors * torch.where(total > 0, squares.sum() / total, 1).sqrt()


def _ridge(
    rows: StartRows,
    centred: Centred,
    columns: tuple[int, int],
    T: Tensor,
    H: Tensor | None,
    begin: int,
    factors: Tensor | None = None,
) -> View:
    path = RidgePath(centred, H, rows.team.row_sum, rows.sharded, rows.data.room.empty)
    ranks: dict[int, float] = {}
    best: View | None = None
    low, high = columns

    def at(k: int) -> float:
        nonlocal best
        if k not in ranks:
            W, b = path.solve(GRID[k])
            if factors is not None:
                W = W * factors
            fitted = torch.addmm(b, rows.x[:, low:high], W.T)
            known = path.leverage_is_sharp or not rows.num_val
            honest = path.left_out(GRID[k], fitted, T) if known else fitted
            val = torch.addmm(b, rows.x_val[:, low:high], W.T)
            finite = bool(torch.isfinite(W).all())
            rank = rows.score_of_all(val, honest) if known else rows.score(val, honest)
            rank = rank if finite else -torch.inf
            score, balanced = rows.score(val, honest), factors is not None
            view = View(low, high, W, b, fitted, honest, val, score, GRID[k], rank, balanced=balanced)
            best = view if best is None else max(best, view, key=lambda each: (each.rank, each.c))
            ranks[k] = rank
        return ranks[k]

    if path.eigen is not None:
        for k in range(len(GRID)):
            at(k)
    else:
        _climb(at, begin)
    assert best is not None
    best.honest = path.left_out(best.c, best.fitted, T)
    return best


def _climb(at: Any, k: int) -> None:
    # Looks at neighbours on the grid for as long as they are better.
    at(k)
    step = 1 if k + 1 < len(GRID) and at(k + 1) >= at(k) else -1
    while 0 <= k + step < len(GRID) and at(k + step) >= at(k):
        k += step


def _sketched(rows: StartRows, T: Tensor) -> View:
    weight = torch.ones_like(rows.y[:, :1]) if rows.weight is None else rows.weight[:, None]
    row_sum = rows.team.row_sum
    total = row_sum(weight.sum())
    center = row_sum(rows.x.mT @ weight[:, 0]) / total
    begin = row_sum((weight * T).sum(0)) / total
    A = ThinRows(rows.x, center)
    balanced = _descended(rows, A.scaled(_balance(A.squares(weight, row_sum))), weight, begin)
    plain = _descended(rows, A, weight, begin)
    return max(balanced, plain, key=lambda view: view.score)


def _descended(rows: StartRows, A: ThinRows, weight: Tensor, b: Tensor) -> View:
    risk, row_sum, H = rows.risk, rows.team.row_sum, rows.risk.smoothness
    total = row_sum(weight.sum())
    sketch = Sketch(A, weight, row_sum=row_sum)
    W = rows.x.new_zeros(len(b), rows.x.shape[1])
    best: View | None = None
    for decay in SKETCHED_DECAYS:

        def step(W: Tensor, b: Tensor, decay: float = decay) -> tuple[Tensor, Tensor]:
            slope = risk.slope(A.times(W.T) + b, rows.y) * weight
            pulled = row_sum(slope.sum(0)) / (H * total)
            gradient = row_sum(A.transposed(slope)).T + decay * W
            return W - sketch.step(gradient, H, decay), b - pulled

        W, b = extrapolated(step, W, b, SKETCHED_STEPS if best is None else SKETCHED_STEPS // 2)
        fitted, (own_W, own_b) = A.times(W.T) + b, A.entered(W, b)
        val = torch.addmm(own_b, rows.x_val, own_W.T)
        score = rows.score(val, fitted)
        kind = {"sketched": True, "balanced": A.factors is not None}
        view = View(0, W.shape[1], own_W, own_b, fitted, fitted, val, score, decay / H, score, **kind)
        if best is not None and view.score <= best.score:
            break
        best = view
    assert best is not None
    return best

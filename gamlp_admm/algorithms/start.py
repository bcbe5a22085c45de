r"""A start that knows the labels: a network whose first layer is a closed form, and that is evaluated as iteration 0.

1. **Views** (:mod:`gamlp_admm.algorithms.views`). Ridge regression of the targets on all columns of the features, and,
   where the columns are made of blocks (hops, propagated labels), on each of them; each with the c that is best on
   validation. So a block that swamps the others swamps one view and no more.
2. **Hidden neurons.** With the scores s of the best view, v and −v of each class: :math:`f(s) - f(-s)` is s for ReLU,
   so that the network *is* the linear model, at any depth through layers that pass their input on. The others are
   random combinations of the scores of all views, with random biases: they bend where the classes meet; or half of
   them lie along differences of two training rows, where that validates better: they see what no score says.
3. **The last layer** is solved on their outputs, as a ridge regression and for the risk itself. It is fitted to what
   each training row would score had it been left out (leverages), since fitted scores of training rows are better than
   those of any other, and a last layer that sees them trusts them too much; or to what it does score, where few rows
   make that validate clearly better.

The linear model itself is among what is chosen from, so that with two neurons a class no start of a ReLU network is
worse on validation. Nothing here needs a
gradient of the network, and everything but the choices is sums over rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.admm.linear import LastLayer, extrapolated
from gamlp_admm.algorithms.views import StartRows, View, views
from gamlp_admm.nn.network import Network, Weights
from gamlp_admm.training.growth import passing
from gamlp_admm.training.session import Opening, Stage

LAST = (1.0, 1e-1)
"""Ridges of the last layer."""

LAST_STEPS = 20
APART = (0.0, 0.5, 1.0)
"""Shares of random neurons along differences of rows that are tried."""


@dataclass
class Hidden:
    """The first layer that is made of views, and what it gives.

    Attributes:
        W: Weights, ``[h, d]``.
        b: Biases, ``[h]``.
        fitted: Pre-activations of training rows, ``[N, h]``.
        honest: The same from scores of rows as if left out.
        val: The same on validation rows.
        plain: Number C of pairs v, −v at the front; 0 if they do not fit.
    """

    W: Tensor
    b: Tensor
    fitted: Tensor
    honest: Tensor
    val: Tensor
    plain: int


def neurons(
    made: Sequence[View], best: View, rows: StartRows, shape: tuple[int, int], seed: int, apart: float
) -> Hidden:
    """Return the first layer's neurons, and its pre-activations.

    Args:
        made: The views.
        best: That of which there are v and −v.
        rows: The rows.
        shape: (h, d) of the first layer.
        seed: Draws what is random.
        apart: Share of the random neurons that lie along differences of two training rows instead.
    """
    h, d = shape
    C = len(best.b)
    generator = torch.Generator().manual_seed(seed)
    plain = C if h >= 2 * C else 0
    between = round(apart * (h - 2 * plain))
    layers = [_pairs(best, d, rows)] if plain else []
    layers.append(_combined(made, h - 2 * plain - between, d, generator, rows))
    if between:
        layers.append(_differences(rows, between, generator))
    # One after the other, and without what was joined: each state may fill much of the memory.
    joined = {
        name: torch.cat([layer.pop(name) for layer in layers], int(name in STATES)) for name in (*STATES, "W", "b")
    }
    return Hidden(**joined, plain=plain)


STATES = ("fitted", "honest", "val")
Neurons = dict[str, Tensor]
"""W, b, and the pre-activations of :data:`STATES`."""


def _pairs(view: View, d: int, rows: StartRows) -> Neurons:
    # v and −v of each class.
    signs = torch.eye(len(view.b)).to(view.W)
    pair = torch.cat([signs, -signs]) / _deviation(view.honest, rows)
    W = view.W.new_zeros(len(pair), d)
    W[:, view.low : view.high] = pair @ view.W
    return {"W": W, "b": pair @ view.b} | {name: getattr(view, name) @ pair.T for name in STATES}


def _combined(made: Sequence[View], count: int, d: int, generator: torch.Generator, rows: StartRows) -> Neurons:
    # Random combinations of the scores of all views.
    like, C = made[0].W, len(made[0].b)
    mixing = torch.randn(len(made), C, count, generator=generator, dtype=torch.float64).to(like)
    parts = [part / _deviation(view.honest, rows) for view, part in zip(made, mixing, strict=True)]
    pairs = list(zip(made, parts, strict=True))
    W, b = like.new_zeros(count, d), like.new_zeros(count)
    for view, part in pairs:
        W[:, view.low : view.high] += part.T @ view.W
        b += part.T @ view.b

    def mixed(name: str) -> Tensor:
        N = len(getattr(made[0], name))
        products = rows.data.room.empty(len(pairs) * N, count, like).view(len(pairs), N, count)
        for product, (view, part) in zip(products, pairs, strict=True):
            torch.mm(getattr(view, name), part, out=product)
        return products.sum(0)

    return _spread({"W": W, "b": b} | {name: mixed(name) for name in STATES}, generator, rows)


def _differences(rows: StartRows, count: int, generator: torch.Generator) -> Neurons:
    # x − x' of random training rows, which may lie in any shard.
    drawn = torch.randint(rows.num_train, (2, count), generator=generator)
    W = rows.rows(drawn[0]) - rows.rows(drawn[1])
    fitted, val = rows.x @ W.T, rows.x_val @ W.T
    made = {"W": W, "b": W.new_zeros(count), "fitted": fitted, "honest": fitted, "val": val}
    del fitted, val
    return _spread(made, generator, rows)


def _spread(made: Neurons, generator: torch.Generator, rows: StartRows) -> Neurons:
    # Pre-activations of deviation 1, and random biases.
    unit, middle = _deviation(made["honest"], rows, columns=True), rows.mean(made["honest"])
    bias = torch.randn(len(unit), generator=generator, dtype=torch.float64).to(unit) - middle / unit
    states = {name: (made.pop(name) / unit).add_(bias) for name in STATES}
    return {"W": made["W"] / unit[:, None], "b": made["b"] / unit + bias} | states


def _deviation(x: Tensor, rows: StartRows, columns: bool = False) -> Tensor:
    # Of all entries about their columns' means, or column by column; 1 where there is none.
    squares = rows.mean((x - rows.mean(x)).square_())
    spread = (squares if columns else squares.mean()).sqrt()
    return torch.where(spread > 0, spread, 1)


def _through(z: Tensor, depth: int, network: Network) -> Tensor:
    # What the hidden layers after the first make of its z: they pass their input on.
    a = network.output(z, None)
    for _ in range(depth - 2):
        a = network.output(torch.zeros_like(a) if network.residual else a, a)
    return a


@dataclass
class Considered:
    """A last layer that was considered.

    Attributes:
        score: Validation score.
        W: Weights, ``[C, h]``.
        b: Biases, ``[C]``.
        about: How it was made.
    """

    score: float
    W: Tensor
    b: Tensor
    about: dict[str, Any]


class LastLayers:
    """The last layers that are considered for some hidden neurons, each by its validation score.

    The one that is taken unless validation speaks against it is a mean of four, on honest rows: the regressions and the
    minimisers of the risk with two ridges each. The layer is linear, so that the mean of the layers gives the mean of
    their outputs, and the mean errs less than the best of them on as few validation rows as there are.

    Args:
        rows: The rows.
        hidden: The first layer.
        best: The view of which there are v and −v.
        depth: Layers of the network.
        network: The network.
    """

    def __init__(self, rows: StartRows, hidden: Hidden, best: View, depth: int, network: Network) -> None:
        self.rows, self.first = rows, hidden
        self.inputs = {name: _through(getattr(hidden, name), depth, network) for name in STATES}
        self.linear = self._considered(*self._linear(best), {"last": "linear"}) if hidden.plain else None
        self.means: list[Considered] = []
        if rows.num_val or self.linear is None:
            names = ("honest",) if best.sketched else ("honest", "fitted")  # which are the same of a sketch
            self.means = [self._mean(name) for name in names]

    @property
    def best(self) -> Considered:
        """The best of them: the mean on honest rows, another that is clearly better, or the linear one if none is."""
        if not self.means:
            assert self.linear is not None
            return self.linear
        best, *others = self.means
        margin = self.rows.error(best.score) / 2
        best = next((other for other in others if other.score > best.score + margin), best)
        return self.linear if self.linear is not None and self.linear.score > best.score else best

    def _considered(self, W: Tensor, b: Tensor, about: dict[str, Any]) -> Considered:
        val, honest = (torch.addmm(b, self.inputs[name], W.T) for name in ("val", "honest"))
        return Considered(self.rows.score(val, honest), W, b, about)

    def _linear(self, view: View) -> tuple[Tensor, Tensor]:
        # f(s) − f(−s) of the pairs, in the scale of s.
        C, total = self.first.plain, self.rows.total
        pairs = self.inputs["fitted"][:, :C] - self.inputs["fitted"][:, C : 2 * C]
        squares = total(pairs.square()).clamp(min=torch.finfo(pairs.dtype).tiny)
        scale = total(pairs * view.fitted) / squares
        W = self.first.W.new_zeros(C, len(self.first.b))
        signs = torch.eye(C).to(W)
        W[:, :C], W[:, C : 2 * C] = scale * signs, -scale * signs
        return W, W.new_zeros(C)

    def _mean(self, name: str) -> Considered:
        rows = self.rows
        layer = LastLayer(self.inputs[name], rows.y, rows.risk, rows.weight, rows.team.row_sum)
        made: Weights = []
        for c in LAST:
            L = layer.factor(c)

            def step(W: Tensor, b: Tensor, L: Tensor = L, c: float = c) -> tuple[Tensor, Tensor]:
                return layer.risk_step(L, c, W, b)

            made.append(layer.ridge(L))
            made.append(extrapolated(step, *made[-1], LAST_STEPS))
        W, b = (torch.stack(t).mean(0) for t in zip(*made, strict=True))
        return self._considered(*layer.entered(W, b), {"last": "mean", "rows": name})


def ridge_start(stage: Stage, seed: int) -> Opening:
    """Return the weights to start from.

    Args:
        stage: The rows, the network's shapes and the processes; it has no weights yet.
        seed: Draws the random combinations.
    """
    shapes, network = stage.shapes, stage.network
    rows = StartRows(stage.data, stage.risk, stage.num_train, stage.team)
    made = views(rows)
    best = max(made, key=lambda view: view.rank)
    about: dict[str, Any] = {"views": [view.about for view in made], "linear": best.score}
    if len(shapes) == 1:
        W = best.W.new_zeros(shapes[0])
        W[:, best.low : best.high] = best.W
        return Opening([(W, best.b)], about)
    tried: dict[float, tuple[Considered, Tensor, Tensor]] = {}

    def leading() -> float:
        return max(tried, key=lambda apart: tried[apart][0].score)

    for apart in APART:
        if tried and (made[0].sketched or not rows.num_val or (apart == 1 and not leading())):
            break  # more of them only where some of them helped
        first = neurons(made, best, rows, shapes[0], seed, apart)
        tried[apart] = LastLayers(rows, first, best, len(shapes), network).best, first.W, first.b
        del first  # of which only the weights are kept: states are as large as the rows are many
    apart = leading()
    last, hidden_W, hidden_b = tried[apart]
    about |= last.about | {"score": last.score, "apart": apart}
    W, b = last.W, last.b
    between = [passing(network, shape, W) for shape in shapes[1:-1]]
    return Opening([(hidden_W, hidden_b), *between, (W, b)], about)

r"""pdADMM-G as its papers and its released code have it, to measure speed against: nothing of this package's updates.

Layer after layer, ρ = ν, and every formula computes the product P Wᵀ that stands in it. The steps of p and W are found
by backtracking, which begins at τ = 20 and gives up after ten doublings; the last layer's z by FISTA. Features are
taken as they are. ν grows tenfold, up to 1, when the training loss has not fallen by 0.001 in two iterations running;
weight decay μ falls as the network grows.

Source: pdADMM-G, TNNLS 2022, arXiv 2105.09837, Algorithm 1; numbers are those of the code that its authors released.
The step of b is the mean over rows, as in that code; the paper's, the sum over ν, overshoots.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.network import Weights
from gamlp_admm.training.schedules import Record, Schedule
from gamlp_admm.training.session import Session, Stage
from gamlp_admm.training.trainer import Trainer

TAU, DOUBLINGS = 20.0, 10
"""Where backtracking begins, and how often τ is doubled at most."""

STEPS, TOLERANCE = 50, 1e-3
"""Steps of FISTA at most, and the change of its objective that ends it."""

LIMIT, FALL = 1.0, 1e-3
"""What ν grows to, and by how much the training loss must fall if it is not to grow."""

DECAYS = {2: 10.0, 5: 1.0, 10: 0.01}
"""Weight decay μ by the number of layers, from which on it holds."""


@dataclass
class LayerState:
    """The variables of a layer; the last one has neither ``Q`` nor ``U``.

    Attributes:
        P: Input, ``[N, n_in]``; of the first layer the features.
        W: Weights, ``[n_out, n_in]``.
        b: Biases, ``[n_out]``.
        Z: Pre-activations, ``[N, n_out]``.
        Q: Outputs, ``[N, n_out]``.
        U: Multipliers of ``P_{l+1} = Q_l``, ``[N, n_out]``.
    """

    P: Tensor
    W: Tensor
    b: Tensor
    Z: Tensor
    Q: Tensor | None = None
    U: Tensor | None = None

    @property
    def m(self) -> Tensor:
        """The product P Wᵀ + 1bᵀ, computed whenever it is asked for."""
        return self.P @ self.W.T + self.b


def forward(x: Tensor, weights: Weights) -> list[LayerState]:
    """Return the state in which every constraint holds, and U = 0."""
    layers: list[LayerState] = []
    for l, (W, b) in enumerate(weights):
        layer = LayerState(x, W, b, x @ W.T + b)
        if l < len(weights) - 1:
            layer.Q = x = layer.Z.relu()
            layer.U = torch.zeros_like(x)
        layers.append(layer)
    return layers


def iterate(layers: Sequence[LayerState], y: Tensor, risk: Risk, nu: float, mu: float) -> None:
    """Run one iteration, in place.

    Args:
        layers: The state.
        y: Targets in the risk's form, ``[N, C]``.
        risk: The risk R.
        nu: Penalties ν = ρ.
        mu: Weight decay μ.
    """
    for below, layer in pairwise(layers):
        layer.P = update_p(layer, below, nu)
    for layer in layers:
        layer.W = update_W(layer, nu, mu)
    for layer in layers:
        layer.b = layer.b - (layer.m - layer.Z).mean(0)
    for layer in layers:
        layer.Z = update_z(layer) if layer.Q is not None else update_z_last(layer, y, risk, nu)
    for layer, above in pairwise(layers):
        assert layer.U is not None
        layer.Q = (above.P + layer.U / nu + layer.Z.relu()) / 2
        layer.U = layer.U + nu * (above.P - layer.Q)


def update_p(layer: LayerState, below: LayerState, nu: float) -> Tensor:
    """Return a step from P towards argmin_P ν/2 ‖Z − P Wᵀ − 1bᵀ‖² + ⟨U₋, P − Q₋⟩ + ν/2 ‖P − Q₋‖²."""
    W, b, Z, Q, U = layer.W, layer.b, layer.Z, below.Q, below.U
    assert Q is not None
    assert U is not None

    def value(P: Tensor, r: Tensor) -> Tensor:
        return nu / 2 * r.square().sum() + ((U + nu / 2 * (P - Q)) * (P - Q)).sum()

    r = layer.m - Z
    gradient = nu * r @ W + U + nu * (layer.P - Q)
    return backtrack(lambda P: value(P, P @ W.T + b - Z), layer.P, value(layer.P, r), gradient)


def update_W(layer: LayerState, nu: float, mu: float) -> Tensor:
    """Return a step from W towards argmin_W ν/2 ‖Z − P Wᵀ − 1bᵀ‖² + μ/2 ‖W‖²."""
    P, b, Z = layer.P, layer.b, layer.Z

    def value(W: Tensor, r: Tensor) -> Tensor:
        return nu / 2 * r.square().sum() + mu / 2 * W.square().sum()

    r = layer.m - Z
    gradient = nu * r.T @ P + mu * layer.W
    return backtrack(lambda W: value(W, P @ W.T + b - Z), layer.W, value(layer.W, r), gradient)


def backtrack(value: Callable[[Tensor], Tensor], x: Tensor, here: Tensor, gradient: Tensor) -> Tensor:
    """Return x − g/τ for the first τ of 20, 40, … whose majoriser the value at it does not exceed; else x.

    Args:
        value: What is minimised.
        x: Where the step starts.
        here: The value there.
        gradient: The gradient g there.
    """
    tau = TAU
    for _ in range(DOUBLINGS + 1):
        new = x - gradient / tau
        if value(new) <= here + ((tau / 2 * (new - x) + gradient) * (new - x)).sum():
            return new
        tau *= 2
    return x


def update_z(layer: LayerState) -> Tensor:
    """Return argmin_z (z − m)² + (q − max(z, 0))² + (z − z_old)², entry by entry, of two candidates."""
    Q, Z = layer.Q, layer.Z
    assert Q is not None

    def value(z: Tensor) -> Tensor:
        return (z - layer.m).square() + (Q - z.relu()).square() + (z - Z).square()

    middle = (layer.m + Z) / 2
    low, high = middle.clamp(max=0), ((2 * middle + Q) / 3).clamp(min=0)
    return torch.where(value(low) > value(high), high, low)


def update_z_last(layer: LayerState, y: Tensor, risk: Risk, nu: float) -> Tensor:
    """Return argmin_z R(z, y) + ν/2 ‖z − m‖², by FISTA with steps of 1/H, H the smoothness of the risk."""
    z = x = layer.Z
    t, before, step = 1.0, math.inf, 1 / risk.smoothness
    for _ in range(STEPS):
        now = float(risk.value(z, y) + nu / 2 * (z - layer.m).square().sum())
        if abs(now - before) < TOLERANCE:
            break
        t_new, x_old, before = (1 + math.sqrt(1 + 4 * t * t)) / 2, x, now
        x = (z - step * risk.slope(z, y) + step * nu * layer.m) / (1 + step * nu)
        z = x + (t - 1) / t_new * (x - x_old)
        t = t_new
    return z


def growing(start: float) -> Schedule:
    """Return the factor of ν: ten times as much whenever the loss has not fallen twice running, up to :data:`LIMIT`.

    Args:
        start: ν at the start of a stage.
    """

    def schedule(records: Sequence[Record], elapsed: int) -> float:
        losses = [record["train_loss"] for record in records]
        stuck = [b > a - FALL for a, b in pairwise(losses)]
        times = sum(a and b for a, b in pairwise(stuck[1:]))
        return min(10.0**times, LIMIT / start) if times < 10 else LIMIT / start

    return schedule


def decay(layers: int) -> float:
    """Return weight decay μ of a network of so many layers."""
    return DECAYS[max((depth for depth in DECAYS if depth <= layers), default=min(DECAYS))]


# --- as a trainer, so that it is evaluated and grown as all others are --------------------------------------------


class AsPublishedSession(Session):
    """The recipe at work on a network of fixed depth, in one process.

    Args:
        stage: What it is trained on.
        nu: ν = ρ at the start.
        mu: Weight decay μ.
    """

    def __init__(self, stage: Stage, nu: float, mu: float) -> None:
        assert stage.features is not None
        self.risk, self.y, self.nu, self.mu = stage.risk, stage.data.y[: stage.data.num_train], nu, mu
        self.layers = forward(stage.features.train, stage.weights)
        self.bytes_sent = 0

    def iterate(self, iteration: int, factor: float) -> None:
        """See :meth:`Session.iterate`; p, q and u travel as they are."""
        self.now = self.nu * factor
        iterate(self.layers, self.y, self.risk, self.now, self.mu)
        self.bytes_sent += 3 * sum(layer.Q.nbytes for layer in self.layers if layer.Q is not None)

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        return [(layer.W, layer.b) for layer in self.layers]

    def layer_terms(self) -> Tensor:
        """See :meth:`Session.layer_terms`: the objective and the primal residual."""
        nu, terms = self.now, torch.zeros(2, len(self.layers), dtype=torch.float64)
        for l, s in enumerate(self.layers):
            value = nu / 2 * (s.m - s.Z).square().sum() + self.mu / 2 * s.W.square().sum()
            if s.Q is None or s.U is None:
                value = value + self.risk.value(s.Z, self.y)
            else:
                gap = self.layers[l + 1].P - s.Q
                terms[1, l] = gap.square().sum()
                value = value + nu / 2 * (s.Q - s.Z.relu()).square().sum() + ((s.U + nu / 2 * gap) * gap).sum()
            terms[0, l] = value
        return terms

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        return {name: getattr(self.layers[l], field) for name, l, field in self._names()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        for name, l, field in self._names():
            setattr(self.layers[l], field, tensors[name])

    def _names(self) -> list[tuple[str, int, str]]:
        kept = [(l, field) for l, layer in enumerate(self.layers) for field, t in vars(layer).items() if t is not None]
        return [(f"{l}.{f}" if f in "Wb" else f"{l}.{f}.rows", l, f) for l, f in kept if (l, f) != (0, "P")]


@dataclass(frozen=True, kw_only=True, repr=False)
class AsPublished(Trainer):
    """pdADMM-G as published; networks are of ReLU, without residual connections.

    Args:
        nu: Penalties ν = ρ at the start of each stage of growth.
        mu: Weight decay μ; ``None`` for that of :data:`DECAYS`.
        loss: Risk of the last layer.
    """

    nu: float = 1e-4
    mu: float | None = None

    algorithm = "published"
    grows = True
    residual = False

    def penalty_schedule(self) -> Schedule:
        """See :meth:`Algorithm.penalty_schedule`."""
        return growing(self.nu)

    def start(self, stage: Stage) -> AsPublishedSession:
        """See :meth:`Algorithm.start`."""
        return AsPublishedSession(stage, self.nu, decay(len(stage.shapes)) if self.mu is None else self.mu)

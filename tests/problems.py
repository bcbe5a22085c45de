"""Random problems, and pdADMM-G written out plainly, layer by layer, as the tests' oracle.

Nothing here uses the package's block updates: every formula is the textbook one, with no stacks, no product kept up to
date and no closed-form step lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gamlp_admm.admm.blocks import Rule
from gamlp_admm.admm.engine import iterate
from gamlp_admm.admm.normal import Primal
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.state import Block, initial_blocks
from gamlp_admm.nn.activations import Activation, activation
from gamlp_admm.nn.losses import risk
from gamlp_admm.nn.network import Network, Weights
from gamlp_admm.parallel.channel import LocalChannel

F64 = torch.float64


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def labels(n: int, classes: int, seed: int = 0) -> Tensor:
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def one_hot(n: int, classes: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return F.one_hot(labels(n, classes, seed), classes).to(dtype)


# --- networks -----------------------------------------------------------------------------------------------


def random_weights(widths: Sequence[int], seed: int = 0, dtype: torch.dtype = F64, scale: float = 0.7) -> Weights:
    return [
        (
            scale * randn(o, i, seed=seed + 2 * l, dtype=dtype),
            scale * randn(o, seed=seed + 2 * l + 1, dtype=dtype),
        )
        for l, (i, o) in enumerate(pairwise(widths))
    ]


def forward(x: Tensor, weights: Weights, f: Any) -> Tensor:
    for l, (W, b) in enumerate(weights):
        x = x @ W.T + b
        if l < len(weights) - 1:
            x = f(x)
    return x


def make_problem(
    x: Tensor,
    y: Tensor,
    *,
    loss: str = "cross_entropy",
    f: str | Activation = "relu",
    rho: float = 0.5,
    nu: float = 0.1,
    mu: float = 0.05,
    rule: str = "linesearch",
    tau: float = 20.0,
    weight: Tensor | None = None,
    kind: type[Problem] = Problem,
    **options: Any,
) -> Any:
    """Return what an algorithm minimises, as a ``kind`` of problem with ``options`` of its own."""
    return kind(
        y=y,
        risk=risk(loss),
        network=Network(activation(f)),
        rho=rho,
        nu=nu,
        mu=mu,
        rule=Rule(rule, tau),
        weight=weight,
        normal=Primal(x, weight) if rule in ("exact", "auto") and options.get("regularizer", "l2") != "l1" else None,
        **options,
    )


def random_problem(
    widths: Sequence[int], rows: int, seed: int = 0, dtype: torch.dtype = F64, scale: float = 0.7, **settings: Any
) -> tuple[Tensor, Weights, Any]:
    """Return features, weights and the problem of a network with layers of these widths."""
    x = randn(rows, widths[0], seed=seed + 100, dtype=dtype)
    y = risk(settings.get("loss", "cross_entropy")).target(labels(rows, widths[-1], seed + 101), widths[-1], dtype)
    return x, random_weights(widths, seed, dtype, scale), make_problem(x, y, **settings)


# --- pdADMM-G, plainly --------------------------------------------------------------------------------------


@dataclass
class Plain:
    """The variables of all layers: P, W, b, Z of layers 0 … L−1, and Q, U of layers 0 … L−2."""

    P: list[Tensor]
    W: list[Tensor]
    b: list[Tensor]
    Z: list[Tensor]
    Q: list[Tensor]
    U: list[Tensor]

    @property
    def depth(self) -> int:
        return len(self.W)


def forward_state(x: Tensor, weights: Weights, f: Any) -> Plain:
    """Return the state in which every constraint holds."""
    s = Plain([x], [], [], [], [], [])
    for l, (W, b) in enumerate(weights):
        s.W.append(W)
        s.b.append(b)
        s.Z.append(s.P[l] @ W.T + b)
        if l < len(weights) - 1:
            s.Q.append(f(s.Z[l]))
            s.U.append(torch.zeros_like(s.Q[l]))
            s.P.append(s.Q[l].clone())
    return s


def random_state(widths: Sequence[int], rows: int, seed: int = 0) -> Plain:
    """Return a state in which no constraint holds."""
    weights = random_weights(widths, seed)

    def tensors(columns: Sequence[int], offset: int) -> list[Tensor]:
        return [randn(rows, n, seed=seed + offset + l) for l, n in enumerate(columns)]

    return Plain(
        P=tensors(widths[:-1], 1000),
        W=[W for W, _ in weights],
        b=[b for _, b in weights],
        Z=tensors(widths[1:], 2000),
        Q=tensors(widths[1:-1], 3000),
        U=tensors(widths[1:-1], 4000),
    )


def naive_lagrangian(s: Plain, problem: Problem) -> Tensor:
    """Return L_ρ, term by term as the paper writes it, each row as often as it weighs; autograd goes through."""
    nu, rho, mu, w = problem.nu, problem.rho, problem.mu, row_weights(problem)
    total = problem.risk.value(s.Z[-1], problem.y, problem.weight)
    for l in range(s.depth):
        total = total + mu / 2 * (s.W[l] ** 2).sum()
        total = total + nu / 2 * (w * (s.Z[l] - s.P[l] @ s.W[l].T - s.b[l]) ** 2).sum()
    for l in range(s.depth - 1):
        gap = s.P[l + 1] - s.Q[l]
        total = total + nu / 2 * (w * (s.Q[l] - problem.f(s.Z[l])) ** 2).sum()
        total = total + (w * s.U[l] * gap).sum() + rho / 2 * (w * gap**2).sum()
    return total


def row_weights(problem: Problem) -> Tensor:
    """Return the weights of the rows, ``[N, 1]``."""
    return (torch.ones(len(problem.y), dtype=F64) if problem.weight is None else problem.weight)[:, None]


def gradient(s: Plain, problem: Problem, field: str, layer: int) -> Tensor:
    """Return the gradient of L_ρ with respect to one block, by autograd."""
    block = getattr(s, field)[layer].detach().clone().requires_grad_()
    tensors = list(getattr(s, field))
    tensors[layer] = block
    (result,) = torch.autograd.grad(naive_lagrangian(replace(s, **{field: tensors}), problem), block)
    return result


def _majorised(phi: Any, at: Tensor, g: Tensor, start: float, w: Any) -> Tensor:
    # The papers' loop: double τ until φ(new) is at most its quadratic majoriser.
    tau, here = start, phi(at)
    while phi(at - g / tau) > here - (w * g * g).sum() / (2 * tau) + 1e-13 * (1 + here.abs()):
        tau *= 2
    return at - g / tau


def _solve_block(phi: Any, at: Tensor, g: Tensor, curvature: Tensor, exact: Tensor, rule: Rule, w: Any = 1.0) -> Tensor:
    # curvature is the Rayleigh quotient of the block's Hessian along g, of each part that has a step of its own; w are
    # the weights of rows, of which g is the gradient over them.
    if rule.name == "exact":
        return exact
    if not g.any():
        return at
    if rule.name == "backtracking":
        return _majorised(phi, at, g, rule.start, w)
    return at - g / curvature


def reference_prox(m: Tensor, y: Tensor, problem: Problem) -> Tensor:
    """Return argmin_z R(z, y) + ν/2 ‖z − m‖²: by dense Newton for cross-entropy, else by bisection entry by entry."""
    nu = problem.nu

    def slope(z: Tensor) -> Tensor:
        leaf = z.clone().requires_grad_()
        (g,) = torch.autograd.grad(problem.risk.rows(leaf, y).sum(), leaf)
        return g + nu * (z - m)

    if problem.risk.name == "cross_entropy":
        z = m.clone()
        for _ in range(200):
            pi, g = torch.softmax(z, 1), slope(z)
            H = torch.diag_embed(pi) - pi[:, :, None] * pi[:, None] + nu * torch.eye(pi.shape[1])
            step = torch.linalg.solve(H, g[:, :, None])[:, :, 0]
            t = torch.ones_like(z[:, :1])
            for _ in range(40):  # halve a row's step until its gradient falls
                worse = slope(z - t * step).norm(dim=1, keepdim=True) > g.norm(dim=1, keepdim=True)
                t = torch.where(worse, t / 2, t)
            z = z - t * step
            if g.abs().max() < 1e-14:
                break
        return z
    low, high = m - 1e4, m + 1e4  # the slope rises in every entry
    for _ in range(80):
        z = (low + high) / 2
        rising = slope(z) > 0
        low, high = torch.where(rising, low, z), torch.where(rising, z, high)
    return (low + high) / 2


def reference_iteration(s: Plain, problem: Problem, stale: bool = False) -> Plain:
    """Return the state after one iteration, line by line as the table of the algorithm has it.

    What is ``stale`` has p and q from each other's last values, and holds both back by ρ/2 ‖· − last‖².
    """
    nu, rho, mu, rule, L, w = problem.nu, problem.rho, problem.mu, problem.rule, s.depth, row_weights(problem)
    held = rho if stale else 0.0
    P = [s.P[0]]
    for l in range(1, L):  # p: from the old z, q, u
        W, b, Z, Q, U, old = s.W[l], s.b[l], s.Z[l], s.Q[l - 1], s.U[l - 1], s.P[l]

        def phi(p: Tensor, W: Any = W, b: Any = b, Z: Any = Z, Q: Any = Q, U: Any = U, old: Any = old) -> Tensor:
            fit = nu / 2 * (w * (Z - p @ W.T - b) ** 2).sum()
            fit = fit + held / 2 * (w * (p - old) ** 2).sum()
            return fit + (w * U * (p - Q)).sum() + rho / 2 * (w * (p - Q) ** 2).sum()

        g = nu * (old @ W.T + b - Z) @ W + U + rho * (old - Q)
        H = nu * W.T @ W + (rho + held) * torch.eye(W.shape[1], dtype=W.dtype)
        exact = torch.linalg.solve(H, (nu * (Z - b) @ W - U + rho * Q + held * old).T).T
        P.append(_solve_block(phi, old, g, (w * g * (g @ H)).sum() / (w * g * g).sum(), exact, rule, w))
    W_new = []
    for l in range(L):  # W: from the new p
        p, b, Z, W = P[l], s.b[l], s.Z[l], s.W[l]

        def phi_W(W: Tensor, p: Any = p, b: Any = b, Z: Any = Z) -> Tensor:
            return nu / 2 * (w * (Z - p @ W.T - b) ** 2).sum() + mu / 2 * (W**2).sum()

        G = nu * (p @ W.T + b - Z).T @ (w * p) + mu * W
        H = nu * p.T @ (w * p) + mu * torch.eye(p.shape[1], dtype=p.dtype)
        solved = rule.name == "auto" and l == 0 and problem.normal is not None
        rule_W = Rule("exact") if solved else rule
        exact = torch.linalg.lstsq(H, nu * (w * p).T @ (Z - b)).solution.T if rule_W.name == "exact" else W
        curvature = (G * (G @ H)).sum(1, keepdim=True) / (G * G).sum(1, keepdim=True)  # a neuron's
        W_new.append(_solve_block(phi_W, W, G, curvature, exact, rule_W))
    b_new, Z_new, Q_new, U_new = [], [], list[Tensor](), []
    if stale:
        Q_new = [
            (rho * s.P[l + 1] + s.U[l] + nu * problem.f(s.Z[l]) + held * s.Q[l]) / (rho + nu + held)
            for l in range(L - 1)
        ]
    for l in range(L):  # b from the new W, z from the new b
        b_new.append((w * (s.Z[l] - P[l] @ W_new[l].T)).sum(0) / w.sum())
        m = P[l] @ W_new[l].T + b_new[l]
        if l == L - 1:
            Z_new.append(reference_prox(m, problem.y, problem))
        else:
            Z_new.append(reference_z(m, s.Z[l], (Q_new if stale else s.Q)[l], problem.f))
    for l in range(L - 1):  # q from the new p of the next layer and the new z, u from the new q
        if not stale:
            Q_new.append((rho * P[l + 1] + s.U[l] + nu * problem.f(Z_new[l])) / (rho + nu))
        U_new.append(s.U[l] + rho * (P[l + 1] - Q_new[l]))
    return Plain(P, W_new, b_new, Z_new, Q_new, U_new)


def reference_z(m: Tensor, z_old: Tensor, q: Tensor, f: Activation) -> Tensor:
    """Return argmin_z (z − m)² + (q − f(z))² + (z − z_old)²; for ReLU by the paper's two candidates."""
    if f.name != "relu":
        return f.argmin((m + z_old) / 2, q, 2.0)  # held to its promise in test_activations

    def value(z: Tensor) -> Tensor:
        return (z - m) ** 2 + (q - torch.relu(z)) ** 2 + (z - z_old) ** 2

    minus, plus = ((m + z_old) / 2).clamp(max=0), ((m + q + z_old) / 3).clamp(min=0)
    return torch.where(value(plus) < value(minus), plus, minus)


def to_blocks(s: Plain, groups: Sequence[range]) -> list[Block]:
    """Return the state as stacks of layers."""
    last = s.depth - 1
    result = []
    for layers in groups:
        l, end = layers[0], layers[-1]
        P, W = torch.stack([s.P[i] for i in layers]), torch.stack([s.W[i] for i in layers])
        result.append(
            Block(
                first=l,
                p=P,
                W=W,
                b=torch.stack([s.b[i] for i in layers]),
                z=torch.stack([s.Z[i] for i in layers]),
                M=P @ W.mT,
                q=None if end == last else torch.stack([s.Q[i] for i in layers]),
                u=None if end == last else torch.stack([s.U[i] for i in layers]),
                q_prev=None if l == 0 else s.Q[l - 1][None],
                u_prev=None if l == 0 else s.U[l - 1][None],
                p_next=None if end == last else s.P[end + 1][None],
            )
        )
    return result


def singles(weights: Weights) -> list[range]:
    """Return stacks of one layer each."""
    return [range(l, l + 1) for l in range(len(weights))]


def start(
    algorithm: ModuleType, x: Tensor, weights: Weights, problem: Problem, groups: Sequence[range] | None = None
) -> list[Block]:
    """Return the blocks that an algorithm starts with: a layer each, unless ``groups`` says otherwise."""
    codecs = problem.codecs

    def land(field: str, boundary: int, a: Tensor) -> Tensor:
        codecs.observe(boundary, a, lambda t: t)
        return codecs.land(field, range(boundary, boundary + 1), a)

    blocks = initial_blocks(x, weights, problem.network, groups or singles(weights), len(weights), land)
    enter = getattr(algorithm, "start", None)
    return blocks if enter is None else [enter(block) for block in blocks]


def iterated(
    algorithm: ModuleType,
    state: list[Block],
    problem: Problem,
    iterations: int = 1,
    channel: LocalChannel | None = None,
) -> list[Block]:
    """Return the blocks after iterations of an algorithm, a module of :mod:`gamlp_admm.algorithms`."""
    for k in range(iterations):
        now = replace(problem, codecs=replace(problem.codecs, iteration=k + 1))
        state = iterate(state, algorithm.PHASES, now, channel or LocalChannel())
    return state


def lagrangian(algorithm: ModuleType, state: Sequence[Block], problem: Problem) -> float:
    """Return what an algorithm says that its objective is."""
    return float(algorithm.layer_terms(state, state, problem)[0].sum())


def from_blocks(state: Sequence[Block]) -> Plain:
    """Return the stacks' layers one by one."""

    def layers(field: str) -> list[Tensor]:
        return [t for block in state if getattr(block, field) is not None for t in getattr(block, field)]

    return Plain(*[layers(field) for field in ("p", "W", "b", "z", "q", "u")])


# --- data sets ----------------------------------------------------------------------------------------------


def blobs(
    n: int = 60, columns: int = 8, classes: int = 3, seed: int = 0, dtype: torch.dtype = F64, train: int | None = None
) -> SimpleNamespace:
    """Return Gaussian blobs, one a class, with training, validation and test masks."""
    y = labels(n, classes, seed)
    y[:classes] = torch.arange(classes)
    x = randn(n, columns, seed=seed + 1) + 1.5 * randn(classes, columns, seed=seed + 2)[y]
    train = n // 2 if train is None else train
    number = torch.arange(n)
    return SimpleNamespace(
        x=x.to(dtype),
        y=y,
        train_mask=number < train,
        val_mask=(number >= train) & (number % 2 == 0),
        test_mask=(number >= train) & (number % 2 == 1),
    )

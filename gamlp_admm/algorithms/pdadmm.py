r"""pdADMM, pdADMM-G and pdADMM-G-Q: every layer updates at the same time; neighbours exchange p and q.

Source: pdADMM, ICDM 2020, arXiv 2009.02868, Algorithm 1; pdADMM-G and pdADMM-G-Q, TNNLS 2022, arXiv 2105.09837,
Algorithms 1 and 2. The first two are the same algorithm, on plain and on graph-augmented features; in the third p (or
q, or both) lives on a finite grid Δ, which differs in where the update of p or q puts it.

What a layer computes of its neighbours it computes with what was sent: both ends of a boundary hold the same p̂ and q̂,
and so the same u = u + ρ(p̂ − q̂). Without a lossy codec these are p and q.

With a staleness of 1 both ends of a boundary are updated at once, each from what the other had an iteration before,

.. math::
    P^{k+1} = \operatorname{argmin}_P L_ρ(P, Q^k, U^k) + \tfrac ρ2 \|P - P^k\|^2, \qquad
    Q^{k+1} = \operatorname{argmin}_Q L_ρ(P^k, Q, U^k) + \tfrac ρ2 \|Q - Q^k\|^2,

and both travel while W, b and z are updated, for which a layer needs no neighbour; U follows from the new pair, as
ever. What holds P and Q back makes of the terms of the coupling ρ ‖P − Y‖² and ρ ‖Q − Y‖², Y = (Pᵏ + Qᵏ)/2: ADMM in
consensus form with penalty 2ρ (Boyd et al., Foundations and Trends in Machine Learning 2011, §7.1), which converges for
any ρ where the blocks are convex. Without it both ends overshoot. Fixed points are the same: P = Q, and L_ρ is
stationary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.admm import blocks
from gamlp_admm.admm.blocks import Rule
from gamlp_admm.admm.engine import Phase
from gamlp_admm.admm.matmul import FULL
from gamlp_admm.admm.problem import Problem
from gamlp_admm.admm.proximal import p_on_grid
from gamlp_admm.admm.stacked import all_rows_here, by_slices, squared_norms
from gamlp_admm.admm.state import Block, output
from gamlp_admm.algorithms.base import check_positive
from gamlp_admm.algorithms.captured import CapturedSession
from gamlp_admm.algorithms.common import (
    by_layer,
    decay_shift,
    keep,
    regularizer_terms,
    rule_of,
    step_weights,
    update_W,
)
from gamlp_admm.algorithms.streaming import Streamed
from gamlp_admm.codecs.choosing import Traffic, choose, coding_seconds, limits
from gamlp_admm.codecs.plan import AUTO, Codecs, Plan
from gamlp_admm.errors import InputError, integer, unknown
from gamlp_admm.nn.activations import Activation
from gamlp_admm.nn.constants import constant
from gamlp_admm.system.records import replace


def skipped(block: Block, problem: Problem) -> Tensor | None:
    """Return p, which a residual connection adds to a layer's output: q = f(z) + p; ``None`` where there is none.

    Then ν/2 ‖Q − f(Z)‖² is ν/2 ‖Q − f(Z) − P‖² in L_ρ, a term of the p-block too.
    """
    return block.p if problem.network.residual and block.between_equals else None


def steps_alone(rule: Rule, problem: Problem) -> bool:
    """Whether a block is solved by the best step of one process that has all rows, each once."""
    full = rule.name == "linesearch" and rule.matmul is FULL
    return full and problem.weight is None and problem.row_sum is all_rows_here


def update_p(block: Block, problem: Problem, held: bool = False) -> Block:
    """Update the inputs p of all layers but the first; ``held`` back by ρ/2 ‖P − Pᵏ‖², or not."""
    if block.is_first:
        return block
    s, nu, rho, rule = block, problem.nu, problem.rho, rule_of("p", block, problem)
    plain = not held and skipped(s, problem) is None and not problem.codecs.on_grid("p")
    if plain and steps_alone(rule, problem):
        p, M = blocks.p_update(s.M, s.b, s.z, s.p, s.W, s.below("q"), s.below("u"), nu, rho)
        return replace(block, p=p, M=M)
    r = blocks.residual(s.M, s.b, s.z)
    g = blocks.p_gradient(r, s.W, s.p, s.below("q"), s.below("u"), nu, rho, rule.matmul)
    if held:
        rho = 2 * rho
    if s.q is not None and (a := skipped(s, problem)) is not None:  # one more term, ν/2 ‖P − (Q − f(Z))‖²
        g = g.add(a - s.q + problem.f(s.z), alpha=nu)
        rho = rho + nu
    if problem.codecs.on_grid("p"):
        boundaries = range(s.first - 1, s.first - 1 + s.num_layers)

        def land(x: Tensor) -> Tensor:
            return problem.codecs.land("p", boundaries, x)

        p, M = p_on_grid(g, s.p, s.W, s.M, nu, rho, land, problem.row_sum, problem.weight)
    elif rule.name == "exact":
        p, M = blocks.p_exact(g, s.p, s.W, nu, rho)
    else:
        p, M = blocks.p_step(g, s.p, s.W, s.M, nu, rho, rule, problem.row_sum, problem.weight)
    return replace(block, p=p, M=M)


def update_W_b_z(block: Block, problem: Problem) -> Block:
    """Update weights, biases and pre-activations, for which a layer needs no neighbour."""
    return update_z(update_weights(block, problem), problem)


def update_weights(block: Block, problem: Problem) -> Block:
    """Update W and b."""
    s = block
    if steps_alone(rule_of("W", s, problem), problem) and problem.regularizer != "l1":
        numbers = problem.nu, problem.mu, problem.total, decay_shift(s, problem)
        W, M, b = blocks.W_b_update(s.p, s.W, s.M, s.b, s.z, *numbers)
        return replace(block, W=W, M=M, b=b)
    W, M = update_W(block, block.W, block.M, block.z, problem.nu, problem)
    b = blocks.b_update(M, block.z, problem.total, problem.row_sum, problem.weight)
    return replace(block, W=W, M=M, b=b)


def update_z(block: Block, problem: Problem) -> Block:
    """Update the pre-activations z."""
    s, nu = block, problem.nu
    if s.q is None:
        z = blocks.z_last(s.M, s.b, s.z, problem.y, problem.risk, nu)
    else:
        a = skipped(s, problem)
        z = blocks.z_hidden(s.M, s.b, s.z, s.q if a is None else s.q - a, problem.f)
    return replace(block, z=z)


def update_q(block: Block, problem: Problem, held: bool = False) -> Block:
    """Update outputs q of all layers but the last from the next layer's p; ``held`` back by ρ/2 ‖Q − Qᵏ‖², or not."""
    s = block
    if s.q is None or s.u is None:
        return block
    weights, before = (problem.nu, problem.rho), s.q if held else None
    q = blocks.q_update(s.above("p"), s.z, s.u, problem.f, *weights, skipped(s, problem), before)
    return replace(block, q=problem.codecs.land("q", range(s.first, s.first + s.num_layers), q))


def update_u(block: Block, problem: Problem) -> Block:
    """Update the multipliers u; also those of the layer below in another process, as it does, so that none travel."""
    s, u, u_prev = block, block.u, block.u_prev
    if u is not None:
        u = blocks.u_update(u, s.above("p"), s.sent("q"), problem.rho)
    if u_prev is not None and s.q_prev is not None:
        u_prev = blocks.u_update(u_prev, s.sent("p")[:1], s.q_prev, problem.rho)
    return replace(block, u=u, u_prev=u_prev)


PHASES = (
    Phase(update_p, sends=("p",)),
    Phase(update_W_b_z),
    Phase(update_q, needs="p_next", sends=("q",)),
    Phase(update_u, needs="q_prev", shares="u"),
)


def update_p_q(block: Block, problem: Problem) -> Block:
    """Update p and q of a layer, each held back and from what was there an iteration before."""
    return replace(update_p(block, problem, held=True), q=update_q(block, problem, held=True).q)


STALE = (
    Phase(update_p_q, sends=("p", "q"), order="ends first"),
    Phase(update_W_b_z),
    Phase(keep, needs="p_next"),
    Phase(update_u, needs="q_prev", shares="u"),
)
"""An iteration with a staleness of 1."""


def update_weights_of_batch(block: Block, problem: Problem) -> Block:
    """Update W and b of a batch."""
    return step_weights(block, block.z, problem.nu, problem)


STATES = (PHASES[0], Phase(update_z), *PHASES[2:])
"""An iteration of a batch, whose weights come last."""

ROUNDS = 4
"""Iterations of a batch for each layer: after three, what the risk asks for has moved on to the layer below."""


@by_layer(3)
def layer_terms(before: Block, after: Block, problem: Problem) -> tuple[Tensor, ...]:
    """Return the terms of L_ρ, of the primal residual Σ ‖p_{l+1} − q_l‖² (p and q as sent), and of ρ² ‖q^{k+1} − q^k‖².

    Args:
        before: The block before an iteration.
        after: The block after it.
        problem: What is minimised.
    """
    s, weight = after, problem.weight
    objective = blocks.fit_terms(s.M, s.b, s.z, problem.nu, weight)
    primal = dual = torch.zeros_like(objective)
    if problem.counts_weights:
        objective.add_(regularizer_terms(s, s.W, problem))
    if s.q is None or s.u is None or before.q is None:
        objective.add_(problem.risk.value(s.z[0], problem.y, weight))
    else:
        fZ = output(problem.network, s.z, skipped(s, problem))
        coupling, primal = blocks.coupling_terms(s.above("p"), s.sent("q"), s.u, problem.rho, weight)
        objective.add_(blocks.activation_terms(s.q, fZ, problem.nu, weight)).add_(coupling)
        change = by_slices(torch.sub, s.sent("q"), before.sent("q"))
        dual = squared_norms(change, weight).mul_(constant(problem.rho**2, change))
    return objective, primal, dual


def converges(rho: float, nu: float, lipschitz: float) -> bool:
    """Whether ρ > max(4νS², (√17 + 1)/2·ν), the condition under which L_ρ never increases (TNNLS 2022, Theorem 1).

    Args:
        rho: Penalty ρ.
        nu: Penalty ν.
        lipschitz: Lipschitz constant S of the activation.
    """
    return rho > max(4 * nu * lipschitz**2, (17**0.5 + 1) / 2 * nu)


def penalties(rho: float | None, nu: float | None, mu: float | None) -> tuple[float, float, float]:
    """Return ρ, ν and μ where some of them are not given: ρ = ν, both 0.01 if neither is given, and μ = ν/10.

    Raises:
        InputError: One that is given is not positive.
    """
    check_positive(rho=rho, nu=nu)
    nu = next(value for value in (nu, rho, 1e-2) if value is not None)
    return nu if rho is None else rho, nu, nu / 10 if mu is None else mu


# --- the trainers ---------------------------------------------------------------------------------------------

DECAYS = {"identity": "identity", "zero": "l2"}
"""What weight decay draws to, and the regulariser that does."""

QUANTIZED = ("p", "q", "pq")


@dataclass(frozen=True, kw_only=True, repr=False)
class PdADMM(Streamed):
    """pdADMM: all layers of an MLP updated at once, without backpropagation.

    Source: Wang, Chai, Cheng, Zhao, ICDM 2020, arXiv 2009.02868.

    Args:
        rho: Penalty ρ > 0 of ``p_{l+1} = q_l``; ``None`` for ν.
        nu: Penalty ν > 0 of ``z = p Wᵀ + b`` and ``q = f(z)``; ``None`` for ρ, or 0.01 if that is ``None`` too.
        mu: Weight decay μ ≥ 0; ``None`` for ν/10. With features in units the ratio of μ to ν is what matters.
        decay_to: What weight decay draws the hidden layers between equal widths to: ``identity``, so that a deep
            network decays to a shallow one, or ``zero``, as in the papers. All other layers decay to zero.
        scale: What features are centred and measured in while training (:mod:`gamlp_admm.training.units`): ``auto``,
            one unit, so that the penalties mean the same whatever their scale and number, or one for each column where
            columns differ by orders of magnitude; ``unit``; ``columns``; ``none``: they are taken as they are.
        solver: How the quadratic p and W blocks are solved: ``auto`` for ``exact`` in the first layer where that pays
            and ``linesearch`` elsewhere; ``linesearch``, ``backtracking`` or ``exact`` for all of them.
        tau: First step denominator that ``backtracking`` tries.
        matmul: How precisely the products of steps are taken: ``fp32``, or on hardware that has fast ones ``tf32`` or
            ``bf16`` (:mod:`gamlp_admm.admm.matmul`); what is solved exactly stays in float32.
        schedule: How ρ and ν change: ``constant``, ``every:ITERATIONS:FACTOR:LIMIT``,
            ``stall:PATIENCE:FACTOR:LIMIT``, or a callable (:mod:`gamlp_admm.training.schedules`).
        codec: How p and q are sent from layer to layer: a codec (:mod:`gamlp_admm.codecs`) by name, such as
            ``int2-delta``, or several, by field, boundary and iteration (:mod:`gamlp_admm.codecs.plan`). With a grid,
            p and q live on it (pdADMM-G-Q). ``auto``: as :func:`gamlp_admm.codecs.choosing.choose` does for
            ``bytes`` and ``link``; ``Result.codec`` says what that was.
        bytes: With ``codec="auto"``, bytes that a run may send between layers, such as ``"50MB"``: where another
            iteration could exceed it, training ends, with the weights selected so far.
        link: With ``codec="auto"``, the rate between processes, such as ``"100Mbit"``, or bits a second.
        batch_size: Rows of a batch, at most; an iteration is then a pass over all rows
            (:mod:`gamlp_admm.algorithms.streaming`). ``None``: an iteration sees all rows at once.
        staleness: 1: a layer goes on with the p and q that its neighbours had an iteration before, while the new ones
            travel; 0: it waits for them.
        loss: Risk of the last layer.
        class_weight: Weight of each class's rows, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: A penalty is not positive, or a name is not known.

    Example:
        >>> from gamlp_admm import GAMLP, PdADMM, load_dataset
        >>> data = load_dataset("karate").data
        >>> model = GAMLP(data.num_features, hidden_channels=16, out_channels=4, num_layers=2)
        >>> result = PdADMM(rho=1.0, nu=0.1).fit(model, data, iterations=10, seed=0)
        >>> result.converges  # ρ > max(4νS², (√17 + 1)/2·ν), so that the objective never rises
        True
        >>> objective = [record["objective"] for record in result.history]
        >>> objective == sorted(objective, reverse=True)
        True
    """

    rho: float | None = None
    nu: float | None = None
    mu: float | None = None
    decay_to: str = "identity"
    codec: Any = "full"
    bytes: int | str | None = None
    link: float | str | None = None
    staleness: int = 0

    algorithm = "pdadmm"
    unit_rows = True
    session = CapturedSession
    terms = staticmethod(layer_terms)
    compared = ("q",)
    stackable = True

    def __post_init__(self) -> None:
        check_positive(nu=self.nu)
        if self.decay_to not in DECAYS:
            raise unknown("decay_to", self.decay_to, DECAYS)
        super().__post_init__()
        plan = self.codec_plan()
        limits(self.codec, self.bytes, self.link)
        if self.batch_size is not None and set(plan.full) != {"p", "q"}:
            raise InputError(f"batch_size: what batches exchange travels in full, not by codec {plan}")
        object.__setattr__(self, "staleness", integer("staleness", self.staleness))
        if self.staleness not in (0, 1):
            raise InputError(f"staleness {self.staleness}: allowed: 0, 1")
        if self.staleness and self.batch_size is not None:
            raise InputError("staleness 1 needs all rows at once: leave out batch_size")

    @property
    def phases(self) -> Sequence[Phase]:
        """See :attr:`ADMM.phases`."""
        return STALE if self.staleness else PHASES

    @classmethod
    def defaults(cls, given: Mapping[str, Any] = {}) -> dict[str, Any]:
        """See :meth:`Trainer.defaults`; ρ, ν and μ follow from each other (:func:`penalties`)."""
        used = super().defaults(given)
        rho, nu, mu = penalties(used["rho"], used["nu"], used["mu"])
        return {**used, "rho": rho, "nu": nu, "mu": mu}

    def problem(self, **shared: Any) -> Problem:
        """See :meth:`ADMM.problem`."""
        rho, nu, mu = penalties(self.rho, self.nu, self.mu)
        return super().problem(rho=rho, nu=nu, mu=mu, regularizer=DECAYS[self.decay_to], **shared)

    def batch_phases(self, num_layers: int) -> Sequence[Phase]:
        """See :meth:`Streamed.batch_phases`."""
        return (*STATES * (ROUNDS * num_layers), Phase(update_weights_of_batch))

    def codec_plan(self) -> Plan:
        """Return which codec serves when and where."""
        return Plan.of(self.codec)

    def codecs(self) -> Codecs:
        """See :meth:`ADMM.codecs`."""
        return Codecs(self.codec_plan())

    def choose_codec(self, traffic: Traffic, like: Tensor) -> dict[str, Any] | None:
        """See :meth:`Algorithm.choose_codec`."""
        if self.codec != AUTO:
            return None
        return choose(traffic, *limits(self.codec, self.bytes, self.link), lambda spec: coding_seconds(spec, like))

    def with_codec(self, spec: str) -> PdADMM:
        """See :meth:`Algorithm.with_codec`."""
        return replace(self, codec=spec, bytes=None, link=None)

    def most_bytes(self, traffic: Traffic, iteration: int, stage: int) -> int:
        """See :meth:`Algorithm.most_bytes`."""
        return traffic.most(self.codec_plan(), iteration, stage)

    def settings(self) -> dict[str, str]:
        """See :meth:`Algorithm.settings`."""
        settings = super().settings()
        return settings if callable(self.codec) else {**settings, "codec": str(self.codec_plan())}

    def converges(self, f: Activation) -> bool | None:
        """Whether ρ and ν satisfy Theorem 1 of TNNLS 2022 (:func:`converges`), and stay as they are.

        It holds where p lives on a grid, too. Of q on a grid, of codecs that lose bits, of batches and of what is stale
        it says nothing: ``None``.
        """
        plan = self.codec_plan()
        covered = "q" in plan.full and "p" in (*plan.full, *plan.gridded) and self.batch_size is None
        covered &= not self.staleness
        rho, nu, _ = penalties(self.rho, self.nu, self.mu)
        return converges(rho, nu, f.lipschitz) and not self.changing if covered else None

    def condition(self, holds: bool) -> str:
        """See :meth:`Algorithm.condition`."""
        if self.changing:
            return self.changing
        rho, nu, _ = penalties(self.rho, self.nu, self.mu)
        relation = ">" if holds else "<="
        return f"rho = {rho:g}, nu = {nu:g}: rho {relation} max(4 nu S^2, (sqrt(17)+1)/2 nu), so"


@dataclass(frozen=True, kw_only=True, repr=False)
class PdADMMG(PdADMM):
    """pdADMM-G: pdADMM on graph-augmented features (:class:`gamlp_admm.transforms.AugmentFeatures`).

    Source: Wang, Li, Chai, Wang, Cheng, Zhao, TNNLS 2022, arXiv 2105.09837.

    Args:
        rho: Penalty ρ > 0 of ``p_{l+1} = q_l``; ``None`` for ν.
        nu: Penalty ν > 0 of ``z = p Wᵀ + b`` and ``q = f(z)``; ``None`` for ρ, or 0.01 if that is ``None`` too.
        mu: Weight decay μ ≥ 0; ``None`` for ν/10.
        decay_to: What it draws the hidden layers between equal widths to: ``identity`` or ``zero``.
        scale: What features are measured in while training: ``auto``, ``unit``, ``columns`` or ``none``.
        solver: How p and W are solved: ``auto``, ``exact``, ``linesearch`` or ``backtracking``.
        tau: First step denominator that ``backtracking`` tries.
        matmul: How precisely the products of steps are taken: ``fp32``, ``tf32`` or ``bf16``.
        schedule: How ρ and ν change: ``constant``, ``every:…``, ``stall:…`` or a callable.
        codec: How p and q are sent from layer to layer, such as ``int2-delta`` (:mod:`gamlp_admm.codecs`), or ``auto``.
        bytes: With ``codec="auto"``, bytes that a run may send between layers, such as ``"50MB"``.
        link: With ``codec="auto"``, the rate between processes, such as ``"100Mbit"``.
        batch_size: Rows of a batch, at most; ``None``: an iteration sees all rows at once.
        staleness: 1: a layer goes on with its neighbours' p and q of the iteration before while the new ones travel.
        loss: Risk of the last layer.
        class_weight: Weight of each class's rows, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: As for :class:`PdADMM`, which says more of each argument.

    Example:
        >>> from gamlp_admm import GAMLP, AugmentFeatures, PdADMMG, load_dataset
        >>> data = AugmentFeatures(hops=2)(load_dataset("karate").data)
        >>> model = GAMLP(data.num_features, hidden_channels=16, out_channels=4, num_layers=3)
        >>> result = PdADMMG(rho=0.1, codec="int8").fit(model, data, iterations=10, seed=0)
        >>> [record["iteration"] for record in result.history] == list(range(1, 11))
        True
        >>> model(data.x).shape  # logits; the model has the trained weights
        torch.Size([34, 4])
    """

    algorithm = "pdadmm-g"


@dataclass(frozen=True, kw_only=True, repr=False)
class PdADMMGQ(PdADMMG):
    """pdADMM-G-Q: pdADMM-G whose layer inputs p live on a finite grid Δ, so that few bits say all of them.

    Source: Wang, Li, Chai, Wang, Cheng, Zhao, TNNLS 2022, arXiv 2105.09837, Algorithm 2.

    Args:
        codec: The grid, or a plan of grids: ``grid:auto:256`` has bounds from the first forward pass of each layer.
        quantize: Which variables live on it: ``p`` (the paper), ``q`` (the released code) or ``pq``. The others travel
            in full.
        bytes: Of ``codec="auto"``, which chooses no grid; ``None`` here.
        link: The same.
        rho: Penalty ρ > 0 of ``p_{l+1} = q_l``; ``None`` for ν.
        nu: Penalty ν > 0 of ``z = p Wᵀ + b`` and ``q = f(z)``; ``None`` for ρ, or 0.01 if that is ``None`` too.
        mu: Weight decay μ ≥ 0; ``None`` for ν/10.
        decay_to: What it draws the hidden layers between equal widths to: ``identity`` or ``zero``.
        scale: What features are measured in while training: ``auto``, ``unit``, ``columns`` or ``none``.
        solver: How p and W are solved: ``auto``, ``exact``, ``linesearch`` or ``backtracking``.
        tau: First step denominator that ``backtracking`` tries.
        matmul: How precisely the products of steps are taken: ``fp32``, ``tf32`` or ``bf16``.
        schedule: How ρ and ν change: ``constant``, ``every:…``, ``stall:…`` or a callable.
        staleness: 1: a layer goes on with its neighbours' p and q of the iteration before while the new ones travel.
        loss: Risk of the last layer.
        class_weight: Weight of each class's rows, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: As for :class:`PdADMM`, which says more of each argument; or the codec is no grid.

    Example:
        >>> from gamlp_admm import GAMLP, AugmentFeatures, PdADMMG, PdADMMGQ, load_dataset
        >>> data = AugmentFeatures(hops=2)(load_dataset("karate").data)
        >>> model = GAMLP(data.num_features, hidden_channels=16, out_channels=4, num_layers=3)
        >>> full = PdADMMG().fit(model, data, iterations=5, seed=0)
        >>> on_grid = PdADMMGQ(codec="grid:auto:256").fit(model, data, iterations=5, seed=0)
        >>> on_grid.bytes_sent_total < full.bytes_sent_total  # p travels in 1 byte an entry, not 4
        True
    """

    codec: Any = "grid:auto:256"
    quantize: str = "p"
    batch_size: int | None = field(default=None, init=False)

    algorithm = "pdadmm-g-q"

    def codec_plan(self) -> Plan:
        """See :meth:`PdADMM.codec_plan`."""
        if self.quantize not in QUANTIZED:
            raise unknown("quantize", self.quantize, QUANTIZED)
        if callable(self.codec) or self.codec == AUTO:
            raise InputError("pdadmm-g-q takes grids, such as grid:auto:256, and neither functions nor auto")
        plan = Plan.of(self.codec, self.quantize)
        if plan.gridded != tuple(self.quantize):
            raise InputError(f"codec {plan}: pdadmm-g-q takes grids, such as grid:auto:256")
        return plan

r"""Anderson acceleration around any of the ADMM trainers.

An iteration maps the variables x to g(x). With f_k = g(x_k) − x_k, and the last differences as columns of ΔF and ΔG,

.. math:: γ = \operatorname{argmin}_γ \|f_k - ΔF\,γ\|, \qquad x_{k+1} = g(x_k) - ΔG\,γ

extrapolates to where the residual f would vanish, were g affine. What belongs to a row counts in the norm as often as
the row weighs. It is taken only where the objective is no higher there than at g(x_k), so that no iteration does worse
than the plain one from the same point.

Source: Anderson, J. ACM 1965; Walker, Ni, SIAM J. Numerical Analysis 2011; for dlADMM: Ebrahimi et al., arXiv
2401.03619.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.admm.stacked import inner_products
from gamlp_admm.admm.state import COPIES, stored_name
from gamlp_admm.algorithms.base import ADMM, ADMMSession, Variables
from gamlp_admm.algorithms.streaming import Streamed
from gamlp_admm.errors import InputError, positive_integer
from gamlp_admm.nn.activations import Activation
from gamlp_admm.nn.network import Weights
from gamlp_admm.parallel.team import Team
from gamlp_admm.training.schedules import Schedule
from gamlp_admm.training.session import Opening, Session, Stage
from gamlp_admm.training.trainer import Trainer


class AndersonSession(Session):
    """A session whose iterates are extrapolated.

    Args:
        inner: The session.
        memory: Number of differences kept, at most.
        num_layers: Layers of the network.
        team: The processes, which extrapolate alike.

    Attributes:
        accepted: Number of extrapolations that were taken.
        refused: Number of those that were not.
    """

    def __init__(self, inner: ADMMSession, memory: int, num_layers: int, team: Team) -> None:
        self.inner, self.memory, self.num_layers, self.team = inner, memory, num_layers, team
        self.accepted = self.refused = 0
        self.factor = math.nan
        self.last: tuple[Variables, Variables] | None = None  # f and g of the last iteration
        self.differences: list[tuple[Variables, Variables]] = []  # ΔF and ΔG, the oldest first
        self.gram = torch.zeros(0, 0, dtype=torch.float64)  # ΔFᵀΔF

    def iterate(self, iteration: int, factor: float) -> None:
        """See :meth:`Session.iterate`."""
        if factor != self.factor:  # another map
            self.factor, self.last, self.differences, self.gram = factor, None, [], self.gram[:0, :0]
        before = self.inner.variables()
        self.inner.iterate(iteration, factor)
        g = self.inner.variables()
        f = _minus(g, before)
        if self.last is not None:
            self._remember(_minus(f, self.last[0]), _minus(g, self.last[1]))
        self.last = f, g
        if self.differences:
            self._extrapolate(f, g)

    def _extrapolate(self, f: Variables, g: Variables) -> None:
        plain, bound = self.inner.state, self._objective()
        gamma = self._coefficients(f)
        x = {key: t.clone() for key, t in g.items()}
        for c, (_, dG) in zip(gamma.tolist(), self.differences, strict=True):
            for key, t in x.items():
                t.sub_(dG[key], alpha=c)
        self.inner.assign(x)
        if self._objective() <= bound:  # which NaN is not
            self.accepted += 1
        else:
            self.inner.state = plain
            self.refused += 1

    def _remember(self, dF: Variables, dG: Variables) -> None:
        self.differences.append((dF, dG))
        del self.differences[: -self.memory]
        count = len(self.differences)
        gram = torch.zeros(count, count, dtype=torch.float64)
        dropped = len(self.gram) - (count - 1)
        gram[:-1, :-1] = self.gram[dropped:, dropped:]
        gram[:, -1] = gram[-1, :] = self._products(dF)
        self.gram = gram

    def _products(self, vector: Variables) -> Tensor:
        # ΔFᵀ times a vector.
        return self._total(torch.stack([self._inner(dF, vector) for dF, _ in self.differences]))

    def _coefficients(self, f: Variables) -> Tensor:
        # Scaled, and regularised at the size of rounding: differences may be all but parallel.
        scale = self.gram.diagonal().clamp(min=torch.finfo(torch.float64).tiny).rsqrt()
        A = self.gram * scale[:, None] * scale + 1e-10 * torch.eye(len(scale), dtype=torch.float64)
        gamma: Tensor = torch.linalg.solve(A, self._products(f) * scale) * scale
        return gamma

    def _inner(self, a: Variables, b: Variables) -> Tensor:
        # ⟨a, b⟩ by layer, of what the layers own; copies of what neighbours own do not count, and of weights, which all
        # shards of the rows have, those of one.
        result, weight = torch.zeros(self.num_layers, dtype=torch.float64), self.inner.problem.weight
        for first, name in sorted(a):  # in the same order after a checkpoint, too
            shared = name in ("W", "b")
            if name not in COPIES and not (shared and self.team.shard):
                products = inner_products(a[first, name], b[first, name], None if shared else weight)
                result[first : first + len(products)] += products.double().cpu()
        return result

    def _total(self, by_layer: Tensor) -> Tensor:
        # Sum over the layers, always in the same order, of all processes.
        return self.team.total(by_layer.contiguous().to(self.team.device)).cpu().sum(-1)

    def _objective(self) -> float:
        terms, layers = torch.zeros(self.num_layers, dtype=torch.float64), self.team.layers
        terms[list(layers)] = self.inner.layer_terms()[0]
        return float(self._total(terms))

    @property
    def bytes_sent(self) -> int:
        """See :attr:`Session.bytes_sent`; what extrapolations send counts, too."""
        return self.inner.bytes_sent

    @bytes_sent.setter
    def bytes_sent(self, value: int) -> None:
        self.inner.bytes_sent = value

    def wire_bytes(self) -> dict[int, int]:
        """See :meth:`Session.wire_bytes`."""
        return self.inner.wire_bytes()

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        return self.inner.weights()

    def layer_terms(self) -> Tensor:
        """See :meth:`Session.layer_terms`."""
        return self.inner.layer_terms()

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        vectors = [*self.differences, *([] if self.last is None else [self.last])]
        flat = {"all.factor": torch.tensor(self.factor, dtype=torch.float64), "all.gram": self.gram}
        flat["all.vectors"] = torch.tensor(len(vectors))
        for i, pair in enumerate(vectors):
            for which, vector in zip("fg", pair, strict=True):
                for (first, name), t in vector.items():
                    if name not in COPIES:
                        flat |= {f"{which}{i}.{stored_name(first + s, name)}": x for s, x in enumerate(t)}
        return {**flat, **self.inner.tensors()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        self.inner.restore(tensors)
        self.factor, self.gram = float(tensors["all.factor"]), tensors["all.gram"].cpu()
        kept = [
            (self._vector(f"f{i}", tensors), self._vector(f"g{i}", tensors)) for i in range(int(tensors["all.vectors"]))
        ]
        self.differences = kept[: len(self.gram)]
        self.last = kept[-1] if len(kept) > len(self.gram) else None

    def _vector(self, which: str, tensors: Mapping[str, Tensor]) -> Variables:
        result, like = {}, self.inner.variables()
        for first, name in like:
            field, step = COPIES.get(name, (name, 0))
            end = first + len(like[first, "W"])
            layers = {0: range(first, end), 1: [end], -1: [first - 1]}[step]
            names = [f"{which}.{stored_name(l, field.removesuffix('_sent'))}" for l in layers]
            result[first, name] = torch.stack([tensors[stored] for stored in names])
        return result


def _minus(a: Variables, b: Variables) -> Variables:
    return {key: t - b[key] for key, t in a.items()}


INHERITED = ("loss", "class_weight", "scale", "residual")
"""What an accelerated trainer has of the one inside."""


@dataclass(frozen=True, repr=False)
class Anderson(Trainer):
    """Anderson acceleration of an ADMM trainer.

    Args:
        trainer: The trainer, e.g. ``DlADMM()``; its loss, class weights and scale are used.
        memory: Number of past differences that an extrapolation combines. Each holds the variables twice.

    Raises:
        InputError: The trainer is no ADMM, sends with a codec that loses bits, or ``memory`` is not positive.

    Example:
        >>> from gamlp_admm import GAMLP, Anderson, DlADMM, load_dataset
        >>> data = load_dataset("karate").data
        >>> model = GAMLP(data.num_features, hidden_channels=8, out_channels=4, num_layers=2, init="kaiming")
        >>> plain = DlADMM().fit(model, data, iterations=8, seed=0)
        >>> faster = Anderson(DlADMM(), memory=3).fit(model, data, iterations=8, seed=0)
        >>> [record["iteration"] for record in faster.history] == [record["iteration"] for record in plain.history]
        True
    """

    trainer: ADMM
    memory: int = 5
    loss: str = field(default="", init=False)
    class_weight: Any = field(default=None, init=False)
    scale: str = field(default="none", init=False)

    distributable = ADMM.distributable
    grows = ADMM.grows

    def __post_init__(self) -> None:
        if not isinstance(self.trainer, ADMM):
            raise InputError(f"anderson accelerates ADMM trainers, not {self.trainer!r}")
        object.__setattr__(self, "memory", positive_integer("anderson", self.memory))
        if set(self.trainer.codecs().plan.full) != {"p", "q"}:
            raise InputError("anderson needs p and q sent in full: what codecs send cannot be extrapolated")
        if isinstance(self.trainer, Streamed) and self.trainer.batch_size is not None:
            raise InputError("anderson needs all rows at once: leave out batch_size")
        for name in INHERITED:
            object.__setattr__(self, name, getattr(self.trainer, name))

    @property
    def unit_rows(self) -> bool:  # type: ignore[override]
        """See :attr:`Algorithm.unit_rows`."""
        return self.trainer.unit_rows

    @property
    def algorithm(self) -> str:
        """The inner trainer's name on the command line."""
        return self.trainer.algorithm

    @property
    def compressible(self) -> bool:
        """See :attr:`Algorithm.compressible`."""
        return self.trainer.compressible

    def settings(self) -> dict[str, str]:
        """See :meth:`Algorithm.settings`."""
        return {**self.trainer.settings(), "anderson": str(self.memory)}

    def assumed(self) -> dict[str, str]:
        """See :meth:`Algorithm.assumed`."""
        return self.trainer.assumed()

    def converges(self, f: Activation) -> bool | None:
        """Nothing is proved of extrapolated iterates."""
        return None

    def opening(self, stage: Stage, seed: int) -> Opening:
        """See :meth:`Algorithm.opening`."""
        return self.trainer.opening(stage, seed)

    @property
    def reads_records(self) -> bool:
        """See :attr:`Algorithm.reads_records`."""
        return self.trainer.reads_records

    def penalty_schedule(self) -> Schedule:
        """See :meth:`Algorithm.penalty_schedule`."""
        return self.trainer.penalty_schedule()

    def start(self, stage: Stage) -> AndersonSession:
        """See :meth:`Algorithm.start`."""
        return AndersonSession(self.trainer.start(stage), self.memory, len(stage.shapes), stage.team)

"""pdADMM, pdADMM-G and pdADMM-G-Q: all layers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gamlp_admm.algorithms import pdadmm
from gamlp_admm.algorithms.base import ADMM
from gamlp_admm.codecs.plan import Codecs, Plan
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.nn.activations import Activation

DECAYS = ("identity", "zero")


@dataclass(frozen=True, kw_only=True)
class PdADMM(ADMM):
    """pdADMM: all layers of an MLP updated at once, without backpropagation.

    Source: Wang, Chai, Cheng, Zhao, ICDM 2020, arXiv 2009.02868.

    Args:
        rho: Penalty ρ > 0 of ``p_{l+1} = q_l``; ``None`` for ν.
        nu: Penalty ν > 0 of ``z = p Wᵀ + b`` and ``q = f(z)``; ``None`` for ρ, or 0.01 if that is ``None`` too.
        mu: Weight decay μ ≥ 0; ``None`` for ν/10. With ``scale="unit"`` the ratio of μ to ν is what matters.
        decay_to: What weight decay draws the hidden layers between equal widths to: ``identity``, so that a deep
            network decays to a shallow one, or ``zero``, as in the papers. All other layers decay to zero.
        scale: ``unit``: features are centred and measured in units of their own, so that the penalties mean the same
            whatever their scale and number (:mod:`gamlp_admm.training.units`); ``none``: they are taken as they are.
        solver: How the quadratic p and W blocks are solved: ``linesearch``, ``backtracking`` or ``exact``.
        tau: First step denominator that ``backtracking`` tries.
        schedule: How ρ and ν change: ``constant``, ``every:ITERATIONS:FACTOR:LIMIT``,
            ``stall:PATIENCE:FACTOR:LIMIT``, or a callable (:mod:`gamlp_admm.training.schedules`).
        codec: How p and q are sent from layer to layer: a codec (:mod:`gamlp_admm.codecs`) by name, such as
            ``int2-delta``, or several, by field, boundary and iteration (:mod:`gamlp_admm.codecs.plan`). With a grid,
            p and q live on it (pdADMM-G-Q).
        loss: Risk of the last layer.
        class_weight: Weight of each class in the risk, ``[C]``, or ``"balanced"``, or ``None``.

    Raises:
        InputError: A penalty is not positive, or a name is not known.
    """

    rho: float = None  # type: ignore[assignment]  # a number once made
    nu: float = None  # type: ignore[assignment]
    mu: float = None  # type: ignore[assignment]
    decay_to: str = "identity"
    scale: str = "unit"
    codec: Any = "full"

    phases: ClassVar = pdadmm.PHASES
    terms: ClassVar = staticmethod(pdadmm.layer_terms)
    stackable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay_to not in DECAYS:
            raise unknown("decay_to", self.decay_to, DECAYS)
        nu = next(value for value in (self.nu, self.rho, 1e-2) if value is not None)
        for name, default in (("nu", nu), ("rho", nu), ("mu", nu / 10)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        self.codec_plan()

    def codec_plan(self) -> Plan:
        """Return which codec serves when and where."""
        return Plan.of(self.codec)

    def codecs(self) -> Codecs:
        """See :meth:`ADMM.codecs`."""
        return Codecs(self.codec_plan())

    def settings(self) -> dict[str, str]:
        """See :meth:`Trainer.settings`."""
        return {**super().settings(), "codec": str(self.codec_plan())}

    @property
    def algorithm(self) -> str:
        """The algorithm's name on the command line."""
        return "pdadmm"

    def converges(self, f: Activation) -> bool | None:
        """Whether ρ and ν satisfy Theorem 1 of TNNLS 2022 (:func:`gamlp_admm.algorithms.pdadmm.converges`).

        It holds where p lives on a grid, too. Of q on a grid, and of codecs that lose bits, it says nothing: ``None``.
        """
        plan = self.codec_plan()
        covered = "q" in plan.full and "p" in (*plan.full, *plan.gridded)
        return pdadmm.converges(self.rho, self.nu, f.lipschitz) if covered else None


@dataclass(frozen=True, kw_only=True)
class PdADMMG(PdADMM):
    """pdADMM-G: pdADMM on graph-augmented features (:class:`gamlp_admm.transforms.AugmentFeatures`).

    Source: Wang, Li, Chai, Wang, Cheng, Zhao, TNNLS 2022, arXiv 2105.09837. Arguments as :class:`PdADMM`.
    """

    @property
    def algorithm(self) -> str:
        """The algorithm's name on the command line."""
        return "pdadmm-g"


@dataclass(frozen=True, kw_only=True)
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
    quantize: str = "p"

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

"""The algorithms, a file each: what it minimises, its phases, and the trainer that users make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gamlp_admm.algorithms.registry import (
    ALGORITHMS,
    defaults,
    is_admm,
    register_algorithm,
    taken_by,
    trainer,
    trainer_class,
)
from gamlp_admm.system.lazy import exports

if TYPE_CHECKING:
    from gamlp_admm.algorithms.anderson import Anderson
    from gamlp_admm.algorithms.backprop import Backprop
    from gamlp_admm.algorithms.base import ADMM, ADMMSession
    from gamlp_admm.algorithms.dladmm import DlADMM
    from gamlp_admm.algorithms.mdlam import MDLAM
    from gamlp_admm.algorithms.pdadmm import PdADMM, PdADMMG, PdADMMGQ
    from gamlp_admm.algorithms.ridge import Ridge

__all__ = [
    "ADMM",
    "ALGORITHMS",
    "MDLAM",
    "ADMMSession",
    "Anderson",
    "Backprop",
    "DlADMM",
    "PdADMM",
    "PdADMMG",
    "PdADMMGQ",
    "Ridge",
    "defaults",
    "is_admm",
    "register_algorithm",
    "taken_by",
    "trainer",
    "trainer_class",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "ADMM": f"{__name__}.base",
        "ADMMSession": f"{__name__}.base",
        "Anderson": f"{__name__}.anderson",
        "Backprop": f"{__name__}.backprop",
        "DlADMM": f"{__name__}.dladmm",
        "MDLAM": f"{__name__}.mdlam",
        "PdADMM": f"{__name__}.pdadmm",
        "PdADMMG": f"{__name__}.pdadmm",
        "PdADMMGQ": f"{__name__}.pdadmm",
        "Ridge": f"{__name__}.ridge",
    },
)

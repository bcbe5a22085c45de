"""All trainers, by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from gamlp_admm.algorithms.anderson import Anderson
from gamlp_admm.algorithms.backprop import OPTIMIZERS, Backprop, taken_by
from gamlp_admm.algorithms.base import ADMM, ADMMSession
from gamlp_admm.algorithms.dladmm_trainer import DlADMM
from gamlp_admm.algorithms.mdlam_trainer import MDLAM
from gamlp_admm.algorithms.pdadmm_trainer import PdADMM, PdADMMG, PdADMMGQ
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.training.trainer import Trainer

ADMM_TRAINERS: dict[str, type[ADMM]] = {
    "pdadmm-g": PdADMMG,
    "pdadmm-g-q": PdADMMGQ,
    "pdadmm": PdADMM,
    "dladmm": DlADMM,
    "mdlam": MDLAM,
}
ALGORITHMS = (*ADMM_TRAINERS, *OPTIMIZERS)

__all__ = [
    "ADMM_TRAINERS",
    "ALGORITHMS",
    "MDLAM",
    "ADMMSession",
    "Anderson",
    "Backprop",
    "DlADMM",
    "PdADMM",
    "PdADMMG",
    "PdADMMGQ",
    "trainer",
]


def trainer(algorithm: str, **settings: Any) -> Trainer:
    """Return the trainer of that name.

    Args:
        algorithm: One of :data:`ALGORITHMS`.
        settings: Its arguments; those that are ``None`` keep their defaults. ``anderson`` is the memory of
            :class:`Anderson` acceleration around an ADMM trainer.

    Raises:
        InputError: The name is not known, or it has no such argument.
    """
    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    settings = {k: v for k, v in settings.items() if v is not None}
    kind = ADMM_TRAINERS.get(algorithm)
    allowed = {f.name for f in fields(kind)} | {"anderson"} if kind else taken_by(algorithm)
    for name in settings:
        if name not in allowed:
            raise InputError(f"{name} does not apply to {algorithm}; it takes {', '.join(sorted(allowed))}")
    if kind is None:
        return Backprop(algorithm, **settings)
    memory = settings.pop("anderson", None)
    plain = kind(**settings)
    return plain if memory is None else Anderson(plain, memory)

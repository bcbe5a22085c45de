"""The algorithms, a file each: what it minimises, its phases, and the trainer that users make."""

from gamlp_admm.algorithms.registry import (
    ADMM_TRAINERS,
    ALGORITHMS,
    MDLAM,
    ADMMSession,
    Anderson,
    Backprop,
    DlADMM,
    PdADMM,
    PdADMMG,
    PdADMMGQ,
    trainer,
)

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

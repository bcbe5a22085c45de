"""Train graph-augmented MLPs without backpropagation, all layers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gamlp_admm.system.former import keep_former_names
from gamlp_admm.system.lazy import exports

if TYPE_CHECKING:
    from gamlp_admm.algorithms import MDLAM, Anderson, Backprop, DlADMM, PdADMM, PdADMMG, PdADMMGQ, Ridge
    from gamlp_admm.datasets import load_dataset
    from gamlp_admm.experiment.predictor import load_predictor
    from gamlp_admm.nn import GAMLP
    from gamlp_admm.training.result import Result
    from gamlp_admm.transforms import AugmentFeatures

__all__ = [
    "GAMLP",
    "MDLAM",
    "Anderson",
    "AugmentFeatures",
    "Backprop",
    "DlADMM",
    "PdADMM",
    "PdADMMG",
    "PdADMMGQ",
    "Result",
    "Ridge",
    "load_dataset",
    "load_predictor",
]
__version__ = "0.1.0"

__getattr__, __dir__ = exports(
    __name__,
    {
        **dict.fromkeys(__all__, "gamlp_admm.algorithms"),
        "AugmentFeatures": "gamlp_admm.transforms",
        "GAMLP": "gamlp_admm.nn",
        "Result": "gamlp_admm.training.result",
        "load_dataset": "gamlp_admm.datasets",
        "load_predictor": "gamlp_admm.experiment.predictor",
    },
)
keep_former_names()

"""Train graph-augmented MLPs without backpropagation, all layers at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gamlp_admm.backprop import Backprop
    from gamlp_admm.history import Result
    from gamlp_admm.nn import GAMLP
    from gamlp_admm.trainers import MDLAM, Anderson, DlADMM, PdADMM, PdADMMG, PdADMMGQ

__all__ = ["GAMLP", "MDLAM", "Anderson", "Backprop", "DlADMM", "PdADMM", "PdADMMG", "PdADMMGQ", "Result"]
__version__ = "0.1.0"

_HOMES = {
    "GAMLP": "nn",
    "Backprop": "backprop",
    "Anderson": "trainers",
    "DlADMM": "trainers",
    "MDLAM": "trainers",
    "PdADMM": "trainers",
    "PdADMMG": "trainers",
    "PdADMMGQ": "trainers",
    "Result": "history",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``gamlp-admm --help`` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

"""Train graph-augmented MLPs without backpropagation, all layers at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gamlp_admm.algorithms import MDLAM, Anderson, Backprop, DlADMM, PdADMM, PdADMMG, PdADMMGQ
    from gamlp_admm.datasets import load_dataset
    from gamlp_admm.nn import GAMLP
    from gamlp_admm.training.result import Result
    from gamlp_admm.transforms import AugmentFeatures

_HOMES = {
    "AugmentFeatures": "transforms",
    "GAMLP": "nn",
    "Result": "training.result",
    "load_dataset": "datasets",
    **dict.fromkeys(("MDLAM", "Anderson", "Backprop", "DlADMM", "PdADMM", "PdADMMG", "PdADMMGQ"), "algorithms"),
}

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
    "load_dataset",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``gamlp-admm --help`` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, whether or not they have been imported."""
    return sorted({*globals(), *__all__})

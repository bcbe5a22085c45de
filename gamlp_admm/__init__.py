"""Train graph-augmented MLPs without backpropagation, all layers at once.

Example:
    >>> from gamlp_admm import GAMLP, AugmentFeatures, PdADMMG, load_dataset
    >>> data = AugmentFeatures(hops=2)(load_dataset("karate").data)
    >>> model = GAMLP(data.num_features, hidden_channels=16, out_channels=4, num_layers=2, init="ridge")
    >>> result = PdADMMG().fit(model, data, iterations=10, seed=0)
    >>> sorted(result.best)
    ['iteration', 'test_accuracy', 'val_accuracy']
    >>> model(data.x).argmax(dim=-1).shape
    torch.Size([34])
"""

from __future__ import annotations

from gamlp_admm.system.former import keep_former_names
from gamlp_admm.system.lazy import exports

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
    "load_graph",
    "load_predictor",
]
__version__ = "0.1.0"

MODULES = (
    *("algorithms", "codecs", "datasets", "errors", "estimators", "experiment"),
    *("nn", "optim", "propagation", "transforms", "tuning"),
)
"""What of the package is for users; the rest is for whoever works on it."""

TYPE_CHECKING = False  # type checkers take it to be true, as typing's own, which takes longer to import than all else
if TYPE_CHECKING:
    from gamlp_admm import algorithms as algorithms
    from gamlp_admm import codecs as codecs
    from gamlp_admm import datasets as datasets
    from gamlp_admm import errors as errors
    from gamlp_admm import estimators as estimators
    from gamlp_admm import experiment as experiment
    from gamlp_admm import nn as nn
    from gamlp_admm import optim as optim
    from gamlp_admm import propagation as propagation
    from gamlp_admm import transforms as transforms
    from gamlp_admm import tuning as tuning
    from gamlp_admm.algorithms import MDLAM, Anderson, Backprop, DlADMM, PdADMM, PdADMMG, PdADMMGQ, Ridge
    from gamlp_admm.datasets import load_dataset, load_graph
    from gamlp_admm.experiment import load_predictor
    from gamlp_admm.nn import GAMLP
    from gamlp_admm.training.result import Result
    from gamlp_admm.transforms import AugmentFeatures
else:  # so that a type checker knows every name, and knows of no others
    __getattr__, __dir__ = exports(
        __name__,
        {
            **dict.fromkeys(__all__, "gamlp_admm.algorithms"),
            "AugmentFeatures": "gamlp_admm.transforms",
            "GAMLP": "gamlp_admm.nn",
            "Result": "gamlp_admm.training.result",
            **dict.fromkeys(("load_dataset", "load_graph"), "gamlp_admm.datasets"),
            "load_predictor": "gamlp_admm.experiment",
        },
        MODULES,
    )
keep_former_names()

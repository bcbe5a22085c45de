"""PyTorch Geometric transforms that make a model's features, and what improves its predictions over the graph."""

from gamlp_admm.system.lazy import shown
from gamlp_admm.transforms.augment_features import OPERATORS, AugmentFeatures
from gamlp_admm.transforms.augment_labels import AugmentLabels
from gamlp_admm.transforms.combine_features import CombineFeatures
from gamlp_admm.transforms.correct_and_smooth import CorrectAndSmooth
from gamlp_admm.transforms.recipe import fit_features, from_recipe
from gamlp_admm.transforms.scale_components import ScaleComponents

__all__ = [
    "OPERATORS",
    "AugmentFeatures",
    "AugmentLabels",
    "CombineFeatures",
    "CorrectAndSmooth",
    "ScaleComponents",
    "fit_features",
    "from_recipe",
]

__dir__ = shown(__name__)

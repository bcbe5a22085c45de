"""Train graph-augmented MLPs without backpropagation, all layers at once."""

from gamlp_admm.nn import GAMLP
from gamlp_admm.trainers import Backprop, PdADMM, PdADMMG
from gamlp_admm.training import Result

__all__ = ["GAMLP", "Backprop", "PdADMM", "PdADMMG", "Result"]
__version__ = "0.1.0"

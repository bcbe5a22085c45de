"""The network: the model, its activations, and the risks that it is trained for."""

from gamlp_admm.nn.activations import ACTIVATIONS, Activation, activation
from gamlp_admm.nn.gamlp import GAMLP, INITS
from gamlp_admm.nn.losses import RISKS, Risk, risk
from gamlp_admm.nn.network import Network, Weights
from gamlp_admm.system.lazy import shown

__all__ = ["ACTIVATIONS", "GAMLP", "INITS", "RISKS", "Activation", "Network", "Risk", "Weights", "activation", "risk"]

__dir__ = shown(__name__)

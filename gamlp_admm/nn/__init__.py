"""The network: the model, its activations, and the risks that it is trained for."""

from gamlp_admm.nn.activations import ACTIVATIONS, Activation, activation
from gamlp_admm.nn.gamlp import GAMLP, INITS, Weights
from gamlp_admm.nn.losses import RISKS, Risk, risk

__all__ = ["ACTIVATIONS", "GAMLP", "INITS", "RISKS", "Activation", "Risk", "Weights", "activation", "risk"]

"""A search for good options of an experiment, on validation accuracy only; needs Optuna (``gamlp-admm[tune]``)."""

from gamlp_admm.system.lazy import shown
from gamlp_admm.tuning.result import Step, Tuning, check_recipe
from gamlp_admm.tuning.search import check_optuna, tune
from gamlp_admm.tuning.space import Space

__all__ = ["Space", "Step", "Tuning", "check_optuna", "check_recipe", "tune"]

__dir__ = shown(__name__)

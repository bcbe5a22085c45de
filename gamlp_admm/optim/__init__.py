"""Optimisers for any module, as those of ``torch.optim``: batch ADMM over the sub-batches of a batch."""

from gamlp_admm.optim.badm import BADM
from gamlp_admm.optim.sisa import SISA
from gamlp_admm.system.lazy import shown

__all__ = ["BADM", "SISA"]

__dir__ = shown(__name__)

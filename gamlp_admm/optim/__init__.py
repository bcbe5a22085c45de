"""Optimisers for any module, as those of ``torch.optim``: batch ADMM over the sub-batches of a batch."""

from gamlp_admm.optim.badm import BADM
from gamlp_admm.optim.sisa import SISA

__all__ = ["BADM", "SISA"]

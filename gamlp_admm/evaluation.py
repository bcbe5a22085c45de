"""Loss and accuracy of the real forward pass: the honest curves, and what models are selected by."""

from __future__ import annotations

import torch
from torch import Tensor

from gamlp_admm.activations import Activation
from gamlp_admm.data import SPLITS, NodeData
from gamlp_admm.features import Features
from gamlp_admm.losses import Risk
from gamlp_admm.nn import Weights


class Evaluator:
    """Evaluates weights on the rows of the three splits in one forward pass.

    Args:
        data: Features, targets and splits.
        risk: The risk.
        f: The activation.
    """

    def __init__(self, data: NodeData, risk: Risk, f: Activation) -> None:
        self.risk, self.f = risk, f
        self.sizes = [len(data.rows[split]) for split in SPLITS]
        rows = torch.cat([data.rows[split] for split in SPLITS])
        self.x, self.y = data.x[rows], data.y[rows]
        self.weight = data.weight

    def outputs(self, weights: Weights, features: Features) -> Tensor:
        """Return the network's outputs on the rows of all splits, ``[N_all, C]``."""
        (W, b), *rest = weights
        z = features.products(W) + b
        for W, b in rest:
            z = torch.addmm(b, self.f(z), W.T)
        return z

    def __call__(self, weights: Weights, features: Features) -> dict[str, float | None]:
        """Return ``train_loss`` (mean over rows), and ``train_accuracy``, ``val_accuracy``, ``test_accuracy``.

        Args:
            weights: (W, b) of each layer, the first in the coordinates of ``features``.
            features: Features made of :attr:`x`.

        Returns:
            The measures; ``None`` for a split without rows.
        """
        z, y = self.outputs(weights, features).split(self.sizes), self.y.split(self.sizes)
        loss = self.risk.value(z[0], y[0], self.weight) / self.sizes[0]
        measures: dict[str, float | None] = {"train_loss": float(loss)}
        for i, split in enumerate(SPLITS):
            measures[f"{split}_accuracy"] = float(self.risk.score(z[i], y[i])) if self.sizes[i] else None
        return measures

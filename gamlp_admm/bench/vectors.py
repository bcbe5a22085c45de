"""Methods to compare with that take features as they are, row by row: logistic regression, and Adam with dropout.

They see the rows that pdADMM-G sees, in the same units (:class:`gamlp_admm.training.coordinates.Units`).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from gamlp_admm.bench.curve import Curve
from gamlp_admm.bench.peers import Settings
from gamlp_admm.training.rows import SPLITS
from gamlp_admm.training.units import Units

CS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""What logistic regression is tried with, one after the other, each from the weights of the one before."""

ADAM: tuple[Settings, ...] = tuple(
    {"lr": lr, "weight_decay": decay, "hidden": 256} for lr in (1e-3, 3e-3) for decay in (0.0, 1e-4)
)
"""The settings that Adam is tried with."""

FULL_ADAM: tuple[Settings, ...] = ({"lr": 1e-2, "weight_decay": 0.0, "hidden": 256},)
"""The setting of Adam on all rows at once, which is there for its memory: it is not trained to the end."""

DROPOUT, BATCH, EPOCHS, PATIENCE = 0.5, 512, 60, 10
FULL_EPOCHS = 20


@dataclass(frozen=True)
class Vectors:
    """The labelled rows of a data set, by split.

    Attributes:
        x: Features in units, ``[N, F]``.
        y: Classes, ``[N]``.
        classes: Number of classes.
    """

    x: dict[str, Tensor]
    y: dict[str, Tensor]
    classes: int

    @classmethod
    def of(cls, data: Any, by_column: bool = False) -> Vectors:
        """Take the rows of a PyG ``Data`` with ``x``, ``y`` and the three masks; the data are left as they are.

        Args:
            data: The data.
            by_column: Whether every column has a unit of its own.
        """
        rows = {split: (data[f"{split}_mask"] & (data.y >= 0)).nonzero().view(-1) for split in SPLITS}
        x = {split: data.x[rows[split]] for split in SPLITS}  # copies, measured in place
        units = Units.of(x["train"], len(x["train"]), lambda rows: rows, by_column)
        for each in x.values():
            units.measure_(each)
        return cls(x, {split: data.y[rows[split]] for split in SPLITS}, int(data.y.max()) + 1)


def logistic(vectors: Vectors, cs: tuple[float, ...] = CS, iterations: int = 100) -> dict[str, Any]:
    """Train multinomial logistic regression, :class:`sklearn.linear_model.LogisticRegression` by L-BFGS.

    Args:
        vectors: The rows.
        cs: Weights C of the loss beside ½‖W‖²; the one best on validation counts.
        iterations: Of L-BFGS, at most, for each C; scikit-learn's default.

    Returns:
        As :meth:`Curve.result`, with an evaluation for each C, and ``C``.
    """
    x, y = ({split: part[split].numpy() for split in SPLITS} for part in (vectors.x, vectors.y))
    curve, model = Curve(), LogisticRegression(max_iter=iterations, warm_start=True)
    with threadpool_limits(torch.get_num_threads()), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for c in cs:
            with curve.training():
                model.set_params(C=c).fit(x["train"], y["train"])
            curve.add(*(float((model.predict(x[split]) == y[split]).mean()) for split in ("val", "test")))
    return {**curve.result(), "C": cs[curve.points.index(curve.best)]}


def adam(vectors: Vectors, settings: Settings, seed: int, full: bool = False) -> dict[str, Any]:
    """Train a network of two layers by Adam, with dropout on its input and its hidden layer.

    It ends after :data:`EPOCHS`, and before when validation has not been better for :data:`PATIENCE` of them.

    Args:
        vectors: The rows.
        settings: One of :data:`ADAM`, or of :data:`FULL_ADAM`.
        seed: Seed of weights, batches and dropout; torch's own state is left as it was.
        full: Whether a step is over all rows, not over a batch of :data:`BATCH`; there are then :data:`FULL_EPOCHS`.

    Returns:
        As :meth:`Curve.result`, with an evaluation after each epoch.
    """
    x, y, hidden = vectors.x["train"], vectors.y["train"], settings["hidden"]
    curve, best, since = Curve(), -math.inf, 0
    epochs, patience = (FULL_EPOCHS, FULL_EPOCHS) if full else (EPOCHS, PATIENCE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, last = nn.Linear(x.shape[1], hidden), nn.Linear(hidden, vectors.classes)
        net = nn.Sequential(nn.Dropout(DROPOUT), first, nn.ReLU(), nn.Dropout(DROPOUT), last).to(x.dtype)
        optimizer = torch.optim.Adam(net.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"])
        while len(curve.points) < epochs and since < patience:
            with curve.training():
                net.train()
                for rows in [slice(None)] if full else torch.split(torch.randperm(len(x)), BATCH):
                    optimizer.zero_grad()
                    F.cross_entropy(net(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
            val, test = (_accuracy(net, vectors, split) for split in ("val", "test"))
            curve.add(val, test)
            best, since = (val, 0) if val > best else (best, since + 1)
    return curve.result()


@torch.no_grad()
def _accuracy(net: nn.Module, vectors: Vectors, split: str) -> float:
    net.eval()
    return float((net(vectors.x[split]).argmax(1) == vectors.y[split]).double().mean())

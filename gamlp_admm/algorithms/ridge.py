r"""Linear ridge regression on the targets: the closed form beside which every network has to stand.

.. math:: \min_{W,b} \; \tfrac12 \sum_i s_i \|W x_i + b - y_i\|^2 + \tfrac μ2 \|W\|^2

with s the weights of the rows, and one-hot y for classes. b is free, so features and targets are centred by their
weighted means. With the rows :math:`\sqrt{s_i}(x_i - \bar x)` as A and :math:`\sqrt{s_i}(y_i - \bar y)` as T, and an
eigendecomposition on the smaller side of A, of rows or of columns,

.. math::
    W^T = (A^T A + μI)^{-1} A^T T = A^T (A A^T + μI)^{-1} T

costs two small products for each μ. Each iteration tries another μ, so that selection on validation chooses it.

Source: Hoerl, Kennard, Technometrics 1970; the dual form: Saunders, Gammerman, Vovk, ICML 1998.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gamlp_admm.admm.linear import Centred, RidgePath, completed
from gamlp_admm.algorithms.base import check_positive
from gamlp_admm.errors import InputError
from gamlp_admm.nn.network import Weights
from gamlp_admm.training.session import Session, Stage
from gamlp_admm.training.trainer import Trainer

LEAST, MOST = 1e-4, 1e4
"""Between which μ are tried; with features in units of their own, 1 is as much as the features of one row."""


def tried(iteration: int) -> float:
    """Return the μ of an iteration, from 1 on: 1, 0.01, 100, 0.001, …, ever finer from :data:`LEAST` to :data:`MOST`.

    Any number of iterations covers the range evenly in the logarithm (van der Corput's sequence).
    """
    place, step = 0.0, 0.5
    while iteration:
        iteration, bit = divmod(iteration, 2)
        place, step = place + bit * step, step / 2
    return float(LEAST * (MOST / LEAST) ** place)


class RidgeSession(Session):
    """Ridge regression at work: a μ an iteration."""

    def __init__(self, stage: Stage, mu: float | None) -> None:
        assert stage.features is not None
        count = stage.data.num_train
        weight = stage.data.weight
        self.rows = stage.features.train, completed(stage.data.y[:count], weight), weight
        self.empty = stage.data.room.empty
        self.path: RidgePath | None = None  # made in the first iteration, whose time it is
        self.mu, self.bytes_sent = mu, 0
        self.last, self.current = mu or 0.0, stage.weights[0]

    def iterate(self, iteration: int, factor: float) -> None:
        """See :meth:`Session.iterate`."""
        self.path = self.path or RidgePath(Centred.of(*self.rows, empty=self.empty))
        self.last = self.mu or tried(iteration)
        self.current = self.path.solve(self.last)

    def weights(self) -> Weights:
        """See :meth:`Session.weights`."""
        return [self.current]

    def layer_terms(self) -> Tensor:
        """Return the objective ``[1, 1]``."""
        (W, b), (X, Y, weight) = self.current, self.rows
        squares = (torch.addmm(b, X, W.T) - Y).double().square().sum(1)
        fit = squares.sum() if weight is None else squares @ weight.double()
        return (fit / 2 + self.last / 2 * W.double().square().sum()).cpu().view(1, 1)

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Session.tensors`."""
        W, b = self.current
        return {"0.W": W, "0.b": b, "0.mu": torch.tensor(self.last, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See :meth:`Session.restore`."""
        self.current, self.last = (tensors["0.W"], tensors["0.b"]), float(tensors["0.mu"])


@dataclass(frozen=True, kw_only=True, repr=False)
class Ridge(Trainer):
    """Linear ridge regression on the targets, in closed form; trains networks of one layer.

    Without ``mu``, each iteration tries another μ and the model keeps the one that is best on validation.

    Source: see :mod:`gamlp_admm.algorithms.ridge`.

    Args:
        mu: Weight μ > 0 of ½‖W‖²; ``None`` to try one an iteration (:func:`tried`).
        scale: As for :class:`gamlp_admm.PdADMM`.
        loss: Gives the form of the targets, and the loss that is reported.
        class_weight: Weight of each class, ``[C]``, or ``"balanced"``, or ``None``. A weight of 2 is a row twice.

    Raises:
        InputError: μ is not positive, or a name is not known.

    Example:
        >>> from gamlp_admm import GAMLP, AugmentFeatures, Ridge, load_dataset
        >>> data = AugmentFeatures(hops=2)(load_dataset("karate").data)
        >>> model = GAMLP(data.num_features, hidden_channels=1, out_channels=4, num_layers=1)
        >>> result = Ridge().fit(model, data, iterations=8)  # tries eight μ
        >>> result.best["val_accuracy"] == max(record["val_accuracy"] for record in result.history)
        True
    """

    mu: float | None = None
    scale: str = "auto"

    depth = 1
    unit_rows = True

    def __post_init__(self) -> None:
        check_positive(mu=self.mu)
        super().__post_init__()

    @property
    def algorithm(self) -> str:
        """The algorithm's name on the command line."""
        return "ridge"

    @property
    def reads_records(self) -> bool:
        """See :attr:`Algorithm.reads_records`: each iteration is another candidate."""
        return True

    @property
    def compressible(self) -> bool:
        """See :attr:`Algorithm.compressible`: W lies in the row space of the features."""
        return True

    def start(self, stage: Stage) -> RidgeSession:
        """See :meth:`Algorithm.start`.

        Raises:
            InputError: The network has more than one layer.
        """
        if len(stage.shapes) != 1:
            raise InputError(f"ridge is a linear model: allowed: num_layers 1, not {len(stage.shapes)}")
        return RidgeSession(stage, self.mu)
